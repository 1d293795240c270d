//! What is sent by OTLP, spans and metrics: what it is made of, and when it begins and ends.

use crate::admin::{self, Admin};
use crate::error::RunError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use weir_config::GatewayConfig;
use weir_event::{BootId, Identity, Names};
use weir_logs::Logs;
use weir_otlp::{Counts, Exporter, MetricExporter, Probes, Sender, queue};
use weir_program::ending::Ending;

/// What the last exports may take of the time to end, where nobody says how long that is.
const LAST: Duration = Duration::from_secs(5);
/// What is left of that time for what comes after.
const AFTER: Duration = Duration::from_secs(2);

/// The exporters that the configuration asks for.
pub struct Exports {
    spans: Option<Exporter>,
    metrics: Option<MetricExporter>,
}

/// What becomes of what they send.
pub struct ExportCounts {
    pub spans: Option<Arc<Counts>>,
    /// Of the spans of probes.
    pub probes: Option<Arc<Probes>>,
    pub metrics: Option<Arc<Counts>>,
}

impl Exports {
    /// With the workers' way to that of spans. Log records are sent by the outputs of `logs`, which are told who sends.
    pub fn new(
        config: &GatewayConfig,
        (identity, boot): (&Identity, BootId),
        names: &Arc<Names>,
        logs: &Logs,
    ) -> Result<(Self, Option<Sender>), RunError> {
        let boot = boot.to_string();
        logs.lives_as(&boot);
        let who = (identity, &*boot, env!("CARGO_PKG_VERSION"));
        let spans = config.startup.spans.as_ref().map(|export| {
            let (sender, queue) = queue(&export.batch);
            Exporter::new(queue, export, who, Arc::clone(names)).map(|exporter| (sender, exporter))
        });
        let (sender, spans) = spans.transpose().map_err(RunError::Spans)?.unzip();
        let metrics = config.startup.metric_export.as_ref().map(|export| MetricExporter::new(export, who));
        let metrics = metrics.transpose().map_err(RunError::Metrics)?;
        Ok((Self { spans, metrics }, sender))
    }

    pub fn counts(&self) -> ExportCounts {
        let (spans, probes) = self.spans.as_ref().map(|spans| (spans.counts(), spans.probes())).unzip();
        ExportCounts { spans, probes, metrics: self.metrics.as_ref().map(MetricExporter::counts) }
    }

    /// Does `work`, with the exporters beside it; then sends what waits and the last figures, if the receivers take them in
    /// the time that is left.
    pub async fn beside(self, admin: Arc<Admin>, ending: &Ending, work: impl Future<Output = ()>) {
        let (end_spans, spans_end) = oneshot::channel();
        let (end_metrics, metrics_end) = oneshot::channel();
        let spans = self.spans.map(|exporter| tokio::spawn(exporter.run(spans_end)));
        let metrics = async move {
            let Some(exporter) = self.metrics else { return };
            let explicit = exporter.is_explicit();
            exporter.run(metrics_end, async |out| admin::push(&admin, explicit, out).await).await;
        };
        let work = async {
            work.await;
            ending.stage("exporting the last spans and metrics");
            let deadline = last_deadline(ending);
            // One that there is not, or that has panicked, sends nothing.
            let _ = end_spans.send(deadline.into());
            let _ = end_metrics.send(deadline.into());
            if let Some(spans) = spans {
                drop(spans.await);
            }
        };
        tokio::join!(metrics, work);
    }
}

fn last_deadline(ending: &Ending) -> Instant {
    let now = Instant::now();
    let deadline = ending.deadline().and_then(|deadline| deadline.checked_sub(AFTER));
    deadline.map_or(now + LAST, |deadline| deadline.max(now).min(now + LAST))
}
