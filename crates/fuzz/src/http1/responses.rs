//! Responses.

use super::codec::{Message, TIMES, check};
use super::hyper;
use super::requests::{grouped, listed};
use weir_http1::{Asked, Framing, Response};

pub fn http1_responses(input: &[u8]) {
    let Some((first, wire)) = input.split_first() else { return };
    let method = ["GET", "HEAD", "CONNECT", "POST"][usize::from(first >> 6)];
    let connection = check::<Response>(wire, usize::from(first & 63), Asked::by(method.as_bytes()));
    let interim = |message: &&Message| message.line[0].starts_with(b"1") && message.line[0] != b"101";
    let Some(message) = connection.messages.iter().find(|message| !interim(message)) else { return };
    let text = message.written.escape_ascii();
    // What was sent: hyper may refuse it, but never read another message.
    if let Some(seen) = hyper::response(method, wire) {
        assert_eq!(seen.head.status.as_str().as_bytes(), message.line[0], "{}", wire.escape_ascii());
        let is_same = message.framing == Framing::Tunnel || seen.is_whole && seen.body == message.body;
        assert!(is_same, "{}", wire.escape_ascii());
    }
    // What goes out.
    let Some(seen) = hyper::response(method, &message.written) else { panic!("hyper refuses {text}") };
    assert_eq!(seen.head.status.as_str().as_bytes(), message.line[0], "{text}");
    if message.framing == Framing::Tunnel {
        return;
    }
    assert!(seen.is_whole, "hyper misses a part of {text}");
    assert_eq!(seen.body, message.body, "{text}");
    assert_eq!(seen.trailers.as_ref().map(listed).unwrap_or_default(), grouped(&message.trailers), "{text}");
    if !message.chunked.is_empty() {
        let Some(seen) = hyper::response(method, &message.chunked) else {
            panic!("hyper refuses the chunks of {text}")
        };
        assert!(seen.is_whole && seen.body == message.body.repeat(TIMES), "{}", message.chunked.escape_ascii());
    }
    let (mut fields, mut sent) = (listed(&seen.head.headers), grouped(&message.fields));
    for name in [&b"content-length"[..], b"transfer-encoding"] {
        fields.remove(name);
        sent.remove(name);
    }
    assert_eq!(fields, sent, "{text}");
}
