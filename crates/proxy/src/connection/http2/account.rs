//! The events of requests that the library refuses by itself, and of those that end with their connection.

use crate::connection::Connection;
use weir_event::Reason;

impl Connection {
    /// The events of requests that the library refuses by itself: those that are missing at two looks of a connection
    /// without a stream.
    pub(in crate::connection) fn book_refused(&self) {
        let missing = self.http2.missing();
        if missing > 0 && self.http2.missing.replace(missing) == missing {
            self.book(missing, self.why_refused());
        }
    }

    fn book(&self, count: u64, reason: Reason) {
        self.http2.booked.set(self.http2.booked.get() + count);
        // Nobody knows when they came: now, rather than when the connection last was quiet.
        self.since.set(self.since.get().max(self.now()));
        for _ in 0..count {
            self.record_unparsed(reason, None, &[]);
        }
    }

    fn why_refused(&self) -> Reason {
        if self.http2.reported.get().is_some() || self.worker().is_ending() {
            // Behind a GOAWAY a request is not looked at, and safe to send elsewhere (RFC 9113 6.8).
            Reason::GatewayDraining
        } else if self.http2.crowded.get() {
            Reason::Overloaded
        } else {
            Reason::MalformedRequest
        }
    }

    /// The events of the requests that were begun and never served. Those that are open break off with their connection
    /// for what another of them did.
    pub(in crate::connection) fn http2_ended(&self, error: Option<&h2::Error>) {
        let reason = match error {
            Some(error) if self.is_flooded(error) => Reason::ClientFlood,
            Some(error) if has_left(error) => Reason::ClientClosed,
            _ => self.why_refused(),
        };
        match reason {
            Reason::ClientFlood => self.http2.blame(Reason::ClientFlood),
            Reason::MalformedRequest if error.is_some() => self.http2.blame(Reason::ConnectionBroken),
            _ => {}
        }
        if reason == Reason::ClientClosed {
            self.book(self.http2.refused(), self.why_refused());
        }
        // A connection that the gateway ends for cause leaves an event, even if no stream was opened on it.
        let for_cause = error.is_some() && matches!(reason, Reason::ClientFlood | Reason::MalformedRequest);
        let missing = self.http2.missing();
        self.book(missing.max(u64::from(for_cause && self.http2.booked.get() == 0)), reason);
    }

    /// By our own count, or by the library's limit of resets.
    fn is_flooded(&self, error: &h2::Error) -> bool {
        self.http2.flooded.get() || !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    }
}

/// The client's end, orderly or not, is no fault of a request.
fn has_left(error: &h2::Error) -> bool {
    error.is_io() || error.is_remote()
}
