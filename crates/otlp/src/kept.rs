//! What waits to be made spans: a finished request as its record has it, and the little that spans have beyond that.
//!
//! A copy of the record and not the exchange itself, which holds on to the buffers that its texts were read into.

use std::net::IpAddr;
use weir_config::{Scheme, UpstreamAddress};
use weir_event::{Exchange, TraceId};

/// Of `tracestate`. Bytes.
const MOST_OF_STATE: usize = 32 * 514;

/// One request whose spans are kept.
#[derive(Debug)]
pub struct KeptRequest {
    /// The record, then the host that the attempts went to, then `tracestate`, then the path that they asked for.
    bytes: Box<[u8]>,
    record: u32,
    host: u16,
    state: u16,
    pub(crate) origin: Option<(Scheme, u16)>,
    pub(crate) peer: Option<IpAddr>,
    /// The trace of a probe, whose sender wants to know what becomes of its spans.
    pub(crate) probe: Option<TraceId>,
}

impl KeptRequest {
    /// `record` is that of `exchange`; `origin` is where its attempts went.
    pub fn new(record: &[u8], exchange: &Exchange, origin: Option<&UpstreamAddress>) -> Self {
        let host = origin.map_or("", |origin| &origin.host).as_bytes();
        let path = exchange.forwarded.as_ref().map_or("", http::Uri::path).as_bytes();
        let path = &path[..path.len().min(weir_event::record::MAX_PATH)];
        // One beyond that would not be cut, but broken: it has 32 members at most, of 513 bytes.
        let state = exchange.trace_state.as_deref().filter(|state| state.len() <= MOST_OF_STATE).unwrap_or_default();
        let mut bytes = Vec::with_capacity(record.len() + host.len() + state.len() + path.len());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(host);
        bytes.extend_from_slice(state);
        bytes.extend_from_slice(path);
        Self {
            bytes: bytes.into_boxed_slice(),
            // A record has at most 16 KiB, a host name 253 bytes.
            record: record.len() as u32,
            host: host.len() as u16,
            state: state.len() as u16,
            origin: origin.map(|origin| (origin.scheme, origin.port)),
            peer: exchange.peer,
            probe: exchange.is_probe().then_some(exchange.trace.trace),
        }
    }

    pub(crate) fn record(&self) -> &[u8] {
        &self.bytes[..self.record as usize]
    }

    pub(crate) fn host(&self) -> &[u8] {
        let start = self.record as usize;
        &self.bytes[start..start + usize::from(self.host)]
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
