//! What is known of an HTTP/2 connection from outside, and of each of its streams.

use super::frames::Frames;
use crate::connection::waker::wake;
use crate::exchange::WeakExchange;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;
use weir_event::Instant;
use weir_event::Reason;
use weir_http1::Fields;

/// Streams that a client may have open at once.
pub(in crate::connection) const MAX_STREAMS: u32 = 128;

/// What is known of its streams.
#[derive(Default)]
pub(in crate::connection) struct State {
    pub(in crate::connection) streams: RefCell<Vec<Rc<StreamState>>>,
    /// The stream that is polled now: exchanges begin inside.
    pub(in crate::connection) polled: RefCell<Option<Rc<StreamState>>>,
    /// Exchanges that are open.
    open: Cell<usize>,
    /// Requests that became streams, and those whose refusal is booked.
    pub(in crate::connection) begun: Cell<u64>,
    pub(in crate::connection) booked: Cell<u64>,
    /// Requests without an exchange, at the last look.
    pub(in crate::connection) missing: Cell<u64>,
    /// Of those that are missing, how many the library has read and refused.
    refused: Cell<u64>,
    pub(super) frames: RefCell<Option<Rc<RefCell<Frames>>>>,
    /// As many streams were open as may be: more were turned away.
    pub(in crate::connection) crowded: Cell<bool>,
    /// The client sent frames that move nothing, too many and too fast.
    pub(in crate::connection) flooded: Cell<bool>,
    /// When the client was informed that the connection ends.
    pub(in crate::connection) reported: Cell<Option<Instant>>,
}

#[derive(Default)]
pub(in crate::connection) struct StreamState {
    /// Its place in the list.
    pub(in crate::connection) index: Cell<usize>,
    pub(in crate::connection) exchange: RefCell<Option<WeakExchange>>,
    /// When its exchange ended; what is still held of its response waits for the client.
    pub(in crate::connection) ended: Cell<Option<Instant>>,
    pub(in crate::connection) cancelled: Cell<bool>,
    pub(in crate::connection) waker: RefCell<Option<Waker>>,
    /// Heads of 1xx that are to be sent in front of the response.
    pub(in crate::connection) interim: RefCell<Vec<(StatusCode, Fields)>>,
}

impl StreamState {
    pub(super) fn blame(&self, reason: Reason) {
        self.exchange.borrow().iter().for_each(|exchange| exchange.blame(reason));
    }

    /// The head of the response was not sent after all.
    pub(super) fn has_sent_nothing(&self) {
        self.exchange.borrow().iter().for_each(WeakExchange::has_sent_nothing);
    }
}

impl State {
    pub(in crate::connection) fn begin(&self, exchange: WeakExchange) {
        self.open.set(self.open.get() + 1);
        if let Some(stream) = self.polled.borrow().as_ref() {
            *stream.exchange.borrow_mut() = Some(exchange);
        }
    }

    pub(in crate::connection) fn end(&self, now: Instant) {
        self.open.set(self.open.get().saturating_sub(1));
        if let Some(stream) = self.polled.borrow().as_ref() {
            stream.ended.set(Some(now));
        }
    }

    pub(in crate::connection) fn interim(&self, status: StatusCode, fields: Fields) {
        if let Some(stream) = self.polled.borrow().as_ref() {
            stream.interim.borrow_mut().push((status, fields));
        }
    }

    /// Requests that the client has begun and that are neither streams nor booked.
    pub(in crate::connection) fn missing(&self) -> u64 {
        let requests = self.frames.borrow().as_ref().map_or(0, |frames| frames.borrow().requests());
        requests.saturating_sub(self.begun.get() + self.booked.get())
    }

    /// The library has handed over all the streams of what was read: whatever else has come whole it has refused.
    pub(super) fn has_accepted_all(&self) {
        let heads = self.frames.borrow().as_ref().map_or(0, |frames| frames.borrow().heads());
        self.refused.set(heads.saturating_sub(self.begun.get() + self.booked.get()));
    }

    /// Of the requests that are missing, those that the library has refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.get().min(self.missing())
    }

    pub(in crate::connection) fn each_exchange(&self, act: impl Fn(&WeakExchange)) {
        for stream in self.streams.borrow().iter() {
            stream.exchange.borrow().iter().for_each(&act);
        }
    }

    /// Blames `reason` for the end of every exchange that is open.
    pub(in crate::connection) fn blame(&self, reason: Reason) {
        self.each_exchange(|exchange| exchange.blame(reason));
    }

    /// Every stream that waits for an upstream looks at the time.
    pub(in crate::connection) fn remind(&self) {
        for stream in self.streams.borrow().iter() {
            if stream.exchange.borrow().as_ref().is_some_and(WeakExchange::waits_for_response) {
                wake(&stream.waker);
            }
        }
    }

    /// Lets go of every stream whose client has taken nothing of its response for `limit`.
    pub(in crate::connection) fn cancel_stalled(&self, now: Instant, limit: Duration) {
        for stream in self.streams.borrow().iter() {
            let held = stream.ended.get().is_some_and(|ended| now.saturating_duration_since(ended) >= limit);
            let exchange = stream.exchange.borrow();
            let stalled = exchange.as_ref().filter(|open| open.waits_for_client(now, limit));
            if let Some(exchange) = stalled {
                exchange.blame(Reason::ClientIdleTimeout);
            }
            if held || stalled.is_some() {
                stream.cancelled.set(true);
                wake(&stream.waker);
            }
        }
    }

    pub(in crate::connection) fn enter(&self, stream: &Rc<StreamState>) {
        self.begun.set(self.begun.get() + 1);
        let mut streams = self.streams.borrow_mut();
        stream.index.set(streams.len());
        streams.push(Rc::clone(stream));
        if streams.len() >= MAX_STREAMS as usize {
            self.crowded.set(true);
        }
    }

    pub(in crate::connection) fn leave(&self, stream: &StreamState) {
        let mut streams = self.streams.borrow_mut();
        let index = stream.index.get();
        streams.swap_remove(index);
        if let Some(moved) = streams.get(index) {
            moved.index.set(index);
        }
    }
}
