//! What is known of an HTTP/1 connection from outside: the worker looks at it and drains it.

use crate::exchange::WeakExchange;
use bytes::BytesMut;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use weir_event::Instant;
use weir_event::Reason;
use weir_http1::{Fields, write_status};

/// Where a connection stands between its requests.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::connection) enum Phase {
    /// No exchange, and nothing of the next request has come.
    #[default]
    Idle,
    /// No exchange, but bytes of a next head.
    Head,
    /// An exchange is open.
    Busy,
    /// The last exchange is recorded; its bytes may not be written yet.
    Flushing,
}

/// What is known between requests.
#[derive(Default)]
pub(in crate::connection) struct State {
    pub(in crate::connection) phase: Cell<Phase>,
    /// The exchange that is open.
    current: RefCell<Option<WeakExchange>>,
    /// Since when only the end of the client is waited for, after ours.
    pub(in crate::connection) lingering: Cell<Option<Instant>>,
    /// It ends behind the request that is open or has begun to come.
    pub(in crate::connection) drains: Cell<bool>,
    /// Heads of 1xx that are to be written in front of the response.
    interim: RefCell<BytesMut>,
    /// It was at rest when the worker looked at it.
    pub(in crate::connection) rests: Cell<bool>,
}

impl State {
    pub(in crate::connection) fn begin(&self, exchange: WeakExchange) {
        self.phase.set(Phase::Busy);
        *self.current.borrow_mut() = Some(exchange);
    }

    pub(in crate::connection) fn end(&self) {
        self.phase.set(Phase::Flushing);
        // An idle connection keeps nothing of its last request in memory.
        self.current.take();
    }

    pub(in crate::connection) fn waits_for_response(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(WeakExchange::waits_for_response)
    }

    pub(in crate::connection) fn interim(&self, status: StatusCode, fields: &Fields) {
        let mut out = self.interim.borrow_mut();
        write_status(status, None, &mut out);
        fields.write(&mut out);
        out.extend_from_slice(b"\r\n");
    }

    /// What is to be written of that, once.
    pub(super) fn take_interim(&self) -> Option<BytesMut> {
        let mut interim = self.interim.borrow_mut();
        (!interim.is_empty()).then(|| std::mem::take(&mut *interim))
    }

    pub(in crate::connection) fn blame(&self, reason: Reason) {
        if let Some(exchange) = self.current.borrow().as_ref() {
            exchange.blame(reason);
        }
    }
}
