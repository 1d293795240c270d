//! `Configuration.logging`: Flex's keys, and which requests have a line.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weir_event::Reason;
use weir_event::line::LineField;

use super::configuration::count;
use super::otlp::optional_target;
use super::output::{OutputDraft, TargetDraft};
use super::settings::{Section, Shown};
use crate::export::Signal;
use crate::logging::{LineFilter, LineFormat, LogTarget, RequestLines, TemplatePart, TemplateWord, template};
use crate::model::LogLevel;
use crate::otel::ExportDraft;
use crate::read::Cursor;
use crate::tracing::Percent;
use crate::units::{parse_duration, time};

/// All that a server may answer, and 0, where no answer was begun.
const STATUSES: RangeInclusive<u64> = 0..=999;

pub(super) fn logging(section: &mut Section<'_, '_>) {
    section.row(
        "outputs",
        "Where lines can go: a `file`, `stdout`, or `otlp`; each with a `name` (`docs/access-log.md`)",
        |values| &mut values.outputs,
        outputs,
    );
    section.section("runtimeLogs", |section| {
        section.row(
            "logLevel",
            "The least severe level that is logged",
            |values| &mut values.config.startup.log_level,
            |at| at.choice(&LogLevel::NAMES),
        );
        section.row(
            "outputs",
            "The names of the outputs that the gateway's own log goes to, beside standard error",
            |values| &mut values.config.startup.logging.runtime,
            names,
        );
    });
    section.section("accessLogs", |section| {
        section.row(
            "outputs",
            "The names of the outputs that lines about requests go to; with any, each request has a line",
            |values| &mut values.config.startup.logging.access,
            names,
        );
        section.row_of_weir(
            "requests",
            "Whether each request has a line, or only those of APIs with `access-log`; by default the first with `outputs`",
            |values| &mut values.config.access_log.of_all,
            |at| at.boolean().map(Some),
        );
        section.row_of_weir(
            "filters",
            "Which requests have a line: those that match one of the filters",
            |values| &mut values.config.access_log.log.filters,
            filters,
        );
        section.row_of_weir(
            "perSecond",
            "Maximum number of lines a second; the number of omitted lines is logged",
            |values| &mut values.config.access_log.log.per_second,
            |at| count(at).map(Some),
        );
    });
}

fn outputs(at: &Cursor<'_>) -> Option<Vec<OutputDraft>> {
    let outputs = at.items(output)?;
    let mut seen = std::collections::HashSet::new();
    match outputs.iter().find(|output| !seen.insert(&output.name)) {
        Some(twice) => at.refuse(format!("has two outputs `{}`; give each its own name", twice.name)),
        None => Some(outputs),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Stdout,
    File,
    Otlp,
}

fn output(at: &Cursor<'_>) -> Option<OutputDraft> {
    let mut fields = at.fields()?;
    fields.mean([
        ("name", "The name for `runtimeLogs.outputs` and `accessLogs.outputs`"),
        ("type", "`file`, `stdout` or `otlp`"),
        ("parameters", "Where the file or the receiver is, and how a line is written"),
    ]);
    let name = fields.required("name", Cursor::filled);
    let kind = fields.required("type", kind);
    let parameters = fields.take("parameters").map_or_else(|| Some(Parameters::default()), |at| parameters(&at));
    fields.finish();
    let (name, kind, Parameters { path, format, receiver }) = (name?, kind?, parameters?);
    let is_receiver_said = receiver != ExportDraft::default();
    let target = match (kind, path) {
        (Kind::Otlp, Some(_)) => return at.refuse("names a file, and is `otlp`; write `type: file`, or remove it"),
        (Kind::Otlp, None) if receiver.endpoint.is_none() && receiver.protocol.is_some() => {
            return at.refuse("has a `serviceType` and no `address`; add it, or set OTEL_EXPORTER_OTLP_PROTOCOL");
        }
        (Kind::Otlp, None) => TargetDraft::Otlp(Box::new(receiver)),
        (Kind::Stdout | Kind::File, _) if is_receiver_said => {
            return at.refuse("says how a receiver is reached, and is none; write `type: otlp`, or remove it");
        }
        (Kind::Stdout, None) => TargetDraft::Known(LogTarget::Stdout),
        (Kind::Stdout, Some(_)) => return at.refuse("names a file, and is `stdout`; write `type: file`, or remove it"),
        (Kind::File, Some(path)) => TargetDraft::Known(LogTarget::File(path)),
        (Kind::File, None) => return at.refuse("names no file; write `parameters: {file: /path/of/the.log}`"),
    };
    Some(OutputDraft { name, target, format })
}

/// Of an output.
#[derive(Default)]
struct Parameters {
    path: Option<PathBuf>,
    format: LineFormat,
    receiver: ExportDraft,
}

/// Those that there are; all others of Fluent Bit are the work of whoever collects lines.
fn kind(at: &Cursor<'_>) -> Option<Kind> {
    let kinds = [("file", Kind::File), ("stdout", Kind::Stdout), ("otlp", Kind::Otlp)];
    if at.says("otlp") && !at.is_weir() {
        return at.refuse("`otlp` is no output of Flex; write `apiVersion: gateway.weir.dev/v1` for it");
    }
    if at.is_described() {
        return at.choice(&kinds);
    }
    let text = at.text()?;
    match kinds.iter().find(|(name, _)| *name == text) {
        Some((_, kind)) => Some(*kind),
        None => at.refuse(format!(
            "`{}` is no output of this gateway, which writes to `file` and `stdout` and sends by OTLP (`otlp`); have an \
             OpenTelemetry Collector take these and send them on, in the protocol of whoever keeps them (docs/access-log.md)",
            crate::read::show(&text)
        )),
    }
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Template,
}

fn parameters(at: &Cursor<'_>) -> Option<Parameters> {
    let at = at.clone().with_env();
    let mut fields = at.fields()?;
    fields.mean([
        ("path", "A folder, where `file` is a name in it"),
        ("file", "Where lines are appended; it may be rotated at any time"),
        ("format", "`json` (the default) or `template`"),
        ("template", "One line, in which `{status}` stands for a field of the event"),
        ("fields", "For JSON lines and log records: the fields of the event, in this order"),
    ]);
    let folder = fields.take("path").map_or(Some(None), |at| at.filled().map(Some));
    let file = fields.take("file").map_or(Some(None), |at| at.filled().map(Some));
    let formats = [("json", Format::Json), ("template", Format::Template)];
    let format = fields.take("format").map_or(Some(None), |at| at.choice(&formats).map(Some));
    let template = fields.take("template").map_or(Some(None), |at| at.parse_with_hint(template).map(Some));
    let chosen = fields.take_weir("fields").map_or(Some(None), |at| at.items(field).map(Some));
    let receiver = optional_target(&mut fields, Signal::Logs);
    fields.finish();
    let (folder, file, format, template, chosen) = (folder?, file?, format?, template?, chosen?);
    let path = match (folder, file) {
        (Some(folder), Some(file)) => Some(Path::new(&folder).join(file)),
        (None, Some(file)) => Some(PathBuf::from(file)),
        (Some(_), None) => return at.refuse("has a folder and no `file`; add it"),
        (None, None) => None,
    };
    let format = line_format(&at, format, template, chosen)?;
    Some(Parameters { path, format, receiver: receiver? })
}

fn line_format(
    at: &Cursor<'_>,
    format: Option<Format>,
    template: Option<Vec<TemplatePart>>,
    chosen: Option<Vec<LineField>>,
) -> Option<LineFormat> {
    Some(match (format, template, chosen) {
        (Some(Format::Template), Some(_), Some(_)) | (None, Some(_), Some(_)) => {
            return at.refuse("has `template` and `fields`; a line is one or the other: remove one");
        }
        (Some(Format::Template) | None, Some(parts), None) => LineFormat::Template(parts),
        (Some(Format::Template), None, _) => return at.refuse("has no `template`; add it, as in `{date} {message}`"),
        (Some(Format::Json), Some(_), _) => {
            return at.refuse("has a `template`, and its format is `json`; write `format: template`, or remove it");
        }
        (_, None, Some(fields)) => LineFormat::Json(fields),
        (_, None, None) => LineFormat::default(),
    })
}

fn field(at: &Cursor<'_>) -> Option<LineField> {
    let text = at.filled()?;
    LineField::named(&text).or_else(|| {
        let name = crate::read::show(&text);
        at.refuse(format!("`{name}` is no field that a line can have; docs/access-log.md lists them"))
    })
}

/// Names of outputs. Flex's map, which says only that nothing goes to its platform, names none.
fn names(at: &Cursor<'_>) -> Option<Vec<String>> {
    if !at.is_described() && at.is_mapping() {
        let mut fields = at.fields()?;
        let anypoint = fields.optional("anypoint", |at| at.choice(&[("disabled", ()), ("enabled", ())]));
        fields.finish();
        return anypoint.map(|()| Vec::new());
    }
    at.items(Cursor::filled)
}

/// Which requests have a line, as the policy `access-log` and `accessLogs` say it.
pub(crate) fn filters(at: &Cursor<'_>) -> Option<Vec<LineFilter>> {
    at.items(filter)
}

fn filter(at: &Cursor<'_>) -> Option<LineFilter> {
    let mut fields = at.fields()?;
    fields.mean([
        ("status", "The status is one of these, as in `[404, 5xx, 400-403]`"),
        ("minDuration", "It took at least this long, as in `500ms`"),
        ("reason", "The reason is one of these (`docs/reasons.md`)"),
        ("sampling", "This percentage of them, chosen by the trace id"),
    ]);
    let statuses = fields.optional("status", |at| at.items(statuses));
    let min_duration = fields.optional("minDuration", |at| at.parse(parse_duration, "as in `500ms`"));
    let reasons = fields.optional("reason", |at| at.items(reason));
    let sampling = fields.optional("sampling", |at| at.parse(str::parse::<Percent>, "write 0 to 100, as in `0.1`"));
    let is_empty = fields.is_empty();
    fields.finish();
    if is_empty && !at.is_described() {
        return at.refuse("takes every request; write what it takes, or remove it");
    }
    Some(LineFilter {
        statuses: statuses.unwrap_or_default(),
        min_duration,
        reasons: reasons.unwrap_or_default(),
        sampling,
    })
}

fn statuses(at: &Cursor<'_>) -> Option<(u16, u16)> {
    let read = |text: &str| {
        let number = |text: &str| text.parse().ok().filter(|number| STATUSES.contains(&u64::from(*number)));
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=9).contains(class))?;
            return Some((class * 100, class * 100 + 99));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (number(from.trim())?, number(to.trim())?);
        (from <= to).then_some((from, to))
    };
    at.parse(|text| read(text).ok_or("is no status"), "write `404`, `5xx` or `400-403`")
}

fn reason(at: &Cursor<'_>) -> Option<Reason> {
    let words: Vec<_> = Reason::ALL.iter().map(|reason| (reason.as_str(), *reason)).collect();
    let known: Vec<_> = words.into_iter().filter(|(word, _)| !word.is_empty() && *word != "unknown").collect();
    at.choice(&known)
}

impl Shown for Vec<OutputDraft> {
    fn shown(&self) -> Value {
        let of = |output: &OutputDraft| {
            let format = format_of(&output.format);
            let (kind, file) = match &output.target {
                TargetDraft::Known(LogTarget::File(path)) => ("file", Some(path.to_string_lossy())),
                TargetDraft::Known(_) => ("stdout", None),
                TargetDraft::Otlp(receiver) => {
                    return json!({"name": output.name, "type": "otlp", "receiver": receiver.shown(), "format": format});
                }
            };
            json!({"name": output.name, "type": kind, "file": file, "format": format})
        };
        json!(self.iter().map(of).collect::<Vec<_>>())
    }
}

fn format_of(format: &LineFormat) -> Value {
    match format {
        LineFormat::Json(fields) => json!(fields.iter().map(|field| field.name).collect::<Vec<_>>()),
        LineFormat::Template(parts) => json!(parts.iter().map(shown_part).collect::<String>()),
    }
}

fn shown_part(part: &TemplatePart) -> String {
    match part {
        TemplatePart::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        TemplatePart::Field(field) => format!("{{{}}}", field.name),
        TemplatePart::Word(word) => {
            let name = TemplateWord::NAMES.iter().find(|(_, known)| known == word).map_or("", |(name, _)| name);
            format!("{{{name}}}")
        }
    }
}

impl Shown for Vec<LineFilter> {
    fn shown(&self) -> Value {
        json!(self.iter().map(filter_view).collect::<Vec<_>>())
    }
}

fn filter_view(filter: &LineFilter) -> Value {
    let LineFilter { statuses, min_duration, reasons, sampling } = filter;
    let status = |(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    json!({
        "status": statuses.iter().map(status).collect::<Vec<_>>(),
        "minDuration": min_duration.map(time),
        "reason": reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
        "sampling": sampling.map(|percent| percent.ratio() * 100.0),
    })
}

/// As operators are shown it.
pub(crate) fn view(lines: &RequestLines) -> Value {
    let RequestLines { of_all, log } = lines;
    json!({"enabled": of_all, "filters": log.filters.shown(), "perSecond": log.per_second})
}
