//! An ingestor of a few lines on a port of its own: it answers as it is reported and remembers what it heard.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use weir_event::chunk::{Chunk, Gap};
use weir_event::{Schema, StreamId};
use weir_spool::Endpoint;

/// What to say to a chunk.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// As weir-analytics answers with that status.
    Status(u16),
    /// The same, with another word for what came of it.
    Result(u16, &'static str),
    RetryAfter(u16, &'static str),
    /// As somebody else answers: a status and a body.
    Foreign(u16, &'static str),
    /// Reads it, and closes the connection without a word.
    Close,
}

/// One chunk as it arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub stream: StreamId,
    pub first: u64,
    pub last: u64,
    pub seqs: Vec<u64>,
    pub gaps: Vec<Gap>,
    pub apis: Vec<String>,
    pub paths: Vec<String>,
    pub schema: Schema,
    pub entries: Vec<bool>,
    pub gateway: String,
    pub stored: bool,
    pub bytes: Bytes,
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    reports: Vec<serde_json::Value>,
    mistakes: Vec<String>,
    foreign_reports: Option<(u16, &'static str)>,
}

type Answering = Box<dyn FnMut(usize, &Heard) -> Reply + Send>;

pub struct Ingestor {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    answering: Arc<Mutex<Answering>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ingestor {
    /// Answers the nth chunk (from 0) with `answering`.
    pub fn start(answering: impl FnMut(usize, &Heard) -> Reply + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answering)
    }

    pub fn start_at(address: &str, answering: impl FnMut(usize, &Heard) -> Reply + Send + 'static) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let answering: Arc<Mutex<Answering>> = Arc::new(Mutex::new(Box::new(answering)));
        let (stop, stopped) = oneshot::channel();
        let (of_thread, answers) = (Arc::clone(&state), Arc::clone(&answering));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = serve(listener, of_thread, answers) => {}, _ = stopped => {} }
            });
        });
        Self { address, state, answering, stop: Some(stop), thread: Some(thread) }
    }

    pub fn answer(&self, answering: impl FnMut(usize, &Heard) -> Reply + Send + 'static) {
        *self.answering.lock().unwrap() = Box::new(answering);
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&format!("http://{}", self.address), "token-of-test").unwrap()
    }

    pub fn heard(&self) -> Vec<Heard> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.mistakes, Vec::<String>::new());
        state.heard.clone()
    }

    /// From now on somebody else answers the reports of streams.
    pub fn answer_reports(&self, foreign: Option<(u16, &'static str)>) {
        self.state.lock().unwrap().foreign_reports = foreign;
    }

    pub fn reports(&self) -> Vec<serde_json::Value> {
        self.state.lock().unwrap().reports.clone()
    }

    /// Every stored number of every stream, with how often it was stored.
    pub fn stored(&self) -> BTreeMap<(StreamId, u64), u32> {
        let mut stored = BTreeMap::new();
        for heard in self.heard().iter().filter(|heard| heard.stored) {
            heard.seqs.iter().for_each(|seq| *stored.entry((heard.stream, *seq)).or_insert(0) += 1);
        }
        stored
    }
}

impl Drop for Ingestor {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, answering: Arc<Mutex<Answering>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, answering) = (Arc::clone(&state), Arc::clone(&answering));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state, &answering));
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &Mutex<State>,
    answering: &Mutex<Answering>,
) -> io::Result<Response<Full<Bytes>>> {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (bearer, kind) = (header("authorization"), header("content-type"));
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    if bearer != "Bearer token-of-test" {
        state.lock().unwrap().mistakes.push(format!("authorization `{bearer}`"));
    }
    let said = match (path.as_str(), kind.as_str()) {
        ("/v1/chunks", "application/vnd.weir.chunk") => {
            let (said, heard) = hear(body, state, answering);
            return said.answer(&heard);
        }
        ("/v1/streams", "application/json") => {
            let report: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let taken = report.as_array().unwrap().iter().map(|line| line["stream"].clone()).collect::<Vec<_>>();
            let mut state = state.lock().unwrap();
            state.reports.push(report);
            return Ok(match state.foreign_reports {
                Some((status, text)) => reply(status, None, text.to_owned()),
                None => reply(200, None, document("stored", json!({"taken": taken, "refused": []}))),
            });
        }
        other => {
            state.lock().unwrap().mistakes.push(format!("request {other:?}"));
            Reply::Status(404)
        }
    };
    said.answer_without()
}

impl Reply {
    fn answer(self, heard: &Heard) -> io::Result<Response<Full<Bytes>>> {
        let words = [(400, "malformed"), (401, "token"), (403, "identity"), (409, "version"), (413, "too_large")];
        let words: BTreeMap<u16, &str> = words.into_iter().chain([(422, "rejected"), (500, "unavailable")]).collect();
        let (status, result, after) = match self {
            Self::Status(status @ 200..=299) => (status, "stored", None),
            Self::Status(status) => (status, words.get(&status).copied().unwrap_or("busy"), None),
            Self::Result(status, result) => (status, result, None),
            Self::RetryAfter(status, after) => (status, "busy", Some(after)),
            Self::Foreign(..) | Self::Close => return self.answer_without(),
        };
        let more = json!({
            "chunk": {"stream": heard.stream.to_string(), "first": heard.first, "last": heard.last},
            "received": {"bytes": heard.bytes.len(), "crc32c": format!("{:08x}", crc32c::crc32c(&heard.bytes))},
            "stored": heard.seqs.len(), "duplicate": 0, "dead_letters": 0, "error": "as the test says",
        });
        Ok(reply(status, after, document(result, more)))
    }

    fn answer_without(self) -> io::Result<Response<Full<Bytes>>> {
        match self {
            Self::Foreign(status, text) => Ok(reply(status, None, text.to_owned())),
            Self::Status(status) => Ok(reply(status, None, String::new())),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

fn document(result: &str, more: serde_json::Value) -> String {
    let mut document = json!({"protocol": 2, "program": "weir-analytics", "version": "test", "result": result});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document.to_string()
}

fn reply(status: u16, retry_after: Option<&str>, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    let response = retry_after.into_iter().fold(response, |response, after| response.header("retry-after", after));
    response.body(Full::new(body.into())).unwrap()
}

/// A chunk whose body is damaged: as weir-analytics, this refuses it.
fn unread(bytes: Bytes) -> Heard {
    let header = weir_event::chunk::ChunkHeader::decode(&bytes).unwrap();
    Heard {
        stream: header.stream_id,
        first: header.first,
        last: header.last,
        seqs: Vec::new(),
        gaps: Vec::new(),
        apis: Vec::new(),
        paths: Vec::new(),
        schema: header.schema,
        entries: Vec::new(),
        gateway: header.stream.identity.gateway.to_string(),
        stored: false,
        bytes,
    }
}

fn hear(bytes: Bytes, state: &Mutex<State>, answering: &Mutex<Answering>) -> (Reply, Heard) {
    let Ok(chunk) = Chunk::decode(&bytes) else { return (Reply::Status(400), unread(bytes)) };
    let name =
        |event: weir_event::Event<'_>| chunk.header.name(weir_event::NameId(event.fixed.api)).unwrap().to_owned();
    let mut heard = Heard {
        stream: chunk.header.stream_id,
        first: chunk.header.first,
        last: chunk.header.last,
        seqs: chunk.events().map(|event| event.fixed.seq).collect(),
        gaps: chunk.header.gaps.clone(),
        apis: chunk.events().map(name).collect(),
        schema: chunk.header.schema,
        entries: chunk.events().map(|event| event.entry()).collect(),
        paths: chunk.events().map(|event| String::from_utf8_lossy(event.path).into_owned()).collect(),
        gateway: chunk.header.stream.identity.gateway.to_string(),
        stored: false,
        bytes,
    };
    let mut state = state.lock().unwrap();
    let reply = answering.lock().unwrap()(state.heard.len(), &heard);
    heard.stored = matches!(reply, Reply::Status(200..=299));
    state.heard.push(heard.clone());
    (reply, heard)
}
