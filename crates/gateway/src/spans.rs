//! The exporter of spans: what it is made of, and when it begins and ends.

use crate::error::RunError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use weir_config::GatewayConfig;
use weir_event::{BootId, Identity, Names};
use weir_otlp::{Exporter, Sender, queue};
use weir_program::ending::Ending;

/// What the last spans may take of the time to end, where nobody says how long that is.
const LAST: Duration = Duration::from_secs(5);
/// What is left of that time for what comes after.
const AFTER: Duration = Duration::from_secs(2);

/// The exporter that the configuration asks for, and the workers' way to it.
pub fn exporter(
    config: &GatewayConfig,
    identity: &Identity,
    boot: BootId,
    names: &Arc<Names>,
) -> Result<Option<(Sender, Exporter)>, RunError> {
    let Some(export) = &config.startup.spans else { return Ok(None) };
    let (sender, queue) = queue(&export.batch);
    let who = (identity, &*boot.to_string(), env!("CARGO_PKG_VERSION"));
    Ok(Some((sender, Exporter::new(queue, export, who, Arc::clone(names))?)))
}

/// Does `work`, with the exporter beside it; then sends what waits, if the receiver takes it in the time that is left.
pub async fn exporting(exporter: Option<Exporter>, ending: &Ending, work: impl Future<Output = ()>) {
    let Some(exporter) = exporter else { return work.await };
    let (end, ended) = oneshot::channel();
    let exporting = tokio::spawn(exporter.run(ended));
    work.await;
    ending.stage("exporting the last spans");
    let now = Instant::now();
    let deadline = ending.deadline().and_then(|deadline| deadline.checked_sub(AFTER));
    let deadline = deadline.map_or(now + LAST, |deadline| deadline.max(now).min(now + LAST));
    // An exporter that has panicked sends nothing.
    if end.send(deadline.into()).is_ok() {
        drop(exporting.await);
    }
}
