//! Named places where a test may kill the process: `WEIR_FAILPOINT=name` aborts at the first pass, `name:nth` at
//! the nth. Always compiled in, so that what is tested is what ships; a place that is not armed costs one load.
//!
//! At the gateway, on a worker, once a request: `record.before_encode` (the request is over, its event is nowhere),
//! `record.before_commit` (encoded, not in the ring), `record.after_commit` (in the ring, the last frame of its
//! response not flushed). On the spool's own threads: `spool.before_seal` (records copied, no file yet),
//! `spool.after_write` (temporary file synced, not renamed), `spool.after_rename` (the chunk is there, the ring not
//! released), `spool.before_send`, `spool.after_send` (the answer is in, nothing done about it),
//! `spool.before_unlink` (acknowledged, the file still there).
//!
//! At the ingestor: `ingest.after_decode`, `ingest.before_intent`, `ingest.after_intent`, `ingest.after_insert`,
//! `ingest.before_ack`; `settle.after_heal`, `repair.before_swap`, `repair.between_swaps`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plan {
    name: String,
    left: AtomicU64,
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

fn from_env() -> Option<Plan> {
    let value = std::env::var("WEIR_FAILPOINT").ok()?;
    let (name, nth) = parse(&value);
    Some(Plan { name: name.to_owned(), left: AtomicU64::new(nth) })
}

fn parse(value: &str) -> (&str, u64) {
    match value.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or(1).max(1)),
        None => (value, 1),
    }
}

/// Passes the place `name`, or ends the process there as SIGKILL would: without unwinding, without a flush.
pub fn pass(name: &str) {
    if let Some(plan) = PLAN.get_or_init(from_env)
        && plan.name == name
        && plan.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_name_and_perhaps_a_number() {
        assert_eq!(parse("ingest.after_insert"), ("ingest.after_insert", 1));
        assert_eq!(parse("ingest.after_insert:7"), ("ingest.after_insert", 7));
        assert_eq!(parse("ingest.after_insert:x"), ("ingest.after_insert", 1));
    }
}
