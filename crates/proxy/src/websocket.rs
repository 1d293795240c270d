//! The handshake of a WebSocket (RFC 6455 4): what goes on, and what must come back. Over HTTP/2 a client asks by an
//! extended CONNECT (RFC 8441), which becomes the handshake of HTTP/1.1 that it stands for: it is routed, judged, recorded
//! and sent on as GET, and 101 becomes 200.
//!
//! A tunnel is opened only where both sides have said so beyond doubt: the client in its request, and the service by 101
//! with the very answer to the client's key. Otherwise a client could have the gateway take for a tunnel what its service
//! reads as requests (or the other way round), and pass requests by every policy.

use crate::accept::Arrived;
use crate::answer::Refusal;
use crate::upload::Incoming;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use sha1::{Digest, Sha1};
use weir_event::Reason;
use weir_http1::{Fields, Known};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 bytes in base64.
const KEY_BYTES: usize = 16;
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What the service must answer, of a request that asks for a WebSocket as it should (RFC 6455 4.1): `None` of one that
/// does not, and is served as any other.
pub(crate) fn expected(method: &Method, fields: &Fields) -> Option<Bytes> {
    let only = |name| {
        let mut lines = fields.get_all(name);
        lines.next().filter(|_| lines.next().is_none())
    };
    let key = only(Known::SecWebSocketKey)?;
    let is_key = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
    let is_version = only(Known::SecWebSocketVersion) == Some(b"13");
    (*method == Method::GET && is_key && is_version).then(|| accept(key))
}

/// Whether the head of HTTP/2 asks for a WebSocket (RFC 8441 5).
pub(crate) fn is_asked_by_http2(head: &Parts) -> bool {
    let protocol = head.extensions.get::<h2::ext::Protocol>();
    head.method == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Makes of such a head that of HTTP/1.1. The key is the gateway's own: there is none over HTTP/2 (RFC 8441 5).
pub(crate) fn stand_for(arrived: &mut Arrived, client: Incoming) {
    arrived.method = Method::GET;
    let mut key = [0; KEY_BYTES];
    fastrand::fill(&mut key);
    let key = HeaderValue::try_from(STANDARD.encode(key)).expect("base64 is visible ASCII");
    arrived.headers.put(Known::SecWebSocketKey, &key);
    arrived.tunnel = Some(client);
}

/// What a client of HTTP/2 is told in place of `status`, with `fields`: success means that the tunnel is open, so that
/// another success is an error of the service.
pub(crate) fn answer_to_http2(status: StatusCode, fields: &mut Fields) -> Result<StatusCode, Refusal> {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => {
            fields.remove(Known::SecWebSocketAccept);
            Ok(StatusCode::OK)
        }
        status if status.is_success() => {
            Err(Refusal::new(Reason::UpstreamProtocolError, "the upstream did not open the WebSocket"))
        }
        status => Ok(status),
    }
}

/// Says in the request, or in its answer, that the connection changes (RFC 9110 7.8).
pub(crate) fn ask(fields: &mut Fields) {
    fields.put(Known::Connection, &UPGRADE);
    fields.put(Known::Upgrade, &WEBSOCKET);
}

/// Whether the fields of a 101 are the answer to the request (RFC 6455 4.1, steps 2 to 4 of its second list).
pub(crate) fn is_answer(fields: &Fields, expected: &[u8]) -> bool {
    let mut protocols = fields.members(Known::Upgrade);
    let is_websocket = protocols.next().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    let mut accepts = fields.get_all(Known::SecWebSocketAccept);
    is_websocket
        && protocols.next().is_none()
        && fields.options().upgrade
        && accepts.next() == Some(expected)
        && accepts.next().is_none()
}

fn accept(key: &[u8]) -> Bytes {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        lines.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    /// The example of RFC 6455 1.3.
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");

    #[test]
    fn a_handshake_has_one_answer() {
        assert_eq!(expected(&Method::GET, &fields(&[KEY, VERSION])).unwrap(), ACCEPT);
        for (method, lines) in [
            (Method::POST, vec![KEY, VERSION]),
            (Method::GET, vec![KEY]),
            (Method::GET, vec![VERSION]),
            (Method::GET, vec![KEY, KEY, VERSION]),
            (Method::GET, vec![KEY, ("sec-websocket-version", "8")]),
            (Method::GET, vec![KEY, VERSION, ("sec-websocket-version", "8")]),
            (Method::GET, vec![("sec-websocket-key", "c2hvcnQ="), VERSION]),
            (Method::GET, vec![("sec-websocket-key", "no base64"), VERSION]),
        ] {
            assert_eq!(expected(&method, &fields(&lines)), None, "{method} {lines:?}");
        }
    }

    #[test]
    fn an_answer_that_is_none_opens_nothing() {
        let (upgrade, connection) = (("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade"));
        let accept = ("sec-websocket-accept", ACCEPT);
        let is = |lines: &[(&str, &str)]| is_answer(&fields(lines), ACCEPT.as_bytes());
        assert!(is(&[upgrade, connection, accept]));
        for lines in [
            &[connection, accept][..],
            &[upgrade, accept],
            &[upgrade, connection],
            &[upgrade, connection, accept, accept],
            &[upgrade, connection, ("sec-websocket-accept", "AAAA")],
            &[("upgrade", "websocket, x"), connection, accept],
            &[("upgrade", "x"), connection, accept],
        ] {
            assert!(!is(lines), "{lines:?}");
        }
    }
}
