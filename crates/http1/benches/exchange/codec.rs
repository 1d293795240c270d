//! This crate's side.

use super::{REQUEST_ID, TRACEPARENT, VIA};
use bytes::{Buf, BytesMut};
use weir_http1::{Asked, Decoder, Encoder, Fields, Known, Limits, Piece, Reader, Request, Response};

/// What a connection's buffers are.
const BUFFER: usize = 8 * 1024;

fn edit(fields: &mut Fields) {
    fields.end_hop().expect("it is small");
    fields.set(Known::XRequestId, REQUEST_ID.as_bytes()).expect("a value");
    fields.append(Known::Via, VIA.as_bytes()).expect("a value");
}

struct Side {
    reader: Reader,
    buffer: BytesMut,
    out: BytesMut,
}

impl Side {
    fn new() -> Self {
        let buffer = || BytesMut::with_capacity(BUFFER);
        Self { reader: Reader::default(), buffer: buffer(), out: buffer() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.buffer.reserve(BUFFER);
        self.buffer.extend_from_slice(bytes);
    }

    fn request(&mut self, request: &mut Request) -> usize {
        let framing = self.reader.request(&mut self.buffer, request).expect("a request").expect("whole");
        edit(&mut request.fields);
        request.fields.set(Known::TraceParent, TRACEPARENT.as_bytes()).expect("a value");
        request.fields.set_framing(framing).expect("it is small");
        self.out.clear();
        request.write(&mut self.out);
        request.clear();
        self.out.len()
    }

    fn response(&mut self, response: &mut Response) -> usize {
        let framing =
            self.reader.response(&mut self.buffer, response, Asked::Other).expect("a response").expect("whole");
        edit(&mut response.fields);
        response.fields.set_framing(framing).expect("it is small");
        self.out.clear();
        response.write(&mut self.out);
        response.clear();
        let (mut decoder, mut encoder) = (Decoder::new(framing, Limits::default()), Encoder::new(framing));
        while !decoder.is_done() {
            let step = decoder.step(&self.buffer).expect("a body");
            self.buffer.advance(step.skip);
            let Piece::Data(len) = step.piece else { break };
            encoder.write(&self.buffer[..len], &mut self.out).expect("as long as it says");
            self.buffer.advance(len);
        }
        encoder.end(None, &mut self.out).expect("as long as it says");
        self.out.len()
    }
}

pub fn requests(wire: &[u8], times: usize) -> usize {
    let (mut side, mut request) = (Side::new(), Request::default());
    (0..times)
        .map(|_| {
            side.receive(wire);
            side.request(&mut request)
        })
        .sum()
}

/// Bytes written both ways.
pub fn exchanges(wire: &[u8], answer: &[u8], times: usize) -> usize {
    let (mut client, mut upstream) = (Side::new(), Side::new());
    let (mut request, mut response) = (Request::default(), Response::default());
    (0..times)
        .map(|_| {
            client.receive(wire);
            let asked = client.request(&mut request);
            upstream.receive(answer);
            asked + upstream.response(&mut response)
        })
        .sum()
}
