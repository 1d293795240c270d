//! `weir run`: load, build, run, drain.

use crate::admin::operator::Operators;
use crate::admin::socket::{AdminSocket, default_path};
use crate::admin::{self, Admin, Parts};
use crate::args::RunOptions;
use crate::descriptors;
use crate::error::RunError;
use crate::exit;
use crate::exports::{ExportCounts, Exports};
use crate::generations::Generations;
use crate::logging;
use crate::operator_ports::{self, HandOver, OperatorPort};
use crate::reload::{Fallback, ReloadStats, Reloader, ask, keep, lock, tell_warnings};
use crate::sink::sinks;
use crate::start::{Prepared, env, prepare};
use crate::start_lines::tell;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::Interval;
use tracing::{error, info, warn};
use weir_config::{Analytics, AnalyticsTls, Answer, Folders, GatewayConfig, Handle, Origin, Start, Startup, Watcher};
use weir_event::Identity;
use weir_program::ending::{Asked, LAST, Signals, tell_hurry};
use weir_program::supervisor;
use weir_proxy::{Draining, OpenPorts, Ports, Proxy, upkeep};

use weir_spool::{Endpoint, EndpointError, Seal, Spool, SpoolConfig};

/// What the spool leaves of the time to end, for its threads to end in.
const AFTER_SHIPPING: Duration = Duration::from_millis(500);
/// What the last lines of logs get to be written in: an output that takes none holds up no end.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How much less of a core the threads beside the workers ask for: `nice` by so many steps.
const LOWER_PRIORITY: i32 = 5;

/// Runs until asked to end.
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

fn start(options: RunOptions) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = Signals::listen().map_err(RunError::Thread)?;
    let ending = signals.ending();
    ending.stage("reading the configuration");
    let workers = options.workers.unwrap_or_else(cores);
    let Some((options, prepared)) = unless_ended(&runtime, &mut signals, options, workers)? else {
        return Ok(());
    };
    let Prepared { config, registry, snapshot, folder, running, fallback, state } = prepared;
    let identity = identity(&config, options.name);
    let (log, logs, _operations) = logging::start(&options.log, &config.startup, &identity, &registry.names)?;
    tell_warnings(&config);
    weir_program::open_files::raise_limit();
    fallback.iter().for_each(tell_fallback);
    let socket = options.admin_socket.clone().unwrap_or_else(|| default_path(&state));
    let operators = Operators::new(options.admin_token_file.as_deref(), options.hosts, state.clone(), socket.clone())?;
    let generations = Generations::below(&state);
    let number = snapshot.generation();

    let (admin, probe, metrics) = open_for_operators(&config, options.take_over)?;
    let ports = if options.take_over { Ports::Shared } else { Ports::Alone };
    let open = OpenPorts::bind(&snapshot, workers, ports)?;
    let opened = match AdminSocket::open(&socket, options.take_over) {
        Err(error) if options.admin_socket.is_some() => return Err(RunError::Socket { path: socket, error }),
        opened => opened,
    };
    let (mut spool, writers) =
        Spool::start(spool_config(&config), identity.clone(), workers, Arc::clone(&registry.names))?;
    // Nobody asked for it: a folder that cannot be written, or whose path is too long for a socket.
    if let Err(error) = &opened {
        warn!(path = %socket.display(), %error, "there is no admin socket; --admin-socket PATH gives it another place");
    }
    let hand_over = HandOver::within(&config.startup.spool.path);
    let operator_ports = OperatorPorts { admin, socket: opened.ok(), probe, metrics, hand_over };
    let (exports, spans) = Exports::new(&config, (&identity, spool.boot()), &registry.names, &logs)?;
    let ExportCounts { spans: span_counts, probes, metrics: metric_counts } = exports.counts();
    let proxy =
        Proxy::start_on(open, snapshot, workers, sinks(writers, spans.as_ref(), &logs, &config.startup.logging))?;
    let counted: Vec<_> = proxy.stats().cloned().collect();
    spool.accepted_from(move |worker| counted.get(usize::from(worker)).map_or(0, |stats| stats.accepted()));
    if let Some(analytics) = &config.startup.analytics {
        spool.ship_to(endpoint(analytics)?)?;
    }
    let spool = Arc::new(spool);
    let served = proxy.snapshot();
    // Admin, its socket and probes.
    let operator_port_count = 3 + usize::from(config.startup.metrics.is_some());
    descriptors::keep_back(&registry.descriptors, &config.limits, operator_port_count)?;
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
    let settings = config.settings();
    let reloads = Arc::new(ReloadStats::starting_with(config, fallback));
    let reloader = Reloader {
        proxy: Arc::clone(&proxy),
        registry: Arc::clone(&registry),
        spool: Arc::downgrade(&spool),
        stats: Arc::clone(&reloads),
        generations: generations.clone(),
        started_with: settings.clone(),
        ending: ending.clone(),
    };
    ending.allow(settings.lifecycle.drain_delay + settings.drain);
    let start = Start { source: Folders::new(options.config), folder, running, origin };
    let watcher = Watcher::start(start, env, reloader)?;
    let (shared, kept, handle, log) = (Arc::clone(&proxy), Arc::clone(&spool), watcher.handle(), log.recent());
    let parts = Parts {
        proxy: shared,
        registry,
        spool: kept,
        reloads,
        generations,
        operators,
        handle,
        log,
        spans: span_counts,
        metric_export: metric_counts,
        logs: Arc::clone(&logs),
        probes,
    };
    let admin = Admin::new(parts, identity);
    admin.spool.gauges_from(admin::sampler(&admin));

    let work = with_upkeep(&admin, beside(operator_ports, Arc::clone(&admin), proxy, signals));
    runtime.block_on(exports.beside(Arc::clone(&admin), &ending, work));
    ending.stage("ending the threads beside the workers");
    drop(watcher);
    // Without waiting for a name that somebody asked for and that is not resolved.
    runtime.shutdown_background();
    drop(admin);
    let spool = sole(spool);
    ending.stage("shipping what is left in the spool");
    let last = ending.deadline().map_or_else(|| Instant::now() + LAST, |deadline| earlier(deadline, AFTER_SHIPPING));
    spool.stop_until(last, || ending.is_hurried())?;
    info!("ended");
    ending.stage("writing the last lines of the logs");
    logs.end(Instant::now() + LAST_LINES);
    Ok(())
}

/// `work`, and meanwhile what endpoints of services need: health checks, and names that are asked for again.
async fn with_upkeep(admin: &Admin, work: impl Future<Output = ()>) {
    let (clusters, descriptors) = (Arc::clone(&admin.registry.clusters), Arc::clone(&admin.registry.descriptors));
    let local = LocalSet::new();
    tokio::select! {
        () = work => {}
        () = local.run_until(upkeep(clusters, descriptors)) => {}
    }
}

/// The ports for admin, probes and metrics alone.
fn open_for_operators(
    config: &GatewayConfig,
    take_over: bool,
) -> Result<(OperatorPort, Option<OperatorPort>, Option<OperatorPort>), RunError> {
    let Startup { admin, probe, metrics, .. } = &config.startup;
    let optional = |what, address: &Option<_>| address.map(|at| OperatorPort::open(what, at, take_over)).transpose();
    let admin = OperatorPort::open("spec.admin.address", *admin, take_over)?;
    Ok((admin, optional("spec.probe.port", probe)?, optional("spec.metrics.address", metrics)?))
}

/// Loads and compiles; `None` if the process is asked to end meanwhile, which it may be while thousands of APIs are read.
fn unless_ended(
    runtime: &Runtime,
    signals: &mut Signals,
    options: RunOptions,
    workers: u16,
) -> Result<Option<(RunOptions, Prepared)>, RunError> {
    runtime.block_on(async {
        let (done, preparing) = oneshot::channel();
        let background = tokio::runtime::Handle::current();
        let body = move || done.send(prepare(&options, workers, &background).map(|prepared| (options, prepared))).ok();
        // Left behind where the process is asked to end.
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

/// The ports beside the data plane's.
struct OperatorPorts {
    admin: OperatorPort,
    socket: Option<AdminSocket>,
    probe: Option<OperatorPort>,
    metrics: Option<OperatorPort>,
    hand_over: HandOver,
}

impl OperatorPorts {
    /// Answers at them for as long as it is polled.
    async fn serve(self, admin: Arc<Admin>) {
        let Self { admin: door, socket, probe, metrics, hand_over } = self;
        let serve = async {
            match door.listener(&hand_over).await {
                Ok(listener) => {
                    // Who hears of the port finds this process at the socket, too.
                    let socket = socket.and_then(in_place);
                    if let Ok(address) = listener.local_addr() {
                        tell(format_args!("admin on http://{address}"));
                    }
                    let user = async {
                        let Some((path, socket)) = socket else { return };
                        tell(format_args!("admin on unix:{path}"));
                        admin::serve_user(socket, Arc::clone(&admin)).await;
                    };
                    tokio::join!(admin::serve(listener, Arc::clone(&admin)), user);
                }
                Err(error) => error!(%error, "the admin port cannot be used"),
            }
        };
        let probes = async {
            let Some(door) = probe else { return };
            match door.listener(&hand_over).await {
                Ok(listener) => admin::serve_probes(listener, Arc::clone(&admin)).await,
                Err(error) => error!(%error, "the probe port cannot be used"),
            }
        };
        let scrapes = async {
            let Some(door) = metrics else { return };
            match door.listener(&hand_over).await {
                Ok(listener) => {
                    if let Ok(address) = listener.local_addr() {
                        tell(format_args!("metrics on {}://{address}", admin.scheme_of_metrics()));
                    }
                    admin::serve_metrics(listener, Arc::clone(&admin)).await;
                }
                Err(error) => error!(%error, "the port for metrics cannot be used"),
            }
        };
        tokio::join!(serve, probes, scrapes);
    }
}

/// The socket, which now takes the place of the one of a process before, and where it is.
fn in_place(socket: AdminSocket) -> Option<(String, UnixListener)> {
    let path = socket.path().display().to_string();
    match socket.in_place() {
        Ok(listener) => Some((path, listener)),
        Err(error) => {
            error!(path, %error, "the admin socket cannot be used; give each gateway its own by --admin-socket");
            None
        }
    }
}

/// Everything that is not a request's: on this thread, at a lower priority.
async fn beside(
    operator_ports: OperatorPorts,
    admin: Arc<Admin>,
    proxy: Arc<Mutex<Option<Proxy>>>,
    mut signals: Signals,
) {
    lower_priority();
    let ending = signals.ending();
    let hand_over = operator_ports.hand_over.clone();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    // Dropped where another process waits for the ports; until then probes and scrapes are answered to the end.
    let mut answering = Some(Box::pin(operator_ports.serve(Arc::clone(&admin))));
    info!(version = env!("CARGO_PKG_VERSION"), boot = %admin.boot(), "running");
    supervisor::ready();
    loop {
        tokio::select! {
            reported = signals.next() => match reported {
                Asked::End => break,
                Asked::Reload => reload(&admin.handle),
            },
            () = served(&mut answering) => answering = None,
            _ = tick.tick() => admin.tick(),
        }
    }
    admin.drain();
    supervisor::stopping();
    delay(&admin, &mut signals, &hand_over, &mut answering, &mut tick).await;
    info!("draining: no more connections are accepted, open requests finish");
    ending.stage("draining");
    let draining = lock(&proxy).as_mut().map(|running| {
        let limit = running.snapshot().drain_limit();
        running.begin_drain(ending.deadline().map_or(limit, |deadline| limit.min(left(deadline))))
    });
    let Some(mut draining) = draining else { return };
    let (mut look, mut awaited) = (tokio::time::interval(Draining::LOOK), tokio::time::interval(operator_ports::LOOK));
    if ending.is_hurried() {
        draining.hurry();
    }
    loop {
        tokio::select! {
            _ = look.tick() => if let Some(stuck) = draining.ended() {
                for worker in stuck {
                    error!(worker, "a worker stands still: it is left behind, and what it had open is cut");
                }
                return;
            },
            _ = tick.tick() => admin.tick(),
            _ = awaited.tick() => let_go(&hand_over, &mut answering),
            reported = signals.next() => if reported == Asked::End {
                tell_hurry();
                draining.hurry();
            },
            () = served(&mut answering) => answering = None,
        }
    }
}

/// Serves on, not ready any more, so that whoever sends requests here hears of it before the ports close.
async fn delay(
    admin: &Admin,
    signals: &mut Signals,
    hand_over: &HandOver,
    answering: &mut Option<Pin<Box<impl Future<Output = ()>>>>,
    tick: &mut Interval,
) {
    let delay = admin.reloads.running().lifecycle.drain_delay;
    if delay.is_zero() {
        return;
    }
    signals.ending().stage("waiting for `lifecycle.drainDelay`");
    info!(?delay, "a signal to end: not ready any more; the ports stay open for `lifecycle.drainDelay`");
    let over = tokio::time::sleep(delay);
    tokio::pin!(over);
    let mut awaited = tokio::time::interval(operator_ports::LOOK);
    loop {
        tokio::select! {
            () = &mut over => return,
            reported = signals.next() => match reported {
                Asked::End => return tell_hurry(),
                Asked::Reload => reload(&admin.handle),
            },
            _ = tick.tick() => admin.tick(),
            _ = awaited.tick() => let_go(hand_over, answering),
            () = served(answering) => *answering = None,
        }
    }
}

/// Gives the ports up where another process waits for them.
fn let_go<T>(hand_over: &HandOver, answering: &mut Option<T>) {
    if answering.is_some() && hand_over.is_awaited() {
        info!("another process takes the admin and probe ports over");
        *answering = None;
    }
}

async fn served(answering: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match answering {
        Some(answering) => answering.await,
        None => std::future::pending().await,
    }
}

/// What requests get of the time until `deadline`.
fn left(deadline: Instant) -> Duration {
    earlier(deadline, LAST).saturating_duration_since(Instant::now())
}

/// Now, on a machine that has not run for so long.
fn earlier(deadline: Instant, by: Duration) -> Instant {
    deadline.checked_sub(by).unwrap_or_else(Instant::now)
}

/// What became of it is in the log.
fn reload(handle: &Handle) {
    info!("SIGHUP: the folders are loaded now");
    ask(handle, |answer| {
        if answer == Answer::Unchanged {
            info!("what is in the folders runs already");
        }
    });
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
    let names = &config.startup.identity;
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
        max_bytes: config.startup.spool.max_bytes.bytes(),
        max_age: config.startup.spool.max_age,
        ring_bytes: config.startup.spool.ring_bytes.bytes(),
        seal: Seal {
            age: config.startup.spool.sync_interval,
            wire: usize::try_from(config.startup.spool.chunk_bytes.bytes()).unwrap_or(usize::MAX),
            ..Seal::default()
        },
        ..SpoolConfig::at(&config.startup.spool.path)
    }
}
