//! What telemetry may cost: looked at once a second, as a share of the processor time of the process.
//!
//! Telemetry is what the workers spend on it, and the threads that have nothing else to do. The thread of the operator's
//! ports counts as well: it exports spans and answers scrapes.

use std::time::Duration;
use tracing::{info, warn};
use weir_event::degradation::Level;
use weir_metrics::process;
use weir_proxy::Proxy;
use weir_telemetry::degradation::{Degradation, Governor};

/// The threads beside the workers.
const THREADS: [&str; 6] = ["weir", "weir-spool", "weir-shipper", "weir-housekeepe", "weir-log-lines", "weir-log-otlp"];
/// With less of a second used, nobody is short of anything.
const IDLE: Duration = Duration::from_millis(100);

/// What was seen at the last look.
#[derive(Default)]
pub struct Budget {
    governor: Governor,
    /// Telemetry's processor time, and all of it.
    last: Option<(Duration, Duration)>,
    /// The share at the last look.
    share: f64,
}

impl Budget {
    /// `budget` is the share that telemetry may have; without one, everything is made.
    pub fn look(&mut self, proxy: &Proxy, budget: Option<f64>, degradation: &Degradation) {
        let of_workers: Duration = proxy.stats().flat_map(|stats| stats.costs().map(|(_, time)| time)).sum();
        let threads = process::threads();
        let beside = THREADS.iter().filter_map(|name| threads.get(*name)).sum();
        let now = (of_workers + Duration::from_nanos(beside), process::processor_time());
        let Some((telemetry, all)) = self.last.replace(now) else { return };
        let (telemetry, all) = (now.0.saturating_sub(telemetry), now.1.saturating_sub(all));
        self.share = if all < IDLE { 0.0 } else { telemetry.as_secs_f64() / all.as_secs_f64() };
        let (before, share) = (degradation.level(), self.share);
        let level = budget.map_or_else(Level::default, |budget| self.governor.look(share, budget));
        degradation.set(level);
        let percent = format!("{:.1}", share * 100.0);
        if level > before {
            let without = level.as_str();
            warn!(percent, without, "telemetry costs more than `tracing.cpuBudget`: it leaves out more, no event");
        } else if level < before {
            info!(
                percent,
                without = level.as_str(),
                "telemetry is well within `tracing.cpuBudget`: it leaves out less"
            );
        }
    }

    /// Of the processor time of the last second, what telemetry had: from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }
}
