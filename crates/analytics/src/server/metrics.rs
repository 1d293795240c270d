//! `/metrics`: what Prometheus scrapes of weir-analytics. It asks ClickHouse nothing, so that it answers whatever that does.

use super::answer::{self, Answer};
use super::{ROOM_KIB, Server};
use crate::metrics as catalogue;
use http::Request;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use std::sync::atomic::{AtomicU64, Ordering};
use weir_api::ingest::{ChunkAnswer, Verdict};
use weir_metrics::{Exposition, Families, Negotiated, negotiate, takes_gzip};

/// What gateways were answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    chunks: [AtomicU64; Verdict::ALL.len()],
    received: AtomicU64,
    stored: AtomicU64,
    duplicate: AtomicU64,
    dead: AtomicU64,
}

impl Answered {
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn chunk(&self, answer: &ChunkAnswer) {
        let cell = Verdict::ALL.iter().position(|verdict| *verdict == answer.result);
        if let Some(cell) = cell.and_then(|index| self.chunks.get(index)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counts) = &answer.counts {
            self.stored.fetch_add(counts.stored, Ordering::Relaxed);
            self.duplicate.fetch_add(counts.duplicate, Ordering::Relaxed);
            self.dead.fetch_add(counts.dead_letters, Ordering::Relaxed);
        }
    }

    fn expose(&self, out: &mut Families) {
        for (verdict, cell) in Verdict::ALL.iter().zip(&self.chunks) {
            out.counter(&catalogue::CHUNKS, &[verdict.as_str()], cell.load(Ordering::Relaxed));
        }
        for (name, cell) in [("stored", &self.stored), ("duplicate", &self.duplicate), ("dead_letter", &self.dead)] {
            out.counter(&catalogue::EVENTS, &[name], cell.load(Ordering::Relaxed));
        }
        out.counter(&catalogue::RECEIVED, &[], self.received.load(Ordering::Relaxed));
    }
}

impl Server {
    pub(super) fn metrics<T>(&self, request: &Request<T>) -> Answer {
        let accept = request.headers().get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok());
        let Negotiated { format, content_type } = negotiate(accept);
        let mut out = Families::default();
        self.store.metrics().expose(&mut out);
        self.answered.expose(&mut out);
        let waiting_kib = ROOM_KIB.saturating_sub(self.room.available_permits());
        out.gauge(&catalogue::WAITING, &[], waiting_kib as f64 * 1024.0);
        out.gauge(&catalogue::WRITER, &[], f64::from(u8::from(self.ingest.writes())));
        out.gauge(&catalogue::CLOCKS, &[], self.clock.lines().len() as f64);
        let (open, senders) = self.places.open();
        out.gauge(&catalogue::CONNECTIONS, &["gateways"], senders as f64);
        out.gauge(&catalogue::CONNECTIONS, &["others"], open.saturating_sub(senders) as f64);
        let counts = &self.places.counts;
        for (cause, count) in [("silent", &counts.silent), ("unread", &counts.unread), ("displaced", &counts.displaced)]
        {
            out.counter(&catalogue::CLOSED, &[cause], count.load(Ordering::Relaxed));
        }
        out.counter(&catalogue::REFUSED, &[], counts.senders_refused.load(Ordering::Relaxed));
        let (queries, refused) = self.readers.counts();
        out.gauge(&catalogue::QUERIES, &[], queries as f64);
        out.counter(&catalogue::QUERIES_REFUSED, &[], refused);
        out.counter(&catalogue::WRONG_TOKENS, &[], self.entrance.failed());
        let mut text = Exposition::of(format);
        text.families(out);
        let codings = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
        answer::metrics(content_type, text.finish(), takes_gzip(codings))
    }
}
