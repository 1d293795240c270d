//! `Configuration.tracing`: Flex's keys, and those that it has no word for.

use serde_json::{Value, json};

use super::configuration::count;
use super::otlp::target;
use super::settings::{Section, Shown};
use crate::export::Signal;
use crate::otel::ExportDraft;
use crate::read::Cursor;
use crate::tracing::{
    ApiTracing, ParentDecision, Percent, Sampling, TraceLabel, TraceLabelValue, TraceListener, TraceTrust,
};

/// More labels than an event has room for.
const MOST_LABELS: usize = 5;

pub(super) fn tracing(section: &mut Section<'_, '_>) {
    section.row(
        "provider",
        "Where spans are sent by OTLP; without it, and without `OTEL_EXPORTER_OTLP_ENDPOINT`, no spans are made",
        |values| &mut values.spans,
        provider,
    );
    section.row(
        "sampling",
        "Percentages: `client` of requests with `x-client-trace-id`, `random` of all, `overall` of what is left of both",
        |values| &mut values.config.tracing.sampling,
        sampling,
    );
    section.row(
        "labels",
        "Attributes of spans and of the event",
        |values| &mut values.config.tracing.labels,
        |at| labels(at),
    );
    section.row_of_weir(
        "parent",
        "`follow`: the sampled flag of the caller decides; `ignore`: only the gateway's own sampling decides",
        |values| &mut values.config.tracing.parent,
        |at| at.choice(&ParentDecision::NAMES),
    );
    section.row_of_weir(
        "callersPerSecond",
        "Traces a second that callers other than `trustedPeers` and `peerGateways` may have sampled by their flag or by `x-client-trace-id`; further ones are treated as not requested",
        |values| &mut values.config.tracing.callers_per_second,
        count,
    );
    section.section_of_weir("keep", |section| {
        section.row(
            "failed",
            "Whether spans of requests that failed are kept, sampled or not",
            |values| &mut values.config.tracing.keep.failed,
            Cursor::boolean,
        );
        section.row(
            "slow",
            "Whether spans of requests slower than 99 of 100 of their route are kept, sampled or not",
            |values| &mut values.config.tracing.keep.slow,
            Cursor::boolean,
        );
        section.row(
            "perSecond",
            "Maximum number of these a second, for each route",
            |values| &mut values.config.tracing.keep.per_second,
            count,
        );
    });
    section.row_of_weir(
        "trust",
        "`continue`: a caller's trace goes on; `restart`: another begins, with a link to it (W3C Trace Context 3.4)",
        |values| &mut values.config.tracing.edge.trust,
        |at| at.choice(&TraceTrust::NAMES),
    );
    section.row_of_weir(
        "serverTiming",
        "Whether responses have `Server-Timing` with the times of the gateway and the upstream, and the trace id",
        |values| &mut values.config.tracing.edge.server_timing,
        Cursor::boolean,
    );
    section.row_of_weir(
        "cpuBudget",
        "Percent of the process's CPU time that telemetry may take; beyond it labels are left out, then spans of attempts, then \
         spans that are kept because they were sampled; never an event",
        |values| &mut values.config.tracing.cpu_budget,
        |at| at.parse(str::parse::<Percent>, "write 0 to 100, as in `5`").map(Some),
    );
    section.row_of_weir(
        "listeners",
        "`trust` and `serverTiming` of single ports",
        |values| &mut values.config.tracing.listeners,
        |at| at.items(listener),
    );
}

fn provider(at: &Cursor<'_>) -> Option<ExportDraft> {
    let mut fields = at.fields()?;
    fields.mean([("type", "`opentelemetry`"), ("properties", "Where spans are sent, and how")]);
    let kind = fields.required("type", kind);
    let properties = fields.required("properties", |at| target(at, Signal::Traces));
    fields.finish();
    kind?;
    properties
}

fn kind(at: &Cursor<'_>) -> Option<()> {
    if at.says("anypoint") {
        return at.refuse("sends to Anypoint's platform, which this gateway has no part in; write `opentelemetry`");
    }
    at.choice(&[("opentelemetry", ())])
}

pub(crate) fn sampling(at: &Cursor<'_>) -> Option<Sampling> {
    let mut fields = at.fields()?;
    let read = |at: &Cursor<'_>| at.parse(str::parse::<Percent>, "write 0 to 100, as in `0.1`");
    let client = fields.take("client").map_or(Some(Percent::ALL), |at| read(&at));
    let random = fields.take("random").map_or(Some(Percent::ALL), |at| read(&at));
    let overall = fields.take("overall").map_or(Some(Percent::ALL), |at| read(&at));
    fields.finish();
    Some(Sampling { client: client?, random: random?, overall: overall? })
}

pub(crate) fn labels(at: &Cursor<'_>) -> Option<Vec<TraceLabel>> {
    let labels = at.items(label)?;
    if labels.len() > MOST_LABELS {
        return at.refuse(format!("has {} labels, and an event has room for {MOST_LABELS}; remove some", labels.len()));
    }
    Some(labels)
}

#[derive(Clone, Copy)]
enum Source {
    Environment,
    RequestHeader,
    Literal,
}

/// As operators are shown it: a value may be a secret.
pub(crate) fn view(tracing: &ApiTracing) -> Value {
    let ApiTracing { sampling, span_name, labels } = tracing;
    json!({"sampling": sampling.shown(), "spanName": span_name, "labels": labels.shown()})
}

fn label(at: &Cursor<'_>) -> Option<TraceLabel> {
    let mut fields = at.fields()?;
    fields.mean([
        ("name", "Of the attribute"),
        ("type", "`literal`, `environment` or `requestHeader`"),
        ("keyName", "The variable, or the header; of a literal its value"),
        ("defaultValue", "Where there is none; of a literal its value"),
    ]);
    let name = fields.required("name", Cursor::filled);
    let types =
        [("environment", Source::Environment), ("requestHeader", Source::RequestHeader), ("literal", Source::Literal)];
    let source = fields.required("type", |at| at.choice(&types));
    let key = fields.take("keyName");
    let default = fields.take("defaultValue").map_or(Some(None), |at| at.text().map(Some));
    fields.finish();
    let (name, source, default) = (name?, source?, default?);
    let key_name = key.as_ref().map_or(Some(None), |at| at.filled().map(Some))?;
    let value = match (source, key_name) {
        (Source::Literal, key) => TraceLabelValue::Text(default.or(key).unwrap_or_default()),
        (_, None) => return at.refuse("has no `keyName`; add it"),
        (Source::Environment, Some(key)) => TraceLabelValue::Text(at.variable(&key).or(default).unwrap_or_default()),
        (Source::RequestHeader, Some(header)) => match header.parse() {
            Ok(header) => TraceLabelValue::Header(header, default),
            Err(_) => return at.refuse("names no header field in `keyName`; write one"),
        },
    };
    Some(TraceLabel { name, value })
}

fn listener(at: &Cursor<'_>) -> Option<TraceListener> {
    let mut fields = at.fields()?;
    fields.mean([("port", "Of one or more APIs"), ("trust", "As above"), ("serverTiming", "As above")]);
    let port = fields.required("port", |at| at.integer(1..=65535));
    let trust = fields.take("trust").map_or(Some(None), |at| at.choice(&TraceTrust::NAMES).map(Some));
    let timing = fields.take("serverTiming").map_or(Some(None), |at| at.boolean().map(Some));
    fields.finish();
    let port = u16::try_from(port?).ok()?;
    Some(TraceListener { port, trust: trust?, server_timing: timing? })
}
