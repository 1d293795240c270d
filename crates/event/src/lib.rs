//! The record of one request, from the worker that served it to the table that keeps it.
//!
//! Everything that Weir says about a request - its event, metrics, span, access-log line - is made from one
//! [`Exchange`]. This crate holds that record, the closed lists that it speaks in ([`Reason`], [`Side`],
//! [`Outcome`], …), the table of its fields ([`field::FIELDS`]), its flat form on the wire ([`record`]) and the
//! chunk that carries many of them ([`chunk`]).
//!
//! The border: no I/O, no runtime, no clock but the monotonic one. Both ends of the pipeline (gateway and
//! ingestor) and the operator's tool read the same bytes through this crate.

pub mod chunk;
pub mod clock;
pub mod degradation;
pub mod exchange;
pub mod failpoint;
pub mod field;
pub mod identity;
pub mod ids;
pub mod instant;
pub mod json;
pub mod line;
pub mod meter;
pub mod names;
pub mod ranges;
pub mod reason;
pub mod record;
pub mod vocabulary;
mod wire;

pub use clock::Clock;
pub use exchange::{Attempt, Exchange, PolicyRun, TUNNEL_DURATION, micros};
pub use identity::{Identity, Stream};
pub use ids::{BootId, SpanId, StreamId, TraceId};
pub use instant::Instant;
pub use meter::{Meter, Turn};
pub use names::{NameId, Names};
pub use ranges::Ranges;
pub use reason::{CLIENT_CLOSED, Outcome, Reason, Side};
pub use record::{Event, Schema};
pub use vocabulary::{AuthKind, CacheState, Kept, Method, Protocol, RateLimitState, Scheme, TlsVersion, Verdict};
