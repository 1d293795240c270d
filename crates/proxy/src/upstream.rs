//! Phase `upstream`: the request goes out, over a kept connection or a new one, and a response head comes back.
//!
//! A kept connection may have been closed by its upstream at the very moment that it is used. If no byte of the
//! request was written, it is sent again on a new connection, whatever it is; if it was written but nothing came
//! back, only a bodiless request with an idempotent method is (RFC 9110 9.2.2). Each try is one attempt in the
//! record. The second is always on a new connection, so there is no third. What the service's retries allow beyond that is
//! in `attempts`. Over HTTP/2 an upstream can say that it has not looked at a request (RFC 9113 8.7): that is sent again,
//! whatever it is, up to [`MOST_REFUSED`] times.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::attempt_policies::attempt_policies;
use crate::attempts::{Attempts, Miss, host_of};
use crate::body::{Broken, RequestBody, Source};
use crate::exchange::ExchangeRef;
use crate::flow::Flow;
use crate::forwarded::{Forwarded, is_of};
use crate::headers::{Special, passes};
use crate::link::{self, Report};
use crate::patience::patiently;
use crate::reply::Reply;
use crate::route::Target;
use crate::snapshot::MAX_PASSES;
use crate::websocket;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
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
const MOST_REFUSED: u32 = 3;

/// Sends the request and waits for the response head: over a kept connection if there is one, and if that one has ended
/// without a word, once more over a new one; and where the service's retries allow it, at another endpoint.
pub(crate) async fn upstream(flow: &mut Flow, target: &Target, head: Box<Head>) -> Result<Reply<Source>, Refusal> {
    let mut attempts = Attempts::begin(&flow.exchange, &target.route().cluster, &head);
    let rewrite = flow.exchange.snapshot().upstream_host;
    let Prepared { method, mut fields, mut body, accept } = prepare(flow, target, *head, attempts.origin())?;
    let path = target.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut started = flow.exchange.hand_to(Turn::Upstream);
    let (mut is_fresh, mut refused) = (false, 0);
    loop {
        let origin = attempts.origin();
        let origin = if accept.is_some() { origin.of_tunnels() } else { origin };
        let mut own;
        let outbound = &*target.route().outbound;
        let sent_fields = if outbound.is_empty() {
            &mut fields
        } else {
            own = fields.clone();
            Box::pin(attempt_policies(flow, outbound, origin, (&method, path), &mut own)).await?;
            started = flow.exchange.hand_to(Turn::Upstream);
            &mut own
        };
        let timeouts = flow.exchange.snapshot().upstream_timeouts();
        let kept = if is_fresh { None } else { flow.exchange.worker().pool.checkout(origin, started, &timeouts) };
        let is_kept = kept.is_some();
        flow.exchange.attempted(started);
        let way = match kept {
            Some(connection) => Ok(Way::over(flow, connection, (started, attempts.endpoint()))),
            // Boxed: a request over a kept connection does not carry room for a handshake.
            None => Box::pin(Way::open(flow, origin, (started, attempts.endpoint()))).await,
        };
        let (miss, refusal) = match way {
            Err(refusal) => (Miss::Unsent(refusal.reason()), refusal),
            Ok(Way { connection, trying }) => {
                stamp(flow, sent_fields);
                if connection.is_http2() {
                    trying.is_http2();
                }
                let sent = if is_kept { started } else { flow.exchange.worker().clock.now() };
                let mut in_flight = InFlight::send(connection, (&method, path, sent_fields), body);
                let waited = {
                    let waiting = pin!(final_head(&flow.exchange, &mut in_flight));
                    let timeouts = attempts.timeouts(&flow.exchange.snapshot().timeouts);
                    patiently(&flow.exchange, &timeouts, sent, waiting).await
                };
                let now = flow.exchange.hand_to(Turn::Gateway);
                match waited {
                    Ok(Ok(response)) => {
                        attempts.answered(response.status, now);
                        let (status, answer) = (response.status, (response, accept.as_deref()));
                        if !attempts.is_thrown_away(status)
                            || !attempts.again(&flow.exchange, Miss::Status(status), now).await
                        {
                            flow.lease = attempts.into_lease();
                            return answered(flow, target, in_flight, answer, trying, (sent, now));
                        }
                        trying.throw_away(status, now);
                        body = RequestBody::empty(flow.exchange.clone());
                        (is_fresh, started) = next(flow, (attempts.origin(), rewrite), &mut fields);
                        continue;
                    }
                    Ok(Err(why)) => {
                        // Bytes that came back and are no response were an answer all the same; and what its client broke
                        // off is over.
                        let is_closed = matches!(why, Unanswered::Closed(_));
                        let (is_unsent, is_whole) = (in_flight.is_unsent(), in_flight.has_content());
                        let is_refused = matches!(why, Unanswered::Refused) && is_whole;
                        refused += u32::from(is_refused);
                        let refusal = failed(flow, trying, &Failure::of_exchange(origin.address.to_string(), why));
                        body = match in_flight.into_content() {
                            Some(whole) if is_whole => whole,
                            _ => RequestBody::empty(flow.exchange.clone()),
                        };
                        let is_stale = is_closed && is_kept && (is_unsent || attempts.is_repeatable());
                        if is_stale || is_refused && refused <= MOST_REFUSED {
                            // It was closed while it was idle, or is being closed: that says nothing of the endpoint.
                            (is_fresh, started) = (true, flow.exchange.hand_to(Turn::Upstream));
                            continue;
                        }
                        let reason = refusal.reason();
                        (
                            if is_refused || is_closed && is_unsent {
                                Miss::Unsent(reason)
                            } else {
                                Miss::Sent(reason)
                            },
                            refusal,
                        )
                    }
                    Err(reason) => {
                        trying.end(reason, now);
                        body = RequestBody::empty(flow.exchange.clone());
                        (Miss::Sent(reason), Refusal::new(reason, detail(reason)))
                    }
                }
            }
        };
        let now = flow.exchange.worker().clock.now();
        attempts.failed(refusal.reason(), now);
        if !attempts.again(&flow.exchange, miss, now).await {
            return Err(refusal);
        }
        (is_fresh, started) = next(flow, (attempts.origin(), rewrite), &mut fields);
    }
}

/// The next attempt goes to `origin`: over a kept connection, if there is one.
fn next(flow: &Flow, (origin, rewrite): (&Origin, UpstreamHost), fields: &mut Fields) -> (bool, Instant) {
    if let Some(host) = host_of(origin, rewrite) {
        fields.put(Known::Host, host);
    }
    (false, flow.exchange.hand_to(Turn::Upstream))
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
    fn over(flow: &Flow, connection: Connection, attempt: (Instant, usize)) -> Self {
        let trying = Trying::begin(flow, connection.address(), attempt);
        Self { connection, trying }
    }

    async fn open(flow: &Flow, origin: &Arc<Origin>, attempt: (Instant, usize)) -> Result<Self, Refusal> {
        let mut trying = Trying::begin(flow, None, attempt);
        let timeouts = flow.exchange.snapshot().upstream_timeouts();
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
    fn begin(flow: &Flow, address: Option<SocketAddr>, (started, endpoint): (Instant, usize)) -> Self {
        // It begins where the upstream's turn does, which is when the meter was last reported.
        let start_us = micros(flow.exchange.borrow().meter.total());
        let endpoint = u16::try_from(endpoint).unwrap_or(u16::MAX);
        let attempt = Attempt { address, endpoint, start_us, ..Attempt::new() };
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

    /// Books one whose response is not wanted.
    fn throw_away(mut self, status: StatusCode, now: Instant) {
        self.attempt.status = status.as_u16();
        self.book(Reason::None, now);
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
    let mut status = status;
    if is_tunnel_over_http2(flow) {
        status = websocket::answer_to_http2(status, &mut fields)?;
    } else if opens {
        websocket::ask(&mut fields);
    }
    if opens {
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

/// Whether a client of HTTP/2 asks for one.
fn is_tunnel_over_http2(flow: &Flow) -> bool {
    flow.tunnel.is_some() && flow.exchange.borrow().protocol == Protocol::Http2
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
    let reason = if blamed == Reason::None { failure.reason() } else { blamed };
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
        Reason::UpstreamIdleTimeout => "the upstream took nothing of the request for the stream idle time",
        Reason::ClientIdleTimeout => "nothing of the request came for the stream idle time",
        Reason::ClientTooSlow => {
            "the request came slower than limits.uploadMinRate, or took longer than limits.uploadMaxTime"
        }
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
        | Reason::GatewayError
        | Reason::LoopDetected
        | Reason::GatewayDraining
        | Reason::Overloaded
        | Reason::IdentityProviderUnavailable
        | Reason::Unknown => "the attempt failed",
    }
}

/// The trace context of the attempt that comes next.
fn stamp(flow: &Flow, fields: &mut Fields) {
    let attempt = flow.exchange.borrow().attempts.len() + 1;
    flow.trace.inject(attempt, fields);
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
fn prepare(flow: &Flow, target: &Target, head: Head, origin: &Origin) -> Result<Prepared, Refusal> {
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
    fields.put(Known::Host, host_of(origin, snapshot.upstream_host).unwrap_or(&host));
    let accept = flow.tunnel.as_ref().and_then(|_| websocket::expected(&method, &fields));
    if accept.is_some() {
        websocket::ask(&mut fields);
    } else if is_tunnel_over_http2(flow) {
        return Err(Refusal::new(
            Reason::MalformedRequest,
            "the request asks for a WebSocket of another version than 13",
        ));
    }
    if snapshot.tracer.is_some() {
        flow.exchange.borrow_mut().forwarded = Some(target.uri.clone());
    }
    Ok(Prepared { method, fields, body, accept })
}
