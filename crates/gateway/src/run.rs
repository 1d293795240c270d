//! `weir run`: load, build, run, drain.

use crate::admin::{self, Admin};
use crate::args::RunOptions;
use crate::exit;
use crate::logging;
use crate::reload::{ReloadStats, Reloader, lock, tell_warnings};
use crate::sink::rings;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use weir_config::{ConfigErrors, GatewayConfig, Watcher};
use weir_event::Identity;
use weir_proxy::{Proxy, ProxyError, Registry, Snapshot, SnapshotError};
use weir_spool::{Endpoint, EndpointError, Seal, Spool, SpoolConfig, SpoolError};

/// What is left for the spool once requests are drained: to seal, ship once more and say goodbye.
const LAST_SHIPPING: Duration = Duration::from_secs(5);
/// How much less of a core the threads beside the workers ask for: `nice` by so many steps.
const LOWER_PRIORITY: i32 = 5;

/// Why the gateway cannot run. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("cannot listen on {address} for `{what}`: {error}; change the address in the configuration")]
    Admin { what: &'static str, address: std::net::SocketAddr, error: io::Error },
    #[error("cannot set up the gateway: {0}")]
    System(#[from] io::Error),
}

/// Runs until told to end.
pub fn run(options: RunOptions) -> ExitCode {
    match start(options) {
        Ok(()) => exit::WELL,
        Err(error) => {
            eprintln!("{error}");
            exit::WRONG
        }
    }
}

/// As many open files as the system lets this user have: each connection is one.
fn more_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

fn start(options: RunOptions) -> Result<(), RunError> {
    let env = |name: &str| std::env::var(name).ok();
    let seen = weir_config::Fingerprint::of(&options.config);
    let config = weir_config::load(&options.config, &env)?;
    let log = logging::start(&options.log, config.log_level);
    tell_warnings(&config);
    more_open_files();
    let workers = options.workers.unwrap_or_else(cores);
    let registry = Arc::new(Registry::new(workers));
    let snapshot = Snapshot::compile(&config, 1, &registry)?;

    let identity = identity(&config, options.name);
    let (mut spool, writers) = Spool::start(spool_config(&config), identity, workers, Arc::clone(&registry.names))?;
    let proxy = Proxy::start(snapshot, workers, rings(writers))?;
    let counted: Vec<_> = proxy.stats().cloned().collect();
    spool.accepted_from(move |worker| counted.get(usize::from(worker)).map_or(0, |stats| stats.accepted()));
    if let Some(analytics) = &config.analytics {
        spool.ship_to(Endpoint::new(&analytics.endpoint.to_string(), analytics.token.expose())?)?;
    }
    let spool = Arc::new(spool);
    let served = proxy.snapshot();
    for (configured, actual) in proxy.listening() {
        let scheme = if served.speaks_tls(*configured) { "https" } else { "http" };
        tell(format_args!("listening on {scheme}://{actual}"));
    }
    let proxy = Arc::new(Mutex::new(Some(proxy)));
    let stats = Arc::new(ReloadStats::starting_with(&config));
    let (shared, kept) = (Arc::clone(&proxy), Arc::clone(&spool));
    let admin = Admin::new(shared, Arc::clone(&registry), kept, Arc::clone(&stats), &config, log.recent());
    let started_with = config.clone();
    let reloader = Reloader { proxy: Arc::clone(&proxy), registry, spool: Arc::downgrade(&spool), stats, started_with };
    let watcher = Watcher::start(options.config, seen.naming(&config), env, move |outcome| reloader.loaded(outcome))?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(beside(&config, Arc::clone(&admin), proxy))?;
    drop(watcher);
    drop((runtime, admin));
    sole(spool).stop(LAST_SHIPPING)?;
    info!("ended");
    Ok(())
}

/// The spool once nobody else holds it: the admin listener has ended, and a reload that is just writing names holds it
/// for that long only.
fn sole(mut spool: Arc<Spool>) -> Spool {
    loop {
        match Arc::try_unwrap(spool) {
            Ok(spool) => return spool,
            Err(held) => spool = held,
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Everything that is not a request's: on this thread, at a lower priority.
async fn beside(config: &GatewayConfig, admin: Arc<Admin>, proxy: Arc<Mutex<Option<Proxy>>>) -> Result<(), RunError> {
    lower_priority();
    let bind = async |what, address| {
        TcpListener::bind(address).await.map_err(|error| RunError::Admin { what, address, error })
    };
    let listener = bind("spec.admin.address", config.admin).await?;
    tell(format_args!("admin on http://{}", listener.local_addr()?));
    let probes = match config.probe {
        Some(address) => Some(bind("spec.probe.port", address).await?),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let serve = admin::serve(listener, Arc::clone(&admin));
    let probe = async {
        match probes {
            Some(listener) => admin::serve_probes(listener, Arc::clone(&admin)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(serve, probe);
    info!(version = env!("CARGO_PKG_VERSION"), boot = %admin.boot(), admin = %config.admin, "running");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut serve => break,
            () = &mut probe => break,
            _ = tick.tick() => admin.tick(),
        }
    }
    info!("draining: no more connections are accepted, open requests finish");
    admin.drain();
    // Probes and scrapes are answered until the last request is done.
    let drained = tokio::task::spawn_blocking(move || {
        let running = lock(&proxy).take();
        if let Some(running) = running {
            let limit = running.snapshot().drain_limit();
            running.drain(limit);
        }
    });
    tokio::select! {
        _ = drained => {}
        () = &mut serve => {}
        () = &mut probe => {}
    }
    Ok(())
}

/// For whoever started it; that nobody can read it stops nothing.
fn tell(line: std::fmt::Arguments<'_>) {
    if let Err(error) = weir_program::say(line) {
        warn!(%error, "standard output cannot be written");
    }
}

fn lower_priority() {
    let me = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(me), LOWER_PRIORITY) {
        warn!(%error, "cannot lower the priority of what runs beside the workers");
    }
}

fn cores() -> u16 {
    std::thread::available_parallelism().ok().and_then(|cores| u16::try_from(cores.get()).ok()).unwrap_or(1)
}

fn identity(config: &GatewayConfig, name: Option<String>) -> Identity {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let names = &config.identity;
    Identity {
        organization: names.organization.clone(),
        environment: names.environment.clone(),
        site: names.site.clone(),
        gateway: names.gateway.clone(),
        replica: name.unwrap_or_else(host),
    }
}

fn spool_config(config: &GatewayConfig) -> SpoolConfig {
    SpoolConfig {
        max_bytes: config.spool.max_bytes.bytes(),
        max_age: config.spool.max_age,
        ring_bytes: config.spool.ring_bytes.bytes(),
        seal: Seal {
            age: config.spool.sync_interval,
            wire: usize::try_from(config.spool.chunk_bytes.bytes()).unwrap_or(usize::MAX),
            ..Seal::default()
        },
        ..SpoolConfig::at(&config.spool.path)
    }
}
