//! OpenTelemetry's environment variables, of the signal "traces".
//!
//! A variable for one signal counts before the one for all. An empty one counts as absent, as the specification asks.
//! What a `Configuration` says counts before both.

use std::time::Duration;

use http::{HeaderName, Uri};

use crate::environment::Variables;
use crate::pem::{self, AnalyticsTls};
use crate::read::read_bool;
use crate::tracing::{OtlpProtocol, ParentDecision, Percent, Propagators, TraceExport, Tracing};
use crate::units::Secret;

/// Every variable, with its meaning.
pub(crate) const VARIABLES: [(&str, &str); 30] = [
    ("OTEL_SDK_DISABLED", "`true`: no spans, whatever else is set"),
    ("OTEL_TRACES_EXPORTER", "`otlp` or `none`"),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "where spans go: `/v1/traces` is appended over HTTP; 4318, over gRPC 4317, on this machine where only other variables are set",
    ),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "the same, used as it is"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "`http/protobuf` (default) or `grpc`; `http/json` is not supported"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "fields of each request: `name=value,name=value`, values percent-encoded"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "of one request, in milliseconds; 10000"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "`gzip` or `none`"),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "a file of authorities in PEM, in place of those of the system"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "a file with the gateway's own certificate in PEM; with `…_CLIENT_KEY`"),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "the same, of traces"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "its key"),
    ("OTEL_EXPORTER_OTLP_INSECURE", "gRPC without TLS to an endpoint without a scheme"),
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
    (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "attributes of a span, and `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` the characters of one; also as `OTEL_SPAN_ATTRIBUTE_…`; 128, and no limit",
    ),
    ("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "methods that are no `_OTHER`, separated by commas"),
];

/// What the variables say of where spans go, for [`ExportDraft::finish`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ExportDraft {
    pub is_off: bool,
    pub endpoint: Option<Uri>,
    pub protocol: Option<OtlpProtocol>,
    pub headers: Option<Vec<(HeaderName, Secret)>>,
    pub gzip: Option<bool>,
    pub timeout: Option<Duration>,
    pub tls: Option<AnalyticsTls>,
    pub service_name: Option<String>,
    pub resource: Vec<(String, String)>,
    pub batch: crate::tracing::Batch,
    pub attributes: crate::tracing::AttributeLimits,
    pub known_methods: Option<Vec<String>>,
}

impl ExportDraft {
    /// What is said here, and for the rest what `other` says.
    pub fn over(self, other: Self) -> Self {
        let mut resource = other.resource;
        resource.retain(|(key, _)| !self.resource.iter().any(|(own, _)| own == key));
        resource.extend(self.resource);
        Self {
            // A protocol belongs to its address.
            protocol: if self.endpoint.is_some() { self.protocol } else { other.protocol },
            endpoint: self.endpoint.or(other.endpoint),
            headers: self.headers.or(other.headers),
            gzip: self.gzip.or(other.gzip),
            timeout: self.timeout.or(other.timeout),
            tls: self.tls.or(other.tls),
            service_name: other.service_name.or(self.service_name),
            resource,
            ..other
        }
    }

    /// Where spans go, where anybody said so.
    pub fn finish(self) -> Option<TraceExport> {
        let endpoint = self.endpoint.filter(|_| !self.is_off)?;
        Some(TraceExport {
            endpoint,
            protocol: self.protocol.unwrap_or(OtlpProtocol::HttpProtobuf),
            headers: self.headers.unwrap_or_default(),
            gzip: self.gzip.unwrap_or(false),
            timeout: self.timeout.unwrap_or(Duration::from_secs(10)),
            tls: self.tls.unwrap_or_default(),
            service_name: self.service_name,
            resource: self.resource,
            batch: self.batch,
            attributes: self.attributes,
            known_methods: self.known_methods,
        })
    }
}

impl From<TraceExport> for ExportDraft {
    fn from(export: TraceExport) -> Self {
        Self {
            is_off: false,
            endpoint: Some(export.endpoint),
            protocol: Some(export.protocol),
            headers: Some(export.headers),
            gzip: Some(export.gzip),
            timeout: Some(export.timeout),
            tls: Some(export.tls),
            service_name: export.service_name,
            resource: export.resource,
            batch: export.batch,
            attributes: export.attributes,
            known_methods: export.known_methods,
        }
    }
}

/// Reads all of them.
pub(crate) fn read(variables: &Variables<'_>, tracing: &mut Tracing) -> ExportDraft {
    let mut draft = ExportDraft::default();
    let disabled = variables.read("OTEL_SDK_DISABLED", "write true or false", |text| read_bool(text).ok());
    let exporter = variables.read("OTEL_TRACES_EXPORTER", "write otlp or none", |text| match text {
        "otlp" => Some(true),
        "none" => Some(false),
        _ => None,
    });
    draft.is_off = disabled == Some(true) || exporter == Some(false);
    draft.protocol = variables.read(
        variables.either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        "write grpc or http/protobuf",
        |text| match text {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
            _ => None,
        },
    );
    draft.endpoint = endpoint(variables, draft.protocol, exporter == Some(true));
    draft.headers = variables.read(
        variables.either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
        "write name=value,name=value",
        |text| pairs(text)?.into_iter().map(|(name, value)| Some((name.parse().ok()?, Secret::new(value)))).collect(),
    );
    draft.timeout =
        variables.milliseconds(variables.either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"));
    draft.gzip = variables.read(
        variables.either("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
        "write gzip or none",
        |text| match text {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        },
    );
    draft.tls = tls(variables);
    draft.service_name = variables.text("OTEL_SERVICE_NAME");
    let attributes = variables.read("OTEL_RESOURCE_ATTRIBUTES", "write key=value,key=value", pairs);
    draft.resource = attributes.unwrap_or_default();
    batch(variables, &mut draft);
    draft.known_methods = variables.text("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS").map(|text| list(&text));
    sampler(variables, tracing);
    let propagators = "write a list of tracecontext, baggage, b3 and b3multi";
    let propagators =
        variables.read("OTEL_PROPAGATORS", propagators, |text| Propagators::named(text.split(',').map(str::trim)));
    tracing.propagators = propagators.unwrap_or_default();
    draft
}

/// `…_TRACES_ENDPOINT` as it is, `…_ENDPOINT` with the path of the signal; where only the exporter or its protocol is named,
/// that of a Collector on this machine.
fn endpoint(variables: &Variables<'_>, protocol: Option<OtlpProtocol>, is_asked_for: bool) -> Option<Uri> {
    const CURE: &str = "write a URL such as http://localhost:4318";
    let is_grpc = protocol == Some(OtlpProtocol::Grpc);
    let insecure = variables.read("OTEL_EXPORTER_OTLP_INSECURE", "write true or false", |text| read_bool(text).ok());
    let own = variables.read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", CURE, |text| url(text, insecure == Some(true)));
    let base = variables.read("OTEL_EXPORTER_OTLP_ENDPOINT", CURE, |text| {
        let uri = url(text, insecure == Some(true))?;
        if is_grpc {
            return Some(uri);
        }
        format!("{}/v1/traces", uri.to_string().trim_end_matches('/')).parse().ok()
    });
    let usual = if is_grpc { "http://localhost:4317" } else { "http://localhost:4318/v1/traces" };
    own.or(base).or_else(|| is_asked_for.then(|| Uri::from_static(usual)))
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

fn tls(variables: &Variables<'_>) -> Option<AnalyticsTls> {
    const CURE: &str = "name a file in PEM that can be read";
    let authorities = variables.either("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
    let chain =
        variables.either("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
    let key = variables.either("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY");
    let authorities = variables.read(authorities, CURE, pem::authorities_of_file);
    let key = variables.text(key);
    let pair = variables.read(chain, "name files in PEM that can be read, of a certificate and of its key", |chain| {
        pem::key_pair_of_files(chain, key.as_deref()?)
    });
    (authorities.is_some() || pair.is_some()).then_some(AnalyticsTls { authorities, certificate: pair })
}

fn batch(variables: &Variables<'_>, draft: &mut ExportDraft) {
    let batch = &mut draft.batch;
    variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY").into_iter().for_each(|delay| batch.delay = delay);
    variables.milliseconds("OTEL_BSP_EXPORT_TIMEOUT").into_iter().for_each(|timeout| batch.timeout = timeout);
    variables.count("OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000).into_iter().for_each(|size| batch.queue = size);
    variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=10_000).into_iter().for_each(|size| batch.size = size);
    batch.size = batch.size.min(batch.queue);
    let limits = &mut draft.attributes;
    for name in ["OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"] {
        variables.count(name, 0..=1_000_000).into_iter().for_each(|count| limits.count = count);
    }
    for name in ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"] {
        variables.count(name, 0..=1_000_000).into_iter().for_each(|length| limits.length = Some(length));
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

    /// Where spans go and what is sampled by these variables, and the names of those that are refused.
    fn said(variables: &[(&str, &str)]) -> (Option<TraceExport>, Tracing, Vec<String>) {
        let all: BTreeMap<_, _> = variables.iter().copied().collect();
        let (errors, mut tracing) = (Errors::default(), Tracing::default());
        let env = |name: &str| all.get(name).map(|text| (*text).to_owned());
        let export = read(&Variables { env: &env, errors: &errors }, &mut tracing).finish();
        (export, tracing, errors.into_inner().into_iter().map(|error| error.path).collect())
    }

    fn endpoint_of(variables: &[(&str, &str)]) -> Option<String> {
        let (export, _, errors) = said(variables);
        assert_eq!(errors, Vec::<String>::new());
        export.map(|export| export.endpoint.to_string())
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
            assert_eq!(endpoint_of(&variables).as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_is_said_of_traces_counts_before_what_is_said_of_all() {
        let (export, ..) = said(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b = two%20words "),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"),
        ]);
        let export = export.unwrap();
        let headers: Vec<_> = export.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("a", "1"), ("b", "two words")]);
        assert_eq!((export.timeout, export.gzip), (Duration::from_secs(2), false));
        assert_eq!((export.batch.queue, export.batch.size, export.attributes.count), (100, 100, 7));
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
        let source = include_str!("otel.rs");
        let read = source.split("\"OTEL_").skip(1).filter_map(|rest| rest.split('"').next());
        let read = read.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
        let text: String = VARIABLES.iter().map(|(name, meaning)| format!("{name} {meaning} ")).collect();
        for name in read {
            assert!(text.contains(&format!("OTEL_{name}")) || name.starts_with("SPAN_ATTRIBUTE_"), "{name}");
        }
    }
}
