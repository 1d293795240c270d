//! A connection in hand: one of HTTP/1.1, which is the holder's alone, or a place on one of HTTP/2, which is shared.

use crate::http2::Place;
use crate::line::Line;
use std::net::SocketAddr;

/// Where one request can be sent.
pub struct Connection(pub(crate) Either);

pub(crate) enum Either {
    Http1(Line),
    /// Boxed: one of HTTP/1.1, which changes hands half a dozen times a request, does not carry room for it.
    Http2(Box<Place>),
}

impl Connection {
    /// The peer.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Either::Http1(line) => line.address(),
            Either::Http2(place) => place.address(),
        }
    }

    /// Whether HTTP/2 is spoken on it.
    pub fn is_http2(&self) -> bool {
        matches!(self.0, Either::Http2(_))
    }
}
