//! What the codec reads, and what it writes of that.

use bytes::BytesMut;
use weir_http1::{
    Asked, Decoder, Encoder, Fields, Frame, Framing, HeadError, Known, Limits, Reader, Request, Response,
};

/// More messages than this say nothing new.
const MOST: usize = 16;
/// Fields of a head that came: some are added before it goes out, and hyper takes a hundred.
const FIELDS: usize = 90;
/// Fields of a head that was written.
const WRITTEN: usize = 100;

pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The parts of its first line: method and target, or status and reason.
    pub line: [Vec<u8>; 2],
    pub fields: Lines,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Lines,
    /// The message as it goes out.
    pub written: Vec<u8>,
    /// The same in chunks, with its body twenty times; empty where it has none.
    pub chunked: Vec<u8>,
}

/// How often the body is in [`Message::chunked`]: sizes of more than one digit.
pub const TIMES: usize = 20;

/// Messages of a connection, and whether it ended within one or was refused.
#[derive(Debug)]
pub struct Connection {
    pub messages: Vec<Message>,
    pub is_broken: bool,
    /// A tunnel or a body until the end: nothing can follow.
    pub is_over: bool,
}

pub trait Head: Default {
    fn read(&mut self, reader: &mut Reader, buffer: &mut BytesMut, asked: Asked) -> Result<Option<Framing>, HeadError>;
    fn line(&self) -> [Vec<u8>; 2];
    fn fields(&mut self) -> &mut Fields;
    fn write(&self, out: &mut BytesMut);
    /// What a gateway must add before it sends the message on.
    fn complete(&mut self) {}
    /// What the accessors make of it must not panic.
    fn look(&self);
}

impl Head for Request {
    fn read(&mut self, reader: &mut Reader, buffer: &mut BytesMut, _: Asked) -> Result<Option<Framing>, HeadError> {
        reader.request(buffer, self)
    }

    fn line(&self) -> [Vec<u8>; 2] {
        [self.method().to_vec(), self.target().to_vec()]
    }

    fn fields(&mut self) -> &mut Fields {
        &mut self.fields
    }

    fn write(&self, out: &mut BytesMut) {
        Self::write(self, out);
    }

    fn complete(&mut self) {
        // HTTP/1.0 may have none, and what goes out is HTTP/1.1.
        if !self.fields.has(Known::Host) {
            self.fields.insert(0, Known::Host, b"a").expect("it is a value");
        }
    }

    fn look(&self) {
        assert!(self.target().ends_with(self.query().unwrap_or(self.path())));
        let _ = (self.authority(), self.persists(), self.expectation(), self.upgrade(), self.fields.options());
    }
}

impl Head for Response {
    fn read(&mut self, reader: &mut Reader, buffer: &mut BytesMut, asked: Asked) -> Result<Option<Framing>, HeadError> {
        reader.response(buffer, self, asked)
    }

    fn line(&self) -> [Vec<u8>; 2] {
        [self.status().to_string().into_bytes(), self.reason().to_vec()]
    }

    fn fields(&mut self) -> &mut Fields {
        &mut self.fields
    }

    fn write(&self, out: &mut BytesMut) {
        Self::write(self, out);
    }

    fn look(&self) {
        let _ = (self.is_interim(), self.persists(), self.fields.options());
    }
}

/// What `asked` says is asked for each response.
fn read<H: Head>(wire: &[u8], piece: usize, asked: Asked, fields: usize) -> Connection {
    let mut pieces = wire.chunks(piece.max(1));
    let (mut buffer, mut reader, mut head) =
        (BytesMut::new(), Reader::new(Limits { fields, ..Limits::default() }), H::default());
    let mut connection = Connection { messages: Vec::new(), is_broken: false, is_over: false };
    while connection.messages.len() < MOST && !connection.is_over {
        match head.read(&mut reader, &mut buffer, asked) {
            Ok(Some(framing)) => {
                let Some(message) = message(&mut head, framing, &mut buffer, &mut pieces) else {
                    connection.is_broken = true;
                    return connection;
                };
                connection.messages.push(message);
                connection.is_over = matches!(framing, Framing::UntilClose | Framing::Tunnel);
            }
            Ok(None) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => {
                    connection.is_broken = Reader::has_begun(&buffer);
                    return connection;
                }
            },
            Err(error) => {
                let _ = (error.status(), weir_http1::legible(&buffer));
                connection.is_broken = true;
                return connection;
            }
        }
    }
    connection
}

/// The rest of a message whose head was read; `None` where it is malformed or incomplete.
fn message<'a>(
    head: &mut impl Head,
    framing: Framing,
    buffer: &mut BytesMut,
    pieces: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<Message> {
    head.look();
    head.complete();
    edit(head.fields());
    let (line, fields) = (head.line(), lines(head.fields()));
    let mut decoder = Decoder::new(framing, Limits::default());
    let (mut body, mut trailers) = (Vec::new(), None);
    loop {
        match decoder.next(buffer).ok()? {
            Some(Frame::Data(data)) => body.extend_from_slice(&data),
            Some(Frame::Trailers(fields)) => trailers = Some(fields),
            Some(Frame::End) => break,
            None => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => {
                    decoder.close().ok()?;
                    break;
                }
            },
        }
    }
    let mut out = BytesMut::new();
    // Of a response without content the fields are left as they are: its length may be true of another message.
    if framing != Framing::None || line[1].starts_with(b"/") {
        head.fields().set_framing(framing).expect("it is small");
    }
    head.write(&mut out);
    write(framing, &body, trailers.as_deref(), &mut out);
    let written = out.split().to_vec();
    if !body.is_empty() && !matches!(framing, Framing::Tunnel) {
        head.fields().set_framing(Framing::Chunked).expect("it is small");
        head.write(&mut out);
        write(Framing::Chunked, &body.repeat(TIMES), trailers.as_deref(), &mut out);
    }
    let trailers = trailers.map_or_else(Vec::new, |fields| lines(&fields));
    Some(Message { line, fields, framing, body, trailers, written, chunked: out.to_vec() })
}

/// In two pieces, for one would hide a wrong border.
fn write(framing: Framing, body: &[u8], trailers: Option<&Fields>, out: &mut BytesMut) {
    let mut encoder = Encoder::new(framing);
    let (first, second) = body.split_at(body.len() / 2);
    encoder.write(first, out).expect("it is as long as it was");
    encoder.write(second, out).expect("it is as long as it was");
    encoder.end(trailers, out).expect("they were trailers");
}

/// Changes that come to nothing, and one that does not. What they are depends on what is there.
fn edit(fields: &mut Fields) {
    let first = fields.iter().next().map_or(0, |field| field.name.len() + field.value.len());
    fields.append("x-padding", &vec![b'p'; first]).expect("a value");
    fields.remove("X-Padding");
    let last = fields.iter().last().map(|field| (field.name.to_vec(), field.value.to_vec()));
    if let Some((name, value)) = last
        && fields.get_all(&*name).count() == 1
    {
        fields.set(&*name, &value).expect("it was one");
    }
    fields.insert(first % 4, "X-Added", b"1").expect("a value");
}

fn lines(fields: &Fields) -> Lines {
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

/// What holds of every connection: one reading however it is cut, and what is written is read as the same messages.
pub fn check<H: Head>(wire: &[u8], piece: usize, asked: Asked) -> Connection {
    let whole = read::<H>(wire, wire.len(), asked, FIELDS);
    let cut = read::<H>(wire, piece, asked, FIELDS);
    assert_eq!(whole.messages, cut.messages, "however it is cut");
    assert_eq!(whole.is_broken, cut.is_broken, "however it is cut");
    let written: Vec<u8> = whole.messages.iter().flat_map(|message| message.written.iter().copied()).collect();
    let again = read::<H>(&written, written.len(), asked, WRITTEN);
    assert!(!again.is_broken, "{}", written.escape_ascii());
    assert_eq!(again.messages.len(), whole.messages.len(), "{}", written.escape_ascii());
    for (message, again) in whole.messages.iter().zip(&again.messages) {
        let chunked = read::<H>(&message.chunked, message.chunked.len(), asked, WRITTEN).messages;
        assert_eq!(chunked.is_empty(), message.chunked.is_empty(), "{}", message.chunked.escape_ascii());
        let is_same = |it: &Message| it.body == message.body.repeat(TIMES);
        assert!(chunked.iter().all(is_same), "{}", message.chunked.escape_ascii());
        assert_eq!((&again.line, &again.body, &again.trailers), (&message.line, &message.body, &message.trailers));
        assert_eq!(kept(&again.fields), kept(&message.fields));
    }
    whole
}

/// Without the fields that say where the message ends, which are written anew, and the one that is added each time. Names
/// are compared in small letters: a line that is set anew has the editor's.
fn kept(fields: &Lines) -> Lines {
    const OTHERS: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"x-added"];
    let small = fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    small.filter(|(name, _)| !OTHERS.contains(&&name[..])).collect()
}
