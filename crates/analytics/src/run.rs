//! Start, serve, stop.
//!
//! Order at the start: configuration, state folder, ClickHouse (waited for, however long it takes), schema, the
//! intents of the last run, and only then the port: who finds it open can send.

use crate::args::{Args, Verb};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use weir_analytics::ingest::intent::{Intents, StateError};
use weir_analytics::ingest::lease::{Lease, Watching};
use weir_analytics::ingest::repair::{self, RepairError};
use weir_analytics::ingest::{Ingest, Limits, SettleError};
use weir_analytics::readers::{ReaderTokens, ReadersError};
use weir_analytics::schema::{Durability, MigrateError, migrate};
use weir_analytics::server::admin::{Admin, AdminError};
use weir_analytics::server::tls::TlsError;
use weir_analytics::server::{Bounds, People, ReaderFile, Server, Settings, Tls};
use weir_analytics::store::{Class, Store, StoreError};
use weir_analytics::tokens::{Tokens, TokensError};
use weir_program::ending::{Signals, tell_hurry};
use weir_transport::start_resolver;

/// What open requests and connections get at the end (`server::DRAIN`).
const DRAIN: Duration = Duration::from_secs(30);
/// What blocks that are under way get after them.
const COMMITTING: Duration = Duration::from_secs(30);

/// Why the program ended before its time: each a sentence with its fix.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    Readers(#[from] ReadersError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Schema(#[from] MigrateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Repair(#[from] RepairError),
    #[error(
        "a weir-analytics took the lease during the repair, which has changed nothing that is not right; run it again, \
         when ClickHouse has less to do"
    )]
    Overtaken,
    #[error("{0} is not loopback; give the tokens that may send by --tokens")]
    Open(SocketAddr),
    #[error(
        "--retention-raw must be more than --spool-max-age, or a late chunk could not be distinguished from a new one"
    )]
    Retention,
    #[error(
        "--durable-inserts quorum waits for replicas, and one server has none; give --cluster, or --durable-inserts fsync"
    )]
    Quorum,
    #[error("cannot listen on {address}: {source}; {}, or give another --listen", weir_program::listen_cure(.source))]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot start the runtime: {0}; raise the limits on threads and open files")]
    Runtime(std::io::Error),
}

impl RunError {
    /// DESIGN's codes: 1 the configuration is wrong, 3 could not reach what was asked.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) | Self::Schema(MigrateError::Store(error)) | Self::Repair(RepairError::Store(error))
                if error.class() == Class::Transient =>
            {
                3
            }
            _ => 1,
        }
    }
}

/// As long as a timer of the runtime takes.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
/// How long the first thread for blocks may take to start.
const START: Duration = Duration::from_secs(10);

pub fn run(args: Args) -> Result<(), RunError> {
    if args.durable_inserts == Durability::Quorum && args.cluster.is_none() {
        return Err(RunError::Quorum);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // One for blocks from the start, and for ever: where no thread can be had later, a block would wait for one without
        // an end.
        .thread_keep_alive(FOREVER)
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let done = runtime.block_on(async {
        start_resolver().map_err(RunError::Runtime)?;
        let first = tokio::time::timeout(START, tokio::task::spawn_blocking(|| {}));
        first.await.map_err(|_| RunError::Runtime(io::ErrorKind::WouldBlock.into()))?.ok();
        let (user, password) = match &args.clickhouse.credentials {
            Some((user, password)) if args.user.is_empty() => (user, password),
            _ => (&args.user, &args.password),
        };
        let store = Store::new(&args.clickhouse.url, user, password, args.schema(args.layout()))?;
        match &args.verb {
            Some(Verb::Migrate) => {
                let steps = migrate(&store).await?;
                println!("{steps} steps applied; the schema is that of this version");
                Ok(())
            }
            Some(Verb::Repair { day }) => {
                migrate(&store).await?;
                repaired(&args, store, *day).await
            }
            _ => serve(&args, store).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

async fn serve(args: &Args, store: Store) -> Result<(), RunError> {
    if args.retention_raw <= args.spool_max_age {
        return Err(RunError::Retention);
    }
    if args.tokens.is_none() && !args.listen.ip().is_loopback() {
        return Err(RunError::Open(args.listen));
    }
    let bounds = bounds(args);
    let (stop, hurry) = stop_signal().map_err(RunError::Runtime)?;
    // Their own way would be to end the program.
    let kinds = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    let _ignored = kinds.map(signal);
    let (tokens, readers) = (tokens(args, &stop)?, readers(args, &stop)?);
    let tls = certificates(args, &stop)?;
    let intents = Arc::new(Intents::open(&args.state)?);
    let admin = Admin::new(args.admin_token_file.as_deref(), args.hosts.clone(), &args.state)?;
    let lease = Lease::new(store.clone(), &intents.holder(), args.lease);
    if !ready(&store, &lease, &intents, stop.clone()).await? {
        return Ok(());
    }
    let failed = |source| RunError::Listen { address: args.listen, source };
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let limits = Limits { max_event_age: args.retention_raw, ..Limits::default() };
    let (ingest, committing) = Ingest::start(store.clone(), lease.clone(), Arc::clone(&intents), limits);
    let keeping = tokio::spawn(lease.clone().keep(intents));
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "tokens and events come in clear text here, and gateways of other machines send none: give \
             --tls-certificate and --tls-key, or have something before it speak TLS"
        );
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{address}");
    let _nobody_reads = std::io::stdout().flush();
    tracing::info!(%address, clickhouse = store.url(), "weir-analytics is up");
    let settings = Settings { max_clock_difference: args.max_clock_difference, bounds, query_time: args.query_time };
    let is_local = address.ip().is_loopback();
    if readers.is_none() && !is_local {
        tracing::warn!(%address, "nobody reads here without the administrator's token: give --readers FILE");
    }
    let server = Server::new(ingest, store, People { tokens, readers, admin, is_local }, settings)?;
    let served = async {
        server.serve(listener, tls, stop).await;
        if tokio::time::timeout(COMMITTING, committing).await.is_err() {
            tracing::warn!("a block is still not stored; its intent is settled at the next start");
        }
    };
    tokio::select! {
        () = served => {}
        () = hurried(hurry) => tell_hurry(),
    }
    keeping.abort();
    lease.release().await;
    tracing::info!("weir-analytics stops");
    Ok(())
}

/// What the limit of open files allows of what is asked for. The limit is raised as far as this user may.
fn bounds(args: &Args) -> Bounds {
    let files = weir_program::open_files::raise_limit().unwrap_or(u64::MAX);
    let (asked, bounds) = (args.bounds(), args.bounds().within(files));
    if bounds != asked {
        tracing::warn!(
            files,
            needed = asked.files(),
            connections = bounds.connections,
            "fewer files may be open than --connections needs: so many connections are taken; raise the limit (nofile)"
        );
    }
    bounds
}

/// Migrates and settles, as often as it takes while ClickHouse is away. False when asked to stop meanwhile.
async fn ready(
    store: &Store,
    lease: &Lease,
    intents: &Intents,
    mut stop: watch::Receiver<bool>,
) -> Result<bool, RunError> {
    let mut pause = Duration::from_millis(100);
    loop {
        let prepared = tokio::select! {
            prepared = prepare(store, lease, intents) => prepared,
            // Each of its steps may be cut: a kill would do the same.
            _ = stop.wait_for(|stop| *stop) => return Ok(false),
        };
        let error = match prepared {
            Ok(()) => return Ok(true),
            Err(RunError::Store(error) | RunError::Schema(MigrateError::Store(error)))
                if error.class() == Class::Transient =>
            {
                error
            }
            Err(error) => return Err(error),
        };
        tracing::warn!(%error, "waiting for ClickHouse; start it, or correct --clickhouse");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(false),
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Becomes the writer where nobody else is; where another one writes, the port opens on a standby.
async fn prepare(store: &Store, lease: &Lease, intents: &Intents) -> Result<(), RunError> {
    migrate(store).await?;
    match lease.campaign(&mut Watching::default(), intents).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            tracing::info!(role = lease.role(), "another weir-analytics writes; this one stands by");
            Ok(())
        }
        Err(SettleError::State(error)) => Err(RunError::State(error)),
        Err(SettleError::Store(error)) => Err(RunError::Store(error)),
    }
}

/// Takes the lease for the time of the repair: who writes stands by meanwhile, and goes on after it. The row of the lease
/// stays: it says who repaired which day, and when.
async fn repaired(args: &Args, store: Store, day: i64) -> Result<(), RunError> {
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let holder = format!("weir-analytics repair --day {date} by {} on {}", weir_program::operator::user(), host.trim());
    let lease = Lease::new(store.clone(), &holder, args.lease);
    let term = lease.seize().await?;
    let renewing = tokio::spawn(lease.clone().renew_always(term));
    let done = repair::day(&store, day, term, None).await;
    renewing.abort();
    if done.is_err() && !lease.holds(term).await? {
        return Err(RunError::Overtaken);
    }
    lease.renew(term, true).await?;
    let done = done?;
    println!("{} events; {} second copies taken out; roll-ups made again", done.rows, done.duplicates);
    Ok(())
}

/// What is in `files`, read again when it changes, and with each SIGHUP. A mistake keeps what runs.
fn watched<T, E>(
    what: &'static str,
    files: Vec<PathBuf>,
    first: (T, Content),
    load: impl Fn() -> Result<T, E> + Send + 'static,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<watch::Receiver<T>>
where
    T: Send + Sync + 'static,
    E: std::error::Error + Send,
{
    let (first, mut seen) = first;
    let mut reported = None;
    let (sender, receiver) = watch::channel(first);
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(2));
        loop {
            let asked = tokio::select! {
                _ = tick.tick() => false,
                _ = hangup.recv() => true,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let now = content(&files);
            if now == seen && !asked {
                reported = None;
                continue;
            }
            match load() {
                Ok(loaded) => {
                    (seen, reported) = (now, None);
                    sender.send_replace(loaded);
                    tracing::info!("{what} read again");
                }
                // Tried again at the next look, for it may have been the disk's fault; reported once.
                Err(error) => {
                    if asked || reported.as_ref() != Some(&now) {
                        tracing::warn!(%error, "the {what} of before stay in force");
                    }
                    reported = Some(now);
                }
            }
        }
    });
    Ok(receiver)
}

/// What tells one content of files from another. Times of change and lengths do not: a clock that is set back, a copy that
/// keeps times.
type Content = Vec<Option<u64>>;

fn content(files: &[PathBuf]) -> Content {
    let of = |path: &PathBuf| {
        let mut hasher = DefaultHasher::new();
        std::fs::read(path).ok()?.hash(&mut hasher);
        Some(hasher.finish())
    };
    files.iter().map(of).collect()
}

/// The tokens, as they are now.
fn tokens(args: &Args, stop: &watch::Receiver<bool>) -> Result<watch::Receiver<Arc<Tokens>>, RunError> {
    let Some(path) = args.tokens.clone() else { return Ok(watch::channel(Arc::default()).1) };
    let files = vec![path.clone()];
    // Before the first reading: what changes from here on is seen as a change.
    let seen = content(&files);
    let load = move || Tokens::load(&path).map(Arc::new);
    let first = load()?;
    watched("tokens", files, (first, seen), load, stop.clone()).map_err(RunError::Runtime)
}

/// The readers, as they are now, where there is a file of them.
fn readers(args: &Args, stop: &watch::Receiver<bool>) -> Result<Option<ReaderFile>, RunError> {
    let Some(path) = args.readers.clone() else { return Ok(None) };
    let files = vec![path.clone()];
    let seen = content(&files);
    let load = move || ReaderTokens::load(&path).map(Arc::new);
    let first = load()?;
    let watched = watched("readers", files, (first, seen), load, stop.clone());
    watched.map(Some).map_err(RunError::Runtime)
}

/// The certificates, as they are now, where TLS is spoken.
fn certificates(args: &Args, stop: &watch::Receiver<bool>) -> Result<Option<Tls>, RunError> {
    let Some(files) = args.tls() else { return Ok(None) };
    let seen = content(&files.paths());
    let first = files.load()?;
    let watched = watched("certificates", files.paths(), (first, seen), move || files.load(), stop.clone());
    watched.map(Some).map_err(RunError::Runtime)
}

/// What becomes true with the first SIGTERM or SIGINT, and with the second.
fn stop_signal() -> std::io::Result<(watch::Receiver<bool>, watch::Receiver<bool>)> {
    let mut signals = Signals::listen()?;
    signals.ending().allow(DRAIN + COMMITTING);
    let ((stop, stopped), (hurry, hurried)) = (watch::channel(false), watch::channel(false));
    tokio::spawn(async move {
        signals.end().await;
        stop.send_replace(true);
        signals.end().await;
        hurry.send_replace(true);
    });
    Ok((stopped, hurried))
}

/// Until the process is asked to end twice.
async fn hurried(mut hurry: watch::Receiver<bool>) {
    if hurry.wait_for(|hurry| *hurry).await.is_err() {
        std::future::pending::<()>().await;
    }
}
