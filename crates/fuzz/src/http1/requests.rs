//! Requests.

use super::codec::{Lines, Message, TIMES, check};
use super::hyper;
use http::HeaderMap;
use http::request::Parts;
use std::collections::BTreeMap;
use weir_http1::{Asked, Framing, Request};

pub fn http1_requests(input: &[u8]) {
    let Some((piece, wire)) = input.split_first() else { return };
    let connection = check::<Request>(wire, usize::from(*piece), Asked::Other);
    // What was sent: hyper may refuse a head that the codec takes, and stop sooner, but never read another message.
    let seen = hyper::requests(wire);
    for (message, seen) in connection.messages.iter().zip(&seen) {
        assert_eq!(seen.head.method.as_str().as_bytes(), message.line[0], "{}", wire.escape_ascii());
        if message.framing == Framing::Tunnel {
            break;
        }
        assert!(seen.is_whole && seen.body == message.body, "{}", wire.escape_ascii());
    }
    let framed = connection.messages.iter().take_while(|message| message.line[0] != b"CONNECT").count();
    assert!(
        seen.len() <= connection.messages.len()
            || connection.is_broken
            || framed < connection.messages.len()
            || connection.messages.len() == 16,
        "hyper reads a message where there is none: {}",
        wire.escape_ascii()
    );
    // What goes out.
    for message in &connection.messages {
        let seen = hyper::requests(&message.written);
        match seen.first() {
            Some(seen) => is_same(message, &seen.head, &seen.body, seen.trailers.as_ref(), seen.is_whole),
            None => assert!(is_odd(message), "hyper refuses {}", message.written.escape_ascii()),
        }
        assert!(seen.len() <= 1, "one message is two: {}", message.written.escape_ascii());
        let seen = hyper::requests(&message.chunked);
        assert!(seen.len() <= 1, "one message is two: {}", message.chunked.escape_ascii());
        let is_same = |body: &[u8]| body == message.body.repeat(TIMES);
        assert!(seen.iter().all(|seen| seen.is_whole && is_same(&seen.body)), "{}", message.chunked.escape_ascii());
    }
}

fn is_same(message: &Message, head: &Parts, body: &[u8], trailers: Option<&HeaderMap>, is_whole: bool) {
    let text = message.written.escape_ascii();
    assert!(is_whole, "hyper misses a part of {text}");
    assert_eq!(head.method.as_str().as_bytes(), message.line[0]);
    let target = &message.line[1];
    let uri = head.uri.to_string().into_bytes();
    // An absolute target without a path is shown with one, and a scheme in small letters.
    let is_absolute = head.uri.scheme().is_some();
    assert!(is_absolute || uri == *target, "{} is not the target of {text}", uri.escape_ascii());
    let same_query = head.uri.query().is_none_or(|query| target.ends_with(query.as_bytes()));
    assert!(
        same_query && head.uri.path_and_query().is_none_or(|it| it == "/" || uri.ends_with(it.as_str().as_bytes()))
    );
    assert_eq!(body, message.body, "{text}");
    assert_eq!(trailers.map(listed).unwrap_or_default(), grouped(&message.trailers), "{text}");
    let mut fields = listed(&head.headers);
    let mut sent = grouped(&message.fields);
    for name in [&b"content-length"[..], b"transfer-encoding"] {
        fields.remove(name);
        sent.remove(name);
    }
    assert_eq!(fields, sent, "{text}");
}

/// hyper's targets are stricter than those of RFC 9112's grammar in some places and looser in others; the gateway escapes
/// what it refuses before it sends a request.
fn is_odd(message: &Message) -> bool {
    let target = &message.line[1];
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/?:@!$&'()*+,;=%-._~".contains(byte);
    !target.starts_with(b"/") || target.len() > 60_000 || !target.iter().all(is_plain)
}

type Grouped = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// The values of each name, in their order.
pub(super) fn grouped(lines: &Lines) -> Grouped {
    let mut all = Grouped::new();
    for (name, value) in lines {
        all.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
    }
    all
}

pub(super) fn listed(headers: &HeaderMap) -> Grouped {
    let mut all = Grouped::new();
    for (name, value) in headers {
        all.entry(name.as_str().as_bytes().to_vec()).or_default().push(value.as_bytes().to_vec());
    }
    all
}
