//! From an entry to the log record that is sent: the fields of its line are attributes, its message is the body. Where a template
//! says how a line is written, that line is the body.

use crate::entry::Entry;
use crate::line::Lines;
use weir_config::policy::LogLevel;
use weir_event::clock::system_us;
use weir_event::line::LineValue;
use weir_event::{SpanId, TraceId};
use weir_otlp::{LogExporter, Record, RecordAttributes, Severity};

/// Fields that a record has as its own.
const OWN: [&str; 2] = ["trace_id", "span_id"];

/// Adds the record of an entry. Nothing of one that cannot be read, which only a fault of this program can cause.
pub(crate) fn put(lines: &mut Lines, exporter: &mut LogExporter, entry: &Entry<'_>) {
    let Some(body) = lines.body(entry) else { return };
    let body = String::from_utf8_lossy(&body);
    let record = Record {
        at_us: 0,
        observed_us: system_us(),
        severity: Severity::Info,
        body: &body,
        trace: TraceId::default(),
        span: SpanId::default(),
        is_sampled: false,
    };
    match entry {
        Entry::Request(bytes) => {
            let Some(event) = lines.event(bytes) else { return };
            let at_us = event.fixed.start_us + i64::try_from(event.total_us()).unwrap_or_default();
            let (trace, span, is_sampled) = (event.trace(), event.span(), event.fixed.sampled);
            exporter.put(&Record { at_us, trace, span, is_sampled: is_sampled != 0, ..record }, |attributes| {
                lines.each_field(&event, |name, value| field(attributes, name, &value));
            });
        }
        Entry::Message(message) => {
            let (at_us, severity) = (message.at_us, severity(message.level));
            let (trace, span) = (message.trace, message.span);
            exporter.put(&Record { at_us, severity, trace, span, ..record }, |attributes| {
                let (api, policy) = (lines.name(message.api), lines.name(message.policy));
                let fields = [("kind", "accessLog"), ("api", api), ("policy", policy), ("category", message.category)];
                fields.iter().for_each(|(name, value)| attributes.text(name, value.as_bytes()));
            });
        }
        Entry::Program { at_us, level, .. } => {
            exporter.put(&Record { at_us: *at_us, severity: severity(*level), ..record }, |attributes| {
                attributes.text("kind", b"runtimeLog");
            });
        }
    }
}

/// Adds what the output says of itself: how many lines are not there, and why.
pub(crate) fn put_loss(exporter: &mut LogExporter, at_us: i64, count: u64, why: &str) {
    let record = Record {
        at_us,
        observed_us: at_us,
        severity: Severity::Warn,
        body: &format!("{count} lines are not here: {why}"),
        trace: TraceId::default(),
        span: SpanId::default(),
        is_sampled: false,
    };
    exporter.put(&record, |attributes| {
        attributes.text("kind", b"accessLog");
        attributes.number("left_out", count);
    });
}

fn field(attributes: &mut RecordAttributes<'_>, name: &str, value: &LineValue<'_>) {
    if OWN.contains(&name) {
        return;
    }
    match value {
        LineValue::Text(text) => attributes.text(name, text.as_bytes()),
        LineValue::Bytes(bytes) => attributes.text(name, bytes),
        LineValue::Owned(text) => attributes.text(name, text.as_bytes()),
        LineValue::Number(number) => attributes.number(name, *number),
        LineValue::Flag(flag) => attributes.flag(name, *flag),
    }
}

fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Debug => Severity::Debug,
        LogLevel::Info => Severity::Info,
        LogLevel::Warn => Severity::Warn,
        LogLevel::Error => Severity::Error,
    }
}
