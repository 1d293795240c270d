//! One export request, by gRPC or by HTTP: what is sent is ready, what comes back is an [`Answer`].
//!
//! gRPC is tonic's, over the connections that every client of this workspace makes: names by its resolver, TLS by its
//! settings.

use crate::answer::{Answer, of_grpc, of_http};
use bytes::{Buf, BufMut, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::io::Write;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};
use weir_config::{OtlpProtocol, TraceExport};
use weir_transport::{NoRoots, Resolver, causes, client_config, system_roots};

/// An answer is not larger (OTLP specification, "OTLP/HTTP Response"). Bytes.
const MOST_OF_ANSWER: usize = 4 << 20;
const TRACES_OVER_GRPC: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

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

pub(crate) enum Client {
    Http { client: Box<HyperClient<Connector, Full<Bytes>>>, url: Uri, headers: HeaderMap, gzip: bool },
    Grpc { client: Box<Grpc<HyperClient<Connector, tonic::body::Body>>>, headers: HeaderMap },
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
        if export.protocol == OtlpProtocol::HttpProtobuf {
            let client = Box::new(builder.build(tls.enable_http1().wrap_connector(tcp)));
            return Ok(Self::Http { client, url: export.endpoint.clone(), headers, gzip: export.gzip });
        }
        // A receiver that is gone without a word is noticed.
        builder.http2_only(true).http2_keep_alive_interval(Duration::from_secs(30));
        let client = builder.build(tls.enable_http2().wrap_connector(tcp));
        let mut parts = export.endpoint.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        let origin = Uri::from_parts(parts).unwrap_or_else(|_| export.endpoint.clone());
        let mut client = Grpc::with_origin(client, origin).max_decoding_message_size(MOST_OF_ANSWER);
        if export.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Self::Grpc { client: Box::new(client), headers })
    }

    /// Sends `body`, an `ExportTraceServiceRequest`.
    pub(crate) async fn send(&mut self, body: Bytes) -> Answer {
        match self {
            Self::Http { client, url, headers, gzip } => {
                let request = http_request(url, headers, *gzip, body);
                match client.request(request).await {
                    Ok(answer) => {
                        let (parts, body) = answer.into_parts();
                        match Limited::new(body, MOST_OF_ANSWER).collect().await {
                            Ok(body) => of_http(parts.status, &parts.headers, &body.to_bytes()),
                            Err(error) => Answer::Again { after: None, why: format!("the answer broke off: {error}") },
                        }
                    }
                    Err(error) => Answer::Again { after: None, why: causes(&error) },
                }
            }
            Self::Grpc { client, headers } => {
                if let Err(error) = client.ready().await {
                    return Answer::Again { after: None, why: causes(&error) };
                }
                let metadata = MetadataMap::from_headers(headers.clone());
                let request = tonic::Request::from_parts(metadata, Extensions::default(), body);
                match client.unary(request, TRACES_OVER_GRPC, Encoded).await {
                    Ok(answer) => of_grpc(Ok(answer.into_inner())),
                    // Of a connection that could not be made.
                    Err(status) if status.code() == tonic::Code::Unknown && status.source().is_some() => {
                        Answer::Again { after: None, why: status.source().map(causes).unwrap_or_default() }
                    }
                    Err(status) => of_grpc(Err(&status)),
                }
            }
        }
    }
}

fn http_request(url: &Uri, headers: &HeaderMap, gzip: bool, body: Bytes) -> Request<Full<Bytes>> {
    let body = if gzip { zipped(&body) } else { body };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = headers.clone();
    request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
    if gzip {
        request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

fn zipped(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory takes everything");
    encoder.finish().expect("memory takes everything").into()
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

/// A request that is encoded already, and its answer.
#[derive(Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(body);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, body: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let body = body.copy_to_bytes(body.remaining());
        ExportTraceServiceResponse::decode(body).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
