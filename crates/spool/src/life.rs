//! One life of a gateway process, as the index knows it.

use crate::folder::BootFolder;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::StreamId;

/// Why the chunks of a life wait.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) until: Instant,
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) since_us: i64,
}

/// One life's queue.
pub(crate) struct Life {
    pub(crate) folder: Arc<BootFolder>,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) hold: Option<Hold>,
    /// In the order of all takings.
    pub(crate) served: u64,
    /// The last time that offering its chunks failed.
    pub(crate) failed_at: Option<Duration>,
    /// Its end is never reported: it was copied from elsewhere, and may live there.
    pub(crate) is_copy: bool,
    /// It has something that this version cannot read: its folder stays.
    pub(crate) stays: bool,
}
