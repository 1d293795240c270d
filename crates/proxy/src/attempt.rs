//! One attempt at an upstream: its connection, its record, and what is said of it where it fails.

use crate::answer::Refusal;
use crate::exchange::ExchangeRef;
use crate::flow::Flow;
use crate::patience::is_late;
use bytes::Bytes;
use http::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::debug;
use weir_event::Instant;
use weir_event::{Attempt, Reason, Turn, micros};
use weir_upstream::{Connection, Failure, Origin};

/// The attribute of an exchange whose last attempt was over HTTP/2; without it that was HTTP/1.1.
const OVER_HTTP2: (Bytes, Bytes) = (Bytes::from_static(b"upstream.protocol"), Bytes::from_static(b"2"));

/// A connection in hand, and the attempt that is made over it.
pub(crate) struct Way {
    pub(crate) connection: Connection,
    pub(crate) trying: Trying,
}

impl Way {
    // Inlined, so that it is made where it stays.
    #[inline(always)]
    pub(crate) fn over(flow: &Flow, connection: Connection, attempt: (Instant, usize)) -> Self {
        let trying = Trying::begin(flow, connection.address(), attempt);
        Self { connection, trying }
    }

    pub(crate) async fn open(flow: &Flow, origin: &Arc<Origin>, attempt: (Instant, usize)) -> Result<Self, Refusal> {
        let mut trying = Trying::begin(flow, None, attempt);
        let mut timeouts = flow.exchange.snapshot().upstream_timeouts();
        if let Some(deadline) = flow.exchange.deadline() {
            timeouts.connect = timeouts.connect.min(deadline.saturating_duration_since(attempt.0));
        }
        match flow.exchange.worker().pool.connect(origin, &timeouts, &mut trying.attempt).await {
            Ok(connection) => Ok(Self { connection, trying }),
            Err(failure) => Err(failed(flow, trying, &failure)),
        }
    }
}

/// An attempt that is under way. Dropped with its end unsaid - the client gave up, or what the exchange is blamed for - it
/// is booked as that: an upstream that hangs is known by the attempts that nobody waited for.
pub(crate) struct Trying {
    exchange: ExchangeRef,
    pub(crate) attempt: Attempt,
    started: Instant,
    ended: bool,
}

impl Trying {
    #[inline(always)]
    pub(crate) fn begin(flow: &Flow, address: Option<SocketAddr>, (started, endpoint): (Instant, usize)) -> Self {
        // It begins where the upstream's turn does, which is when the meter was last reported.
        let start_us = micros(flow.exchange.borrow().meter.total());
        let endpoint = u16::try_from(endpoint).unwrap_or(u16::MAX);
        let attempt = Attempt { address, endpoint, start_us, ..Attempt::new() };
        Self { exchange: flow.exchange.clone(), attempt, started, ended: false }
    }

    /// It goes over HTTP/2.
    #[cold]
    pub(crate) fn is_http2(&self) {
        let attrs = &mut self.exchange.borrow_mut().attrs;
        if !attrs.contains(&OVER_HTTP2) {
            attrs.push(OVER_HTTP2);
        }
    }

    /// Books one whose response is not wanted.
    pub(crate) fn throw_away(mut self, status: StatusCode, now: Instant) {
        self.attempt.status = status.as_u16();
        self.book(Reason::None, now);
    }

    /// Books the attempt; `Reason::None` when a response head came.
    pub(crate) fn end(mut self, outcome: Reason, now: Instant) {
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
            let blamed = self.exchange.borrow().reason;
            self.book(if blamed == Reason::None { Reason::ClientClosed } else { blamed }, now);
        }
    }
}

/// Books an attempt that failed, and makes its answer.
pub(crate) fn failed(flow: &Flow, trying: Trying, failure: &Failure) -> Refusal {
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

/// What a client is told of an attempt that ended for `reason`.
pub(crate) fn detail(reason: Reason) -> &'static str {
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
        Reason::RequestTooLarge => "the content of the request is larger than this API takes",
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
