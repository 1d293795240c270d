//! Trouble with the disk, logged once and again after a while.

use crate::config::cure_running;
use crate::shared::Shared;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The same trouble is logged again after this long.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Trouble {
    logged: HashMap<&'static str, Instant>,
}

impl Trouble {
    /// What could not be done, why, and what happens meanwhile.
    pub(crate) fn report(&mut self, shared: &Shared, error: &io::Error, what: &'static str, meanwhile: &str) {
        let path = shared.config.path.display();
        let sentence = format!("cannot {what} in `{path}`: {error}; {}; {meanwhile}", cure_running(error));
        if self.logged.get(what).is_none_or(|at| at.elapsed() >= AGAIN) {
            warn!(%error, path = %path, "{sentence}");
            self.logged.insert(what, Instant::now());
        }
        shared.counters.failed(sentence);
    }

    /// All is well again.
    pub(crate) fn over(&mut self, shared: &Shared) {
        if !self.logged.is_empty() {
            self.logged.clear();
            info!(path = %shared.config.path.display(), "the spool can write again");
        }
    }
}
