//! A changed configuration: compiled beside the one that runs, and put in its place as a whole - or not at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tracing::{error, info, warn};
use weir_config::{ConfigErrors, GatewayConfig};
use weir_proxy::{Proxy, ProxyError, Registry};
use weir_spool::{Spool, SpoolError};

/// How the configuration has fared, for the status page and the metrics.
pub struct ReloadStats {
    pub succeeded: AtomicU64,
    pub failed: AtomicU64,
    last_error: Mutex<Option<String>>,
    running: Mutex<Arc<GatewayConfig>>,
}

impl ReloadStats {
    pub fn starting_with(config: &GatewayConfig) -> Self {
        Self {
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::new(None),
            running: Mutex::new(Arc::new(config.clone())),
        }
    }

    /// The configuration that runs.
    pub fn running(&self) -> Arc<GatewayConfig> {
        Arc::clone(&lock(&self.running))
    }

    /// What was wrong with the last edit; `None` when it was taken.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    fn took(&self, config: GatewayConfig) {
        *lock(&self.running) = Arc::new(config);
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = None;
    }

    fn refused(&self, error: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = Some(error);
    }
}

/// Why a checked configuration is not taken.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What a reload needs of the running gateway.
pub struct Reloader {
    pub proxy: Arc<Mutex<Option<Proxy>>>,
    pub registry: Arc<Registry>,
    /// Weak: the spool ends with `run`, whatever a reload is doing at that moment.
    pub spool: Weak<Spool>,
    pub stats: Arc<ReloadStats>,
    /// What the process was started with: some of it cannot change while it runs.
    pub started_with: GatewayConfig,
}

impl Reloader {
    /// Takes the outcome of a load. A bad one is told once and changes nothing.
    pub fn loaded(&self, outcome: Result<GatewayConfig, ConfigErrors>) {
        let taken = match outcome {
            Ok(config) => {
                let published = self.publish(&config).map_err(|error| error.to_string());
                published.map(|generation| generation.map(|generation| (generation, config)))
            }
            Err(errors) => Err(errors.to_string()),
        };
        match taken {
            Ok(Some((generation, config))) => {
                // What is the same as before is told already.
                if config.warnings != self.stats.running().warnings {
                    tell_warnings(&config);
                }
                self.stats.took(as_it_runs(&self.started_with, config));
                info!(generation, "configuration loaded");
            }
            Ok(None) => {}
            Err(errors) => {
                for line in errors.lines() {
                    error!("{line}");
                }
                warn!("the changed configuration is not taken; what ran before goes on");
                self.stats.refused(errors);
            }
        }
    }

    fn publish(&self, config: &GatewayConfig) -> Result<Option<u32>, ReloadError> {
        for fixed in fixed_changes(&self.started_with, config) {
            warn!("`{fixed}` changed: it takes effect when the gateway is started again");
        }
        // Gone while draining: there is nothing left to configure. The lock is not held while compiling and while names
        // go to disk: probes and scrapes wait for it, and a disk may be slow.
        let Some(current) = lock(&self.proxy).as_ref().map(Proxy::snapshot) else { return Ok(None) };
        let snapshot = current.next(config, &self.registry).map_err(ProxyError::from)?;
        let generation = snapshot.generation();
        // Names go to disk before a request can use them: a record without its names could not be read after a crash.
        let Some(spool) = self.spool.upgrade() else { return Ok(None) };
        spool.sync_names()?;
        // Given back before the workers are told: whoever ends the spool must be its only holder.
        drop(spool);
        match lock(&self.proxy).as_mut() {
            Some(proxy) => proxy.publish(snapshot).map(|()| Some(generation)).map_err(ReloadError::from),
            None => Ok(None),
        }
    }
}

/// Logs each warning of a load.
pub fn tell_warnings(config: &GatewayConfig) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// What differs of that which only a start reads.
fn fixed_changes(old: &GatewayConfig, new: &GatewayConfig) -> Vec<&'static str> {
    let changes = [
        ("spec.identity", old.identity != new.identity),
        ("spec.admin", old.admin != new.admin),
        ("spec.probe", old.probe != new.probe),
        ("spec.analytics", old.analytics != new.analytics),
        ("spec.spool", old.spool != new.spool),
        ("spec.logging", old.log_level != new.log_level),
    ];
    changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// What is taken of an edit: all but what only a start reads.
fn as_it_runs(started_with: &GatewayConfig, taken: GatewayConfig) -> GatewayConfig {
    let GatewayConfig { identity, admin, probe, analytics, spool, log_level, .. } = started_with.clone();
    GatewayConfig { identity, admin, probe, analytics, spool, log_level, ..taken }
}

/// Nothing that is guarded here can be left half-done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
