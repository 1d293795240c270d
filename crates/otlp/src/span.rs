//! Spans of a finished request: one of the server, one of the client for each attempt at the upstream.
//!
//! Names and attributes are those of OpenTelemetry's stable conventions for HTTP; what they have no name for begins with
//! `weir.`. Where the conventions ask for a value to be redacted, the event has none of it already.

use crate::attributes::{Attributes, Key, Limits, key};
use crate::kept::{KeptRequest, Place};
use crate::protobuf::{
    FIXED32, FIXED64, LENGTH, VARINT, bytes, close, decimal, fixed32, fixed64, length, message, open, short_key, uint,
};
use std::collections::HashSet;
use std::sync::Arc;
use weir_config::AttributeLimits;
use weir_event::degradation::{DEGRADED, Level};
use weir_event::record::{AttemptEntry, Event, Schema};
use weir_event::{CLIENT_CLOSED, Method, Names, Outcome, Reason, Side, SpanId, TraceId};

/// Fields of `Span`, `Span.Event`, `Span.Link` and `Status` (opentelemetry-proto, trace/v1).
mod field {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const PARENT_SPAN_ID: u32 = 4;
    pub const NAME: u32 = 5;
    pub const KIND: u32 = 6;
    pub const START: u32 = 7;
    pub const END: u32 = 8;
    pub const ATTRIBUTES: u32 = 9;
    pub const DROPPED_ATTRIBUTES: u32 = 10;
    pub const EVENTS: u32 = 11;
    pub const LINKS: u32 = 13;
    pub const STATUS: u32 = 15;
    pub const FLAGS: u32 = 16;

    pub const EVENT_TIME: u32 = 1;
    pub const EVENT_NAME: u32 = 2;
    pub const EVENT_ATTRIBUTES: u32 = 3;

    pub const LINK_TRACE_ID: u32 = 1;
    pub const LINK_SPAN_ID: u32 = 2;
    pub const LINK_FLAGS: u32 = 6;

    pub const STATUS_CODE: u32 = 3;
    /// Of `ScopeSpans`.
    pub const SPANS: u32 = 2;
}

const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;
const STATUS_ERROR: u64 = 2;
/// Bits of `flags` beside W3C's own eight.
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;
/// The attribute that leads to the trace which an edge did not continue; a link of the span.
const LINK: &[u8] = b"trace.link";
/// The attribute of an exchange whose upstream was spoken to in HTTP/2.
const UPSTREAM_PROTOCOL: &[u8] = b"upstream.protocol";
/// The attribute that says what the server span is called.
const SPAN_NAME: &[u8] = b"span.name";

/// Makes spans of requests.
pub struct Spans {
    names: NameTable,
    limits: Limits,
    known_methods: Option<HashSet<String>>,
    /// Kept, so that a span allocates nothing.
    url: Vec<u8>,
}

/// The times of a span, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    end: u64,
}

impl Times {
    fn new(start_us: i64, after_us: u64, took_us: u64) -> Self {
        let start = u64::try_from(start_us).unwrap_or_default().saturating_add(after_us).saturating_mul(1000);
        Self { start, end: start.saturating_add(took_us.saturating_mul(1000)) }
    }
}

/// Who a span is.
struct Head<'a> {
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    /// W3C's `tracestate`, as it is sent on.
    state: &'a [u8],
    kind: u8,
    flags: u32,
    /// Parts of it.
    name: [&'a str; 3],
    times: Times,
}

impl Head<'_> {
    /// The fields that every span has, and that are always as long.
    fn fixed(&self) -> [u8; 54] {
        let mut out = [0; 54];
        out[0] = short_key(field::TRACE_ID, LENGTH);
        out[1] = 16;
        out[2..18].copy_from_slice(&self.trace.0);
        out[18] = short_key(field::SPAN_ID, LENGTH);
        out[19] = 8;
        out[20..28].copy_from_slice(&self.span.0);
        out[28] = short_key(field::KIND, VARINT);
        out[29] = self.kind;
        out[30] = short_key(field::START, FIXED64);
        out[31..39].copy_from_slice(&self.times.start.to_le_bytes());
        out[39] = short_key(field::END, FIXED64);
        out[40..48].copy_from_slice(&self.times.end.to_le_bytes());
        // A number of 16 takes a byte more.
        let flags = field::FLAGS << 3 | FIXED32;
        out[48] = flags as u8 | 0x80;
        out[49] = (flags >> 7) as u8;
        out[50..].copy_from_slice(&self.flags.to_le_bytes());
        out
    }
}

impl Spans {
    pub fn new(names: Arc<Names>, limits: AttributeLimits, known_methods: Option<&[String]>) -> Self {
        let length = limits.length.map_or(usize::MAX, |length| length as usize);
        Self {
            names: NameTable { names, known: Vec::new() },
            limits: Limits { count: limits.count as usize, length },
            known_methods: known_methods.map(|methods| methods.iter().cloned().collect()),
            url: Vec::with_capacity(256),
        }
    }

    /// Appends the spans of a request, each as a field of `ScopeSpans`. Answers how many they are.
    pub fn append(&mut self, kept: &KeptRequest, out: &mut Vec<u8>) -> u32 {
        // Made by this process.
        let Ok(event) = Event::decode(Schema::NEWEST, kept.record()) else { return 0 };
        self.server(&event, kept, out);
        let degraded = event.attrs().find(|(key, _)| *key == &DEGRADED[..]).map(|(_, word)| Level::named(word));
        if degraded >= Some(Level::ClientSpans) {
            return 1;
        }
        let attempts = event.attempts().len();
        for (index, attempt) in event.attempts().enumerate() {
            self.client(&event, kept, (index, index + 1 == attempts), &attempt, out);
        }
        1 + attempts as u32
    }

    fn server(&mut self, event: &Event<'_>, kept: &KeptRequest, out: &mut Vec<u8>) {
        let template = self.names.name(event.fixed.path_template);
        let (method, original) = method(self.known_methods.as_ref(), event);
        let word = if method == Method::Other.as_str() { "HTTP" } else { method };
        let given = event.attrs().find(|(key, _)| *key == SPAN_NAME).map(|(_, name)| String::from_utf8_lossy(name));
        let name = match &given {
            Some(name) => [name, "", ""],
            None if template.is_empty() => [word, "", ""],
            None => [word, " ", &template],
        };
        let remote = if event.parent().is_none() { 0 } else { IS_REMOTE };
        let head = Head {
            trace: event.trace(),
            span: event.span(),
            parent: event.parent(),
            state: kept.state(),
            kind: KIND_SERVER,
            flags: u32::from(event.fixed.sampled) | HAS_IS_REMOTE | remote,
            name,
            times: Times::new(event.fixed.start_us, 0, event.total_us()),
        };
        let error = error_of_server(event);
        let (api, route, service) = (
            self.names.name(event.fixed.api),
            self.names.name(event.fixed.route),
            self.names.name(event.fixed.service),
        );
        let (host, port) = split_authority(event.host);
        let place = open(out, field::SPANS);
        begin(out, &head);
        let mut attributes = Attributes::new(out, field::ATTRIBUTES, self.limits);
        attributes.text(key!("http.request.method"), method);
        attributes.bytes(key!("http.request.method_original"), original);
        attributes.text(key!("url.scheme"), event.scheme().as_str());
        attributes.bytes(key!("url.path"), event.path).bytes(key!("url.query"), event.query);
        attributes.text(key!("http.route"), &template);
        if sent_status(event) {
            attributes.int(key!("http.response.status_code"), event.fixed.status.into());
        }
        put_text(&mut attributes, key!("error.type"), error.as_deref());
        attributes.bytes(key!("server.address"), host);
        if let Some(port) = port {
            attributes.int(key!("server.port"), port.into());
        }
        attributes.address(key!("client.address"), event.client());
        if let Some(peer) = kept.peer {
            attributes.address(key!("network.peer.address"), peer);
        }
        attributes.text(key!("network.protocol.version"), event.protocol().as_str());
        attributes.bytes(key!("user_agent.original"), event.user_agent);
        attributes.text(key!("weir.api"), &api).text(key!("weir.route"), &route);
        attributes.text(key!("weir.service"), &service).bytes(key!("weir.consumer"), event.consumer);
        attributes.text(key!("weir.kept"), event.kept().as_str());
        attributes.text(key!("weir.reason"), event.reason().as_str());
        attributes.text(key!("weir.side"), event.reason().side().as_str());
        attributes.seconds(key!("weir.gateway.duration"), event.fixed.gateway_us);
        attributes.seconds(key!("weir.upstream.duration"), event.fixed.upstream_us);
        attributes.seconds(key!("weir.client.duration"), event.fixed.client_us);
        for (name, value) in event.attrs().filter(|(name, _)| *name != LINK && *name != SPAN_NAME) {
            attributes.named(std::str::from_utf8(name).unwrap_or("weir.label"), value);
        }
        let dropped = attributes.dropped();
        self.policies(event, out);
        links(event, out);
        finish(out, dropped, error.is_some());
        close(out, place);
    }

    /// One event of the span for each policy: when it was asked, what it said, how long it took.
    fn policies(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        for run in event.policies() {
            let name = self.names.name(run.policy);
            let time = Times::new(event.fixed.start_us, run.start_us.into(), 0).start;
            let limits = self.limits;
            message(out, field::EVENTS, |out| {
                fixed64(out, field::EVENT_TIME, time);
                bytes(out, field::EVENT_NAME, b"weir.policy");
                let mut attributes = Attributes::new(out, field::EVENT_ATTRIBUTES, limits);
                attributes.text(key!("weir.policy.name"), &name);
                attributes.text(key!("weir.policy.verdict"), run.verdict().as_str());
                attributes.seconds(key!("weir.policy.duration"), run.us.into());
                if run.waited_us > 0 {
                    attributes.seconds(key!("weir.policy.waited"), run.waited_us.into());
                }
            });
        }
    }

    fn client(
        &mut self,
        event: &Event<'_>,
        kept: &KeptRequest,
        (index, is_last): (usize, bool),
        attempt: &AttemptEntry,
        out: &mut Vec<u8>,
    ) {
        let (method, original) = method(self.known_methods.as_ref(), event);
        let head = Head {
            trace: event.trace(),
            span: event.span().of_attempt(index + 1),
            parent: event.span(),
            state: kept.state(),
            kind: KIND_CLIENT,
            flags: u32::from(event.fixed.sampled) | HAS_IS_REMOTE,
            name: [if method == Method::Other.as_str() { "HTTP" } else { method }, "", ""],
            times: Times::new(event.fixed.start_us, attempt.start_us.into(), attempt.total_us.into()),
        };
        let status = match attempt.outcome() {
            Reason::None if is_last => event.fixed.upstream_status,
            Reason::None => kept.status_before(index),
            _ => 0,
        };
        let to = kept.place(index);
        let error = match error_of_client(attempt.outcome(), status) {
            // Of gRPC the status is behind the head.
            None if is_last && status != 0 && event.reason() == Reason::GrpcError => {
                Some(event.reason().as_str().to_owned())
            }
            error => error,
        };
        full_url(to, (kept.path(), event.query), &mut self.url);
        let service = self.names.name(event.fixed.service);
        let place = open(out, field::SPANS);
        begin(out, &head);
        let mut attributes = Attributes::new(out, field::ATTRIBUTES, self.limits);
        attributes.text(key!("http.request.method"), method);
        attributes.bytes(key!("http.request.method_original"), original);
        attributes.bytes(key!("server.address"), to.map_or(&[][..], |to| to.host));
        if let Some(to) = to {
            attributes.int(key!("server.port"), to.port.into());
        }
        attributes.bytes(key!("url.full"), &self.url);
        if status != 0 {
            attributes.int(key!("http.response.status_code"), status.into());
        }
        put_text(&mut attributes, key!("error.type"), error.as_deref());
        if index > 0 {
            attributes.int(key!("http.request.resend_count"), index as u64);
        }
        if let Some(socket) = attempt.socket() {
            attributes.address(key!("network.peer.address"), socket.ip());
            attributes.int(key!("network.peer.port"), socket.port().into());
        }
        let spoken = event.attrs().find(|(key, _)| *key == UPSTREAM_PROTOCOL).map_or("1.1", |_| "2");
        attributes.text(key!("network.protocol.version"), spoken).text(key!("weir.service"), &service);
        if attempt.connect_us > 0 {
            attributes.seconds(key!("weir.connect.duration"), attempt.connect_us.into());
        }
        if attempt.tls_us > 0 {
            attributes.seconds(key!("weir.tls.duration"), attempt.tls_us.into());
        }
        if attempt.first_byte_us > 0 {
            attributes.seconds(key!("weir.first_byte.duration"), attempt.first_byte_us.into());
        }
        let dropped = attributes.dropped();
        finish(out, dropped, error.is_some());
        close(out, place);
    }
}

/// The names of the process. Learned as they are needed: the table only grows.
struct NameTable {
    names: Arc<Names>,
    /// By number, from 1.
    known: Vec<Arc<str>>,
}

impl NameTable {
    fn name(&mut self, id: u32) -> Arc<str> {
        let Some(index) = (id as usize).checked_sub(1) else { return "".into() };
        if index >= self.known.len() {
            self.known.extend(self.names.since(self.known.len()).into_iter().map(|(_, name)| name));
        }
        self.known.get(index).cloned().unwrap_or_else(|| "".into())
    }
}

/// The method, and its own spelling where that is another. A configured list of known methods is the whole of it.
fn method<'e>(known: Option<&'e HashSet<String>>, event: &Event<'e>) -> (&'e str, &'e [u8]) {
    let (method, original) = (event.method(), event.method_original);
    let Some(known) = known else { return (method.as_str(), original) };
    let spelt = if method == Method::Other { std::str::from_utf8(original).unwrap_or("") } else { method.as_str() };
    match known.get(spelt) {
        Some(known) => (known, b""),
        None => (Method::Other.as_str(), spelt.as_bytes()),
    }
}

fn begin(span: &mut Vec<u8>, head: &Head<'_>) {
    span.extend_from_slice(&head.fixed());
    if !head.state.is_empty() {
        bytes(span, field::TRACE_STATE, head.state);
    }
    if !head.parent.is_none() {
        bytes(span, field::PARENT_SPAN_ID, &head.parent.0);
    }
    length(span, field::NAME, head.name.iter().map(|part| part.len()).sum());
    head.name.iter().for_each(|part| span.extend_from_slice(part.as_bytes()));
}

fn finish(span: &mut Vec<u8>, dropped_attributes: u64, is_error: bool) {
    if dropped_attributes > 0 {
        uint(span, field::DROPPED_ATTRIBUTES, dropped_attributes);
    }
    if is_error {
        length(span, field::STATUS, 2);
        uint(span, field::STATUS_CODE, STATUS_ERROR);
    }
}

fn put_text<const N: usize>(attributes: &mut Attributes<'_>, key: &Key<N>, value: Option<&str>) {
    if let Some(value) = value {
        attributes.text(key, value);
    }
}

/// The trace that the caller brought, where it was not continued: `trace-span`.
fn links(event: &Event<'_>, span: &mut Vec<u8>) {
    for (_, value) in event.attrs().filter(|(key, _)| *key == LINK) {
        let Some((trace, id)) = value.split_at_checked(32) else { continue };
        let (Some(trace), Some(id)) = (TraceId::from_hex(trace), id.get(1..).and_then(SpanId::from_hex)) else {
            continue;
        };
        message(span, field::LINKS, |out| {
            bytes(out, field::LINK_TRACE_ID, &trace.0);
            bytes(out, field::LINK_SPAN_ID, &id.0);
            fixed32(out, field::LINK_FLAGS, HAS_IS_REMOTE | IS_REMOTE);
        });
    }
}

/// Whether the client was sent the status that the event has.
fn sent_status(event: &Event<'_>) -> bool {
    event.fixed.status != 0 && event.fixed.status != CLIENT_CLOSED.as_u16()
}

/// Why the server's span is an error: the gateway's or the upstream's failure, or a status of 500 and more. What the client
/// did wrong, or that it left, is none (HTTP conventions, "Status").
fn error_of_server(event: &Event<'_>) -> Option<String> {
    let (reason, status) = (event.reason(), event.fixed.status);
    let failed = match reason.side() {
        Side::Upstream => true,
        Side::Gateway => reason != Reason::PolicyAnswered,
        Side::Downstream | Side::None => {
            status >= 500 || event.outcome() == Outcome::Truncated && reason == Reason::None
        }
    };
    failed.then(|| if reason == Reason::None { status.to_string() } else { reason.as_str().to_owned() })
}

/// Of the client's span, a status of 400 and more is one.
fn error_of_client(outcome: Reason, status: u16) -> Option<String> {
    match outcome {
        Reason::None => (status >= 400).then(|| status.to_string()),
        // Nobody waited for it any more.
        Reason::ClientClosed => None,
        failed => Some(failed.as_str().to_owned()),
    }
}

/// `scheme://host:port/path?query`, the port only where the scheme has another; nothing where there was no origin.
fn full_url(to: Option<Place<'_>>, (path, query): (&[u8], &[u8]), url: &mut Vec<u8>) {
    url.clear();
    let Some(Place { scheme, host, port }) = to else { return };
    url.extend_from_slice(scheme.of_uri().as_bytes());
    url.extend_from_slice(b"://");
    let is_v6 = host.contains(&b':') && !host.starts_with(b"[");
    url.extend_from_slice(if is_v6 { b"[" } else { b"" });
    url.extend_from_slice(host);
    url.extend_from_slice(if is_v6 { b"]" } else { b"" });
    if port != scheme.default_port() {
        url.push(b':');
        decimal(url, port);
    }
    url.extend_from_slice(path);
    if !query.is_empty() {
        url.push(b'?');
        url.extend_from_slice(query);
    }
}

/// `host:port`, and `[v6]:port`.
fn split_authority(authority: &[u8]) -> (&[u8], Option<u16>) {
    let end = authority.iter().rposition(|byte| *byte == b':');
    let port = end.and_then(|end| std::str::from_utf8(&authority[end + 1..]).ok()?.parse().ok());
    match (end, port) {
        (Some(end), Some(port)) if !authority[..end].contains(&b':') || authority[..end].ends_with(b"]") => {
            (&authority[..end], Some(port))
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests;
