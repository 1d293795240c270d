//! Where a worker's finished exchanges go, and the counts that it keeps itself.

use crate::gate::Full;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use weir_config::UpstreamAddress;
use weir_event::{Attempt, Exchange, Kept, NameId};
use weir_policies::Message;
use weir_telemetry::LineDecision;

/// Why spans are kept.
const KEPT: [Kept; 4] = [Kept::Sampled, Kept::Debug, Kept::Failed, Kept::Slow];

/// Where an attempt went, as configured.
pub type OriginOf<'a> = dyn Fn(&Attempt) -> Option<&'a UpstreamAddress> + 'a;

/// Takes finished exchanges. Called on the worker's thread, on the path of the request: it must not block, and
/// what it cannot take it sheds and counts.
pub trait EventSink {
    /// Records `exchange` as number `seq` of this worker's stream. Numbers come in order and without holes.
    fn record(&mut self, seq: u64, exchange: &Exchange);

    /// Takes what spans are made of, of the exchange that was recorded last; `origin_of` says where an attempt of
    /// it went.
    fn keep_spans(&mut self, _exchange: &Exchange, _origin_of: &OriginOf<'_>) {}

    /// Takes the line of the exchange that was recorded last, or counts that it was left out.
    fn log_request(&mut self, _decision: LineDecision) {}

    /// Takes a line that a policy writes about an exchange, which may be open.
    fn log_message(&mut self, _exchange: &Exchange, _policy: NameId, _message: &Message) {}
}

/// Makes the sink of the `index`-th worker, on that worker's thread.
pub type SinkFactory = dyn Fn(u16) -> Box<dyn EventSink> + Send + Sync;

/// What is made of a finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The figures of its route.
    Metrics,
    /// Its record in the worker's ring.
    Events,
    /// The copy that spans are made of.
    Traces,
    /// Its line.
    Logs,
}

impl Signal {
    /// Each with its word in metrics, in their order.
    pub const ALL: [(&'static str, Self); 4] =
        [("metrics", Self::Metrics), ("events", Self::Events), ("traces", Self::Traces), ("logs", Self::Logs)];
}

/// What one worker has done. Written by that worker alone, read by any thread.
#[derive(Debug, Default)]
pub struct WorkerStats {
    accepted: AtomicU64,
    connections: AtomicU64,
    generation: AtomicU32,
    refused_by_port: AtomicU64,
    refused_by_address: AtomicU64,
    refused_by_descriptors: AtomicU64,
    accept_failures: AtomicU64,
    traces_kept: [AtomicU64; KEPT.len()],
    links_doubted: AtomicU64,
    /// Nanoseconds of processor time, by signal.
    costs: [AtomicU64; Signal::ALL.len()],
    handshakes_full: AtomicU64,
    handshakes_resumed: AtomicU64,
    handshakes_failed: AtomicU64,
    /// Once a second while the worker runs: that it does not stand still.
    turns: AtomicU64,
    ended: AtomicBool,
    /// Written by others: a drain ends now.
    hurried: AtomicBool,
}

impl WorkerStats {
    /// Exchanges finished: the number that the ledger's other columns must add up to. It does not come from
    /// the spool.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// Client connections open now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The generation that it has said to serve new requests by. It says so when it is informed of one, not with a request.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Connections that could not be accepted.
    pub fn accept_failures(&self) -> u64 {
        self.accept_failures.load(Ordering::Relaxed)
    }

    pub(crate) fn accept_failed(&self) {
        bump(&self.accept_failures);
    }

    /// Connections closed at once because the port, the client's address or the process had as many as it may.
    pub fn refused(&self) -> [(&'static str, u64); 3] {
        [
            ("port", self.refused_by_port.load(Ordering::Relaxed)),
            ("address", self.refused_by_address.load(Ordering::Relaxed)),
            ("descriptors", self.refused_by_descriptors.load(Ordering::Relaxed)),
        ]
    }

    pub(crate) fn refuse(&self, full: Full) {
        bump(match full {
            Full::Port => &self.refused_by_port,
            Full::Address => &self.refused_by_address,
            Full::Descriptors => &self.refused_by_descriptors,
        });
    }

    /// Requests whose spans were kept, by why.
    pub fn traces_kept(&self) -> impl Iterator<Item = (&'static str, u64)> + use<'_> {
        KEPT.iter().zip(&self.traces_kept).map(|(why, count)| (why.as_str(), count.load(Ordering::Relaxed)))
    }

    pub(crate) fn keep_trace(&self, why: Kept) {
        if let Some(at) = KEPT.iter().position(|known| *known == why) {
            bump(&self.traces_kept[at]);
        }
    }

    /// The processor time that telemetry took of the worker, by signal; estimated from one request in 1,024.
    pub fn costs(&self) -> impl Iterator<Item = (&'static str, Duration)> + use<'_> {
        let cost = |cost: &AtomicU64| Duration::from_nanos(cost.load(Ordering::Relaxed));
        Signal::ALL.iter().zip(&self.costs).map(move |((name, _), of)| (*name, cost(of)))
    }

    pub(crate) fn add_cost(&self, signal: Signal, time: Duration) {
        let cost = &self.costs[signal as usize];
        let more = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        cost.store(cost.load(Ordering::Relaxed).saturating_add(more), Ordering::Relaxed);
    }

    /// Reports of link times that cannot be true.
    pub fn links_doubted(&self) -> u64 {
        self.links_doubted.load(Ordering::Relaxed)
    }

    pub(crate) fn doubt_link(&self) {
        bump(&self.links_doubted);
    }

    /// TLS handshakes with clients: in full, resumed from a ticket, and those that came to nothing.
    pub fn handshakes(&self) -> [(&'static str, u64); 3] {
        [
            ("full", self.handshakes_full.load(Ordering::Relaxed)),
            ("resumed", self.handshakes_resumed.load(Ordering::Relaxed)),
            ("failed", self.handshakes_failed.load(Ordering::Relaxed)),
        ]
    }

    pub(crate) fn handshake(&self, resumed: bool) {
        bump(if resumed { &self.handshakes_resumed } else { &self.handshakes_full });
    }

    pub(crate) fn handshake_failed(&self) {
        bump(&self.handshakes_failed);
    }

    /// How often it has looked up from its requests: at least once a second while it runs.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(crate) fn turn(&self) {
        bump(&self.turns);
    }

    /// Whether it has ended as it was asked to.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    pub(crate) fn set_accepted(&self, count: u64) {
        self.accepted.store(count, Ordering::Release);
    }

    pub(crate) fn set_connections(&self, count: usize) {
        self.connections.store(count as u64, Ordering::Relaxed);
    }
}

/// One writer, so no read-modify-write.
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
