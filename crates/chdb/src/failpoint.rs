//! Named places where a test may kill the engine: `WEIR_CHDB_FAILPOINT=name` ends the process at the first pass,
//! `name:nth` at the nth. Always compiled in, so that what is tested is what ships; a place that is not armed costs
//! one load and one comparison, and none is in a loop over data.
//!
//! Every INSERT passes, in this order: `insert.before_data` (judged; the engine not asked yet), `insert.before_commit`
//! (all data handed over; the commit not asked for), `insert.in_commit` (the commit asked for: death comes from
//! another thread within 10 ms, so perhaps between raw and a view), `insert.after_commit` (committed; no answer),
//! `insert.before_answer` (the answer is made; nobody has it), `insert.after_answer` (given to the connection, which
//! may have written it or not). `INSERT … SELECT` has no `insert.before_commit`. Every other statement that writes
//! passes `write.before` and `write.after`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest wait of [`soon`]: what a commit with its views takes, with room.
const SOON_MICROS: u64 = 10_000;

struct Plan {
    name: String,
    left: AtomicU64,
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

fn from_env() -> Option<Plan> {
    let value = std::env::var("WEIR_CHDB_FAILPOINT").ok()?;
    let (name, nth) = parse(&value);
    Some(Plan { name: name.to_owned(), left: AtomicU64::new(nth) })
}

fn parse(value: &str) -> (&str, u64) {
    match value.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or(1).max(1)),
        None => (value, 1),
    }
}

fn is_due(name: &str) -> bool {
    PLAN.get_or_init(from_env)
        .as_ref()
        .is_some_and(|plan| plan.name == name && plan.left.fetch_sub(1, Ordering::Relaxed) == 1)
}

/// Passes the place `name`, or ends the process there with SIGKILL: nothing unwinds, nothing is flushed.
pub fn pass(name: &str) {
    if is_due(name) {
        die();
    }
}

/// Passes the place `name`, or lets the process die within [`SOON_MICROS`], whatever it does then.
#[allow(clippy::disallowed_methods, reason = "a thread that only waits to kill: no condition to wait for")]
pub fn soon(name: &str) {
    if is_due(name) {
        let wait = Duration::from_micros(fastrand::u64(..SOON_MICROS));
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            die();
        });
    }
}

fn die() -> ! {
    let _dead = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_name_and_perhaps_a_number() {
        assert_eq!(parse("insert.after_commit"), ("insert.after_commit", 1));
        assert_eq!(parse("insert.after_commit:7"), ("insert.after_commit", 7));
        assert_eq!(parse("insert.after_commit:x"), ("insert.after_commit", 1));
    }
}
