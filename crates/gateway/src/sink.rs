//! Joins the data plane to the spool: a finished exchange becomes a record in its worker's ring.

use std::sync::{Arc, Mutex};
use weir_event::{Exchange, failpoint, record};
use weir_proxy::{EventSink, SinkFactory};
use weir_spool::RingWriter;

/// One worker's way into its ring. The buffer is kept, so that recording allocates nothing.
struct RingSink {
    ring: RingWriter,
    buffer: Vec<u8>,
}

impl EventSink for RingSink {
    fn record(&mut self, seq: u64, exchange: &Exchange) {
        failpoint::pass("record.before_encode");
        self.buffer.clear();
        record::encode(exchange, seq, &mut self.buffer);
        failpoint::pass("record.before_commit");
        // A full ring sheds the event and counts it: the request is never held up for its telemetry.
        let _ = self.ring.append(seq, &self.buffer);
        failpoint::pass("record.after_commit");
    }
}

/// Gives each worker its ring.
pub fn rings(rings: Vec<RingWriter>) -> Arc<SinkFactory> {
    let rings: Mutex<Vec<_>> = Mutex::new(rings.into_iter().map(Some).collect());
    Arc::new(move |worker| {
        let mut rings = rings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ring = rings.get_mut(usize::from(worker)).and_then(Option::take);
        let ring = ring.expect("the spool made one ring a worker, and each worker asks once");
        Box::new(RingSink { ring, buffer: Vec::with_capacity(1024) })
    })
}
