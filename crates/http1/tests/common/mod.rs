//! Messages as the tests write them, and what the codec makes of them however they are cut.

#![allow(dead_code, reason = "not every test uses all of it")]

use bytes::BytesMut;
use weir_http1::{Asked, BodyError, Decoder, Fields, Frame, Framing, HeadError, Limits, Reader, Request, Response};

/// `|` → CR LF, `<0a>` → that byte.
pub fn wire(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['|', '<']) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        match rest[at..].strip_prefix('<').and_then(|tail| tail.split_once('>')) {
            Some((digits, tail)) => {
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = tail;
            }
            None => {
                out.extend_from_slice(b"\r\n");
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Why a message was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Head(HeadError),
    Body(BodyError),
    /// The bytes ended within it.
    Incomplete,
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line's parts, and the fields.
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub fn listed(fields: &Fields) -> Vec<(String, String)> {
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

enum Head {
    Request(Request),
    Response(Response, Asked),
}

/// A connection's bytes, which come in pieces.
struct Wire<'a> {
    pieces: std::slice::Chunks<'a, u8>,
    buffer: BytesMut,
}

impl Wire<'_> {
    fn read(&mut self) -> bool {
        let piece = self.pieces.next();
        self.buffer.extend_from_slice(piece.unwrap_or_default());
        piece.is_some()
    }

    fn head(&mut self, reader: &mut Reader, head: &mut Head) -> Result<Option<Message>, Fault> {
        let framing = loop {
            let found = match head {
                Head::Request(request) => reader.request(&mut self.buffer, request),
                Head::Response(response, asked) => reader.response(&mut self.buffer, response, *asked),
            };
            match found.map_err(Fault::Head)? {
                Some(framing) => break framing,
                None if self.read() => {}
                None if Reader::has_begun(&self.buffer) => return Err(Fault::Incomplete),
                None => return Ok(None),
            }
        };
        let (line, fields) = match head {
            Head::Request(it) => (format!("{} {}", text(it.method()), text(it.target())), &it.fields),
            Head::Response(it, _) => (format!("{} {}", it.status(), text(it.reason())), &it.fields),
        };
        Ok(Some(Message { line, fields: listed(fields), framing, body: Vec::new(), trailers: Vec::new() }))
    }

    fn body(&mut self, limits: Limits, message: &mut Message) -> Result<(), Fault> {
        let mut decoder = Decoder::new(message.framing, limits);
        loop {
            match decoder.next(&mut self.buffer).map_err(Fault::Body)? {
                Some(Frame::Data(data)) => message.body.extend_from_slice(&data),
                Some(Frame::Trailers(fields)) => message.trailers = listed(&fields),
                Some(Frame::End) => return Ok(()),
                None if self.read() => {}
                None => return decoder.close().map_err(|_| Fault::Incomplete),
            }
        }
    }
}

fn read_in(bytes: &[u8], piece: usize, limits: Limits, head: &mut Head) -> (Vec<Message>, Option<Fault>) {
    let mut wire = Wire { pieces: bytes.chunks(piece), buffer: BytesMut::new() };
    let mut reader = Reader::new(limits);
    let mut messages = Vec::new();
    loop {
        let mut message = match wire.head(&mut reader, head) {
            Ok(Some(message)) => message,
            Ok(None) => return (messages, None),
            Err(fault) => return (messages, Some(fault)),
        };
        if let Err(fault) = wire.body(limits, &mut message) {
            return (messages, Some(fault));
        }
        messages.push(message);
    }
}

/// The same messages, and a fault at the same place, however the bytes are cut. Which fault it is may depend on what has
/// come where two limits or faults meet; `strict` says that it must not.
fn read_all(bytes: &[u8], limits: Limits, head: &mut Head, strict: bool) -> (Vec<Message>, Option<Fault>) {
    let whole = read_in(bytes, bytes.len().max(1), limits, head);
    let step = bytes.len() / 200 + 1;
    for piece in (1..bytes.len()).step_by(step) {
        let cut = read_in(bytes, piece, limits, head);
        assert_eq!(cut.0, whole.0, "in pieces of {piece}: {}", text(bytes));
        assert_eq!(cut.1.is_some(), whole.1.is_some(), "in pieces of {piece}: {}", text(bytes));
        assert!(!strict || cut.1 == whole.1, "in pieces of {piece}: {:?}, not {:?}", cut.1, whole.1);
    }
    whole
}

pub fn requests_within(text: &str, limits: Limits) -> (Vec<Message>, Option<Fault>) {
    read_all(&wire(text), limits, &mut Head::Request(Request::default()), true)
}

pub fn requests(text: &str) -> (Vec<Message>, Option<Fault>) {
    requests_within(text, Limits::default())
}

pub fn responses_to(asked: Asked, text: &str) -> (Vec<Message>, Option<Fault>) {
    read_all(&wire(text), Limits::default(), &mut Head::Response(Response::default(), asked), true)
}

/// One request's head.
pub fn request(text: &str) -> Request {
    let mut request = Request::default();
    let mut buffer = BytesMut::from(&*wire(text));
    let read = Reader::default().request(&mut buffer, &mut request);
    assert!(matches!(read, Ok(Some(_))), "{read:?}: {text}");
    request
}

/// One response's head.
pub fn response(text: &str) -> Response {
    let mut response = Response::default();
    let mut buffer = BytesMut::from(&*wire(text));
    let read = Reader::default().response(&mut buffer, &mut response, Asked::Other);
    assert!(matches!(read, Ok(Some(_))), "{read:?}: {text}");
    response
}

pub fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8_lossy(&out).replace("\r\n", "|")
}
