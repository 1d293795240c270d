//! Named places where a test may kill the process: `WEIR_FAILPOINT=name` aborts there at the first pass,
//! `WEIR_FAILPOINT=name:nth` at the nth.
//!
//! Always compiled in, so that what is tested is what ships; a place that is not armed costs one relaxed load.
//! All of them are on the spool's own threads, none is on the request path. The names:
//! `spool.before_seal` (records copied, no file yet), `spool.after_write` (temporary file synced, not renamed),
//! `spool.after_rename` (the chunk is there, the ring not released), `spool.before_send`, `spool.after_send` (the
//! answer is in, nothing done about it), `spool.before_unlink` (acknowledged, the file still there).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Plan> = OnceLock::new();

struct Plan {
    name: String,
    left: AtomicU64,
}

/// Reads `WEIR_FAILPOINT`, once a process.
pub(crate) fn arm_from_env() {
    let Ok(value) = std::env::var("WEIR_FAILPOINT") else { return };
    let (name, nth) = parse(&value);
    PLAN.get_or_init(|| Plan { name: name.to_owned(), left: AtomicU64::new(nth) });
    ARMED.store(true, Ordering::Relaxed);
}

fn parse(value: &str) -> (&str, u64) {
    match value.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or(1).max(1)),
        None => (value, 1),
    }
}

/// Passes the place `name`, or ends the process there as SIGKILL would: without unwinding, without a flush.
#[inline]
pub(crate) fn pass(name: &str) {
    if ARMED.load(Ordering::Relaxed) {
        pass_armed(name);
    }
}

#[cold]
fn pass_armed(name: &str) {
    if let Some(plan) = PLAN.get()
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
        assert_eq!(parse("spool.after_rename"), ("spool.after_rename", 1));
        assert_eq!(parse("spool.after_rename:7"), ("spool.after_rename", 7));
        assert_eq!(parse("spool.after_rename:x"), ("spool.after_rename", 1));
    }
}
