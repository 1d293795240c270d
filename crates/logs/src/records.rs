//! Log records, sent by OTLP.
//!
//! What is sent waits for its answer, and is sent again where that may help: meanwhile nothing is taken from the lanes,
//! which are bounded, and count what they have no room for. So an output that is slow costs lines, counted, and no memory.

use crate::entry::Entry;
use crate::lane::Ends;
use crate::line::Lines;
use crate::record;
use crate::sink::Sink;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use weir_config::LogExport;
use weir_event::Identity;
use weir_otlp::{ClientError, Counts, LogExporter};

/// How often it is asked whether the process ends while something is sent.
const LOOK: Duration = Duration::from_millis(20);
/// What is left of the time to end, for the thread to end in.
const AFTER: Duration = Duration::from_millis(100);

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) identity: Identity,
    pub(crate) version: &'static str,
    /// The id of this life of the process, once it is known.
    pub(crate) boot: Arc<OnceLock<String>>,
}

/// Records on their way to their receiver.
pub(crate) struct RecordSink {
    lines: Lines,
    exporter: LogExporter,
    runtime: Runtime,
    ends: Arc<Ends>,
    /// When the first of those that wait came.
    since: Option<Instant>,
    sender: Sender,
    is_known: bool,
}

/// Why nothing can be sent.
#[derive(Debug)]
pub(crate) enum RecordError {
    Client(ClientError),
    Runtime(io::Error),
}

impl RecordSink {
    pub(crate) fn new(
        lines: Lines,
        export: &LogExport,
        sender: Sender,
        counts: Arc<Counts>,
        ends: Arc<Ends>,
    ) -> Result<Self, RecordError> {
        let who = (&sender.identity, "", sender.version);
        let exporter = LogExporter::new(export, who, counts).map_err(RecordError::Client)?;
        // One thread more, so that a connection lives while nothing is sent.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("weir-log-otlp")
            .enable_all()
            .build()
            .map_err(RecordError::Runtime)?;
        Ok(Self { lines, exporter, runtime, ends, since: None, sender, is_known: false })
    }

    fn added(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        if self.exporter.is_full() {
            self.send();
        }
    }

    fn send(&mut self) {
        let ends = Arc::clone(&self.ends);
        let end = async move {
            loop {
                if let Some(deadline) = ends.deadline() {
                    return deadline.checked_sub(AFTER).unwrap_or(deadline).into();
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        self.runtime.block_on(self.exporter.send(end));
        self.since = None;
    }

    /// The id of the life of the process is known when the outputs have long begun.
    fn look_who_sends(&mut self) {
        if !self.is_known
            && let Some(boot) = self.sender.boot.get()
        {
            self.exporter.sends_as((&self.sender.identity, boot, self.sender.version));
            self.is_known = true;
        }
    }
}

impl Sink for RecordSink {
    fn put(&mut self, entry: &Entry<'_>) {
        if self.exporter.is_empty() {
            self.look_who_sends();
        }
        record::put(&mut self.lines, &mut self.exporter, entry);
        self.added();
    }

    fn put_loss(&mut self, at_us: i64, count: u64, why: &str) {
        record::put_loss(&mut self.exporter, at_us, count, why);
        self.added();
    }

    fn flush(&mut self, ends: bool) {
        let is_due = self.since.is_some_and(|since| since.elapsed() >= self.exporter.delay());
        if !self.exporter.is_empty() && (is_due || ends) {
            self.send();
        }
    }

    fn has_some(&self) -> bool {
        !self.exporter.is_empty()
    }
}
