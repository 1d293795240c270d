//! ClickHouse's own engine behind ClickHouse's HTTP interface, for one machine.
//!
//! `weir-chdb` loads `libchdb.so` at run time and serves it as a ClickHouse server would: the
//! `clickhouse` crate, Grafana and `curl` talk to it unchanged. It is the embedded default of Weir;
//! it has no replication, no clusters and no `CREATE USER`. This file only wires.

mod answer;
mod args;
mod blocks;
mod body;
mod coding;
mod engine;
mod exception;
mod external;
mod failpoint;
mod ffi;
mod folder;
mod formats;
mod guard;
mod input;
mod kill;
mod lexer;
mod library;
mod metrics;
mod multipart;
mod native;
mod request;
mod respond;
mod rights;
mod server;
mod session;
mod slots;
mod sql;
mod statement;
mod surroundings;
mod users;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use weir_program::log::Log;

use crate::args::{Args, Verb};
use crate::engine::Engine;
use crate::folder::Folder;
use crate::server::{Limits, Server};
use crate::users::Users;

/// Why the program did not start: each is one sentence with its cure.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Library(#[from] library::LibraryError),
    #[error(transparent)]
    Users(#[from] users::UsersError),
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
    #[error(transparent)]
    Engine(#[from] engine::OpenError),
    #[error("cannot listen on {address}: {source}; {}, or give another --listen", weir_program::listen_cure(.source))]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot start the runtime: {0}; raise the limits on threads and open files")]
    Runtime(std::io::Error),
}

/// Exit codes: the names of DESIGN.md.
const WRONG_CONFIG: u8 = 1;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Verb::Completions(completions)) = &args.verb {
        let Err(error) = completions.print::<Args>() else { return ExitCode::SUCCESS };
        eprintln!("weir-chdb: cannot write to standard output: {error}");
        return ExitCode::FAILURE;
    }
    let _log = Log::start(&args.log, "info");
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-chdb: {error}");
            ExitCode::from(WRONG_CONFIG)
        }
    }
}

fn run(args: Args) -> Result<(), StartError> {
    let listen = args.listen;
    let limits = args.limits();
    let library = library::find(args.library.as_deref(), &std::env::current_exe().unwrap_or_default())?;
    let users = Users::load(args.users.as_deref(), listen.ip())?;
    let refused = |source| StartError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let folder = Folder::claim(args.path())?;
    folder.enter()?;
    let config = rights::write(&folder.path)?;
    let engine = Engine::open(&library, &folder.path, &config)?;
    tracing::info!(%address, path = %folder.path.display(), engine = engine.version(), "weir-chdb is up");
    serve(Server::new(engine, users, limits.clone()), listener, address, &limits)
}

fn serve(
    server: Server,
    listener: TcpListener,
    address: std::net::SocketAddr,
    limits: &Limits,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // One a statement, and some to cancel by.
        .max_blocking_threads(limits.max_queries + 8)
        // The engine's parser and planner recurse deeply.
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Runtime)?;
        let stop = stop_signal().map_err(StartError::Runtime)?;
        println!("listening on http://{address}");
        let _nobody_reads = std::io::stdout().flush();
        Arc::new(server).serve(listener, stop).await;
        Ok(())
    });
    tracing::info!("weir-chdb stops");
    runtime.shutdown_timeout(Duration::from_secs(5));
    served
}

/// Becomes true with the first SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        sender.send_replace(true);
    });
    Ok(receiver)
}
