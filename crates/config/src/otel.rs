//! OpenTelemetry's environment variables, of all three signals.
//!
//! A variable for one signal counts before the one for all. An empty one counts as absent, as the specification asks.
//! What a `Configuration` says counts before both.

use std::time::Duration;

use http::{HeaderName, Uri};

use crate::environment::Variables;
use crate::export::{AttributeLimits, Batch, HistogramForm, OtlpProtocol, OtlpTarget, Signal};
use crate::model::ExemplarFilter;
use crate::pem::{self, AnalyticsTls};
use crate::read::read_bool;
use crate::tracing::{ParentDecision, Percent, Propagators, Tracing};
use crate::units::Secret;

/// Every variable, with its meaning.
pub(crate) const VARIABLES: [(&str, &str); 55] = [
    ("OTEL_SDK_DISABLED", "`true`: nothing is sent by OTLP, whatever else is set"),
    ("OTEL_TRACES_EXPORTER", "`otlp` or `none`"),
    (
        "OTEL_METRICS_EXPORTER",
        "`otlp`: metrics are sent as well; `none`: they are not, whatever else is set; `prometheus` changes nothing, for `/metrics` is always there. A list with commas",
    ),
    (
        "OTEL_LOGS_EXPORTER",
        "`otlp`: lines about requests are sent as well, wherever else they go; `none`: no line is sent",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "where spans go, and where metrics and log records go if they are asked for: `/v1/traces`, `/v1/metrics` or `/v1/logs` is appended over HTTP; 4318, over gRPC 4317, on this machine where only other variables are set",
    ),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "the same of spans, used as it is"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "the same of metrics, used as it is; asks for them"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "the same of log records, used as it is"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "`http/protobuf` (default) or `grpc`; `http/json` is not supported"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "fields of each request: `name=value,name=value`, values percent-encoded"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "of one request, in milliseconds; 10000"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "`gzip` or `none`"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "a file of authorities in PEM, in place of those of the system"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "a file with the gateway's own certificate in PEM; with `…_CLIENT_KEY`"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", "the same, of metrics"),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE", "the same, of log records"),
    ("OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_INSECURE", "gRPC without TLS to an endpoint without a scheme"),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "`base2_exponential_bucket_histogram` (default) or `explicit_bucket_histogram`",
    ),
    (
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "of which requests exemplars are kept: `always_on` (default: each has its event), `trace_based` (of those that are sampled) or `always_off`",
    ),
    ("OTEL_SERVICE_NAME", "`service.name`; by default the gateway's name"),
    ("OTEL_RESOURCE_ATTRIBUTES", "`key=value,key=value`, values percent-encoded"),
    ("OTEL_PROPAGATORS", "of `tracecontext`, `baggage`, `b3`, `b3multi`; the first two are always there"),
    (
        "OTEL_TRACES_SAMPLER",
        "`always_on`, `always_off`, `traceidratio`, or one of these after `parentbased_` (default `parentbased_always_on`)",
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "the ratio, 0 to 1"),
    ("OTEL_BSP_SCHEDULE_DELAY", "spans are sent after so many milliseconds at the latest; 5000"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "how long a batch is tried for, in milliseconds; 30000"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "requests whose spans may wait; 2048"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "requests whose spans are sent together; 512"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "milliseconds from one collection of metrics to the next; 60000"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "how long a collection is tried for, in milliseconds; 30000"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "log records are sent after so many milliseconds at the latest; 1000"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "how long a batch of them is tried for, in milliseconds; 30000"),
    (
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "log records that are sent together; 512. `OTEL_BLRP_MAX_QUEUE_SIZE` has no effect: what waits is bounded in bytes (`docs/access-log.md`)",
    ),
    (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "attributes of a span, and `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` the characters of one; also as `OTEL_SPAN_ATTRIBUTE_…`; 128, and no limit",
    ),
    ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "methods that are no `_OTHER`, separated by commas"),
];

/// What the variables say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Environment {
    pub traces: ExportDraft,
    pub metrics: ExportDraft,
    pub logs: ExportDraft,
    /// Whether log records are sent without an output that says so.
    pub logs_are_asked_for: bool,
    pub span_batch: Batch,
    pub log_batch: Option<Batch>,
    pub attributes: AttributeLimits,
    pub known_methods: Option<Vec<String>>,
    pub metric_interval: Option<Duration>,
    pub metric_timeout: Option<Duration>,
    pub histograms: HistogramForm,
    pub exemplars: ExemplarFilter,
}

/// What is said of where one signal goes, for [`ExportDraft::finish`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ExportDraft {
    pub is_off: bool,
    /// Where it is to go.
    pub endpoint: Option<Uri>,
    pub protocol: Option<OtlpProtocol>,
    pub headers: Option<Vec<(HeaderName, Secret)>>,
    pub gzip: Option<bool>,
    pub timeout: Option<Duration>,
    pub tls: Option<AnalyticsTls>,
    pub service_name: Option<String>,
    pub resource: Vec<(String, String)>,
}

impl ExportDraft {
    /// What is said here, and for the rest what `other` says.
    pub fn over(self, other: Self) -> Self {
        let mut resource = other.resource;
        resource.retain(|(key, _)| !self.resource.iter().any(|(own, _)| own == key));
        resource.extend(self.resource);
        Self {
            is_off: other.is_off,
            // A protocol belongs to its address.
            protocol: if self.endpoint.is_some() { self.protocol } else { other.protocol },
            endpoint: self.endpoint.or(other.endpoint),
            headers: self.headers.or(other.headers),
            gzip: self.gzip.or(other.gzip),
            timeout: self.timeout.or(other.timeout),
            tls: self.tls.or(other.tls),
            service_name: other.service_name.or(self.service_name),
            resource,
        }
    }

    /// Where it goes, where anybody said so.
    pub fn finish(self) -> Option<OtlpTarget> {
        let endpoint = self.endpoint.filter(|_| !self.is_off)?;
        Some(OtlpTarget {
            endpoint,
            protocol: self.protocol.unwrap_or(OtlpProtocol::HttpProtobuf),
            headers: self.headers.unwrap_or_default(),
            gzip: self.gzip.unwrap_or(false),
            timeout: self.timeout.unwrap_or(Duration::from_secs(10)),
            tls: self.tls.unwrap_or_default(),
            service_name: self.service_name,
            resource: self.resource,
        })
    }
}

impl From<OtlpTarget> for ExportDraft {
    fn from(target: OtlpTarget) -> Self {
        Self {
            is_off: false,
            endpoint: Some(target.endpoint),
            protocol: Some(target.protocol),
            headers: Some(target.headers),
            gzip: Some(target.gzip),
            timeout: Some(target.timeout),
            tls: Some(target.tls),
            service_name: target.service_name,
            resource: target.resource,
        }
    }
}

/// The names of the variables of one signal.
struct Names {
    signal: Signal,
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    headers: &'static str,
    timeout: &'static str,
    compression: &'static str,
    certificate: &'static str,
    client_certificate: &'static str,
    client_key: &'static str,
}

macro_rules! names {
    ($signal:ident, $name:literal) => {
        Names {
            signal: Signal::$signal,
            exporter: concat!("OTEL_", $name, "_EXPORTER"),
            endpoint: concat!("OTEL_EXPORTER_OTLP_", $name, "_ENDPOINT"),
            protocol: concat!("OTEL_EXPORTER_OTLP_", $name, "_PROTOCOL"),
            headers: concat!("OTEL_EXPORTER_OTLP_", $name, "_HEADERS"),
            timeout: concat!("OTEL_EXPORTER_OTLP_", $name, "_TIMEOUT"),
            compression: concat!("OTEL_EXPORTER_OTLP_", $name, "_COMPRESSION"),
            certificate: concat!("OTEL_EXPORTER_OTLP_", $name, "_CERTIFICATE"),
            client_certificate: concat!("OTEL_EXPORTER_OTLP_", $name, "_CLIENT_CERTIFICATE"),
            client_key: concat!("OTEL_EXPORTER_OTLP_", $name, "_CLIENT_KEY"),
        }
    };
}

const TRACES: Names = names!(Traces, "TRACES");
const METRICS: Names = names!(Metrics, "METRICS");
const LOGS: Names = names!(Logs, "LOGS");

/// Reads all of them.
pub(crate) fn read(variables: &Variables<'_>, tracing: &mut Tracing) -> Environment {
    let mut read = Environment {
        traces: draft(variables, &TRACES),
        metrics: draft(variables, &METRICS),
        // An output may ask for them that is read later, without a word of where they go.
        logs: ExportDraft { endpoint: endpoint_of_logs(variables), ..draft(variables, &LOGS) },
        logs_are_asked_for: exporter(variables, &LOGS) == Some(true),
        log_batch: Some(log_batch(variables)),
        metric_interval: variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL"),
        metric_timeout: variables.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT"),
        histograms: histograms(variables),
        exemplars: exemplars(variables),
        ..Environment::default()
    };
    batch(variables, &mut read);
    read.known_methods = variables.text("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS").map(|text| list(&text));
    sampler(variables, tracing);
    let propagators = "write a list of tracecontext, baggage, b3 and b3multi";
    let propagators =
        variables.read("OTEL_PROPAGATORS", propagators, |text| Propagators::named(text.split(',').map(str::trim)));
    tracing.propagators = propagators.unwrap_or_default();
    read
}

/// Where one signal goes.
fn draft(variables: &Variables<'_>, names: &Names) -> ExportDraft {
    let disabled = variables.read("OTEL_SDK_DISABLED", "write true or false", |text| read_bool(text).ok());
    let exporter = exporter(variables, names);
    let protocol = protocol(variables, names);
    let headers = variables.read(
        variables.either(names.headers, "OTEL_EXPORTER_OTLP_HEADERS"),
        "write name=value,name=value",
        |text| pairs(text)?.into_iter().map(|(name, value)| Some((name.parse().ok()?, Secret::new(value)))).collect(),
    );
    let gzip = variables.read(
        variables.either(names.compression, "OTEL_EXPORTER_OTLP_COMPRESSION"),
        "write gzip or none",
        |text| match text {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        },
    );
    let attributes = variables.read("OTEL_RESOURCE_ATTRIBUTES", "write key=value,key=value", pairs);
    ExportDraft {
        is_off: disabled == Some(true) || exporter == Some(false),
        endpoint: endpoint(variables, names, protocol, exporter == Some(true)),
        protocol,
        headers,
        gzip,
        timeout: variables.milliseconds(variables.either(names.timeout, "OTEL_EXPORTER_OTLP_TIMEOUT")),
        tls: tls(variables, names),
        service_name: variables.text("OTEL_SERVICE_NAME"),
        resource: attributes.unwrap_or_default(),
    }
}

fn protocol(variables: &Variables<'_>, names: &Names) -> Option<OtlpProtocol> {
    variables.read(
        variables.either(names.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        "write grpc or http/protobuf",
        |text| match text {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
            _ => None,
        },
    )
}

/// Whether the signal is asked for, or asked not to be sent. `prometheus` says nothing of what is sent.
fn exporter(variables: &Variables<'_>, names: &Names) -> Option<bool> {
    if names.signal != Signal::Metrics {
        return variables.read(names.exporter, "write otlp or none", |text| match text {
            "otlp" => Some(true),
            "none" => Some(false),
            _ => None,
        });
    }
    variables.read(names.exporter, "write a list of otlp, prometheus and none", |text| {
        let names = list(text);
        let is_known = |name: &String| ["otlp", "prometheus", "none"].contains(&name.as_str());
        names.iter().all(is_known).then(|| names.iter().any(|name| name == "otlp"))
    })
}

/// The signal's own as it is, or the one for all with the path of the signal; where only the exporter is named, that of a
/// Collector on this machine. Spans go to the one for all unasked, as they always did.
fn endpoint(
    variables: &Variables<'_>,
    names: &Names,
    protocol: Option<OtlpProtocol>,
    is_asked_for: bool,
) -> Option<Uri> {
    const CURE: &str = "write a URL such as http://localhost:4318";
    let is_grpc = protocol == Some(OtlpProtocol::Grpc);
    let insecure = variables.read("OTEL_EXPORTER_OTLP_INSECURE", "write true or false", |text| read_bool(text).ok());
    let own = variables.read(names.endpoint, CURE, |text| url(text, insecure == Some(true)));
    let base = variables.read("OTEL_EXPORTER_OTLP_ENDPOINT", CURE, |text| {
        let uri = url(text, insecure == Some(true))?;
        if is_grpc { Some(uri) } else { with_path(&uri, names.signal) }
    });
    let base = base.filter(|_| is_asked_for || names.signal == Signal::Traces);
    own.or(base).or_else(|| if is_asked_for { usual(is_grpc, names.signal) } else { None })
}

fn endpoint_of_logs(variables: &Variables<'_>) -> Option<Uri> {
    endpoint(variables, &LOGS, protocol(variables, &LOGS), true)
}

/// That of a Collector on this machine.
fn usual(is_grpc: bool, signal: Signal) -> Option<Uri> {
    if is_grpc {
        return Some(Uri::from_static("http://localhost:4317"));
    }
    with_path(&Uri::from_static("http://localhost:4318"), signal)
}

/// With the path of the signal (OTLP specification, "Endpoint URLs for OTLP/HTTP").
pub(crate) fn with_path(base: &Uri, signal: Signal) -> Option<Uri> {
    format!("{}{}", base.to_string().trim_end_matches('/'), signal.path()).parse().ok()
}

fn exemplars(variables: &Variables<'_>) -> ExemplarFilter {
    let read = variables.read("OTEL_METRICS_EXEMPLAR_FILTER", "write always_on, trace_based or always_off", |text| {
        ExemplarFilter::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, filter)| filter)
    });
    read.unwrap_or_default()
}

fn histograms(variables: &Variables<'_>) -> HistogramForm {
    let read = variables.read(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "write base2_exponential_bucket_histogram or explicit_bucket_histogram",
        |text| match text.to_ascii_lowercase().as_str() {
            "base2_exponential_bucket_histogram" => Some(HistogramForm::Exponential),
            "explicit_bucket_histogram" => Some(HistogramForm::Explicit),
            _ => None,
        },
    );
    read.unwrap_or_default()
}

/// An `http` or `https` URL; without a scheme, as gRPC's endpoints may be, the one of TLS unless it is switched off.
fn url(text: &str, insecure: bool) -> Option<Uri> {
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("{}://{text}", if insecure { "http" } else { "https" })
    };
    let uri: Uri = with_scheme.parse().ok()?;
    let is_well = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    (is_well && !uri.authority().is_some_and(|authority| authority.as_str().contains('@'))).then_some(uri)
}

fn tls(variables: &Variables<'_>, names: &Names) -> Option<AnalyticsTls> {
    const CURE: &str = "name a file in PEM that can be read";
    let authorities = variables.either(names.certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE");
    let chain = variables.either(names.client_certificate, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    let key = variables.either(names.client_key, "OTEL_EXPORTER_OTLP_CLIENT_KEY");
    let authorities = variables.read(authorities, CURE, pem::authorities_of_file);
    let key = variables.text(key);
    let pair = variables.read(chain, "name files in PEM that can be read, of a certificate and of its key", |chain| {
        pem::key_pair_of_files(chain, key.as_deref()?)
    });
    (authorities.is_some() || pair.is_some()).then_some(AnalyticsTls { authorities, certificate: pair })
}

fn batch(variables: &Variables<'_>, read: &mut Environment) {
    let batch = &mut read.span_batch;
    variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY").into_iter().for_each(|delay| batch.delay = delay);
    variables.milliseconds("OTEL_BSP_EXPORT_TIMEOUT").into_iter().for_each(|timeout| batch.timeout = timeout);
    variables.count("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000).into_iter().for_each(|size| batch.queue = size);
    variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=10_000).into_iter().for_each(|size| batch.size = size);
    batch.size = batch.size.min(batch.queue);
    let limits = &mut read.attributes;
    for name in ["OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"] {
        variables.count(name, 0..=1_000_000).into_iter().for_each(|count| limits.count = count);
    }
    for name in ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"] {
        variables.count(name, 0..=1_000_000).into_iter().for_each(|length| limits.length = Some(length));
    }
}

fn log_batch(variables: &Variables<'_>) -> Batch {
    let usual = Batch::of_logs();
    Batch {
        delay: variables.milliseconds("OTEL_BLRP_SCHEDULE_DELAY").unwrap_or(usual.delay),
        timeout: variables.milliseconds("OTEL_BLRP_EXPORT_TIMEOUT").unwrap_or(usual.timeout),
        size: variables.count("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 1..=10_000).unwrap_or(usual.size),
        ..usual
    }
}

fn sampler(variables: &Variables<'_>, tracing: &mut Tracing) {
    const CURE: &str = "write a ratio from 0 to 1, as in 0.01";
    let ratio = variables.read("OTEL_TRACES_SAMPLER_ARG", CURE, |text| Percent::of_ratio(text.parse().ok()?));
    let cure = "write always_on, always_off, traceidratio, or one of them after parentbased_";
    let sampler = variables.read("OTEL_TRACES_SAMPLER", cure, |text| {
        let (parent, name) = match text.strip_prefix("parentbased_") {
            Some(name) => (ParentDecision::Follow, name),
            None => (ParentDecision::Ignore, text),
        };
        let random = match name {
            "always_on" => Percent::ALL,
            "always_off" => Percent::NONE,
            "traceidratio" => ratio.unwrap_or(Percent::ALL),
            _ => return None,
        };
        Some((parent, random))
    });
    if let Some((parent, random)) = sampler {
        tracing.parent = parent;
        tracing.sampling.random = random;
    }
}

/// `name=value,name=value`, as W3C Baggage writes it: blanks around names and values do not count, values are
/// percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (name, value) = member.split_once('=')?;
            let (name, value) = (name.trim(), decoded(value.trim())?);
            (!name.is_empty()).then(|| (name.to_owned(), value))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Errors;
    use std::collections::BTreeMap;

    /// What these variables say, also of what is sampled, and the names of those that are refused.
    fn said(variables: &[(&str, &str)]) -> (Environment, Tracing, Vec<String>) {
        let all: BTreeMap<_, _> = variables.iter().copied().collect();
        let (errors, mut tracing) = (Errors::default(), Tracing::default());
        let env = |name: &str| all.get(name).map(|text| (*text).to_owned());
        let read = read(&Variables { env: &env, errors: &errors }, &mut tracing);
        (read, tracing, errors.into_inner().into_iter().map(|error| error.path).collect())
    }

    /// Of spans and of metrics.
    fn endpoints_of(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let (read, _, errors) = said(variables);
        assert_eq!(errors, Vec::<String>::new());
        [read.traces, read.metrics].map(|draft| draft.finish().map(|target| target.endpoint.to_string()))
    }

    #[test]
    fn the_endpoint_is_the_signals_own_or_gets_its_path() {
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        for (variables, expected) in [
            (vec![], None),
            (vec![(BASE, "")], None),
            (vec![(BASE, "http://c:4318")], Some("http://c:4318/v1/traces")),
            (vec![(BASE, "http://c:4318/otlp/")], Some("http://c:4318/otlp/v1/traces")),
            (vec![(BASE, "http://c:1"), (OWN, "https://d")], Some("https://d/")),
            (vec![(BASE, "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Some("http://c:4317/")),
            (vec![(OWN, "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], Some("http://c:4317/")),
            (vec![(OWN, "c:4317")], Some("https://c:4317/")),
            (vec![("OTEL_TRACES_EXPORTER", "otlp")], Some("http://localhost:4318/v1/traces")),
            (vec![(BASE, "http://c"), ("OTEL_TRACES_EXPORTER", "none")], None),
            (vec![(BASE, "http://c"), ("OTEL_SDK_DISABLED", "true")], None),
        ] {
            assert_eq!(endpoints_of(&variables)[0].as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn metrics_go_nowhere_unless_they_are_asked_for() {
        const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        const OWN: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
        const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
        for (variables, expected) in [
            (vec![], None),
            (vec![BASE], None),
            (vec![BASE, (EXPORTER, "prometheus")], None),
            (vec![BASE, (EXPORTER, "otlp")], Some("http://c:4318/v1/metrics")),
            (vec![BASE, (EXPORTER, "prometheus, otlp")], Some("http://c:4318/v1/metrics")),
            (vec![BASE, (EXPORTER, "otlp"), ("OTEL_SDK_DISABLED", "true")], None),
            (vec![(EXPORTER, "otlp")], Some("http://localhost:4318/v1/metrics")),
            (vec![(EXPORTER, "otlp"), ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")], Some("http://localhost:4317/")),
            (vec![(OWN, "http://m:1/x")], Some("http://m:1/x")),
            (vec![(OWN, "http://m:1/x"), (EXPORTER, "none")], None),
        ] {
            assert_eq!(endpoints_of(&variables)[1].as_deref(), expected, "{variables:?}");
        }
        assert_eq!(said(&[(EXPORTER, "console")]).2, [EXPORTER]);
    }

    #[test]
    fn what_is_said_of_traces_counts_before_what_is_said_of_all() {
        let (read, ..) = said(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b = two%20words "),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"),
        ]);
        let (traces, metrics) = (read.traces.finish().unwrap(), read.metrics.finish().unwrap());
        let headers: Vec<_> = traces.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("a", "1"), ("b", "two words")]);
        assert_eq!((traces.timeout, traces.gzip), (Duration::from_secs(2), false));
        assert_eq!((metrics.timeout, metrics.gzip), (Duration::from_secs(1), true));
        assert_eq!((read.span_batch.queue, read.span_batch.size, read.attributes.count), (100, 100, 7));
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        for (name, argument, parent, ratio) in [
            ("always_on", "", ParentDecision::Ignore, 1.0),
            ("always_off", "", ParentDecision::Ignore, 0.0),
            ("traceidratio", "0.25", ParentDecision::Ignore, 0.25),
            ("parentbased_traceidratio", "0.5", ParentDecision::Follow, 0.5),
            ("parentbased_always_off", "", ParentDecision::Follow, 0.0),
        ] {
            let (_, tracing, errors) = said(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
            assert_eq!((tracing.parent, tracing.sampling.random.ratio(), errors), (parent, ratio, vec![]), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no pairs"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_PROPAGATORS", "jaeger"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ] {
            assert_eq!(said(&[(name, value)]).2, [name], "{value}");
        }
    }

    #[test]
    fn every_variable_that_is_read_has_a_meaning() {
        for signal in ["TRACES", "METRICS", "LOGS"] {
            for name in [
                "ENDPOINT",
                "PROTOCOL",
                "HEADERS",
                "TIMEOUT",
                "COMPRESSION",
                "CERTIFICATE",
                "CLIENT_CERTIFICATE",
                "CLIENT_KEY",
            ] {
                let name = format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
                assert!(VARIABLES.iter().any(|(known, _)| *known == name), "{name}");
            }
        }
        let source = include_str!("otel.rs");
        let read = source.split("\"OTEL_").skip(1).filter_map(|rest| rest.split('"').next());
        let read = read.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
        let read = read.filter(|name| !name.is_empty() && !name.ends_with('_'));
        let text: String = VARIABLES.iter().map(|(name, meaning)| format!("{name} {meaning} ")).collect();
        for name in read {
            assert!(text.contains(&format!("OTEL_{name}")) || name.starts_with("SPAN_ATTRIBUTE_"), "{name}");
        }
    }
}
