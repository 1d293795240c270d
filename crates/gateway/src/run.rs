//! `weir run`: load, build, run, drain.

use crate::admin::operator::Operators;
use crate::admin::{self, Admin, Parts};
use crate::args::RunOptions;
use crate::exit;
use crate::generations::Generations;
use crate::logging;
use crate::reload::{Fallback, ReloadStats, Reloader, keep, lock, tell_warnings};
use crate::sink::rings;
use crate::start::{Prepared, env, prepare};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing::{error, info, warn};
use weir_config::{Answer, ConfigErrors, GatewayConfig, Handle, Origin, Start, Watcher};
use weir_event::Identity;
use weir_program::ending::{LAST, Signals, Told, tell_hurry};
use weir_program::operator::TokenError;
use weir_proxy::{Draining, Proxy, ProxyError, SnapshotError};
use weir_spool::{Endpoint, EndpointError, Seal, Spool, SpoolConfig, SpoolError};

/// What the spool leaves of the time to end, for its threads to end in.
const AFTER_SHIPPING: Duration = Duration::from_millis(500);
/// How much less of a core the threads beside the workers ask for: `nice` by so many steps.
const LOWER_PRIORITY: i32 = 5;

/// Why the gateway cannot run. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Operator(#[from] TokenError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("cannot listen on {address} for `{what}`: {error}; change the address in the configuration")]
    Admin { what: &'static str, address: std::net::SocketAddr, error: io::Error },
    #[error("cannot start a thread: {0}; raise the limit of threads (`ulimit -u`, the `pids` limit of the container)")]
    Thread(io::Error),
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = Signals::listen()?;
    let ending = signals.ending();
    ending.stage("reading the configuration");
    let workers = options.workers.unwrap_or_else(cores);
    let Some((options, prepared)) = unless_ended(&runtime, &mut signals, options, workers)? else {
        return Ok(());
    };
    let Prepared { config, registry, snapshot, folder, running, fallback, state } = prepared;
    let log = logging::start(&options.log, config.log_level);
    tell_warnings(&config);
    more_open_files();
    fallback.iter().for_each(tell_fallback);
    let operators = Operators::new(options.admin_token_file.as_deref(), options.hosts, state.clone())?;
    let generations = Generations::below(&state);
    let number = snapshot.generation();

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
    drop(served);
    let origin = fallback.as_ref().map_or(Origin::Folder, |fallback| Origin::Kept(fallback.generation));
    if origin == Origin::Folder {
        keep(&generations, number, &running);
    }
    let proxy = Arc::new(Mutex::new(Some(proxy)));
    let reloads = Arc::new(ReloadStats::starting_with(&config, fallback));
    let reloader = Reloader {
        proxy: Arc::clone(&proxy),
        registry: Arc::clone(&registry),
        spool: Arc::downgrade(&spool),
        stats: Arc::clone(&reloads),
        generations: generations.clone(),
        started_with: config.clone(),
        ending: ending.clone(),
    };
    ending.allow(config.lifecycle.drain_delay + config.drain);
    let watcher = Watcher::start(Start { dirs: options.config, folder, running, origin }, env, reloader)?;
    let (shared, kept, handle, log) = (Arc::clone(&proxy), Arc::clone(&spool), watcher.handle(), log.recent());
    let parts = Parts { proxy: shared, registry, spool: kept, reloads, generations, operators, handle, log };
    let admin = Admin::new(parts, &config);

    runtime.block_on(beside(&config, Arc::clone(&admin), proxy, signals))?;
    ending.stage("ending the threads beside the workers");
    drop(watcher);
    drop((runtime, admin));
    let spool = sole(spool);
    ending.stage("shipping what is left in the spool");
    let last = ending.deadline().map_or_else(|| Instant::now() + LAST, |deadline| deadline - AFTER_SHIPPING);
    spool.stop_until(last, || ending.is_hurried())?;
    info!("ended");
    Ok(())
}

/// Loads and compiles; `None` if the process is told to end meanwhile, which it may be while thousands of APIs are read.
fn unless_ended(
    runtime: &Runtime,
    signals: &mut Signals,
    options: RunOptions,
    workers: u16,
) -> Result<Option<(RunOptions, Prepared)>, RunError> {
    runtime.block_on(async {
        let (done, preparing) = oneshot::channel();
        let body = move || done.send(prepare(&options, workers).map(|prepared| (options, prepared))).ok();
        // Left behind where the process is told to end.
        std::thread::Builder::new().name("weir-prepare".to_owned()).spawn(body).map_err(RunError::Thread)?;
        tokio::select! {
            prepared = preparing => match prepared {
                Ok(prepared) => prepared.map(Some),
                Err(panicked) => Err(RunError::System(io::Error::other(panicked))),
            },
            () = signals.end() => Ok(None),
        }
    })
}

/// As loud as an error: the gateway serves, and not what its folders say.
fn tell_fallback(fallback: &Fallback) {
    for line in fallback.why.lines() {
        error!("{line}");
    }
    let generation = fallback.generation;
    error!(generation, "the folders cannot be loaded: the last good generation runs in their place");
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
async fn beside(
    config: &GatewayConfig,
    admin: Arc<Admin>,
    proxy: Arc<Mutex<Option<Proxy>>>,
    mut signals: Signals,
) -> Result<(), RunError> {
    let ending = signals.ending();
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
            told = signals.next() => match told {
                Told::End => break,
                Told::Reload => reload(&admin.handle),
            },
            () = &mut serve => break,
            () = &mut probe => break,
            _ = tick.tick() => admin.tick(),
        }
    }
    info!("draining: no more connections are accepted, open requests finish");
    admin.drain();
    // Probes and scrapes are answered until the last request is done.
    ending.stage("draining");
    let draining = lock(&proxy).as_mut().map(|running| {
        let limit = running.snapshot().drain_limit();
        running.begin_drain(ending.deadline().map_or(limit, |deadline| limit.min(left(deadline))))
    });
    let Some(mut draining) = draining else { return Ok(()) };
    let mut look = tokio::time::interval(Draining::LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => if let Some(stuck) = draining.ended() {
                for worker in stuck {
                    error!(worker, "a worker stands still: it is left behind, and what it had open is cut");
                }
                return Ok(());
            },
            _ = tick.tick() => admin.tick(),
            told = signals.next() => if matches!(told, Told::End) {
                tell_hurry();
                draining.hurry();
            },
            () = &mut serve => return Ok(()),
            () = &mut probe => return Ok(()),
        }
    }
}

/// What requests get of the time until `deadline`.
fn left(deadline: Instant) -> Duration {
    (deadline - LAST).saturating_duration_since(Instant::now())
}

/// What became of it is in the log.
fn reload(handle: &Handle) {
    info!("SIGHUP: the folders are loaded now");
    handle.reload(|answer| {
        if answer == Answer::Unchanged {
            info!("what is in the folders runs already");
        }
    });
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
