//! The record of one request, from its head to the last frame of its response.
//!
//! One [`Exchange`] a request, filled by plain assignments as the phases go by and closed once by
//! [`Exchange::finish`]. The event, the metrics, the span and the access log are all made from it afterwards, so
//! they cannot disagree. It is sync, cannot fail and never blocks; strings are kept as the shared buffers that
//! they arrived in, never copied before [`crate::record::encode`].

use crate::Instant;
use crate::ids::{SpanId, TraceId};
use crate::meter::{Meter, Turn};
use crate::names::NameId;
use crate::reason::{CLIENT_CLOSED, Outcome, Reason, Side};
use crate::vocabulary::{AuthKind, CacheState, Kept, Method, Protocol, RateLimitState, Scheme, TlsVersion, Verdict};
use bytes::Bytes;
use http::{HeaderValue, Uri};
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// One policy's part in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRun {
    pub policy: NameId,
    pub verdict: Verdict,
    /// When it was first asked, in microseconds after the start of the exchange.
    pub start_us: u32,
    /// How long it waited for somebody else's server, in microseconds.
    pub waited_us: u32,
    /// Request and response side together, what it waited included.
    pub took: Duration,
}

impl PolicyRun {
    /// A run that took no time.
    pub fn new(policy: NameId, verdict: Verdict) -> Self {
        Self { policy, verdict, start_us: 0, waited_us: 0, took: Duration::ZERO }
    }
}

/// One try at the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it went; none when it did not get so far (a name that did not resolve).
    pub address: Option<SocketAddr>,
    /// Which of the endpoints of its service. Not in the record.
    pub endpoint: u16,
    /// That of a response which was thrown away for another attempt; otherwise 0. Not in the record.
    pub status: u16,
    /// `Reason::None` when a response head came.
    pub outcome: Reason,
    /// When it began, in microseconds after the start of the exchange.
    pub start_us: u32,
    /// Resolving and connecting, in microseconds; zero on a connection from the pool.
    pub connect_us: u32,
    /// The TLS handshake, in microseconds; zero without one.
    pub tls_us: u32,
    /// From the request's hand-over to the response head.
    pub first_byte: Duration,
    /// The whole attempt up to the response head, or to its failure.
    pub took: Duration,
}

impl Attempt {
    /// An attempt that has not done anything yet.
    pub fn new() -> Self {
        let (address, outcome, zero) = (None, Reason::None, Duration::ZERO);
        Self {
            address,
            endpoint: 0,
            status: 0,
            outcome,
            start_us: 0,
            connect_us: 0,
            tls_us: 0,
            first_byte: zero,
            took: zero,
        }
    }
}

impl Default for Attempt {
    fn default() -> Self {
        Self::new()
    }
}

/// As much of a time as a record holds: an hour and more in 32 bits.
#[inline]
pub fn micros(time: Duration) -> u32 {
    u32::try_from(micros_u64(time)).unwrap_or(u32::MAX)
}

/// In 64 bits, where `Duration::as_micros` counts in 128.
#[inline]
pub(crate) fn micros_u64(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()))
}

/// The trace that the request belongs to, and this gateway's place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFacts {
    pub trace: TraceId,
    pub span: SpanId,
    /// The caller's span; none at the head of a trace.
    pub parent: SpanId,
    pub sampled: bool,
    pub kept: Option<Kept>,
}

/// The attribute of a tunnel: for how long it was open, in microseconds.
pub const TUNNEL_DURATION: Bytes = Bytes::from_static(b"tunnel.duration_us");

/// What is known of one request. Sizes are body bytes unless a field says otherwise.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub started: Instant,
    /// Microseconds since the Unix epoch, UTC.
    pub started_us: i64,
    pub meter: Meter,
    /// The generation of the configuration that served it.
    pub generation: u32,
    /// Whether the request entered the fleet at this gateway: it did not come from a peer gateway.
    pub entry: bool,

    pub api: NameId,
    pub api_instance: NameId,
    pub route: NameId,
    pub service: NameId,
    /// The rule's pattern, never the path: what OpenTelemetry calls `http.route`.
    pub path_template: NameId,

    pub method: Method,
    /// The method's own spelling where `method` is `_OTHER`.
    pub method_original: Bytes,
    pub scheme: Scheme,
    pub protocol: Protocol,
    pub tls_version: TlsVersion,
    /// The IANA name of the cipher suite.
    pub tls_cipher: &'static str,
    /// The authority that the client asked for.
    pub host: Option<HeaderValue>,
    /// As sent; the values of its query are redacted when the record is encoded.
    pub target: Uri,
    pub user_agent: Option<HeaderValue>,
    /// The real client: the peer, or what a trusted peer says of it.
    pub client: IpAddr,
    /// The other end of the connection. Not in the record.
    pub peer: Option<IpAddr>,
    /// `tracestate` as it came and goes on, for spans. Not in the record.
    pub trace_state: Option<Bytes>,
    /// The target that the upstream was asked for, where spans may be made of it. Not in the record.
    pub forwarded: Option<Uri>,
    pub consumer: Bytes,
    pub auth: AuthKind,

    pub status: u16,
    pub upstream_status: u16,
    pub reason: Reason,
    pub outcome: Outcome,
    pub answered_by: NameId,
    pub cache: CacheState,
    pub rate_limit: RateLimitState,
    pub upstream: Option<SocketAddr>,

    /// Body bytes from the client, to the upstream, from the upstream, to the client.
    pub bytes_in: u64,
    pub bytes_to_upstream: u64,
    pub bytes_from_upstream: u64,
    pub bytes_out: u64,
    /// The time on the way to and from the next gateway of a chain, where that one reported its own; zero otherwise.
    pub link: Duration,

    pub policies: SmallVec<[PolicyRun; 4]>,
    /// How long policies waited for somebody else's server, all together: the sum over [`Exchange::policies`].
    pub waited: Duration,
    pub attempts: SmallVec<[Attempt; 1]>,
    pub trace: TraceFacts,
    /// How many requests this event stands for: 1 unless shed by sampling, 0 of a probe.
    pub sample_interval: u32,
    /// Configured extras: allow-listed headers and labels.
    pub attrs: Vec<(Bytes, Bytes)>,
    finished: bool,
}

impl Exchange {
    /// An exchange that begins at `now` and, until something else is said, was cancelled.
    #[inline]
    pub fn new(now: Instant, started_us: i64) -> Self {
        Self {
            started: now,
            started_us,
            meter: Meter::start(now),
            generation: 0,
            entry: true,
            api: NameId::NONE,
            api_instance: NameId::NONE,
            route: NameId::NONE,
            service: NameId::NONE,
            path_template: NameId::NONE,
            method: Method::Other,
            method_original: Bytes::new(),
            scheme: Scheme::Http,
            protocol: Protocol::Unknown,
            tls_version: TlsVersion::None,
            tls_cipher: "",
            host: None,
            target: Uri::default(),
            user_agent: None,
            client: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            peer: None,
            trace_state: None,
            forwarded: None,
            consumer: Bytes::new(),
            auth: AuthKind::None,
            status: 0,
            upstream_status: 0,
            reason: Reason::None,
            outcome: Outcome::Cancelled,
            answered_by: NameId::NONE,
            cache: CacheState::None,
            rate_limit: RateLimitState::None,
            upstream: None,
            bytes_in: 0,
            bytes_to_upstream: 0,
            bytes_from_upstream: 0,
            bytes_out: 0,
            link: Duration::ZERO,
            policies: SmallVec::new(),
            waited: Duration::ZERO,
            attempts: SmallVec::new(),
            trace: TraceFacts::default(),
            sample_interval: 1,
            attrs: Vec::new(),
            finished: false,
        }
    }

    /// Says whose turn it is from `now` on.
    #[inline]
    pub fn hand_to(&mut self, turn: Turn, now: Instant) {
        self.meter.hand_to(turn, now);
    }

    /// Blames the first thing that went wrong; what follows from it does not overwrite it.
    pub fn blame(&mut self, reason: Reason) {
        if self.reason == Reason::None {
            self.reason = reason;
        }
    }

    /// What the gateway itself took: its part of the time, without what policies waited for others.
    pub fn overhead(&self) -> Duration {
        self.meter.spent(Turn::Gateway).saturating_sub(self.waited)
    }

    /// Who was at fault.
    pub fn side(&self) -> Side {
        self.reason.side()
    }

    /// Books the method, and of one that is not in the list its spelling.
    pub fn set_method(&mut self, method: &http::Method) {
        self.method = method.into();
        if self.method == Method::Other {
            self.method_original = Bytes::copy_from_slice(method.as_str().as_bytes());
        }
    }

    /// It is nobody's request but a probe's: it has its event and its spans, and counts in no figure.
    pub fn mark_as_probe(&mut self) {
        self.sample_interval = 0;
        self.attrs.push((Bytes::from_static(b"weir.probe"), Bytes::from_static(b"pipeline")));
    }

    #[inline]
    pub fn is_probe(&self) -> bool {
        self.sample_interval == 0
    }

    /// Closes the record. Answers true the first time, and false ever after: an exchange is recorded once.
    pub fn finish(&mut self, outcome: Outcome, now: Instant) -> bool {
        if self.finished {
            return false;
        }
        self.finished = true;
        self.outcome = outcome;
        self.meter.hand_to(Turn::Gateway, now);
        if outcome == Outcome::Cancelled {
            self.blame(Reason::ClientClosed);
            if self.status == 0 && self.reason == Reason::ClientClosed {
                self.status = CLIENT_CLOSED.as_u16();
            }
        }
        true
    }

    /// Whether it was a tunnel: once that is closed it says for how long it was open.
    pub fn is_tunnel(&self) -> bool {
        // A cheap look in front: nearly every request is neither.
        matches!(self.status, 101 | 200)
            && !self.attrs.is_empty()
            && self.attrs.iter().any(|(name, _)| *name == TUNNEL_DURATION)
    }

    /// Whether [`Exchange::finish`] was called.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// From the request's head to `finish`.
    pub fn total(&self) -> Duration {
        self.meter.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_exchange_is_the_clients_doing_and_counted_once() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 0);
        assert!(exchange.finish(Outcome::Cancelled, now));
        assert!(!exchange.finish(Outcome::Completed, now));
        assert_eq!((exchange.status, exchange.reason), (499, Reason::ClientClosed));
        assert_eq!(exchange.outcome, Outcome::Cancelled);
    }

    #[test]
    fn the_first_blame_stands() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 0);
        exchange.blame(Reason::UpstreamTimeout);
        exchange.status = 504;
        exchange.finish(Outcome::Cancelled, now);
        assert_eq!((exchange.status, exchange.reason), (504, Reason::UpstreamTimeout));
    }

    #[test]
    fn what_remains_at_the_end_is_booked() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 0);
        exchange.hand_to(Turn::Client, now + Duration::from_millis(5));
        exchange.finish(Outcome::Completed, now + Duration::from_millis(9));
        assert_eq!(exchange.meter.spent(Turn::Client), Duration::from_millis(4));
        assert_eq!(exchange.total(), Duration::from_millis(9));
    }
}
