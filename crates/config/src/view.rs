//! How parts of a configuration are shown to operators.

use std::time::Duration;

/// What stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// A duration as a configuration writes it: `15s`, `250ms`.
pub fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}
