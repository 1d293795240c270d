//! A receiver of spans, metrics and log records by OTLP, over gRPC and HTTP at one port, that answers as it is told to.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustls::ServerConfig;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    Taken,
    /// All but so many, for this reason.
    Partly(i64, &'static str),
    /// HTTP's status, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// gRPC's code.
    Code(u8),
    /// Never.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Body,
}

/// What a request brought.
#[derive(Clone, Debug)]
pub enum Body {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Body {
    /// By the path of the signal.
    fn decode(path: &str, message: &[u8]) -> Option<Self> {
        match path {
            "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
                ExportTraceServiceRequest::decode(message).map(Self::Traces).ok()
            }
            "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => {
                ExportMetricsServiceRequest::decode(message).map(Self::Metrics).ok()
            }
            "/v1/logs" | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
                ExportLogsServiceRequest::decode(message).map(Self::Logs).ok()
            }
            _ => None,
        }
    }
}

impl Received {
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        let Body::Traces(body) = &self.body else { return Vec::new().into_iter() };
        let scopes = body.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).collect::<Vec<_>>().into_iter()
    }

    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        let Body::Metrics(body) = &self.body else { return Vec::new().into_iter() };
        let scopes = body.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).collect::<Vec<_>>().into_iter()
    }

    pub fn logs(&self) -> impl Iterator<Item = &LogRecord> {
        let Body::Logs(body) = &self.body else { return Vec::new().into_iter() };
        let scopes = body.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        scopes.flat_map(|scope| &scope.log_records).collect::<Vec<_>>().into_iter()
    }

    pub fn resource(&self) -> Option<&Resource> {
        match &self.body {
            Body::Traces(body) => body.resource_spans.first()?.resource.as_ref(),
            Body::Metrics(body) => body.resource_metrics.first()?.resource.as_ref(),
            Body::Logs(body) => body.resource_logs.first()?.resource.as_ref(),
        }
    }
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    received: Vec<Received>,
}

/// A receiver; ends with the runtime.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// At a port of its own, or at one where another was.
    pub async fn start(address: &str) -> io::Result<Self> {
        Self::start_with(address, None).await
    }

    /// As [`Receiver::start`], over TLS.
    pub async fn start_tls(address: &str, mut tls: ServerConfig) -> io::Result<Self> {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::start_with(address, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start_with(address: &str, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let receiver = Self { address: listener.local_addr()?, state: Arc::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (receiver, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => receiver.serve(stream).await,
                        // Whoever is not believed has no connection.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                receiver.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(receiver)
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let receiver = self.clone();
            async move { Ok::<_, Infallible>(receiver.answer(request).await) }
        });
        drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
    }

    /// How the next requests are answered; all after them are taken.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().answers.extend(answers);
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Every span so far, those of repeated requests as often as they came.
    pub fn spans(&self) -> Vec<Span> {
        self.state().received.iter().flat_map(Received::spans).cloned().collect()
    }

    /// Every metric so far, in the order in which they came.
    pub fn metrics(&self) -> Vec<Metric> {
        self.state().received.iter().flat_map(Received::metrics).cloned().collect()
    }

    /// Every log record so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.state().received.iter().flat_map(Received::logs).cloned().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let (parts, body) = request.into_parts();
        let is_grpc = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let message = if is_grpc { of_grpc(&body, &parts.headers) } else { of_http(&body, &parts.headers) };
        let Some(body) = message.and_then(|message| Body::decode(parts.uri.path(), &message)) else {
            return whole(StatusCode::BAD_REQUEST, Bytes::new());
        };
        let answer = {
            let mut state = self.state();
            state.received.push(Received { path: parts.uri.path().to_owned(), headers: parts.headers, body });
            state.answers.pop_front().unwrap_or(Answer::Taken)
        };
        let partial = match answer {
            Answer::Silence => std::future::pending().await,
            Answer::Partly(rejected_spans, why) => {
                Some(ExportTracePartialSuccess { rejected_spans, error_message: why.to_owned() })
            }
            Answer::Status(status, after) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = whole(status, Bytes::new());
                let after = after.and_then(|seconds| HeaderValue::try_from(seconds.to_string()).ok());
                response.headers_mut().extend(after.map(|after| (RETRY_AFTER, after)));
                return response;
            }
            Answer::Code(code) => return with_trailers(Bytes::new(), code),
            Answer::Taken => None,
        };
        // Those of all signals have the same fields.
        let body: Bytes = ExportTraceServiceResponse { partial_success: partial }.encode_to_vec().into();
        if is_grpc { with_trailers(framed(&body), 0) } else { whole(StatusCode::OK, body) }
    }
}

fn unzipped(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut out).ok()?;
    Some(out)
}

fn of_http(body: &[u8], headers: &HeaderMap) -> Option<Vec<u8>> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip") {
        unzipped(body)
    } else {
        Some(body.to_vec())
    }
}

/// Whether it is compressed, its length, and the message.
fn of_grpc(body: &[u8], headers: &HeaderMap) -> Option<Vec<u8>> {
    let (head, message) = body.split_at_checked(5)?;
    match head[0] {
        0 => Some(message.to_vec()),
        _ if headers.get("grpc-encoding").is_some_and(|coding| coding == "gzip") => unzipped(message),
        _ => None,
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

fn whole(status: StatusCode, body: Bytes) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response
}

fn with_trailers(body: Bytes, code: u8) -> Response<BoxBody<Bytes, Infallible>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    let frames = [Frame::data(body), Frame::trailers(trailers)];
    let mut response = Response::new(Frames(frames.into_iter().collect()).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Frames that are ready.
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}
