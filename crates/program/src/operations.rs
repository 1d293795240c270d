//! Spans of a program's own operations - loading a configuration, storing a block - for the receiver that its requests' spans
//! go to.
//!
//! By OpenTelemetry's SDK, which is good enough for a few operations a second and would be too dear for requests. It has a
//! thread of its own and a small runtime, and exists only where a receiver is configured. What code marks by
//! [`operation!`](crate::operation) is a span; no other span of `tracing` is exported.

use crate::receiver::with_scheme;
pub use crate::receiver::{Protocol, Receiver, ReceiverError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;
use weir_transport::Resolver;

/// The target of all spans that are exported.
pub const TARGET: &str = "weir::operation";
/// What the last spans get to be sent in.
const LAST: Duration = Duration::from_secs(1);

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
        let exporter = exporter?;
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

fn grpc(to: &Receiver) -> io::Result<SpanExporter> {
    let headers = to.headers.iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
    let headers: HeaderMap = headers.flatten().collect::<HashMap<HeaderName, HeaderValue>>().into_iter().collect();
    let uri: Uri = to.endpoint.parse().map_err(io::Error::other)?;
    // The connections do the TLS; the requests say the scheme that it is.
    let endpoint = Endpoint::from(with_scheme(uri.clone(), "http")).origin(uri).timeout(to.timeout);
    let builder = SpanExporter::builder()
        .with_tonic()
        .with_timeout(to.timeout)
        .with_metadata(MetadataMap::from_headers(headers))
        .with_channel(endpoint.connect_with_connector_lazy(to.http2()));
    builder.build().map_err(io::Error::other)
}

fn http(to: &Receiver, runtime: &Handle) -> io::Result<SpanExporter> {
    let client = HyperClient::new(to.http1(), to.timeout, None);
    let builder = SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime { client: Arc::new(client), runtime: runtime.clone() })
        .with_endpoint(&to.endpoint)
        .with_timeout(to.timeout)
        .with_headers(to.headers.iter().cloned().collect());
    builder.build().map_err(io::Error::other)
}

/// A client whose requests run on a runtime, whichever thread waits for them: the SDK's has none.
#[derive(Debug)]
struct OnRuntime {
    client: Arc<HyperClient<HttpsConnector<HttpConnector<Resolver>>>>,
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
