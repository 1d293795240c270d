//! One export request, by gRPC or by HTTP: what is sent is ready, what comes back is an [`Answer`].
//!
//! Both over the connections that every client of this workspace makes: names by its resolver, TLS by its settings. One
//! call of gRPC is written here, so that a batch is not copied once more; what its status means is tonic's.

use crate::answer::{Answer, of_grpc, of_http};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::ClientConfig;
use std::io::Write;
use std::time::Duration;
use tonic::{Code, Status};
use weir_config::{OtlpProtocol, OtlpTarget, Signal};
use weir_transport::{Resolver, TlsError, causes, client_tls, connector};

/// An answer is not larger (OTLP specification, "OTLP/HTTP Response"). Bytes.
const MOST_OF_ANSWER: usize = 4 << 20;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Whether a message of gRPC is compressed, and its length: bytes before it.
pub(crate) const FRAME: usize = 5;

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// Why nothing can be sent to the endpoint at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
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
    pub(crate) fn new(target: &OtlpTarget, signal: Signal) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers {
            let value = HeaderValue::from_str(value.expose()).map_err(|_| ClientError::Header(name.to_string()))?;
            headers.append(name, value);
        }
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(target)?).https_or_http();
        let mut builder = HyperClient::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(1).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        let (client, url, kind, coding) = match target.protocol {
            OtlpProtocol::HttpProtobuf => {
                let client = builder.build(tls.enable_http1().wrap_connector(connector()));
                (client, target.endpoint.clone(), PROTOBUF, CONTENT_ENCODING)
            }
            OtlpProtocol::Grpc => {
                // A receiver that is gone without a word is noticed.
                builder.http2_only(true).http2_keep_alive_interval(Duration::from_secs(30));
                let client = builder.build(tls.enable_http2().wrap_connector(connector()));
                let mut parts = target.endpoint.clone().into_parts();
                parts.path_and_query = Some(over_grpc(signal));
                headers.insert(TE, HeaderValue::from_static("trailers"));
                let url = Uri::from_parts(parts).unwrap_or_else(|_| target.endpoint.clone());
                (client, url, GRPC, GRPC_ENCODING)
            }
        };
        headers.insert(CONTENT_TYPE, kind);
        if target.gzip {
            headers.insert(coding, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, url, headers, protocol: target.protocol, gzip: target.gzip })
    }

    /// Sends `framed`, an `Export…ServiceRequest` of the signal after the five bytes that gRPC has before it.
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
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        match self.protocol {
            OtlpProtocol::HttpProtobuf => of_http(parts.status, &parts.headers, &body),
            OtlpProtocol::Grpc => of_call((parts.status, &parts.headers), trailers.as_ref(), &body),
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

/// Of a signal over gRPC: its service and the method.
fn over_grpc(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    })
}

/// Says of the message after the first five bytes how long it is (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(crate) fn frame(framed: &mut [u8], is_compressed: bool) {
    let length = u32::try_from(framed.len() - FRAME).expect("a batch has some mebibytes");
    framed[0] = u8::from(is_compressed);
    framed[1..FRAME].copy_from_slice(&length.to_be_bytes());
}

/// Of a call of gRPC: what its trailers say, or its head where there is no message.
fn of_call((status, head): (StatusCode, &HeaderMap), trailers: Option<&HeaderMap>, body: &Bytes) -> Answer {
    match trailers.and_then(Status::from_header_map).or_else(|| Status::from_header_map(head)) {
        Some(said) if said.code() == Code::Ok => of_grpc(Ok(message(body))),
        Some(said) => of_grpc(Err(&said)),
        // Of whatever stands before the receiver.
        None if !status.is_success() => of_http(status, head, body),
        None => of_grpc(Err(&Status::unknown("it has no `grpc-status`"))),
    }
}

/// What the receiver says. One that cannot be read says nothing of what became of what was sent: the status does.
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

/// How `target` and the gateway believe each other over `https`.
///
/// # Errors
/// The system has no authorities, one of those that are named is no certificate, or the certificate does not go with its key.
pub fn tls(OtlpTarget { endpoint, tls, .. }: &OtlpTarget) -> Result<ClientConfig, ClientError> {
    let authorities = match &tls.authorities {
        Some(authorities) => Some(&*authorities.certificates),
        None if endpoint.scheme_str() == Some("https") => None,
        None => Some(&[][..]),
    };
    Ok(client_tls(authorities, tls.certificate.as_ref().map(|pair| (&*pair.chain, &*pair.key)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
    }

    #[test]
    fn a_call_is_answered_by_its_trailers_its_head_or_whatever_stands_before_the_receiver() {
        let (none, ok) = (HeaderMap::new(), StatusCode::OK);
        // `partial_success { rejected_spans: 3 }`.
        let partly = Bytes::from_static(b"\0\0\0\0\x04\x0a\x02\x08\x03");
        let taken = |rejected| Answer::Taken { rejected, message: String::new() };
        assert_eq!(of_call((ok, &none), Some(&said("0")), &partly), taken(3));
        assert_eq!(of_call((ok, &none), Some(&said("0")), &Bytes::new()), taken(0));
        let is_again = |answer| matches!(answer, Answer::Again { .. });
        let is_refused = |answer| matches!(answer, Answer::Refused { .. });
        assert!(is_again(of_call((ok, &none), Some(&said("14")), &Bytes::new())));
        assert!(is_again(of_call((ok, &said("14")), None, &Bytes::new())));
        assert!(is_refused(of_call((ok, &said("7")), None, &Bytes::new())));
        assert!(is_again(of_call((StatusCode::SERVICE_UNAVAILABLE, &none), None, &Bytes::new())));
        assert!(is_refused(of_call((StatusCode::NOT_FOUND, &none), None, &Bytes::new())));
        assert!(is_refused(of_call((ok, &none), None, &partly)));
    }
}
