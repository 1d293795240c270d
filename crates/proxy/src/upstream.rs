//! Phase `upstream`: the request goes out, over a kept connection or a new one, and a response head comes back.
//!
//! A kept connection may have been closed by its upstream at the very moment that it is used. If no byte of the
//! request was written, it is sent again on a new connection, whatever it is; if it was written but nothing came
//! back, only a bodiless request with an idempotent method is (RFC 9110 9.2.2). Each try is one attempt in the
//! record. The second is always on a new connection, so there is no third. Over HTTP/2 an upstream can say that it has
//! not looked at a request (RFC 9113 8.7): that is sent again, whatever it is, up to [`MOST_REFUSED`] times.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::body::{Broken, RequestBody, Source};
use crate::exchange::ExchangeRef;
use crate::flow::Flow;
use crate::forwarded::{Forwarded, is_of};
use crate::grpc;
use crate::headers::{Special, passes};
use crate::link::{self, Report};
use crate::patience::{is_late, patiently};
use crate::reply::Reply;
use crate::route::Target;
use crate::snapshot::MAX_PASSES;
use crate::websocket;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};
use tracing::debug;
use weir_config::UpstreamHost;
use weir_event::{Attempt, Protocol, Reason, Turn, micros};
use weir_http1::{Fields, Framing, HeadError, Known};
use weir_upstream::{Connection, Content, Failure, Head as Answered, InFlight, Origin, Unanswered};

/// The attribute of an exchange whose last attempt was over HTTP/2; without it that was HTTP/1.1.
const OVER_HTTP2: (Bytes, Bytes) = (Bytes::from_static(b"upstream.protocol"), Bytes::from_static(b"2"));

/// Heads of 1xx in front of a response: more are no response.
const MOST_INTERIM: usize = 64;

/// How often a request is sent again that its upstream refuses to look at.
const MOST_REFUSED: u32 = 5;

/// Sends the request and waits for the response head: over a kept connection if there is one, and if that one has
/// ended without a word, once more over a new one.
pub(crate) async fn upstream(flow: &mut Flow, target: &Target, head: Box<Head>) -> Result<Reply<Source>, Refusal> {
    let Prepared { method, mut fields, mut body, accept } = prepare(flow, target, *head)?;
    let origin = &*target.route().origin;
    let origin = if accept.is_some() { origin.of_tunnels() } else { origin };
    let is_grpc = flow.exchange.is_grpc();
    if is_grpc && origin.is_http1() {
        return Err(without_http2());
    }
    let mut refused = 0;
    let is_repeatable = method.is_idempotent() && body.is_end();
    let path = target.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut started = flow.exchange.hand_to(Turn::Upstream);
    let mut kept = flow.exchange.worker().pool.checkout(origin, started, &flow.exchange.snapshot().upstream_timeouts());
    loop {
        let is_kept = kept.is_some();
        flow.exchange.attempted(started);
        let Way { connection, trying } = match kept.take() {
            Some(connection) => Way::over(flow, connection, started),
            // Boxed: a request over a kept connection does not carry room for a handshake.
            None => Box::pin(Way::open(flow, origin, started)).await?,
        };
        stamp(flow, &mut fields);
        if connection.is_http2() {
            trying.is_http2();
        } else if is_grpc {
            return Err(chose_http1(flow, connection, trying));
        }
        let sent = if is_kept { started } else { flow.exchange.worker().clock.now() };
        let mut in_flight = InFlight::send(connection, (&method, path, &fields), body);
        let waited = {
            let waiting = pin!(final_head(&flow.exchange, &mut in_flight));
            patiently(&flow.exchange, &flow.exchange.snapshot().timeouts, sent, waiting).await
        };
        let now = flow.exchange.hand_to(Turn::Gateway);
        let why = match waited {
            Ok(Ok(response)) => {
                return answered(flow, target, in_flight, (response, accept.as_deref()), trying, (sent, now));
            }
            Ok(Err(why)) => why,
            Err(reason) => {
                trying.end(reason, now);
                return Err(Refusal::new(reason, detail(reason)));
            }
        };
        let may_repeat = match why {
            Unanswered::Closed(_) => is_kept && (is_repeatable || in_flight.is_unsent()),
            Unanswered::Refused => {
                refused += 1;
                refused <= MOST_REFUSED && in_flight.has_content()
            }
            // Bytes that came back and are no response were an answer all the same; and what its client broke off is over.
            Unanswered::Head(_) | Unanswered::Content(_) | Unanswered::Unsaid(_) => false,
        };
        let refusal = failed(flow, trying, &Failure::of_exchange(origin.address.to_string(), why));
        if !may_repeat {
            return Err(refusal);
        }
        body = in_flight.into_content().unwrap_or_else(|| RequestBody::empty(flow.exchange.clone()));
        started = flow.exchange.hand_to(Turn::Upstream);
    }
}

/// gRPC needs HTTP/2 from end to end.
fn without_http2() -> Refusal {
    Refusal::new(Reason::UpstreamProtocolError, "the service is spoken to in HTTP/1.1, and gRPC needs HTTP/2")
}

/// A connection of HTTP/1.1 for a request of gRPC: the TLS of a service that was offered both has chosen that.
#[cold]
fn chose_http1(flow: &Flow, connection: Connection, trying: Trying) -> Refusal {
    let now = flow.exchange.hand_to(Turn::Gateway);
    trying.end(Reason::UpstreamProtocolError, now);
    flow.exchange.worker().pool.give_back(connection, now);
    without_http2()
}

/// Waits for the head of the response. Those of 1xx in front of it go to the client in their order, but for 100, which the
/// client had of this gateway if it asked for one.
async fn final_head(
    exchange: &ExchangeRef,
    in_flight: &mut InFlight<RequestBody>,
) -> Result<Answered, Unanswered<Broken>> {
    for _ in 0..=MOST_INTERIM {
        let mut head = poll_fn(|cx| in_flight.poll_head(cx)).await?;
        if !head.is_interim() {
            return Ok(head);
        }
        if head.status != StatusCode::CONTINUE {
            end_hop(&mut head.fields);
            head.fields.remove(Known::ContentLength);
            exchange.interim(head.status, head.fields);
        }
    }
    Err(Unanswered::Head(HeadError::TooLarge))
}

/// A connection in hand, and the attempt that is made over it.
struct Way {
    connection: Connection,
    trying: Trying,
}

impl Way {
    // Inlined, so that it is made where it stays.
    #[inline(always)]
    fn over(flow: &Flow, connection: Connection, started: Instant) -> Self {
        let trying = Trying::begin(flow, connection.address(), started);
        Self { connection, trying }
    }

    async fn open(flow: &Flow, origin: &Origin, started: Instant) -> Result<Self, Refusal> {
        let mut trying = Trying::begin(flow, None, started);
        let mut timeouts = flow.exchange.snapshot().upstream_timeouts();
        if let Some(deadline) = flow.exchange.deadline() {
            timeouts.connect = timeouts.connect.min(deadline.saturating_duration_since(started));
        }
        match flow.exchange.worker().pool.connect(origin, &timeouts, &mut trying.attempt).await {
            Ok(connection) => Ok(Self { connection, trying }),
            Err(failure) => Err(failed(flow, trying, &failure)),
        }
    }
}

/// An attempt that is under way. Dropped with its end unsaid - the client gave up - it is booked as that: an upstream
/// that hangs is known by the attempts that nobody waited for.
struct Trying {
    exchange: ExchangeRef,
    attempt: Attempt,
    started: Instant,
    ended: bool,
}

impl Trying {
    #[inline(always)]
    fn begin(flow: &Flow, address: Option<SocketAddr>, started: Instant) -> Self {
        // It begins where the upstream's turn does, which is when the meter was last reported.
        let start_us = micros(flow.exchange.borrow().meter.total());
        let attempt = Attempt { address, start_us, ..Attempt::new() };
        Self { exchange: flow.exchange.clone(), attempt, started, ended: false }
    }

    /// It goes over HTTP/2.
    #[cold]
    fn is_http2(&self) {
        let attrs = &mut self.exchange.borrow_mut().attrs;
        if !attrs.contains(&OVER_HTTP2) {
            attrs.push(OVER_HTTP2);
        }
    }

    /// Books the attempt; `Reason::None` when a response head came.
    fn end(mut self, outcome: Reason, now: Instant) {
        self.book(outcome, now);
    }

    fn book(&mut self, outcome: Reason, now: Instant) {
        self.ended = true;
        self.attempt.outcome = outcome;
        self.attempt.took = now.saturating_duration_since(self.started);
        let mut exchange = self.exchange.borrow_mut();
        exchange.upstream = self.attempt.address.or(exchange.upstream);
        exchange.attempts.push(self.attempt);
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            let now = self.exchange.worker().clock.now();
            self.book(Reason::ClientClosed, now);
        }
    }
}

fn answered(
    flow: &mut Flow,
    target: &Target,
    mut in_flight: InFlight<RequestBody>,
    (head, accept): (Answered, Option<&[u8]>),
    mut trying: Trying,
    (sent, now): (Instant, Instant),
) -> Result<Reply<Source>, Refusal> {
    trying.attempt.first_byte = now.saturating_duration_since(sent);
    flow.exchange.progressed(now);
    let Answered { status, phrase, mut fields } = head;
    let opens = status == StatusCode::SWITCHING_PROTOCOLS;
    if opens && !accept.is_some_and(|expected| websocket::is_answer(&fields, expected)) {
        // Nobody asked for it, or it is the answer to something else.
        trying.end(Reason::UpstreamProtocolError, now);
        return Err(Refusal::new(Reason::UpstreamProtocolError, "the upstream switched protocols unasked"));
    }
    let special = Special::of(&fields);
    if flow.exchange.is_grpc()
        && let Some(status) = grpc::status_of_head(&fields)
    {
        grpc::ended(&mut flow.exchange.borrow_mut(), Some(status));
    }
    let waited = trying.attempt.first_byte;
    trying.end(Reason::None, now);
    flow.exchange.borrow_mut().upstream_status = status.as_u16();
    if special.has_link() {
        take_link(flow, &mut fields, target.route().is_peer, waited);
    }
    let protocols = if status == StatusCode::UPGRADE_REQUIRED { upgrades(flow, &fields) } else { vec![] };
    end_hop(&mut fields);
    if !protocols.is_empty() {
        protocols.iter().for_each(|protocol| fields.add(Known::Upgrade, protocol));
        fields.put(Known::Connection, &HeaderValue::from_static("upgrade"));
    }
    if opens {
        websocket::ask(&mut fields);
        let client = flow.tunnel.take().map(|client| RequestBody::tunnel(client, flow.exchange.clone()));
        client.into_iter().for_each(|client| in_flight.open_tunnel(client));
        flow.exchange.is_tunnel(now);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 8.6: not in a response without content; over HTTP/2 a client resets such a stream.
        fields.remove(Known::ContentLength);
    } else {
        single_length(&mut fields);
    }
    Ok(Reply { status, phrase, fields, content: Source::Upstream(in_flight) })
}

fn end_hop(fields: &mut Fields) {
    let ended = fields.end_hop();
    debug_assert!(ended.is_ok(), "a head of 4 GiB");
}

/// What a gateway behind this one says of its own time. From anybody else it is taken away as well, and means nothing.
#[cold]
fn take_link(flow: &Flow, headers: &mut Fields, is_peer: bool, waited: Duration) {
    let mut exchange = flow.exchange.borrow_mut();
    let report = link::take(headers, flow.trace.facts.span.of_attempt(exchange.attempts.len()), waited);
    match report {
        Report::Link(time) if is_peer => exchange.link = time,
        Report::Invalid if is_peer => flow.exchange.worker().stats().doubt_link(),
        _ => {}
    }
}

/// What a 426 asks for, which HTTP/1.1 says in `Upgrade` (RFC 9110 15.5.22) and HTTP/2 must not say (RFC 9113 8.2.2).
fn upgrades(flow: &Flow, fields: &Fields) -> Vec<HeaderValue> {
    if flow.exchange.borrow().protocol == Protocol::Http2 {
        return Vec::new();
    }
    fields.get_all(Known::Upgrade).filter_map(|value| HeaderValue::from_bytes(value).ok()).collect()
}

/// All lengths are the same, or the response was refused; two lines of them, or a list, become one value (RFC 9110 8.6).
fn single_length(fields: &mut Fields) {
    let mut lines = fields.get_all(Known::ContentLength);
    let (Some(line), more) = (lines.next(), lines.next()) else { return };
    if more.is_none() && line.iter().all(u8::is_ascii_digit) {
        return;
    }
    let one = line.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii().to_vec();
    drop(lines);
    let set = fields.set(Known::ContentLength, &one);
    debug_assert!(set.is_ok(), "a part of a value");
}

fn failed(flow: &Flow, trying: Trying, failure: &Failure) -> Refusal {
    let now = flow.exchange.hand_to(Turn::Gateway);
    debug!(reason = %failure.reason(), error = %failure, "upstream attempt failed");
    // A request body that broke is why the attempt failed: the client is to blame then, not the upstream.
    let blamed = flow.exchange.borrow().reason;
    let reason = match (blamed, failure.reason()) {
        (Reason::None, Reason::ConnectionTimeout | Reason::DnsTimeout) if is_late(&flow.exchange) => {
            Reason::DeadlineExceeded
        }
        (Reason::None, reason) => reason,
        _ => blamed,
    };
    trying.end(reason, now);
    Refusal::new(reason, detail(reason))
}

fn detail(reason: Reason) -> &'static str {
    match reason {
        Reason::DnsError => "the upstream's name does not resolve",
        Reason::DnsTimeout => "the name server did not answer in time",
        Reason::FileDescriptorsExhausted => "the gateway has no file descriptor left for another connection",
        Reason::LocalPortExhausted => "the gateway's machine has no port left for a connection to the upstream",
        Reason::ConnectionRefused => "the upstream refused the connection",
        Reason::ConnectionTimeout => "the upstream did not accept a connection in time",
        Reason::ConnectionUnreachable => "there is no way to the upstream's address",
        Reason::TlsProtocolError => "the TLS handshake with the upstream failed",
        Reason::TlsCertificateError => "the upstream's certificate does not hold",
        Reason::UpstreamProtocolError => "the upstream's response is not HTTP",
        Reason::UpstreamHeadersTooLarge => "the head of the upstream's response is too large",
        Reason::UpstreamTimeout => "no response came in time",
        Reason::DeadlineExceeded => "the deadline of the request is over",
        Reason::UpstreamIdleTimeout => "the upstream took nothing of the request for the stream idle time",
        Reason::ClientIdleTimeout => "nothing of the request came for the stream idle time",
        Reason::ClientTooSlow => {
            "the request came slower than limits.uploadMinRate, or took longer than limits.uploadMaxTime"
        }
        Reason::GatewayError => "the request cannot be said in HTTP/2",
        Reason::MalformedRequestBody => "the request body breaks its own framing",
        Reason::ConnectionTerminated => "the upstream closed the connection before its response",
        Reason::ResponseIncomplete => "the upstream's response broke off",
        // No attempt ends with one of these. A new reason gets its sentence here, or does not compile.
        Reason::None
        | Reason::MalformedRequest
        | Reason::HeadersTooLarge
        | Reason::ClientClosed
        | Reason::RequestHeadTimeout
        | Reason::ClientFlood
        | Reason::ConnectionBroken
        | Reason::NoRoute
        | Reason::AuthenticationFailed
        | Reason::PolicyAnswered
        | Reason::RateLimited
        | Reason::MethodNotAllowed
        | Reason::IpDenied
        | Reason::GatewayPanic
        | Reason::LoopDetected
        | Reason::GatewayDraining
        | Reason::Overloaded
        | Reason::IdentityProviderUnavailable
        | Reason::GrpcError
        | Reason::Unknown => "the attempt failed",
    }
}

/// The trace context of the attempt that comes next, and the time that is left for it.
fn stamp(flow: &Flow, fields: &mut Fields) {
    let attempt = flow.exchange.borrow().attempts.len() + 1;
    flow.trace.inject(attempt, fields);
    if let Some(deadline) = flow.exchange.deadline() {
        grpc::put_timeout(fields, deadline.saturating_duration_since(flow.exchange.worker().clock.now()));
    }
}

/// What goes to the upstream.
struct Prepared {
    method: Method,
    fields: Fields,
    body: RequestBody,
    /// What a 101 must say, of a request that asks for a WebSocket.
    accept: Option<Bytes>,
}

/// Turns the client's head into the upstream's.
fn prepare(flow: &Flow, target: &Target, head: Head) -> Result<Prepared, Refusal> {
    let snapshot = flow.exchange.snapshot();
    let Head { method, host, headers: mut fields, special, body } = head;
    if special.has_via() && passes(&fields, &snapshot.pseudonym) > MAX_PASSES {
        return Err(Refusal::new(Reason::LoopDetected, "this request has passed this gateway before"));
    }
    end_hop(&mut fields);
    if body.is_end() {
        if matches!(method, Method::POST | Method::PUT | Method::PATCH) && !fields.has(Known::ContentLength) {
            // RFC 9110 8.6 SHOULD: servers that insist on a length answer 411 otherwise.
            fields.put(Known::ContentLength, &HeaderValue::from_static("0"));
        }
    } else if body.length().is_none() {
        let set = fields.set_framing(Framing::Chunked);
        debug_assert!(set.is_ok(), "a head of 4 GiB");
    }
    fields.add(Known::Via, snapshot.via.received(flow.exchange.borrow().protocol));
    Forwarded {
        trusted: is_of(flow.exchange.client().peer, &snapshot.trusted_peers),
        peer: &flow.exchange.client().peer_text,
        proto: flow.exchange.borrow().scheme.as_str(),
        host: &host,
        special,
    }
    .write(&mut fields);
    fields.put(Known::XRequestId, &flow.request_id);
    let host = match snapshot.upstream_host {
        UpstreamHost::Authority => target.route().origin.authority.clone(),
        UpstreamHost::Name => target.route().origin.name.clone(),
        UpstreamHost::Original => host,
    };
    fields.put(Known::Host, &host);
    let accept = flow.tunnel.as_ref().and_then(|_| websocket::expected(&method, &fields));
    if accept.is_some() {
        websocket::ask(&mut fields);
    }
    if snapshot.tracer.is_some() {
        flow.exchange.borrow_mut().forwarded = Some(target.uri.clone());
    }
    Ok(Prepared { method, fields, body, accept })
}
