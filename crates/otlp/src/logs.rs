//! Log records, gathered into requests. Whoever makes them has a thread for that: it fills a batch and then sends it.

use crate::attributes::{Attributes, Limits, cut_at};
use crate::client::ClientError;
use crate::protobuf::{bytes, close, fixed32, fixed64, message, open, uint};
use crate::queue::Counts;
use crate::resource::Envelope;
use crate::sending::{MOST_OF_REQUEST, Sending};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use weir_config::{LogExport, Signal};
use weir_event::{Identity, SpanId, TraceId};

/// Fields of `ScopeLogs`, `LogRecord` and `AnyValue` (opentelemetry-proto, logs/v1 and common/v1).
mod field {
    pub const RECORDS: u32 = 2;

    pub const TIME: u32 = 1;
    pub const SEVERITY: u32 = 2;
    pub const SEVERITY_TEXT: u32 = 3;
    pub const BODY: u32 = 5;
    pub const ATTRIBUTES: u32 = 6;
    pub const FLAGS: u32 = 8;
    pub const TRACE_ID: u32 = 9;
    pub const SPAN_ID: u32 = 10;
    pub const OBSERVED: u32 = 11;

    pub const STRING: u32 = 1;
}

/// More of one text is cut off: a receiver would refuse the request for it. Bytes.
const MOST_OF_TEXT: usize = 64 << 10;

/// How severe a record is (OpenTelemetry, logs data model, "Field: SeverityNumber"): the first number of each range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Debug = 5,
    Info = 9,
    Warn = 13,
    Error = 17,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// All of a record but its attributes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it happened, and when it was made a record: microseconds since the Unix epoch.
    pub at_us: i64,
    pub observed_us: i64,
    pub severity: Severity,
    pub body: &'a str,
    /// None where the record belongs to no request.
    pub trace: TraceId,
    pub span: SpanId,
    pub is_sampled: bool,
}

/// Attributes of a record; those without a value are left out.
pub struct RecordAttributes<'o>(Attributes<'o>);

impl RecordAttributes<'_> {
    /// Bytes that are no UTF-8 are replaced by U+FFFD.
    pub fn text(&mut self, name: &str, value: &[u8]) {
        self.0.named(name, &value[..value.len().min(MOST_OF_TEXT)]);
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.0.named_number(name, value);
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.0.named_flag(name, value);
    }
}

/// Gathers records, and sends them.
pub struct LogExporter {
    export: LogExport,
    envelope: Envelope,
    sending: Sending,
    body: Vec<u8>,
    records: u64,
    /// Bytes of the last request: about what the next one takes.
    last: usize,
}

impl LogExporter {
    /// Sends as `who`: the identity, the id of the life of its process, and its version. What becomes of records is said by
    /// `counts`.
    ///
    /// # Errors
    /// Nothing can be sent as `export` asks.
    pub fn new(export: &LogExport, who: (&Identity, &str, &str), counts: Arc<Counts>) -> Result<Self, ClientError> {
        Ok(Self {
            envelope: Envelope::new(who, &export.target),
            sending: Sending::new(&export.target, Signal::Logs, counts)?,
            export: export.clone(),
            body: Vec::new(),
            records: 0,
            last: 0,
        })
    }

    /// From the next request on it sends as `who`.
    pub fn sends_as(&mut self, who: (&Identity, &str, &str)) {
        self.envelope = Envelope::new(who, &self.export.target);
    }

    /// Adds a record, and its attributes.
    pub fn put(&mut self, record: &Record<'_>, attributes: impl FnOnce(&mut RecordAttributes<'_>)) {
        let nanos = |us: i64| u64::try_from(us).unwrap_or_default().saturating_mul(1000);
        if self.records == 0 {
            self.body = self.envelope.open(self.last);
        }
        let place = open(&mut self.body, field::RECORDS);
        let out = &mut self.body;
        fixed64(out, field::TIME, nanos(record.at_us));
        uint(out, field::SEVERITY, record.severity as u64);
        bytes(out, field::SEVERITY_TEXT, record.severity.as_str().as_bytes());
        let text = cut_at(record.body, MOST_OF_TEXT);
        message(out, field::BODY, |out| bytes(out, field::STRING, text.as_bytes()));
        let limits = Limits { count: usize::MAX, length: usize::MAX };
        attributes(&mut RecordAttributes(Attributes::new(out, field::ATTRIBUTES, limits)));
        if record.trace != TraceId::default() {
            fixed32(out, field::FLAGS, u32::from(record.is_sampled));
            bytes(out, field::TRACE_ID, &record.trace.0);
            bytes(out, field::SPAN_ID, &record.span.0);
        }
        fixed64(out, field::OBSERVED, nanos(record.observed_us));
        close(&mut self.body, place);
        self.records += 1;
    }

    /// Whether there are as many as are sent together.
    pub fn is_full(&self) -> bool {
        self.records >= u64::from(self.export.batch.size) || self.body.len() >= MOST_OF_REQUEST
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How long records wait for others.
    pub fn delay(&self) -> Duration {
        self.export.batch.delay
    }

    /// Sends what there is, until it is taken, given up or refused. When `end` says by when the process ends, it is cut
    /// there. Each record is counted.
    pub async fn send(&mut self, end: impl Future<Output = Instant>) {
        let records = std::mem::take(&mut self.records);
        if records == 0 {
            return;
        }
        self.last = self.body.len();
        let body = self.envelope.close(std::mem::take(&mut self.body));
        let deadline = Instant::now() + self.export.batch.timeout;
        self.sending.send_until(&body, records, deadline, end).await;
    }
}
