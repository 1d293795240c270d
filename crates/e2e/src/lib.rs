//! For development only: one test file a promise to users, and here what they share - real programs as processes,
//! each with a configuration and a folder of its own, in front of real upstreams.

mod account;
pub mod axe;
mod certificates;
mod claim;
pub mod collector;
mod gateway;
pub mod grafana;
mod held;
pub mod name_server;
pub mod otlp;
mod power;
mod promtool;
pub mod python;
mod rollups;
mod site;
mod test_stack;

pub use account::Account;
pub use certificates::{certificate, certificate_of};
pub use claim::{Claim, now_ms};
pub use gateway::{Gateway, GatewaySpec};
pub use held::{Held, thread};
pub use power::{fail_power, restart_kernel};
pub use promtool::check_metrics;
pub use rollups::disagreement;
pub use site::{Site, off_by};
pub use test_stack::{Part, Setup, TestStack, reserve};
pub use weir_testkit::browser::{Browser, DRAWN};

use std::time::{Duration, Instant};

/// What every wait of a test may take: some wait for what happens once in a minute.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks `question` until its answer is some, for as long as a test may take.
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
