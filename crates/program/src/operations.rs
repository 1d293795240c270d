//! Spans of a program's own operations - loading a configuration, storing a block - for the receiver that its requests' spans
//! go to.
//!
//! By OpenTelemetry's SDK, which is good enough for a few operations a second and would be too dear for requests. It has a
//! thread of its own and a small runtime, and exists only where a receiver is configured. What code marks by
//! [`operation!`](crate::operation) is a span; no other span of `tracing` is exported.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// The target of all spans that are exported.
pub const TARGET: &str = "weir::operation";
/// What the last spans get to be sent in.
const LAST: Duration = Duration::from_secs(1);

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// In clear text, or by TLS that trusts whom the system trusts.
    Grpc,
    /// In clear text.
    Http,
}

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub protocol: Protocol,
    /// `http://` or `https://`, with host and port; over HTTP with the path.
    pub endpoint: String,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
}

impl Receiver {
    /// What `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and its kin say; `None` where they name no receiver that can be had.
    pub fn of_environment() -> Option<Self> {
        let variable = |name: &str| {
            let of_traces = std::env::var(format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            let value = of_traces.or_else(|_| std::env::var(format!("OTEL_EXPORTER_OTLP_{name}"))).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        if std::env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off.eq_ignore_ascii_case("true")) {
            return None;
        }
        let protocol = match variable("PROTOCOL").as_deref() {
            Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") | None => Protocol::Http,
            Some(_) => return None,
        };
        let endpoint = match (std::env::var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), protocol) {
            (Ok(whole), Protocol::Http) if !whole.is_empty() => whole,
            // OTLP, "Endpoint URLs for OTLP/HTTP".
            (_, Protocol::Http) => format!("{}/v1/traces", variable("ENDPOINT")?.trim_end_matches('/')),
            (_, Protocol::Grpc) => variable("ENDPOINT")?,
        };
        if protocol == Protocol::Http && endpoint.starts_with("https:") {
            return None;
        }
        let pairs = variable("HEADERS").unwrap_or_default();
        let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
        let headers = pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned())).collect();
        let timeout = variable("TIMEOUT").and_then(|ms| ms.parse().ok()).unwrap_or(10_000);
        Some(Self { protocol, endpoint, headers, timeout: Duration::from_millis(timeout) })
    }
}

/// The exporter.
pub struct Operations {
    provider: SdkTracerProvider,
    /// What the connection lives on.
    _runtime: tokio::runtime::Runtime,
}

impl Operations {
    /// For `service`, with these attributes of the resource.
    pub fn start(service: &str, attributes: &[(&'static str, &str)], to: &Receiver) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("weir-operations")
            .enable_all()
            .build()?;
        let exporter = {
            let _entered = runtime.enter();
            match to.protocol {
                Protocol::Grpc => grpc(to),
                Protocol::Http => http(to, runtime.handle()),
            }
        };
        let exporter = exporter.map_err(io::Error::other)?;
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned()));
        let resource = Resource::builder().with_service_name(service.to_owned()).with_attributes(attributes).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider, _runtime: runtime })
    }

    pub(crate) fn layer<S: Subscriber + for<'s> LookupSpan<'s>>(&self) -> OpenTelemetryLayer<S, SdkTracer> {
        tracing_opentelemetry::layer().with_tracer(self.provider.tracer("weir.operations"))
    }
}

impl Drop for Operations {
    fn drop(&mut self) {
        // A receiver that is away gets no more than this.
        drop(self.provider.shutdown_with_timeout(LAST));
    }
}

fn grpc(to: &Receiver) -> Result<SpanExporter, ExporterBuildError> {
    let headers = to.headers.iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
    let headers: HeaderMap = headers.flatten().collect::<HashMap<HeaderName, HeaderValue>>().into_iter().collect();
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&to.endpoint)
        .with_timeout(to.timeout)
        .with_metadata(MetadataMap::from_headers(headers));
    if to.endpoint.starts_with("https:") {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    builder.build()
}

fn http(to: &Receiver, runtime: &Handle) -> Result<SpanExporter, ExporterBuildError> {
    let client = HyperClient::new(HttpConnector::new(), to.timeout, None);
    SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime { client: Arc::new(client), runtime: runtime.clone() })
        .with_endpoint(&to.endpoint)
        .with_timeout(to.timeout)
        .with_headers(to.headers.iter().cloned().collect())
        .build()
}

/// A client whose requests run on a runtime, whichever thread waits for them: the SDK's has none.
#[derive(Debug)]
struct OnRuntime {
    client: Arc<HyperClient<HttpConnector>>,
    runtime: Handle,
}

impl HttpClient for OnRuntime {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async move { sent.await.unwrap_or_else(|error| Err(error.into())) })
    }
}

/// A span of an operation of the program itself: `operation!("reload", generation = 3)`.
#[macro_export]
macro_rules! operation {
    ($name:literal $(, $($fields:tt)*)?) => {
        ::tracing::info_span!(target: "weir::operation", $name $(, $($fields)*)?)
    };
}
