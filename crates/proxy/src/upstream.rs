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
use crate::attempt::{Trying, Way, detail, failed};
use crate::attempt_policies::attempt_policies;
use crate::attempts::{Attempts, Miss, host_of};
use crate::body::{Broken, RequestBody, Source};
use crate::exchange::ExchangeRef;
use crate::flow::Flow;
use crate::forwarded::{Forwarded, is_of};
use crate::grpc;
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
use std::pin::pin;
use std::time::Duration;
use weir_config::UpstreamHost;
use weir_event::Instant;
use weir_event::{Protocol, Reason, Turn};
use weir_http1::{Fields, Framing, HeadError, Known};
use weir_upstream::{Connection, Content, Failure, Head as Answered, InFlight, Origin, Unanswered};

/// Heads of 1xx in front of a response: more are no response.
const MOST_INTERIM: usize = 64;

/// How often a request is sent again that its upstream refuses to look at.
const MOST_REFUSED: u32 = 5;

/// Sends the request and waits for the response head: over a kept connection if there is one, and if that one has ended
/// without a word, once more over a new one; and where the service's retries allow it, at another endpoint.
pub(crate) async fn upstream(flow: &mut Flow, target: &Target, head: Box<Head>) -> Result<Reply<Source>, Refusal> {
    let mut attempts = Attempts::begin(&flow.exchange, &target.route().cluster, &head);
    let rewrite = flow.exchange.snapshot().upstream_host;
    let Prepared { method, mut fields, mut body, accept } = prepare(flow, target, *head, attempts.origin())?;
    let is_grpc = flow.exchange.is_grpc();
    if is_grpc && attempts.origin().is_http1() {
        return Err(without_http2());
    }
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
                } else if is_grpc {
                    return Err(chose_http1(flow, connection, trying));
                }
                let sent = if is_kept { started } else { flow.exchange.worker().clock.now() };
                let mut in_flight = InFlight::send(connection, (&method, path, sent_fields), body);
                let waited = {
                    let waiting = pin!(final_head(&flow.exchange, &mut in_flight));
                    let of_all = &flow.exchange.snapshot().timeouts;
                    let own = attempts.timeouts(of_all);
                    patiently(&flow.exchange, own.as_ref().unwrap_or(of_all), sent, waiting).await
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
                        let target = origin.address.to_string();
                        let unanswered =
                            Unheard::of(flow, (&attempts, &mut refused, is_kept), in_flight, (trying, target, why));
                        body = unanswered.body;
                        match unanswered.miss {
                            Some(miss) => miss,
                            None => {
                                (is_fresh, started) = (true, flow.exchange.hand_to(Turn::Upstream));
                                continue;
                            }
                        }
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

/// What is left of a request whose attempt brought no response.
struct Unheard {
    body: RequestBody,
    /// How the attempt failed; `None` where that says nothing of the endpoint, and the request is sent there once more.
    miss: Option<(Miss, Refusal)>,
}

impl Unheard {
    fn of(
        flow: &Flow,
        (attempts, refused, is_kept): (&Attempts<'_>, &mut u32, bool),
        in_flight: InFlight<RequestBody>,
        (trying, target, why): (Trying, String, Unanswered<Broken>),
    ) -> Self {
        // Bytes that came back and are no response were an answer all the same; and what its client broke off is over.
        let is_closed = matches!(why, Unanswered::Closed(_));
        let (is_unsent, is_whole) = (in_flight.is_unsent(), in_flight.has_content());
        let is_refused = matches!(why, Unanswered::Refused) && is_whole;
        *refused += u32::from(is_refused);
        let refusal = failed(flow, trying, &Failure::of_exchange(target, why));
        let body = match in_flight.into_content() {
            Some(whole) if is_whole => whole,
            _ => RequestBody::empty(flow.exchange.clone()),
        };
        // It was closed while it was idle, or is being closed.
        let is_stale = is_closed && is_kept && (is_unsent || attempts.is_repeatable());
        if is_stale || is_refused && *refused <= MOST_REFUSED {
            return Self { body, miss: None };
        }
        let reason = refusal.reason();
        let miss = if is_refused || is_closed && is_unsent { Miss::Unsent(reason) } else { Miss::Sent(reason) };
        Self { body, miss: Some((miss, refusal)) }
    }
}

/// The next attempt goes to `origin`: over a kept connection, if there is one.
fn next(flow: &Flow, (origin, rewrite): (&Origin, UpstreamHost), fields: &mut Fields) -> (bool, Instant) {
    if let Some(host) = host_of(origin, rewrite) {
        fields.put(Known::Host, host);
    }
    (false, flow.exchange.hand_to(Turn::Upstream))
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
    let client = flow.exchange.client();
    fields.append_lines(snapshot.via.received(flow.exchange.borrow().protocol));
    Forwarded {
        trusted: is_of(client.peer, &snapshot.trusted_peers),
        peer: &client.peer_text,
        proto: client.proto(),
        lines: client.forwarded(),
        host: &host,
        special,
    }
    .write(&mut fields);
    flow.request_id.put(&mut fields);
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
