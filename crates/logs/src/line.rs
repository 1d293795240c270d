//! From an entry to the line that is written: a JSON object, or a template with its values.
//!
//! Every line about a request has its trace's id, whether it was asked for or not.

use crate::entry::{Entry, PolicyMessage};
use crate::escape::put_escaped;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::Arc;
use weir_config::policy::LogLevel;
use weir_config::{LineFormat, TemplatePart, TemplateWord};
use weir_event::json::rfc3339_us;
use weir_event::line::{Line, LineField, LineValue};
use weir_event::record::Event;
use weir_event::{Identity, NameId, Names, Schema};

const TRACE: &str = "trace_id";
/// Who writes, as Flex's templates have it.
const LOGGER: &str = "weir";
/// Where a template has no value.
const NOTHING: &[u8] = b"-";

/// Makes the lines of one output.
pub(crate) struct Lines {
    format: Format,
    identity: Identity,
    names: Arc<Names>,
    /// What is known of `names`, by number from 1.
    known: Vec<Arc<str>>,
}

enum Format {
    Json(Vec<LineField>),
    Template { parts: Vec<TemplatePart>, has_trace: bool },
}

/// A line of the common kind: what all three say.
struct Common<'a> {
    at_us: i64,
    kind: &'static str,
    level: LogLevel,
    trace: Option<String>,
    message: &'a dyn Fn(&mut Vec<u8>),
}

impl Lines {
    pub(crate) fn new(format: &LineFormat, identity: Identity, names: Arc<Names>) -> Self {
        let trace = LineField::named(TRACE);
        let format = match format {
            LineFormat::Json(fields) => {
                let mut fields = fields.clone();
                fields.extend(trace.filter(|trace| !fields.contains(trace)));
                Format::Json(fields)
            }
            LineFormat::Template(parts) => {
                let is_trace = |part: &TemplatePart| matches!(part, TemplatePart::Field(field) if field.name == TRACE);
                Format::Template { parts: parts.clone(), has_trace: parts.iter().any(is_trace) }
            }
        };
        Self { format, identity, names, known: Vec::new() }
    }

    /// Appends the line, its end included. `false`: it cannot be read, which only a fault of this program can cause.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>) -> bool {
        match entry {
            Entry::Request(record) => {
                let Some(event) = self.event(record) else { return false };
                self.put_request(out, &event);
            }
            Entry::Message(message) => {
                self.learn_up_to(message.api.0.max(message.policy.0));
                self.put_message(out, message);
            }
            Entry::Program { at_us, level, text } => self.put_program(out, *at_us, *level, text),
        }
        out.push(b'\n');
        true
    }

    /// What an entry says, without the fields that JSON has beside it: the line of a template, or the message. `None`: it
    /// cannot be read, which only a fault of this program can cause.
    pub(crate) fn body(&mut self, entry: &Entry<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match (&self.format, entry) {
            (Format::Template { .. }, entry) => {
                if !self.put(&mut out, entry) {
                    return None;
                }
                out.pop();
            }
            (Format::Json(_), Entry::Request(record)) => {
                put_request_message(&mut out, &Event::decode(Schema::NEWEST, record).ok()?);
            }
            (Format::Json(_), Entry::Message(PolicyMessage { text, .. }) | Entry::Program { text, .. }) => {
                if let Entry::Message(message) = entry {
                    self.learn_up_to(message.api.0.max(message.policy.0));
                }
                out.extend_from_slice(text.as_bytes());
            }
        }
        Some(out)
    }

    /// The event of a request, whose names are known from now on.
    pub(crate) fn event<'e>(&mut self, record: &'e [u8]) -> Option<Event<'e>> {
        let event = Event::decode(Schema::NEWEST, record).ok()?;
        self.learn_up_to(event.name_ids().map(|id| id.0).max().unwrap_or_default());
        Some(event)
    }

    /// Names and values of the fields that a line about a request has.
    pub(crate) fn each_field<'e>(&'e self, event: &'e Event<'e>, mut each: impl FnMut(&str, LineValue<'_>)) {
        let names = |id| self.name(id);
        let line = Line { event, identity: &self.identity, names: &names };
        match &self.format {
            Format::Json(fields) => fields.iter().for_each(|field| each(field.name, field.of(&line))),
            Format::Template { parts, .. } => {
                for part in parts {
                    if let TemplatePart::Field(field) = part {
                        each(field.name, field.of(&line));
                    }
                }
            }
        }
    }

    /// What the output says of itself: how many lines are not there, and why.
    pub(crate) fn put_loss(&self, out: &mut Vec<u8>, at_us: i64, count: u64, why: &str) {
        match &self.format {
            Format::Json(_) => {
                let message = format!("{count} lines are not here: {why}");
                put_json(
                    out,
                    &json!({"ts": rfc3339_us(at_us), "kind": "accessLog", "level": "warn", "left_out": count, "message": message}),
                );
            }
            Format::Template { .. } => {
                let message = |out: &mut Vec<u8>| drop(write!(out, "{count} lines are not here: {why}"));
                let common = Common { at_us, kind: "accessLog", level: LogLevel::Warn, trace: None, message: &message };
                self.put_template(out, &common, None);
            }
        }
        out.push(b'\n');
    }

    fn learn_up_to(&mut self, id: u32) {
        if id as usize <= self.known.len() {
            return;
        }
        self.known.extend(self.names.since(self.known.len()).into_iter().map(|(_, name)| name));
    }

    pub(crate) fn name(&self, id: NameId) -> &str {
        (id.0 as usize).checked_sub(1).and_then(|at| self.known.get(at)).map_or("", |name| name)
    }

    fn put_request(&self, out: &mut Vec<u8>, event: &Event<'_>) {
        let names = |id| self.name(id);
        let line = Line { event, identity: &self.identity, names: &names };
        match &self.format {
            Format::Json(fields) => put_fields(out, fields, &line),
            Format::Template { .. } => {
                let ended = event.fixed.start_us + i64::try_from(event.total_us()).unwrap_or_default();
                let trace = event.trace().to_string();
                let message = |out: &mut Vec<u8>| put_request_message(out, event);
                let common = Common {
                    at_us: ended,
                    kind: "accessLog",
                    level: LogLevel::Info,
                    trace: Some(trace),
                    message: &message,
                };
                self.put_template(out, &common, Some(&line));
            }
        }
    }

    fn put_message(&self, out: &mut Vec<u8>, message: &PolicyMessage<'_>) {
        let trace = message.trace.to_string();
        match &self.format {
            Format::Json(_) => put_json(
                out,
                &json!({
                    "ts": rfc3339_us(message.at_us), "kind": "accessLog", "level": word(message.level), "trace_id": trace,
                    "span_id": message.span.to_string(), "api": self.name(message.api), "policy": self.name(message.policy),
                    "category": message.category, "message": message.text,
                }),
            ),
            Format::Template { .. } => {
                let text = |out: &mut Vec<u8>| {
                    if !message.category.is_empty() {
                        put_escaped(out, message.category.as_bytes());
                        out.push(b' ');
                    }
                    put_escaped(out, message.text.as_bytes());
                };
                let common = Common {
                    at_us: message.at_us,
                    kind: "accessLog",
                    level: message.level,
                    trace: Some(trace),
                    message: &text,
                };
                self.put_template(out, &common, None);
            }
        }
    }

    fn put_program(&self, out: &mut Vec<u8>, at_us: i64, level: LogLevel, text: &str) {
        match &self.format {
            Format::Json(_) => {
                let line =
                    json!({"ts": rfc3339_us(at_us), "kind": "runtimeLog", "level": word(level), "message": text});
                put_json(out, &line);
            }
            Format::Template { .. } => {
                let message = |out: &mut Vec<u8>| put_escaped(out, text.as_bytes());
                let common = Common { at_us, kind: "runtimeLog", level, trace: None, message: &message };
                self.put_template(out, &common, None);
            }
        }
    }

    fn put_template(&self, out: &mut Vec<u8>, common: &Common<'_>, line: Option<&Line<'_>>) {
        let Format::Template { parts, has_trace } = &self.format else { return };
        let mut wants_trace = common.trace.as_ref().filter(|_| !has_trace);
        for part in parts {
            match part {
                TemplatePart::Text(text) => out.extend_from_slice(text.as_bytes()),
                TemplatePart::Field(field) => match (line, &common.trace) {
                    (Some(line), _) => put_value(out, &field.of(line)),
                    (None, Some(trace)) if field.name == TRACE => out.extend_from_slice(trace.as_bytes()),
                    (None, _) => out.extend_from_slice(NOTHING),
                },
                TemplatePart::Word(TemplateWord::Date) => out.extend_from_slice(rfc3339_us(common.at_us).as_bytes()),
                TemplatePart::Word(TemplateWord::Logger) => out.extend_from_slice(LOGGER.as_bytes()),
                TemplatePart::Word(TemplateWord::Level) => out.extend_from_slice(word(common.level).as_bytes()),
                TemplatePart::Word(TemplateWord::Kind) => out.extend_from_slice(common.kind.as_bytes()),
                TemplatePart::Word(TemplateWord::Message) => {
                    // As Flex has the request's id before what is said of it.
                    if let Some(trace) = wants_trace.take() {
                        drop(write!(out, "[trace: {trace}] "));
                    }
                    (common.message)(out);
                }
            }
        }
        // What has no fields has nothing but its message, whatever the template asks for.
        let is_message = |part: &TemplatePart| *part == TemplatePart::Word(TemplateWord::Message);
        if line.is_none() && !parts.iter().any(is_message) {
            out.push(b' ');
            (common.message)(out);
        }
        if let Some(trace) = wants_trace {
            drop(write!(out, " {TRACE}={trace}"));
        }
    }
}

/// What is said of a request that no policy says anything about.
fn put_request_message(out: &mut Vec<u8>, event: &Event<'_>) {
    put_value(out, &LineValue::Text(event.method().as_str()));
    out.push(b' ');
    put_escaped(out, event.path);
    let ms = event.total_us() as f64 / 1000.0;
    drop(write!(out, " {} {ms:.3}ms", event.fixed.status));
}

/// As templates write it.
fn put_value(out: &mut Vec<u8>, value: &LineValue<'_>) {
    let start = out.len();
    match value {
        LineValue::Text(text) => put_escaped(out, text.as_bytes()),
        LineValue::Bytes(bytes) => put_escaped(out, bytes),
        LineValue::Owned(text) => put_escaped(out, text.as_bytes()),
        LineValue::Number(number) => drop(write!(out, "{number}")),
        LineValue::Flag(flag) => drop(write!(out, "{flag}")),
    }
    if out.len() == start {
        out.extend_from_slice(NOTHING);
    }
}

/// Field by field, in the order that was asked for.
fn put_fields(out: &mut Vec<u8>, fields: &[LineField], line: &Line<'_>) {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // Names of the table need no escapes.
        drop(write!(out, "\"{}\":", field.name));
        match field.of(line) {
            LineValue::Text(text) => put_text(out, text),
            LineValue::Bytes(bytes) => put_text(out, &String::from_utf8_lossy(bytes)),
            LineValue::Owned(text) => put_text(out, &text),
            LineValue::Number(number) => drop(write!(out, "{number}")),
            LineValue::Flag(flag) => drop(write!(out, "{flag}")),
        }
    }
    out.push(b'}');
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Neither memory nor text refuses.
    drop(serde_json::to_writer(out, text));
}

fn put_json(out: &mut Vec<u8>, value: &Value) {
    // What has no value is not there.
    let kept = value.as_object().into_iter().flatten().filter(|(_, value)| value.as_str() != Some(""));
    let kept: Map<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    drop(serde_json::to_writer(out, &kept));
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

#[cfg(test)]
#[path = "line/tests.rs"]
mod tests;
