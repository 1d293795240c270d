//! `Configuration.tracing`: Flex's keys, and those that it has no word for.

use std::time::Duration;

use http::{HeaderName, Uri};
use serde_json::{Value, json};

use super::configuration::{count, tls_of_client};
use super::settings::{Section, Shown};
use crate::export::{OtlpProtocol, Signal};
use crate::otel::{self, ExportDraft};
use crate::read::{Cursor, Mapping};
use crate::tracing::{
    ApiTracing, ParentDecision, Percent, Sampling, TraceLabel, TraceLabelValue, TraceListener, TraceTrust,
};
use crate::units::{Secret, parse_duration};

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
        "`follow`: a caller's sampled flag decides of its trace; `ignore`: the gateway samples by itself",
        |values| &mut values.config.tracing.parent,
        |at| at.choice(&ParentDecision::NAMES),
    );
    section.row_of_weir(
        "callersPerSecond",
        "How many traces a second callers that are neither `trustedPeers` nor `peerGateways` may have sampled by their flag \
         or by `x-client-trace-id`; all others count as if they had not asked",
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
            "How many of these are kept a second, of one route",
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
        "Whether responses say in `Server-Timing` what the gateway and the upstream took, and the trace's id",
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

/// Where a signal is sent, and how.
pub(super) fn target(at: &Cursor<'_>, signal: Signal) -> Option<ExportDraft> {
    let at = at.clone().with_env();
    let mut fields = at.fields()?;
    let address = fields.required("address", |at| at.parse(address, "as in `http://collector:4317`"));
    let draft = target_of(&mut fields, signal, address.clone());
    fields.finish();
    address.and(draft)
}

/// All but the address.
fn target_of(fields: &mut Mapping<'_>, signal: Signal, address: Option<Uri>) -> Option<ExportDraft> {
    fields.mean([
        ("address", "`http://`, `https://` or Flex's `h2://`, with host and port"),
        ("serviceType", "`grpc` (the default) or `http`"),
        ("serviceName", "`service.name`; by default the gateway's name"),
        ("timeout", "Of one request to the Collector; 10 s"),
        ("resourceAttributes", "Attributes of the resource"),
        ("headers", "Fields of each request to the Collector, such as `authorization`"),
        ("compression", "`gzip` or `none`"),
        ("tls", "Whom it trusts, and what it proves itself by, in the words of `tls-outbound`"),
    ]);
    let protocol = fields.take("serviceType").map_or(Some(OtlpProtocol::Grpc), |at| at.choice(&OtlpProtocol::NAMES));
    let service_name = fields.optional("serviceName", Cursor::filled);
    let timeout = fields.optional("timeout", |at| at.parse(parse_duration, "as in `10s`"));
    let resource = fields.optional("resourceAttributes", |at| at.entries(|key, at| Some((key.to_owned(), at.text()?))));
    let headers = fields.take_weir("headers").and_then(|at| at.entries(header));
    let gzip = fields.take_weir("compression").and_then(|at| at.choice(&[("gzip", true), ("none", false)]));
    let tls = fields.take_weir("tls").and_then(|at| tls_of_client(&at));
    let protocol = protocol?;
    Some(ExportDraft {
        is_off: false,
        endpoint: address.map(|address| with_path(address, protocol, signal)),
        protocol: Some(protocol),
        headers,
        gzip,
        timeout: timeout.filter(|timeout| *timeout > Duration::ZERO),
        tls,
        service_name,
        resource: resource.unwrap_or_default(),
    })
}

fn address(text: &str) -> Result<Uri, &'static str> {
    let text = text.replacen("h2://", "http://", 1).replacen("h2s://", "https://", 1);
    let uri: Uri = text.parse().map_err(|_| "is no URL")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("carries a user name, which is not sent");
    }
    match (uri.scheme_str(), uri.host().filter(|host| !host.is_empty())) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        (_, None) => Err("is no URL with a host"),
        _ => Err("is neither http, https nor h2"),
    }
}

/// Over HTTP without a path of its own, that of the signal (OTLP, "Endpoint URLs for OTLP/HTTP").
fn with_path(uri: Uri, protocol: OtlpProtocol, signal: Signal) -> Uri {
    if protocol == OtlpProtocol::Grpc || uri.path() != "/" {
        return uri;
    }
    otel::with_path(&uri, signal).unwrap_or(uri)
}

fn header(name: &str, at: &Cursor<'_>) -> Option<(HeaderName, Secret)> {
    let value = at.secret();
    match name.parse() {
        Ok(name) => Some((name, value?)),
        Err(_) => at.refuse("is no name of a header field; write one, such as `authorization`"),
    }
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
