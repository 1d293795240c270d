//! Whose clock disagrees with this machine's.
//!
//! A wrong clock is no verdict about data: nothing is taken from a gateway whose clock differs by more than the limit
//! (or from any, if it is this machine's that is wrong), so that no event becomes a dead letter for its time.

use crate::tokens::Grant;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_api::ingest::Clocks;

/// The gateways whose last request showed a clock too far off, by what their token speaks for.
pub(super) struct ClockWatch {
    limit: Duration,
    differing: Mutex<BTreeMap<String, i64>>,
}

impl ClockWatch {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, differing: Mutex::default() }
    }

    /// Holds the sender's clock against ours; the clocks where they disagree. One line a change of state.
    pub(super) fn check(&self, grant: &Grant, sent_us: i64, now_us: i64) -> Result<(), Clocks> {
        let difference = sent_us.saturating_sub(now_us);
        let limit = i64::try_from(self.limit.as_micros()).unwrap_or(i64::MAX);
        let differs = difference.saturating_abs() > limit;
        let mut differing = self.differing.lock().unwrap_or_else(PoisonError::into_inner);
        let who = grant.to_string();
        if differs {
            if differing.insert(who.clone(), difference).is_none() {
                tracing::warn!(
                    gateway = who,
                    difference_s = difference / 1_000_000,
                    "the gateway's clock and this machine's differ by more than --max-clock-difference; nothing is \
                     taken from it until they agree: set the wrong one, or run NTP"
                );
            }
            return Err(Clocks { gateway_us: sent_us, analytics_us: now_us });
        }
        if differing.remove(&who).is_some() {
            tracing::info!(gateway = who, "the gateway's clock and this machine's agree again");
        }
        Ok(())
    }

    /// One line for each gateway that disagrees.
    pub(super) fn lines(&self) -> Vec<String> {
        let differing = self.differing.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(who, us): (&String, &i64)| format!("clock of {who} differs by {} s", us / 1_000_000);
        differing.iter().map(line).collect()
    }
}
