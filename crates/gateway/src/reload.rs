//! A changed configuration: compiled beside the one that runs, and put in its place as a whole - or not at all.

use crate::generations::Generations;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{debug, error, field, info, warn};
use weir_config::{Answer, Candidate, ConfigErrors, GatewayConfig, Handle, Origin, Taker, Verdict, Waiting, WaitsFor};
use weir_program::ending::Ending;
use weir_program::operation;
use weir_program::supervisor;
use weir_proxy::{Proxy, ProxyError, Registry};
use weir_spool::{Spool, SpoolError};

/// How the configuration has fared, for the status page and the metrics.
pub struct ReloadStats {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    state: Mutex<State>,
}

struct State {
    last_error: Option<String>,
    running: Arc<GatewayConfig>,
    origin: Origin,
    /// Why a generation that was kept runs.
    fallback: Option<Fallback>,
    waiting: Option<Waiting>,
    /// What differs, on disk, of that which only a start reads.
    restart: Vec<&'static str>,
    retrying: bool,
}

/// Why what runs is not what the folders say.
#[derive(Clone)]
pub struct Fallback {
    pub generation: u32,
    pub cause: Cause,
    pub why: String,
}

/// What brought a kept generation back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The folders were broken when the gateway started.
    LastGood,
    /// An operator asked for it.
    Rollback,
}

impl Cause {
    pub const ALL: [Self; 2] = [Self::LastGood, Self::Rollback];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastGood => "last_good",
            Self::Rollback => "rollback",
        }
    }
}

impl ReloadStats {
    pub fn starting_with(config: GatewayConfig, fallback: Option<Fallback>) -> Self {
        let origin = fallback.as_ref().map_or(Origin::Folder, |fallback| Origin::Kept(fallback.generation));
        let last_error = fallback.as_ref().map(|fallback| fallback.why.clone());
        let (waiting, restart) = (None, Vec::new());
        let running = Arc::new(config);
        let state = State { last_error, running, origin, fallback, waiting, restart, retrying: false };
        Self { succeeded: AtomicU64::new(0), failed: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// The configuration that runs.
    pub fn running(&self) -> Arc<GatewayConfig> {
        Arc::clone(&lock(&self.state).running)
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        lock(&self.state).origin
    }

    /// Why what runs is not what the folders say.
    pub fn fallback(&self) -> Option<Fallback> {
        lock(&self.state).fallback.clone()
    }

    /// What was wrong with the last edit; `None` when it was taken.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.state).last_error.clone()
    }

    /// The change that is not taken yet.
    pub fn waiting(&self) -> Option<Waiting> {
        lock(&self.state).waiting.clone()
    }

    /// The settings that have changed and take effect at the next start only.
    pub fn restart_required(&self) -> Vec<&'static str> {
        lock(&self.state).restart.clone()
    }

    /// Whether what could not be run is tried again by itself.
    pub fn retrying(&self) -> bool {
        lock(&self.state).retrying
    }

    fn took(&self, config: GatewayConfig, origin: Origin) {
        let mut state = lock(&self.state);
        state.running = Arc::new(config);
        state.origin = origin;
        state.last_error = None;
        state.retrying = false;
        state.fallback = match origin {
            Origin::Folder => None,
            Origin::Kept(generation) => {
                let same = state.fallback.take().filter(|fallback| fallback.generation == generation);
                let why = || "a rollback was asked for".to_owned();
                Some(same.unwrap_or_else(|| Fallback { generation, cause: Cause::Rollback, why: why() }))
            }
        };
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers whether it is news.
    fn refused(&self, error: &str, retrying: bool) -> bool {
        let mut state = lock(&self.state);
        state.retrying = retrying;
        state.last_error.replace(error.to_owned()).as_deref() != Some(error)
    }
}

/// Why a checked configuration is not taken.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(
        "every certificate for {0} has expired or is not valid yet, and what runs there still is: it stays until the files \
         have a better one, or until it has expired, too"
    )]
    Certificates(std::net::SocketAddr),
}

impl ReloadError {
    /// Whether the same configuration may be taken another time: a port becomes free, a disk has room again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Proxy(ProxyError::Bind(_) | ProxyError::Thread(_) | ProxyError::Worker(_)) => true,
            Self::Proxy(ProxyError::Snapshot(_)) => false,
            Self::Certificates(_) => true,
            Self::Spool(error) => !matches!(error, SpoolError::Ended),
        }
    }
}

/// What a reload needs of the running gateway.
pub struct Reloader {
    pub proxy: Arc<Mutex<Option<Proxy>>>,
    pub registry: Arc<Registry>,
    /// Weak: the spool ends with `run`, whatever a reload is doing at that moment.
    pub spool: Weak<Spool>,
    pub stats: Arc<ReloadStats>,
    pub generations: Generations,
    /// The settings that the process was started with: some of them cannot change while it runs.
    pub started_with: GatewayConfig,
    pub ending: Ending,
}

impl Taker for Reloader {
    fn running(&self) -> Arc<GatewayConfig> {
        self.stats.running()
    }

    fn take(&mut self, candidate: &Candidate, again: bool) -> Verdict {
        let apis = candidate.config.apis.len();
        let operation = operation!("reload", apis, origin = ?candidate.origin, outcome = field::Empty).entered();
        let verdict = self.taken(candidate, again);
        operation.record(
            "outcome",
            match &verdict {
                Verdict::Taken(_) => "taken",
                Verdict::Refused { .. } => "refused",
                Verdict::Ended => "ended",
            },
        );
        verdict
    }

    fn refuse(&mut self, errors: &ConfigErrors) {
        self.refused(&errors.to_string(), false, false);
    }

    fn waits(&mut self, waiting: Option<&Waiting>, still: bool) {
        if let Some(waiting) = waiting {
            tell_waiting(waiting, still, &self.stats.running());
        }
        lock(&self.stats.state).waiting = waiting.cloned();
    }
}

impl Reloader {
    fn taken(&mut self, candidate: &Candidate, again: bool) -> Verdict {
        let generation = match self.publish(&candidate.config) {
            Ok(Some(generation)) => generation,
            Ok(None) => return Verdict::Ended,
            Err(failure) => {
                let (error, passing) = (failure.to_string(), failure.may_pass());
                self.refused(&error, passing, again);
                return Verdict::Refused { error, passing };
            }
        };
        // What is the same as before is reported already.
        if candidate.config.warnings != self.stats.running().warnings {
            tell_warnings(&candidate.config);
        }
        self.tell_fixed(&candidate.config);
        self.ending.allow(candidate.config.lifecycle.drain_delay + candidate.config.drain);
        self.stats.took(as_it_runs(&self.started_with, candidate.config.clone()), candidate.origin);
        match candidate.origin {
            Origin::Folder => {
                info!(generation, "configuration loaded");
                keep(&self.generations, generation, &candidate.content);
            }
            Origin::Kept(number) => {
                warn!(generation, from = number, "a kept generation is loaded; the folders are not, until they change");
            }
        }
        Verdict::Taken(generation)
    }

    /// Reported once, and again when it is another one.
    fn refused(&self, error: &str, passing: bool, again: bool) {
        let news = self.stats.refused(error, passing);
        if again && !news {
            return debug!(error, "the changed configuration is still not taken");
        }
        self.stats.failed.fetch_add(1, Ordering::Relaxed);
        for line in error.lines() {
            error!("{line}");
        }
        let then = if passing { "; it is tried again" } else { "" };
        warn!("the changed configuration is not taken; what ran before goes on{then}");
    }

    fn tell_fixed(&self, config: &GatewayConfig) {
        let changed = self.started_with.startup.differences(&config.startup);
        let before = std::mem::replace(&mut lock(&self.stats.state).restart, changed.clone());
        for fixed in changed.iter().filter(|fixed| !before.contains(fixed)) {
            warn!("`{fixed}` changed: it takes effect when the gateway is started again");
        }
    }

    fn publish(&self, config: &GatewayConfig) -> Result<Option<u32>, ReloadError> {
        // Gone while draining: there is nothing left to configure. The lock is not held while compiling and while names
        // go to disk: probes and scrapes wait for it, and a disk may be slow.
        let running = |proxy: &&Proxy| !proxy.is_draining();
        let Some(current) = lock(&self.proxy).as_ref().filter(running).map(Proxy::snapshot) else { return Ok(None) };
        let snapshot = current.next(config, &self.registry).map_err(ProxyError::from)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(address) = snapshot.out_of_time(&current, now) {
            return Err(ReloadError::Certificates(address));
        }
        let generation = snapshot.generation();
        // Names go to disk before a request can use them: a record without its names could not be read after a crash.
        let Some(spool) = self.spool.upgrade() else { return Ok(None) };
        spool.sync_names()?;
        // Given back before the workers are asked: whoever ends the spool must be its only holder.
        drop(spool);
        match lock(&self.proxy).as_mut().filter(|proxy| !proxy.is_draining()) {
            Some(proxy) => proxy.publish(snapshot).map(|()| Some(generation)).map_err(ReloadError::from),
            None => Ok(None),
        }
    }
}

/// Asks for the folders to be loaded now; systemd is informed of it.
pub fn ask(handle: &Handle, reply: impl FnOnce(Answer) + Send + 'static) {
    supervisor::reloading();
    handle.reload(move |answer| {
        supervisor::ready();
        reply(answer);
    });
}

/// A generation that serves is kept for a rollback. That it cannot be is reported, and stops nothing.
pub fn keep(generations: &Generations, number: u32, content: &weir_config::Content) {
    if let Err(error) = generations.keep(number, content) {
        warn!(%error, generation = number, "this generation cannot be kept for a rollback; let the gateway's user write beside `spool.path`, or start it with --state DIR");
    }
}

/// Logs each warning of a load.
pub fn tell_warnings(config: &GatewayConfig) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

fn tell_waiting(waiting: &Waiting, still: bool, running: &GatewayConfig) {
    match waiting.waits_for {
        WaitsFor::Removal => {
            for removal in &waiting.removals {
                warn!("{removal}");
            }
            let after = running.reload.removal_period;
            warn!(?after, "the change takes that away: it waits, unchanged, or for a reload that is asked for");
        }
        WaitsFor::Quiet if still => {
            let since = waiting.since.elapsed().unwrap_or_default().as_secs();
            warn!(seconds = since, "files still change: what changed is not loaded until they rest for `quietPeriod`");
        }
        WaitsFor::Quiet | WaitsFor::Reload => {}
    }
}

/// What is taken of an edit: all but what only a start reads.
fn as_it_runs(started_with: &GatewayConfig, taken: GatewayConfig) -> GatewayConfig {
    GatewayConfig { startup: started_with.startup.clone(), ..taken }
}

/// Nothing that is guarded here can be left half-done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
