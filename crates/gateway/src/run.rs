//! `weir run`: load, build, run, drain.

use crate::admin::operator::Operators;
use crate::admin::{self, Admin, Parts};
use crate::args::RunOptions;
use crate::exit;
use crate::generations::Generations;
use crate::logging;
use crate::reload::{Fallback, ReloadStats, Reloader, keep, lock, tell_warnings};
use crate::signals::{Signals, Told};
use crate::sink::rings;
use crate::start::{Prepared, env, prepare};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::{error, info, warn};
use weir_config::{Analytics, AnalyticsTls, Answer, ConfigErrors, GatewayConfig, Handle, Origin, Start, Watcher};
use weir_event::Identity;
use weir_program::operator::TokenError;
use weir_proxy::{Proxy, ProxyError, SnapshotError};
use weir_spool::{Endpoint, EndpointError, Seal, Spool, SpoolConfig, SpoolError};

/// What is left for the spool once requests are drained: to seal, ship once more and say goodbye.
const LAST_SHIPPING: Duration = Duration::from_secs(5);
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
    #[error("cannot set up the gateway: {0}")]
    System(#[from] io::Error),
}

/// Runs until told to end.
pub fn run(options: RunOptions) -> ExitCode {
    let log = options.log.clone();
    match start(options) {
        Ok(()) => exit::WELL,
        Err(error) => {
            log.fail("", error);
            exit::WRONG
        }
    }
}

fn endpoint(Analytics { endpoint, token, tls }: &Analytics) -> Result<Endpoint, EndpointError> {
    let plain = Endpoint::new(&endpoint.to_string(), token.expose())?;
    if *tls == AnalyticsTls::default() {
        return Ok(plain);
    }
    let authorities = tls.authorities.as_ref().map(|authorities| authorities.certificates.as_slice());
    plain.with_tls(authorities, tls.certificate.as_ref().map(|pair| (pair.chain.as_slice(), &*pair.key)))
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
    let mut signals = {
        let _within = runtime.enter();
        Signals::new()?
    };
    let workers = options.workers.unwrap_or_else(cores);
    let Some((options, prepared)) = unless_ended(&runtime, &mut signals, options, workers)? else {
        // What still reads is left behind.
        runtime.shutdown_background();
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
        spool.ship_to(endpoint(analytics)?)?;
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
    };
    let watcher = Watcher::start(Start { dirs: options.config, folder, running, origin }, env, reloader)?;
    let (shared, kept, handle, log) = (Arc::clone(&proxy), Arc::clone(&spool), watcher.handle(), log.recent());
    let parts = Parts { proxy: shared, registry, spool: kept, reloads, generations, operators, handle, log };
    let admin = Admin::new(parts, &config);

    runtime.block_on(beside(&config, Arc::clone(&admin), proxy, signals))?;
    drop(watcher);
    drop((runtime, admin));
    sole(spool).stop(LAST_SHIPPING)?;
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
        let preparing = tokio::task::spawn_blocking(move || {
            let prepared = prepare(&options, workers);
            prepared.map(|prepared| (options, prepared))
        });
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
    let draining = lock(&proxy).as_mut().map(|running| {
        let limit = running.snapshot().drain_limit();
        running.begin_drain(limit)
    });
    let Some(draining) = draining else { return Ok(()) };
    let hurry = draining.hurry();
    let drained = tokio::task::spawn_blocking(move || draining.wait());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            stuck = &mut drained => {
                for worker in stuck.unwrap_or_default() {
                    error!(worker, "a worker stands still: it is left behind, and what it had open is cut");
                }
                return Ok(());
            }
            told = signals.next() => if matches!(told, Told::End) {
                warn!("told to end once more: what is open is cut");
                hurry();
            },
            () = &mut serve => return Ok(()),
            () = &mut probe => return Ok(()),
        }
    }
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
