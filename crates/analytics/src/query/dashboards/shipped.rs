//! The dashboards that come with this version, read once.

use std::sync::LazyLock;
use weir_api::dashboards::Dashboard;

/// The files, in the order in which the page lists them.
pub const FILES: &[(&str, &str)] = &[
    ("fleet.json", include_str!("../../../../../dashboards/fleet.json")),
    ("api.json", include_str!("../../../../../dashboards/api.json")),
    ("consumers.json", include_str!("../../../../../dashboards/consumers.json")),
    ("chain.json", include_str!("../../../../../dashboards/chain.json")),
    ("events.json", include_str!("../../../../../dashboards/events.json")),
    ("gateways.json", include_str!("../../../../../dashboards/gateways.json")),
    ("pipeline.json", include_str!("../../../../../dashboards/pipeline.json")),
    ("slo.json", include_str!("../../../../../dashboards/slo.json")),
];

static DASHBOARDS: LazyLock<Vec<Dashboard>> =
    LazyLock::new(|| FILES.iter().map(|(_, text)| read(text).expect("a test reads every file")).collect());

/// A dashboard of the text of its file.
///
/// # Errors
/// It is no dashboard, or has something that the page does not draw: a kind of panel, an option, a colour.
pub fn read(text: &str) -> Result<Dashboard, serde_json::Error> {
    serde_json::from_str(text)
}

/// All of them.
pub fn shipped() -> &'static [Dashboard] {
    &DASHBOARDS
}

/// The one of this `uid`.
pub fn find(uid: &str) -> Option<&'static Dashboard> {
    shipped().iter().find(|dashboard| dashboard.uid == uid)
}
