//! Answers: ClickHouse's headers, errors before and after a response has begun, codings.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::body::{BodyWriter, Reply};
use crate::coding::{Coding, Encoder};
use crate::engine::Stats;
use crate::exception::Exception;
use crate::failpoint;
use crate::formats;
use crate::metrics::{Account, Metrics};

/// Where the answer to one request goes. It is given once; what comes after is dropped. An answer
/// that is whole waits for [`Responder::deliver`], so that the statement's slot is free when it arrives.
pub struct Responder {
    answer: Option<oneshot::Sender<Response<Reply>>>,
    ready: Option<Response<Reply>>,
    context: Context,
    coding: Coding,
    runtime: Handle,
    /// How long the client may take to read a piece.
    limit: Duration,
    /// The answer says that rows are stored: it passes the places where a test may kill.
    holds_insert: bool,
    /// What the request did, for the figures.
    pub account: Account,
}

/// What every answer says of itself.
#[derive(Debug, Clone)]
pub struct Context {
    pub query_id: String,
    pub version: String,
    pub timezone: String,
    pub started: Instant,
}

impl Responder {
    pub fn new(
        answer: oneshot::Sender<Response<Reply>>,
        context: Context,
        coding: Coding,
        limit: Duration,
    ) -> Responder {
        Responder {
            answer: Some(answer),
            ready: None,
            context,
            coding,
            runtime: Handle::current(),
            limit,
            holds_insert: false,
            account: Account::default(),
        }
    }

    /// A result that is at hand.
    ///
    /// # Errors
    /// The coding failed.
    pub fn whole(&mut self, format: &str, content: Vec<u8>, stats: Stats) -> Result<(), Exception> {
        self.account.stats = stats;
        let coding = if content.is_empty() { Coding::Identity } else { self.coding };
        let packed = match coding {
            Coding::Identity => content,
            coding => pack(coding, &content).map_err(broken)?,
        };
        let mut response = self.context.response(StatusCode::OK, format, stats, Reply::whole(packed));
        set_coding(&mut response, coding);
        self.ready = Some(response);
        Ok(())
    }

    /// A result that comes in pieces.
    ///
    /// # Errors
    /// The coding failed.
    pub fn begin(&mut self, format: &str, stats: Stats) -> Result<PieceWriter, Exception> {
        self.account.stats = stats;
        let (body, reply) = Reply::pieces(self.runtime.clone(), self.limit);
        let (body, cutter) = (body.clone(), body);
        let tag: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
        let mut response = self.context.response(StatusCode::OK, format, stats, reply);
        set_coding(&mut response, self.coding);
        set(&mut response, "x-clickhouse-exception-tag", &tag);
        self.send(response);
        let encoder = self.coding.writer(body).map_err(broken)?;
        Ok(PieceWriter { encoder, cutter, tag, version: self.context.version.clone() })
    }

    /// An error, if nothing was answered yet.
    pub fn fail(&mut self, error: &Exception) {
        self.account.error = Some(error.code);
        self.ready = Some(self.context.error(error));
    }

    /// The answer will say that rows are stored.
    pub fn holds_insert(&mut self) {
        self.holds_insert = true;
    }

    /// Gives the answer, if it was not begun before, and tells what the request did.
    pub fn deliver(mut self, metrics: &Metrics) {
        metrics.ended(&self.account, self.context.started.elapsed());
        if let Some(response) = self.ready.take() {
            if self.holds_insert {
                failpoint::pass("insert.before_answer");
            }
            self.send(response);
            if self.holds_insert {
                failpoint::pass("insert.after_answer");
            }
        }
    }

    fn send(&mut self, response: Response<Reply>) {
        if let Some(answer) = self.answer.take() {
            // The client may be gone, and then nobody wants it.
            let _gone = answer.send(response);
        }
    }
}

impl Context {
    fn response(&self, status: StatusCode, format: &str, stats: Stats, body: Reply) -> Response<Reply> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(formats::content_type(format)));
        set(&mut response, "x-clickhouse-format", format);
        set(&mut response, "x-clickhouse-summary", &summary(stats, self.started.elapsed()));
        self.common(&mut response);
        response
    }

    /// An error as a whole response; never packed, so that whatever reads it can read it.
    pub fn error(&self, error: &Exception) -> Response<Reply> {
        let mut response = Response::new(Reply::whole(error.render(&self.version)));
        *response.status_mut() = error.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        set(&mut response, "x-clickhouse-exception-code", &error.code.to_string());
        if error.code == 194 {
            set(&mut response, "www-authenticate", "Basic realm=\"weir-chdb\"");
        }
        self.common(&mut response);
        response
    }

    /// The figures.
    pub fn metrics(&self, text: String) -> Response<Reply> {
        let mut response = Response::new(Reply::whole(text));
        set(&mut response, "content-type", "text/plain; version=0.0.4; charset=utf-8");
        response
    }

    /// A short answer in plain words.
    pub fn plain(&self, status: StatusCode, text: &'static str) -> Response<Reply> {
        let mut response = Response::new(Reply::whole(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
        self.common(&mut response);
        response
    }

    fn common(&self, response: &mut Response<Reply>) {
        set(response, "x-clickhouse-query-id", &self.query_id);
        set(response, "x-clickhouse-server-display-name", "weir-chdb");
        set(response, "x-clickhouse-timezone", &self.timezone);
    }
}

/// Writes a response that has begun.
pub struct PieceWriter {
    encoder: Encoder<BodyWriter>,
    cutter: BodyWriter,
    tag: String,
    version: String,
}

impl PieceWriter {
    /// Ends the response well.
    ///
    /// # Errors
    /// The client is gone.
    pub fn finish(self) -> io::Result<()> {
        self.encoder.finish().map(drop)
    }

    /// Ends the response with an error: its text in ClickHouse's frame, then the connection is cut.
    ///
    /// # Errors
    /// The client is gone.
    pub fn break_off(mut self, error: &Exception) -> io::Result<()> {
        let text = error.render(&self.version);
        let (tag, length) = (&self.tag, text.len());
        let frame = format!("\r\n__exception__\r\n{tag}\r\n{text}{length} {tag}\r\n__exception__\r\n");
        self.encoder.write_all(frame.as_bytes())?;
        self.encoder.finish()?;
        self.cutter.cut()
    }
}

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.encoder.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

fn pack(coding: Coding, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = coding.writer(Vec::new())?;
    encoder.write_all(content)?;
    encoder.finish()
}

fn broken(error: io::Error) -> Exception {
    Exception::new(270, "CANNOT_COMPRESS", error)
}

fn set_coding(response: &mut Response<Reply>, coding: Coding) {
    if let Some(name) = coding.name() {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
}

fn set(response: &mut Response<Reply>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn summary(stats: Stats, elapsed: Duration) -> String {
    let Stats { read_rows, read_bytes, written_rows, written_bytes, result_rows, result_bytes } = stats;
    let elapsed = elapsed.as_nanos();
    format!(
        "{{\"read_rows\":\"{read_rows}\",\"read_bytes\":\"{read_bytes}\",\"written_rows\":\"{written_rows}\",\
         \"written_bytes\":\"{written_bytes}\",\"total_rows_to_read\":\"0\",\"result_rows\":\"{result_rows}\",\
         \"result_bytes\":\"{result_bytes}\",\"elapsed_ns\":\"{elapsed}\"}}"
    )
}
