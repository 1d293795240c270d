//! What is reported to systemd by a service of `Type=notify` (sd_notify(3)); nothing where it does not ask.

use sd_notify::{NotifyState, notify, watchdog_enabled};
use std::time::Duration;
use tracing::debug;

/// The program does what it was started for, or has loaded what it was asked to.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It loads its configuration, which [`ready`] ends.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "the clock that systemd goes by cannot be read"),
    }
}

/// It was asked to end, and does.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// It is well. To be reported more often than every [`watchdog`].
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long systemd waits for [`alive`] before it ends the program (`WatchdogSec=`).
pub fn watchdog() -> Option<Duration> {
    watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        debug!(%error, "systemd cannot be informed of this program's state");
    }
}
