//! What is written of requests and of the program itself, and where: the outputs of `Configuration.logging`.

use std::path::PathBuf;
use std::time::Duration;

use weir_event::Reason;
use weir_event::line::LineField;

use crate::export::LogExport;
use crate::tracing::Percent;

/// The outputs, and what goes to which of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logging {
    pub outputs: Vec<LogOutput>,
    /// The names of the outputs that the program's own log goes to, beside standard error.
    pub runtime: Vec<String>,
    /// The names of the outputs that lines about requests go to; without any, those of policies go to standard output.
    pub access: Vec<String>,
    /// Where lines about requests go beside that, because `OTEL_LOGS_EXPORTER` says so.
    pub also: Option<LogOutput>,
}

impl Logging {
    /// Where lines about requests go.
    pub fn of_requests(&self) -> Vec<LogOutput> {
        let mut found: Vec<_> = self.named(&self.access).cloned().collect();
        if self.access.is_empty() {
            found.push(LogOutput::standard());
        }
        found.extend(self.also.clone());
        found
    }

    /// Where the program's own log goes.
    pub fn of_program(&self) -> Vec<LogOutput> {
        self.named(&self.runtime).cloned().collect()
    }

    fn named<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a LogOutput> {
        self.outputs.iter().filter(|output| names.contains(&output.name))
    }
}

/// One place that lines go to.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOutput {
    pub name: String,
    pub target: LogTarget,
    pub format: LineFormat,
}

impl LogOutput {
    /// What `OTEL_LOGS_EXPORTER` asks for, under its name.
    pub(crate) fn of_environment(export: LogExport) -> Self {
        let target = LogTarget::Otlp(Box::new(export));
        Self { name: "OTEL_LOGS_EXPORTER".to_owned(), target, format: LineFormat::default() }
    }

    /// Standard output, as JSON.
    fn standard() -> Self {
        Self { name: "stdout".to_owned(), target: LogTarget::Stdout, format: LineFormat::default() }
    }
}

/// What takes lines.
#[derive(Debug, Clone, PartialEq)]
pub enum LogTarget {
    Stdout,
    File(PathBuf),
    /// A receiver of log records.
    Otlp(Box<LogExport>),
}

/// How a line is written.
#[derive(Debug, Clone, PartialEq)]
pub enum LineFormat {
    /// One JSON object with these fields.
    Json(Vec<LineField>),
    Template(Vec<TemplatePart>),
}

/// The fields of a JSON line where nobody names any.
const DEFAULT_FIELDS: [&str; 27] = [
    "ts",
    "trace_id",
    "span_id",
    "gateway",
    "api",
    "route",
    "service",
    "upstream",
    "consumer",
    "client_ip",
    "method",
    "scheme",
    "host",
    "path",
    "query",
    "protocol",
    "user_agent",
    "status",
    "upstream_status",
    "reason",
    "side",
    "outcome",
    "total_us",
    "gateway_us",
    "upstream_us",
    "bytes_in",
    "bytes_out",
];

impl Default for LineFormat {
    fn default() -> Self {
        Self::Json(DEFAULT_FIELDS.iter().filter_map(|name| LineField::named(name)).collect())
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplatePart {
    Text(String),
    /// `{status}`: a field of the request.
    Field(LineField),
    /// `{message}` and the others of Flex.
    Word(TemplateWord),
}

/// What every line has, whether it is about a request or the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateWord {
    /// When it was written, in RFC 3339.
    Date,
    /// Who writes it: `weir`.
    Logger,
    Level,
    /// `accessLog` or `runtimeLog`.
    Kind,
    /// What it says; of a request that no policy says anything about, method, path, status and time.
    Message,
}

impl TemplateWord {
    /// Each with its name in a template.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("date", Self::Date),
        ("logger", Self::Logger),
        ("level", Self::Level),
        ("kind", Self::Kind),
        ("message", Self::Message),
    ];
}

/// Reads a template: `{name}` stands for a value, `{{` and `}}` for the braces themselves.
pub(crate) fn template(text: &str) -> Result<Vec<TemplatePart>, String> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let Some((name, after)) = (brace == "{").then(|| after.split_once('}')).flatten() else {
            return Err(format!("has a `{brace}` without its other; write `{brace}{brace}` for the character itself"));
        };
        if !plain.is_empty() {
            parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
        }
        parts.push(part(name.trim())?);
        rest = after;
    }
    plain.push_str(rest);
    if plain.contains(['\n', '\r']) {
        return Err("has a line break; one line is written for each request".to_owned());
    }
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Ok(parts)
}

fn part(name: &str) -> Result<TemplatePart, String> {
    if let Some((_, word)) = TemplateWord::NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(TemplatePart::Word(*word));
    }
    LineField::named(name).map(TemplatePart::Field).ok_or_else(|| {
        format!("names `{{{name}}}`, which is neither `date`, `logger`, `level`, `kind`, `message` nor a field of the event (docs/access-log.md)")
    })
}

/// The lines of requests whose API says nothing of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestLines {
    /// Whether there are any; `None`: if there is an output for them.
    pub of_all: Option<bool>,
    pub log: AccessLog,
}

/// Which requests have a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccessLog {
    /// A request has a line if one of them takes it; without any, each has.
    pub filters: Vec<LineFilter>,
    /// The most lines a second, of all workers; `None`: no limit.
    pub per_second: Option<u32>,
}

/// Takes a request that meets everything that is said here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineFilter {
    /// Statuses, from and to; without any, all.
    pub statuses: Vec<(u16, u16)>,
    /// At least this long.
    pub min_duration: Option<Duration>,
    /// Why it did not simply pass; without any, all.
    pub reasons: Vec<Reason>,
    /// A share of them, chosen by the trace's id.
    pub sampling: Option<Percent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_line_are_known() {
        let LineFormat::Json(fields) = LineFormat::default() else { panic!() };
        assert_eq!(fields.len(), DEFAULT_FIELDS.len());
    }

    #[test]
    fn templates() {
        let parts = template("[{date}] {{{status}}} {message}!").unwrap();
        let field = |name| TemplatePart::Field(LineField::named(name).unwrap());
        let text = |text: &str| TemplatePart::Text(text.to_owned());
        assert_eq!(
            parts,
            [
                text("["),
                TemplatePart::Word(TemplateWord::Date),
                text("] {"),
                field("status"),
                text("} "),
                TemplatePart::Word(TemplateWord::Message),
                text("!"),
            ]
        );
        for wrong in ["{", "}", "{a", "a}", "{nothing}", "{}", "a\nb"] {
            assert!(template(wrong).is_err(), "{wrong}");
        }
    }
}
