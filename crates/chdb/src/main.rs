//! ClickHouse's own server for one machine, out of ClickHouse's library.
//!
//! `libchdb.so` holds `clickhouse-local` complete, and that can open the server's own listeners. So what answers is
//! ClickHouse's code; this program finds the library, locks the folder, writes the server's configuration, holds the
//! server open, ends it in order, and says in one sentence why a start failed. This file only wires.

mod args;
mod config;
mod confine;
mod engine;
mod environment;
mod ffi;
mod folder;
mod framing;
mod front;
mod library;
mod users;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::level_filters::LevelFilter;
use weir_program::ending::{Signals, tell_hurry};
use weir_program::log::{Log, LogFormat};

use crate::args::{Args, Verb};
use crate::engine::{Engine, Start};
use crate::ffi::Library;
use crate::folder::{Folder, Run, broken_parts};
use crate::users::Users;

/// Why the program did not start, or ended by itself: each is one sentence with its fix.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoLibrary(#[from] library::LibraryError),
    #[error(
        "cannot use `{path}`: {source}; install the version of crates/chdb/engine with `npm ci --ignore-scripts --prefix crates/chdb/engine`, or point WEIR_CHDB_LIB at a whole libchdb.so from 26.7 on"
    )]
    Library { path: PathBuf, source: ffi::LoadError },
    #[error(transparent)]
    Users(#[from] users::UsersError),
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    #[error("cannot use the folder `{path}` of --files: {source}; name a folder that is there")]
    Files { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Open(#[from] engine::OpenError),
    #[error("cannot listen on {address}: {source}; {}, or give another --listen or --tcp-port", weir_program::listen_cure(.source))]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot start the runtime: {0}; raise the limits on threads and open files")]
    Runtime(std::io::Error),
    #[error("the engine ended by itself: {0}; start it again")]
    Ended(String),
}

/// Exit codes: the names of DESIGN.md.
const WRONG_CONFIG: u8 = 1;

/// Between two looks at what runs.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let args: Args = weir_program::parse();
    if let Some(Verb::Completions(completions)) = &args.verb {
        let Err(error) = completions.print::<Args>() else { return ExitCode::SUCCESS };
        eprintln!("weir-chdb: cannot write to standard output: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(failure) = environment::clear(args.path()) {
        args.log.fail("weir-chdb: ", failure);
        return ExitCode::from(WRONG_CONFIG);
    }
    let _log = Log::start(&args.log, "info");
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            args.log.fail("weir-chdb: ", failure);
            ExitCode::from(WRONG_CONFIG)
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    outlive_signals().map_err(Failure::Runtime)?;
    let path = library::find(args.library.as_deref(), &std::env::current_exe().unwrap_or_default())?;
    let users = Users::load(args.users.as_deref(), args.listen.ip())?;
    let files = args.files.iter().map(folder_of).collect::<Result<Vec<_>, _>>()?;
    let front = bind(args)?;
    let folder = Folder::claim(args.path())?;
    std::env::set_current_dir(&folder.path).map_err(|source| folder.refused(source))?;
    let library = Library::load(&path).map_err(|source| Failure::Library { path, source })?;
    let version = library.version();
    folder.check_version(&version)?;
    let run = folder.run()?;
    let backups: Vec<PathBuf> = files.iter().cloned().chain([folder.path.join("backups")]).collect();
    let config = configure(args, &users, &run, &backups)?;
    let broken = broken_parts(&folder.path);
    let engine = Engine::start(
        library,
        Start {
            path: &folder.path,
            run,
            config,
            tcp_port: args.tcp_port,
            receive_timeout: args.receive_timeout,
            log_level: log_level(),
            files,
            must_confine: users.has_readers(),
        },
    )?;
    folder.note_version(&version)?;
    tell_broken(&folder, &broken);
    tracing::info!(path = %folder.path.display(), library = version, "the engine is up");
    serve(engine, front, args)
}

fn folder_of(path: impl AsRef<Path>) -> Result<PathBuf, Failure> {
    let path = path.as_ref();
    path.canonicalize().map_err(|source| Failure::Files { path: path.to_owned(), source })
}

/// Takes the address that clients use, on which nothing listens before the engine answers. Whether the native
/// protocol's port is free the engine would say less well.
fn bind(args: &Args) -> Result<TcpSocket, Failure> {
    let failed = |address| move |source| Failure::Listen { address, source };
    if let Some(port) = args.tcp_port {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpListener::bind(address).map(drop).map_err(failed(address))?;
    }
    let socket = if args.listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed(args.listen))?;
    socket.set_reuseaddr(true).and_then(|()| socket.bind(args.listen)).map_err(failed(args.listen))?;
    Ok(socket)
}

/// Writes what the engine is configured by, and gives the path that it is to be given.
fn configure(args: &Args, users: &Users, run: &Run, backups: &[PathBuf]) -> Result<PathBuf, Failure> {
    let listeners = 1 + usize::from(args.tcp_port.is_some());
    let users_file = run.write("users.xml", &config::users(users, listeners))?;
    let server = config::Server {
        users_file: &users_file,
        is_open: *users == Users::Open,
        memory: args.memory,
        max_connections: args.max_connections,
        max_queries: args.max_queries,
        idle_timeout: args.idle_timeout,
        says_queries: LevelFilter::current() >= LevelFilter::DEBUG,
        json_log: args.log.log_format == LogFormat::Json,
        backups,
    };
    Ok(run.write("config.xml", &server.text())?)
}

/// The engine's word for what the operator asked for. Its `information` is what our `debug` is.
fn log_level() -> &'static str {
    match LevelFilter::current() {
        LevelFilter::OFF => "fatal",
        LevelFilter::ERROR => "error",
        LevelFilter::WARN | LevelFilter::INFO => "warning",
        LevelFilter::DEBUG => "information",
        LevelFilter::TRACE => "trace",
    }
}

/// What the engine set aside at this start is not there for queries any more.
fn tell_broken(folder: &Folder, before: &[PathBuf]) {
    for part in broken_parts(&folder.path).iter().filter(|part| !before.contains(part)) {
        tracing::error!(part = %part.display(), "a part of a table is broken and was set aside: its rows are missing; bring it back from a backup, or repair the table from its source");
    }
    if !before.is_empty() {
        tracing::warn!(
            parts = before.len(),
            "parts that earlier starts found broken are still set aside; see system.detached_parts"
        );
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// SIGHUP, SIGUSR1 and SIGUSR2 would end the program by themselves. What listens for them once is enough: the handlers
/// stay, and the engine puts its own over them where it has any.
fn outlive_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _within = runtime.enter();
    let kinds = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    kinds.into_iter().try_for_each(|kind| signal(kind).map(drop))
}

fn serve(engine: Engine, front: TcpSocket, args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::Runtime)?;
    let drain = Duration::from_secs(args.drain_timeout);
    runtime.block_on(async {
        let failed = |source| Failure::Listen { address: args.listen, source };
        let listener = front.listen(BACKLOG).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(false);
        let idle = Duration::from_secs(args.idle_timeout);
        let front = tokio::spawn(front::serve(listener, engine.address, args.max_connections, idle, stopping));
        // After the engine has put its own handlers there.
        let mut signals = Signals::listen().map_err(Failure::Runtime)?;
        signals.ending().allow(drain + engine::END);
        // The engine cuts queries and closes its tables: it is left alone with that until somebody asks a third time.
        signals.ending().allow_in_a_hurry(engine::END);
        tracing::info!(%address, "weir-chdb is up");
        println!("listening on http://{address}");
        let _nobody_reads = std::io::stdout().flush();
        tokio::select! {
            () = signals.end() => {}
            said = ended(&engine) => return Err(Failure::Ended(said)),
        }
        tracing::info!("weir-chdb stops when the queries that run have ended");
        let _front_is_gone = stop.send(true);
        tokio::select! {
            _ = tokio::time::timeout(drain, async { tokio::join!(front, quiet(&engine, drain)) }) => {}
            () = signals.end() => tell_hurry(),
        }
        Ok(())
    })?;
    runtime.shutdown_background();
    tracing::info!("weir-chdb stops");
    if !engine.end() {
        tracing::warn!(
            "the engine did not end in time, and is left as a kill would leave it: nothing acknowledged is lost"
        );
    }
    Ok(())
}

async fn ended(engine: &Engine) -> String {
    loop {
        match engine.has_ended() {
            Some(said) => return said,
            None => sleep(LOOK).await,
        }
    }
}

/// Until no query runs, or the time is over.
async fn quiet(engine: &Engine, drain: Duration) {
    let deadline = Instant::now() + drain;
    while Instant::now() < deadline && engine.running().is_none_or(|running| running > 0) {
        sleep(LOOK).await;
    }
}
