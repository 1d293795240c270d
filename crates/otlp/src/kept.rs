//! What waits to be made spans: a finished request as its record has it, and the little that spans have beyond that.
//!
//! A copy of the record and not the exchange itself, which holds on to the buffers that its texts were read into.

use std::net::IpAddr;
use weir_config::{Scheme, UpstreamAddress};
use weir_event::{Attempt, Exchange, TraceId};

/// Of `tracestate`. Bytes.
const MOST_OF_STATE: usize = 32 * 514;

/// One request whose spans are kept.
#[derive(Debug)]
pub struct KeptRequest {
    /// The record, then the host that the last attempt went to, then `tracestate`, then the path that the attempts asked for.
    bytes: Box<[u8]>,
    record: u32,
    host: u16,
    state: u16,
    origin: Option<(Scheme, u16)>,
    /// Of the attempts before the last, in their order.
    before: Box<[Before]>,
    pub(crate) peer: Option<IpAddr>,
    /// The trace of a probe, whose sender wants to know what becomes of its spans.
    pub(crate) probe: Option<TraceId>,
}

/// What the record does not have of an attempt that was followed by another.
#[derive(Debug)]
struct Before {
    origin: Option<(Scheme, Box<str>, u16)>,
    status: u16,
}

/// Where an attempt went, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) host: &'a [u8],
    pub(crate) port: u16,
}

impl KeptRequest {
    /// `record` is that of `exchange`; `origin_of` says where an attempt went.
    pub fn new<'a>(
        record: &[u8],
        exchange: &Exchange,
        origin_of: &dyn Fn(&Attempt) -> Option<&'a UpstreamAddress>,
    ) -> Self {
        let (last, before) = match exchange.attempts.split_last() {
            Some((last, before)) => (origin_of(last), before),
            None => (None, &[][..]),
        };
        let host = last.map_or("", |origin| &origin.host).as_bytes();
        let path = exchange.forwarded.as_ref().map_or("", http::Uri::path).as_bytes();
        let path = &path[..path.len().min(weir_event::record::MAX_PATH)];
        // One beyond that would not be cut, but broken: it has 32 members at most, of 513 bytes.
        let state = exchange.trace_state.as_deref().filter(|state| state.len() <= MOST_OF_STATE).unwrap_or_default();
        let mut bytes = Vec::with_capacity(record.len() + host.len() + state.len() + path.len());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(host);
        bytes.extend_from_slice(state);
        bytes.extend_from_slice(path);
        let before = before.iter().map(|attempt| Before {
            origin: origin_of(attempt).map(|origin| (origin.scheme, origin.host.as_str().into(), origin.port)),
            status: attempt.status,
        });
        Self {
            bytes: bytes.into_boxed_slice(),
            // A record has at most 16 KiB, a host name 253 bytes.
            record: record.len() as u32,
            host: host.len() as u16,
            state: state.len() as u16,
            origin: last.map(|origin| (origin.scheme, origin.port)),
            before: before.collect(),
            peer: exchange.peer,
            probe: exchange.is_probe().then_some(exchange.trace.trace),
        }
    }

    /// Where an attempt went.
    pub(crate) fn place(&self, attempt: usize) -> Option<Place<'_>> {
        if let Some(before) = self.before.get(attempt) {
            let (scheme, host, port) = before.origin.as_ref()?;
            return Some(Place { scheme: *scheme, host: host.as_bytes(), port: *port });
        }
        let (scheme, port) = self.origin?;
        let start = self.record as usize;
        Some(Place { scheme, host: &self.bytes[start..start + usize::from(self.host)], port })
    }

    /// The status that an attempt before the last was answered with; 0: with none.
    pub(crate) fn status_before(&self, attempt: usize) -> u16 {
        self.before.get(attempt).map_or(0, |before| before.status)
    }

    pub(crate) fn record(&self) -> &[u8] {
        &self.bytes[..self.record as usize]
    }

    /// `tracestate`, which is printable ASCII; empty where there is none.
    pub(crate) fn state(&self) -> &[u8] {
        let start = self.record as usize + usize::from(self.host);
        &self.bytes[start..start + usize::from(self.state)]
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.bytes[self.record as usize + usize::from(self.host) + usize::from(self.state)..]
    }
}
