//! What the gateway answers itself, as RFC 9110 asks of it: a server's `OPTIONS *`, methods that go no further than here,
//! and requests whose `Max-Forwards` is used up. And its operator's probes.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::body::Source;
use crate::flow::Flow;
use crate::marks::HEADER;
use crate::reply::Reply;
use bytes::Bytes;
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use weir_event::Reason;
use weir_http1::Known;

/// Methods that may be served, by one API or another.
const METHODS: (HeaderName, HeaderValue) =
    (ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));

/// The answer to a request that is for the gateway. What goes on has one forward less where it counts them.
pub(crate) fn own_answer(flow: &Flow, head: &mut Head) -> Result<Option<Reply<Source>>, Refusal> {
    if flow.exchange.borrow().is_probe() {
        return Ok(Some(probed(flow)));
    }
    match head.method {
        Method::TRACE => {
            // What a client sent is not shown again: a script would read credentials that it may not (RFC 9110 9.3.8).
            let (name, value) = METHODS;
            Err(Refusal::new(Reason::MethodNotAllowed, "this gateway does not serve TRACE").with_header(name, value))
        }
        Method::OPTIONS if flow.exchange.borrow().target.path() == "*" => Ok(Some(options())),
        Method::OPTIONS => match forwards_left(head)? {
            Some(0) => Ok(Some(options())),
            Some(left) => {
                head.headers.put(Known::MaxForwards, &HeaderValue::from(left - 1));
                Ok(None)
            }
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// RFC 9110 7.6.2. A number larger than any chain is long counts as that.
fn forwards_left(head: &Head) -> Result<Option<u32>, Refusal> {
    let mut lines = head.headers.get_all(Known::MaxForwards);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) if !line.is_empty() && line.iter().all(u8::is_ascii_digit) => {
            let digits = line.iter().map(|digit| u32::from(digit - b'0'));
            Ok(Some(digits.fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(digit))))
        }
        _ => Err(Refusal::new(Reason::MalformedRequest, "the request's Max-Forwards is not one number")),
    }
}

/// The answer to a probe: which trace is to be looked for.
fn probed(flow: &Flow) -> Reply<Source> {
    let mut reply = Reply::new(StatusCode::NO_CONTENT, Source::fixed(Bytes::new()));
    let trace = flow.exchange.borrow().trace.trace.to_string();
    reply.fields.extend(HeaderValue::try_from(trace).ok().map(|trace| (HEADER, trace)));
    reply
}

fn options() -> Reply<Source> {
    let mut reply = Reply::new(StatusCode::OK, Source::fixed(Bytes::new()));
    reply.fields.extend([METHODS]);
    reply
}
