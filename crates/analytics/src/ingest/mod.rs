//! From a chunk to an acknowledgement.
//!
//! [`Ingest::offer`] decodes a chunk, asks [`stored_seqs`] which of its events are new, and hands those to the batcher
//! ([`batch`]), which has blocks of one UTC day built from many chunks ([`build`]); [`commit`] writes them one after the other, each
//! under an intent on disk ([`intent`]) and a lease in ClickHouse ([`lease`]). Whatever is not certain is held against the tables by [`verify`] and mended,
//! in the last resort by [`repair`]. An offer is answered only when everything in it is stored.

mod batch;
mod build;
mod commit;
mod days;
mod fill;
pub mod intent;
pub mod lease;
mod model;
mod offer;
pub mod repair;
mod replay;
mod side_tables;
pub mod stored_seqs;
mod sums;
mod term;
pub(crate) mod verify;

pub use model::{Limits, Refusal, Stored};
pub use offer::Ingest;
pub use term::Term;
pub use verify::SettleError;

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time, microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The UTC day of a time, in days since the Unix epoch: what `toDate(ts)` is.
pub fn day_of(us: i64) -> i64 {
    us.div_euclid(86_400_000_000)
}
