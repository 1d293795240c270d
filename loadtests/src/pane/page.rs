//! A page as its reader waits for it: in a real browser, from the navigation until every panel is drawn.

use super::ask::{Asker, median};
use std::io;
use weir_testkit::browser::Browser;

/// Of a laptop's window.
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 800;
/// Beyond the turns of what was asked without a browser.
const FIRST_TURN: usize = 200;

/// Milliseconds of the first time, and the median of the others.
pub fn drawn(asker: &Asker, dashboard: &str) -> io::Result<(f64, f64)> {
    let profile = tempfile::tempdir()?;
    let mut browser = Browser::start(profile.path(), WIDTH, HEIGHT)?;
    let mut timed = |turn| {
        let (from, to) = asker.shown_ms(turn);
        browser.drawn_in_ms(&format!("http://{}/d/{dashboard}?from={from}&to={to}&refresh=", asker.analytics))
    };
    let first_ms = timed(FIRST_TURN)?;
    let others_ms = (1..=asker.repeats).map(|turn| timed(FIRST_TURN + turn)).collect::<io::Result<Vec<_>>>()?;
    Ok((first_ms, median(others_ms.into_iter())))
}
