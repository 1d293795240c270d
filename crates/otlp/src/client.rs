//! One export request, by gRPC or by HTTP: what is sent is ready, what comes back is an [`Answer`].
//!
//! Both over the connections that every client of this workspace makes: names by its resolver, TLS by its settings. One
//! call of gRPC is written here, so that a batch is not copied once more; what its status means is tonic's.

use crate::answer::{Answer, of_grpc, of_http};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use std::io::Write;
use std::time::Duration;
use tonic::{Code, Status};
use weir_config::{OtlpProtocol, TraceExport};
use weir_transport::{NoRoots, Resolver, causes, client_config, system_roots};

/// An answer is not larger (OTLP specification, "OTLP/HTTP Response"). Bytes.
const MOST_OF_ANSWER: usize = 4 << 20;
const TRACES_OVER_GRPC: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Whether a message of gRPC is compressed, and its length: bytes before it.
pub(crate) const FRAME: usize = 5;

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// Why nothing can be sent to the endpoint at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    #[error("a value of `{0}` cannot stand in a header field")]
    Header(String),
}

/// The way to the endpoint. gRPC is a request like the other: five bytes before the message, and a status in the trailers.
pub(crate) struct Client {
    client: HyperClient<Connector, Full<Bytes>>,
    url: Uri,
    /// Of every request.
    headers: HeaderMap,
    protocol: OtlpProtocol,
    gzip: bool,
}

impl Client {
    pub(crate) fn new(export: &TraceExport) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &export.headers {
            let value = HeaderValue::from_str(value.expose()).map_err(|_| ClientError::Header(name.to_string()))?;
            headers.append(name, value);
        }
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(export)?).https_or_http();
        let mut builder = HyperClient::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(1).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        let (client, url, kind, coding) = match export.protocol {
            OtlpProtocol::HttpProtobuf => {
                let client = builder.build(tls.enable_http1().wrap_connector(tcp));
                (client, export.endpoint.clone(), PROTOBUF, CONTENT_ENCODING)
            }
            OtlpProtocol::Grpc => {
                // A receiver that is gone without a word is noticed.
                builder.http2_only(true).http2_keep_alive_interval(Duration::from_secs(30));
                let client = builder.build(tls.enable_http2().wrap_connector(tcp));
                let mut parts = export.endpoint.clone().into_parts();
                parts.path_and_query = Some(TRACES_OVER_GRPC);
                headers.insert(TE, HeaderValue::from_static("trailers"));
                let url = Uri::from_parts(parts).unwrap_or_else(|_| export.endpoint.clone());
                (client, url, GRPC, GRPC_ENCODING)
            }
        };
        headers.insert(CONTENT_TYPE, kind);
        if export.gzip {
            headers.insert(coding, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, url, headers, protocol: export.protocol, gzip: export.gzip })
    }

    /// Sends `framed`, an `ExportTraceServiceRequest` after the five bytes that gRPC has before it.
    pub(crate) async fn send(&self, framed: &Bytes) -> Answer {
        let mut request = Request::new(Full::new(self.body(framed)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let (parts, body) = match self.client.request(request).await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Answer::Again { after: None, why: causes(&error) },
        };
        let body = match Limited::new(body, MOST_OF_ANSWER).collect().await {
            Ok(body) => body,
            Err(error) => return Answer::Again { after: None, why: format!("the answer broke off: {error}") },
        };
        if self.protocol == OtlpProtocol::HttpProtobuf {
            return of_http(parts.status, &parts.headers, &body.to_bytes());
        }
        // An answer without a message has its status in the head.
        let status = body.trailers().and_then(Status::from_header_map);
        match status.or_else(|| Status::from_header_map(&parts.headers)) {
            Some(status) if status.code() == Code::Ok => of_grpc(Ok(message(&body.to_bytes()))),
            Some(status) => of_grpc(Err(&status)),
            // Of whatever stands before the receiver.
            None if !parts.status.is_success() => of_http(parts.status, &parts.headers, &Bytes::new()),
            None => of_grpc(Err(&Status::unknown("it has no `grpc-status`"))),
        }
    }

    fn body(&self, framed: &Bytes) -> Bytes {
        match (self.protocol, self.gzip) {
            (OtlpProtocol::Grpc, false) => framed.clone(),
            (OtlpProtocol::HttpProtobuf, false) => framed.slice(FRAME..),
            (OtlpProtocol::HttpProtobuf, true) => zipped(Vec::new(), &framed[FRAME..]).into(),
            (OtlpProtocol::Grpc, true) => {
                let mut body = zipped(vec![0; FRAME], &framed[FRAME..]);
                frame(&mut body, true);
                body.into()
            }
        }
    }
}

/// Says of the message after the first five bytes how long it is (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(crate) fn frame(framed: &mut [u8], is_compressed: bool) {
    let length = u32::try_from(framed.len() - FRAME).expect("a batch has some mebibytes");
    framed[0] = u8::from(is_compressed);
    framed[1..FRAME].copy_from_slice(&length.to_be_bytes());
}

/// What the receiver says. One that cannot be read says nothing of what became of the spans: the status does.
fn message(framed: &Bytes) -> ExportTraceServiceResponse {
    let message = framed.get(FRAME..).unwrap_or_default();
    ExportTraceServiceResponse::decode(message).unwrap_or_default()
}

/// Appends `body` to `out`, compressed.
fn zipped(out: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(body).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn tls(TraceExport { endpoint, tls, .. }: &TraceExport) -> Result<ClientConfig, ClientError> {
    let is_https = endpoint.scheme_str() == Some("https");
    let roots = match &tls.authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities.certificates.iter().cloned());
            roots
        }
        None if is_https => system_roots()?,
        None => RootCertStore::empty(),
    };
    let config = client_config(roots)?;
    Ok(match &tls.certificate {
        Some(pair) => config.with_client_auth_cert(pair.chain.clone(), pair.key.clone_key())?,
        None => config.with_no_client_auth(),
    })
}
