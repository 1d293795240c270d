//! Phase `record`: an exchange is closed, once, and handed to the worker's sink.
//!
//! It happens when the last frame of the response is handed over for writing, before it is flushed: a client that
//! has the whole response proves by it that the event exists. Whatever ends otherwise is closed by its [`Closer`].

use crate::exchange::ExchangeRef;
use weir_event::Instant;
use weir_event::{Outcome, Reason};

/// Whoever holds it owes the exchange its end. Dropped with the debt unpaid - the client left, the handler
/// panicked - it pays with what is known.
pub(crate) struct Closer {
    exchange: ExchangeRef,
    paid: bool,
}

impl Closer {
    pub(crate) fn new(exchange: ExchangeRef) -> Self {
        Self { exchange, paid: false }
    }

    /// Closes the exchange at `now`.
    pub(crate) fn close(mut self, outcome: Outcome, now: Instant) {
        self.paid = true;
        self.exchange.close(outcome, now);
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.paid {
            return;
        }
        if std::thread::panicking() {
            let Some(mut exchange) = self.exchange.try_borrow_mut() else { return };
            exchange.blame(Reason::GatewayPanic);
            exchange.status = Reason::GatewayPanic.status().as_u16();
        }
        if self.exchange.worker().is_ending()
            && let Some(mut exchange) = self.exchange.try_borrow_mut()
        {
            exchange.blame(Reason::GatewayDraining);
        }
        let now = self.exchange.worker().clock.now();
        self.exchange.close(Outcome::Cancelled, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::exchange::{Owner, WeakExchange};
    use crate::registry::Registry;
    use crate::sink::{EventSink, WorkerStats};
    use crate::snapshot::Snapshot;
    use crate::worker::Worker;
    use http::StatusCode;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use weir_config::{GatewayConfig, Live};
    use weir_event::Exchange;
    use weir_http1::Fields;

    struct Collect(Sender<(u64, Exchange)>);

    impl EventSink for Collect {
        fn record(&mut self, seq: u64, exchange: &Exchange) {
            let _ = self.0.send((seq, exchange.clone()));
        }
    }

    struct Nobody;

    impl Owner for Nobody {
        fn began(&self, _: WeakExchange) {}

        fn ended(&self, _: Instant) {}

        fn interim(&self, _: StatusCode, _: Fields) {}
    }

    fn open() -> (ExchangeRef, Receiver<(u64, Exchange)>) {
        let snapshot = Snapshot::compile(&GatewayConfig::default(), 1, &Registry::new(1)).unwrap();
        let (sender, events) = channel();
        let stats = Arc::new(WorkerStats::default());
        let worker = Rc::new(Worker::new(0, &Live::new(snapshot), Box::new(Collect(sender)), stats));
        let address = "127.0.0.1:1".parse().unwrap();
        let snapshot = worker.snapshot();
        let client = Rc::new(Client::new(worker, address, address, None));
        (ExchangeRef::new(client, Rc::new(Nobody), snapshot), events)
    }

    #[test]
    fn a_panic_is_an_event_and_ends_with_its_request() {
        let (exchange, events) = open();
        let closer = Closer::new(exchange.clone());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _closer = closer;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        let (seq, event) = events.try_recv().unwrap();
        assert_eq!((seq, event.status, event.reason), (0, 500, Reason::GatewayPanic));
        assert!(events.try_recv().is_err(), "once");
    }

    #[test]
    fn an_exchange_is_recorded_once_however_often_it_ends() {
        let (exchange, events) = open();
        Closer::new(exchange.clone()).close(Outcome::Completed, Instant::now());
        drop(Closer::new(exchange));
        assert_eq!(events.try_iter().map(|(_, event)| event.outcome).collect::<Vec<_>>(), [Outcome::Completed]);
    }
}
