//! The way out: where an upstream is, a connection to it, and the connections kept for the next request.
//!
//! Everything here belongs to one worker (one thread, one current-thread runtime): a [`Pool`] is not shared and
//! takes no lock. What is shared is read-only: the [`Origins`] table, made at load, and the TLS configuration.
//!
//! A request is sent by [`InFlight::send`] and moved by whoever waits for its response: [`InFlight`] has no task of its
//! own. A connection of HTTP/1.1 carries one request at a time; one of HTTP/2 many, and has a task that moves their
//! frames.
//!
//! The border: nothing here knows routes, policies or telemetry. A failure is reported as a [`Failure`], which is a
//! `Reason` with the words for people; times are reported in the [`Attempt`] that the caller hands in.
//!
//! [`Attempt`]: weir_event::Attempt

mod answer;
mod connect;
mod connection;
mod content;
mod descriptors;
mod failure;
mod http1;
mod http2;
mod in_flight;
mod line;
mod origin;
mod own_authority;
mod pool;
mod progress;
mod sessions;
mod tls;

pub use answer::{Head, Incomplete, Unanswered};
pub use connect::Timeouts;
pub use connection::Connection;
pub use content::Content;
pub use descriptors::{Descriptor, Descriptors};
pub use failure::Failure;
pub use in_flight::InFlight;
pub use origin::{Origin, OriginId, Origins};
pub use pool::Pool;
pub use tls::{TlsError, TlsRoots, explain, provider, versions};
