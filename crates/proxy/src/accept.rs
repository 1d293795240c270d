//! Phase `accept`: a request head is in, and its exchange begins.
//!
//! Here is what a request must be before anything looks at it: a host, and exactly one (RFC 9112 3.2). The trace
//! context leaves the headers, so that the upstream gets the one that this gateway writes and never two.

use crate::answer::Refusal;
use crate::body::RequestBody;
use crate::client::Client;
use crate::escape::escaped;
use crate::exchange::{ExchangeRef, Owner};
use crate::flow::Flow;
use crate::forwarded::{client_address, is_of};
use crate::grpc;
use crate::headers::Special;
use crate::record::Closer;
use crate::request_id::RequestId;
use crate::snapshot::Held;
use crate::tracing::{debug, limit_baggage, link};
use crate::upload::Incoming;
use bytes::Bytes;
use http::header::{COOKIE, RETRY_AFTER};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use weir_event::{Exchange, Kept, Reason, Scheme, TlsVersion};
use weir_http1::{Fields, Known, is_plain_authority};
use weir_telemetry::Continuation;

/// A request head larger than this, in bytes, is 431: Flex's limit.
pub(crate) const MAX_HEAD: usize = 60 * 1024;

/// The head of a request as it came.
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: Fields,
    /// What is wrong with it, where its protocol knows that.
    pub(crate) fault: Option<Refusal>,
    /// What comes behind it, should it open a WebSocket, which it asks for.
    pub(crate) tunnel: Option<Incoming>,
}

/// Of HTTP/2.
impl From<Parts> for Arrived {
    fn from(parts: Parts) -> Self {
        let Parts { method, uri, version, mut headers, .. } = parts;
        join_cookies(&mut headers);
        // The codec refuses that of HTTP/1.1 (RFC 9113 8.2.1); it is not seen in the list.
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let mut values = headers.values().map(HeaderValue::as_bytes);
        let is_padded = values.any(|value| is_blank(value.first()) || is_blank(value.last()));
        let padded = || Refusal::new(Reason::MalformedRequest, "a field of the request begins or ends with a blank");
        let large = |_| Refusal::new(Reason::HeadersTooLarge, "the request has more fields than can be kept");
        let (headers, fault) = match Fields::of_map(&headers).map_err(large) {
            Ok(fields) => (fields, is_padded.then(padded)),
            Err(fault) => (Fields::new(), Some(fault)),
        };
        Self { method, uri, version, headers, fault, tunnel: None }
    }
}

/// What is left of a request once its exchange knows the rest.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) host: HeaderValue,
    pub(crate) headers: Fields,
    /// What was in the headers when they came; some of it may have been taken out since.
    pub(crate) special: Special,
    pub(crate) body: RequestBody,
}

impl Head {
    /// What rules look at, of a request for `path`.
    pub(crate) fn for_rules<'a>(&'a self, path: &'a str) -> weir_router::Request<'a> {
        let host = self.host.to_str().unwrap_or_default();
        weir_router::Request { method: &self.method, host, path, headers: &self.headers }
    }
}

/// Begins the exchange. Its refusal, where there is one, is answered like any other.
pub(crate) fn accept(
    client: Rc<Client>,
    owner: Rc<dyn Owner>,
    parts: Arrived,
    body: Option<Incoming>,
) -> (Flow, Result<Box<Head>, Refusal>) {
    let snapshot = client.worker.snapshot();
    let mut headers = parts.headers;
    let sound = match parts.fault {
        Some(fault) => Err(fault),
        None if parts.version == Version::HTTP_2 => {
            let most = snapshot.limits.header_fields as usize;
            head_size(&parts.uri, &headers).and_then(|()| one_length(&headers)).and_then(|()| fields(&headers, most))
        }
        None => Ok(()),
    };
    let special = Special::of(&headers);
    let grpc = (parts.version == Version::HTTP_2 && grpc::is_grpc(&headers)).then(|| grpc::timeout(&headers));
    let (line, hosts) = (headers.get_value(Known::Host), headers.get_all(Known::Host).count());
    let user_agent = headers.get_value(Known::UserAgent);
    let is_probe = special.has_probe() && snapshot.marks.take_from(&mut headers, &snapshot.pseudonym);
    let listener = snapshot.listener(client.listener);
    let mut trace = trace_context(&client, &snapshot, listener, &mut headers, special);
    let request_id = RequestId::of(&headers, snapshot.preserve_request_id, trace.facts.trace, trace.facts.span);
    let (target, path) = normal_target(parts.uri);
    let host = language(&client)
        .and(sound)
        .and(path)
        .and_then(|()| host(&parts.method, &target.uri, (line, hosts), parts.version));

    let exchange = ExchangeRef::new(Rc::clone(&client), owner, Rc::clone(&snapshot));
    if let Some(timeout) = grpc {
        exchange.speaks_grpc(timeout);
    }
    {
        let mut exchange = exchange.borrow_mut();
        describe(&mut exchange, &parts.method, parts.version, &client);
        exchange.user_agent = user_agent;
        exchange.generation = snapshot.generation;
        exchange.entry = client.is_entry(&snapshot);
        exchange.host = host.as_ref().ok().cloned();
        exchange.target = target.uri;
        exchange.attrs.extend(target.original.map(|path| (Bytes::from_static(b"path.original"), path)));
        exchange.client = client_address(client.peer, &headers, &snapshot.trusted_peers);
        if is_probe {
            exchange.mark_as_probe();
        }
        if let Some(tracer) = &snapshot.tracer {
            let is_stranger = exchange.entry && !is_of(client.peer, &snapshot.trusted_peers);
            if is_probe {
                (trace.facts.sampled, trace.facts.kept) = (true, Some(Kept::Debug));
            }
            trace.asked = tracer.ask(&trace, exchange.started_us / 1_000_000, special, is_stranger);
            tracer.sample(&mut trace, &mut exchange, &headers);
            debug(Some(tracer), &mut trace, &mut exchange, |rules, _, now| rules.takes_headers(&headers, now));
            exchange.peer = Some(client.peer);
            exchange.trace_state = trace.state().cloned();
        }
        exchange.attrs.extend(link(&trace));
        exchange.trace = trace.facts;
    }

    // The one count that workers share, so that the limit is one of the gateway and not of each.
    let open = snapshot.open.fetch_add(1, Ordering::Relaxed);
    let host = if open >= snapshot.limits.open_requests as usize { Err(overloaded()) } else { host };
    let body = RequestBody::new(body, exchange.clone());
    exchange.begins();
    let closer = Closer::new(exchange.clone());
    let method = parts.method.clone();
    let (api, passed) = (None, Vec::new());
    let tunnel = parts.tunnel;
    let flow = Flow { exchange, listener, closer, trace, request_id, method, api, passed, lease: None, tunnel };
    let head = host.map(|host| Box::new(Head { method: parts.method, host, headers, special, body }));
    (flow, head)
}

/// Takes the trace context out of the head: the upstream gets the one that this gateway writes.
fn trace_context(
    client: &Client,
    snapshot: &Held,
    listener: Option<usize>,
    headers: &mut Fields,
    special: Special,
) -> Continuation {
    let trust = listener.map_or(snapshot.edge, |listener| snapshot.listeners[listener].edge).trust;
    if special.has_baggage() {
        limit_baggage(headers, trust);
    }
    if special.has_trace() {
        client.worker.continue_trace(headers, trust, snapshot.propagators)
    } else {
        client.worker.begin_trace(snapshot.propagators)
    }
}

/// What the request and its connection say of themselves.
fn describe(exchange: &mut Exchange, method: &Method, version: Version, client: &Client) {
    exchange.set_method(method);
    exchange.protocol = version.into();
    (exchange.tls_version, exchange.tls_cipher) = client.tls();
    exchange.scheme = match exchange.tls_version {
        TlsVersion::None => Scheme::Http,
        _ => Scheme::Https,
    };
}

/// Shed at the door, so that what is open already is served.
fn overloaded() -> Refusal {
    Refusal::new(Reason::Overloaded, "the gateway has as many open requests as it takes on")
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// A request target, and its path as it was sent where that is not the normal form.
struct Normal {
    uri: Uri,
    original: Option<Bytes>,
}

/// The target with the one spelling of its path, by which it is routed, judged and forwarded.
fn normal_target(uri: Uri) -> (Normal, Result<(), Refusal>) {
    let normal = match weir_router::normalize(uri.path()) {
        Ok(Cow::Borrowed(_)) if uri.query().is_none_or(str::is_ascii) => {
            return (Normal { uri, original: None }, Ok(()));
        }
        Ok(Cow::Borrowed(path)) => path.to_owned(),
        Ok(Cow::Owned(normal)) => normal,
        Err(error) => {
            let refusal = Refusal::new(Reason::MalformedRequest, error.as_str());
            return (Normal { uri, original: None }, Err(refusal));
        }
    };
    let text = match uri.query() {
        Some(query) => [normal.as_bytes(), b"?", &escaped(Bytes::copy_from_slice(query.as_bytes()))].concat().into(),
        None => Bytes::from(normal.clone()),
    };
    let original = (normal != uri.path()).then(|| Bytes::copy_from_slice(uri.path().as_bytes()));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::from_maybe_shared(text).ok();
    match Uri::from_parts(parts) {
        Ok(normal) => (Normal { uri: normal, original }, Ok(())),
        // Every part of it came out of a target that was one.
        Err(_) => {
            let refusal = Refusal::new(Reason::MalformedRequest, "the target of the request is not a valid one");
            (Normal { uri, original: None }, Err(refusal))
        }
    }
}

/// A request in the clear to a port of TLS is informed; it is never served, nor sent elsewhere.
fn language(client: &Client) -> Result<(), Refusal> {
    if client.is_in_clear_by_mistake() {
        return Err(Refusal::new(Reason::MalformedRequest, "this port speaks TLS; ask by https"));
    }
    Ok(())
}

/// Of HTTP/2, what the codec checks of HTTP/1.1: as RFC 9113 6.5.2 counts, 32 bytes a field and its text.
fn head_size(uri: &Uri, headers: &Fields) -> Result<(), Refusal> {
    let field = |name: usize, value: usize| name + value + 32;
    let target = uri.path_and_query().map_or(0, |target| field(5, target.as_str().len()));
    let host = uri.authority().map_or(0, |authority| field(10, authority.as_str().len()));
    let fields: usize = headers.iter().map(|line| field(line.name.len(), line.value.len())).sum();
    if target + host + fields > MAX_HEAD {
        return Err(Refusal::new(Reason::HeadersTooLarge, "the head of the request is larger than 60 KiB"));
    }
    Ok(())
}

/// Of HTTP/2, what the codec refuses of HTTP/1.1: more fields than that.
fn fields(headers: &Fields, most: usize) -> Result<(), Refusal> {
    if headers.len() > most {
        return Err(Refusal::new(
            Reason::HeadersTooLarge,
            "the head of the request has more fields than limits.headerFields",
        ));
    }
    Ok(())
}

/// HTTP/2 frames its bodies itself, and passes on what a length says beside that.
fn one_length(headers: &Fields) -> Result<(), Refusal> {
    let mut lines = headers.get_all(Known::ContentLength);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(line), None) if !line.is_empty() => Ok(()),
        _ => Err(Refusal::new(Reason::MalformedRequest, "the request has no single Content-Length")),
    }
}

/// HTTP/2 may send a cookie in pieces; HTTP/1.1 has it in one (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

/// The one authority that the request is for: of the absolute form if it has one, otherwise `Host`.
fn host(
    method: &Method,
    uri: &Uri,
    (line, lines): (Option<HeaderValue>, usize),
    version: Version,
) -> Result<HeaderValue, Refusal> {
    let refused = |detail| Err(Refusal::new(Reason::MalformedRequest, detail));
    if lines > 1 {
        return refused("the request has more than one Host header");
    }
    if method == Method::CONNECT {
        let refusal = Refusal::new(Reason::MethodNotAllowed, "this gateway opens no tunnels");
        return Err(refusal.with_status(StatusCode::NOT_IMPLEMENTED));
    }
    let is_star = method == Method::OPTIONS && uri.path() == "*";
    // The absolute form of HTTP/1.1 may have a query and no path; `:path` begins with a slash (RFC 9113 8.3.1).
    let is_path = match uri.path_and_query() {
        Some(target) if version == Version::HTTP_2 => target.as_str().starts_with('/'),
        _ => uri.path().starts_with('/'),
    };
    if !is_star && !is_path {
        return refused("the target of the request is not a path");
    }
    if uri.authority().is_some() && uri.scheme().is_none() {
        return refused("a target that is an authority is for CONNECT alone");
    }
    if version == Version::HTTP_2 && !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return refused("the scheme of the request is neither http nor https");
    }
    if let Some(authority) = uri.authority() {
        if version == Version::HTTP_2 && line.is_some_and(|host| !is_same_authority(&host, authority.as_str(), uri)) {
            return refused("the Host header is not the authority of the request");
        }
        return match HeaderValue::from_str(authority.as_str()) {
            Ok(value) if is_host(&value) => Ok(value),
            _ => refused("the authority of the request target is not a valid host"),
        };
    }
    match line {
        Some(value) if is_host(&value) => Ok(value),
        Some(_) => refused("the Host header is not a valid host"),
        None if version == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        None => refused("the request has no Host header"),
    }
}

/// An authority without user information (RFC 9110 4.2.4): a password in it would be recorded, and sent on.
pub(crate) fn is_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    is_plain_authority(bytes)
        || !bytes.contains(&b'@') && http::uri::Authority::try_from(bytes).is_ok_and(|it| has_port(&it))
}

/// Whether there is a host, and behind it a port number or none (RFC 3986 3.2.3); the parser takes anything for a port.
fn has_port(authority: &http::uri::Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let digits = port.map(|port| port.strip_prefix(':').unwrap_or(port));
    !authority.host().is_empty() && digits.is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// RFC 9113 8.3.1: compared as RFC 3986 6.2.3 says, without regard to case and to the port that the scheme has anyway.
fn is_same_authority(host: &HeaderValue, authority: &str, uri: &Uri) -> bool {
    let port: &[u8] = if uri.scheme() == Some(&http::uri::Scheme::HTTPS) { b":443" } else { b":80" };
    let bare = |name: &'_ [u8]| -> Vec<u8> {
        let name = name.strip_suffix(port).or_else(|| name.strip_suffix(b":")).unwrap_or(name);
        name.to_ascii_lowercase()
    };
    bare(host.as_bytes()) == bare(authority.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short way lets in nothing that the parser refuses.
    #[test]
    fn a_plain_host_is_an_authority() {
        const PIECES: [&str; 12] = ["a", "Z", "9", "-", ".", ":", ":8", "99999", "@", "[", "_", "%41"];
        let mut rng = fastrand::Rng::with_seed(3);
        let mut plain = 0;
        for _ in 0..50_000 {
            let count = rng.usize(0..6);
            let host: String = (0..count).filter_map(|_| rng.choice(PIECES)).collect();
            if is_plain_authority(host.as_bytes()) {
                plain += 1;
                assert!(!host.contains('@') && http::uri::Authority::try_from(host.as_bytes()).is_ok(), "{host}");
            }
        }
        assert!(plain > 1_000, "{plain} is hardly a test");
    }
}
