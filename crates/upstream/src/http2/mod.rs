//! HTTP/2 towards upstreams (RFC 9113): `h2`'s client, on the worker's own thread.
//!
//! A connection is a [`Session`]: many requests at once, each with a [`Place`] on it. It has one task, which moves the
//! frames of all streams (`driver`); a request has none. What arrives for a slow client stays within its stream's window,
//! and what a client sends is asked for when the upstream has room for it.

mod driver;
mod head;
mod io;
mod session;
mod stream;
mod vital;

pub(crate) use session::{Place, Session};
pub(crate) use stream::Http2;
