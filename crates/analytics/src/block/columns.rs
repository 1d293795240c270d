//! The columns of `access_events`, in the order of [`FIELDS`], and how a record becomes a row of them.

use super::dictionary::{Dictionary, STATE};
use super::native::{Offsets, Plain, Strings, put_header, put_varint};
use super::{Block, BlockId, Frames};
use std::net::SocketAddr;
use weir_event::chunk::ChunkHeader;
use weir_event::field::FIELDS;
use weir_event::record::Event;
use weir_event::{NameId, StreamId};

/// The body of one column: what follows its name and type.
trait Column {
    fn write(&self, out: &mut Vec<u8>);
}

impl Column for Plain {
    fn write(&self, out: &mut Vec<u8>) {
        Self::write(self, out);
    }
}

impl Column for Strings {
    fn write(&self, out: &mut Vec<u8>) {
        Self::write(self, out);
    }
}

impl Column for Dictionary {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&STATE.to_le_bytes());
        Self::write(self, out);
    }
}

/// `Array(LowCardinality(String))`: the state stands before the offsets.
#[derive(Default)]
struct Words {
    offsets: Offsets,
    words: Dictionary,
}

impl Column for Words {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&STATE.to_le_bytes());
        self.offsets.write(out);
        Dictionary::write(&self.words, out);
    }
}

/// `Array(UInt32)`.
#[derive(Default)]
struct Numbers {
    offsets: Offsets,
    numbers: Plain,
}

impl Column for Numbers {
    fn write(&self, out: &mut Vec<u8>) {
        self.offsets.write(out);
        Plain::write(&self.numbers, out);
    }
}

/// `Map(LowCardinality(String), String)`.
#[derive(Default)]
struct Pairs {
    offsets: Offsets,
    keys: Dictionary,
    values: Strings,
}

impl Column for Pairs {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&STATE.to_le_bytes());
        self.offsets.write(out);
        Dictionary::write(&self.keys, out);
        Strings::write(&self.values, out);
    }
}

/// Declares the columns once, in order.
macro_rules! columns {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        #[derive(Default)]
        struct Columns { $($name: $kind),+ }

        impl Columns {
            #[cfg(test)]
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// The bodies, in order.
            fn bodies(&self) -> impl Iterator<Item = &dyn Column> {
                [$(&self.$name as &dyn Column),+].into_iter()
            }
        }
    };
}

columns! {
    ts: Plain, organization: Dictionary, environment: Dictionary, site: Dictionary, gateway: Dictionary,
    replica: Dictionary, boot: Plain, worker: Plain, stream: Plain, seq: Plain, generation: Plain,
    api: Dictionary, api_instance: Dictionary, route: Dictionary, service: Dictionary, upstream: Dictionary,
    consumer: Dictionary, auth: Dictionary, method: Dictionary, method_original: Dictionary, scheme: Dictionary,
    host: Dictionary, path: Strings, query: Strings, path_template: Dictionary, protocol: Dictionary,
    tls_version: Dictionary, tls_cipher: Dictionary, client_ip: Plain, user_agent: Dictionary, status: Plain,
    upstream_status: Plain, reason: Dictionary, side: Dictionary, outcome: Dictionary, answered_by: Dictionary,
    retries: Plain, cache: Dictionary, rate_limit: Dictionary, total_us: Plain, gateway_us: Plain,
    upstream_us: Plain, client_us: Plain, link_us: Plain, connect_us: Plain, tls_us: Plain, first_byte_us: Plain,
    bytes_in: Plain, bytes_to_upstream: Plain, bytes_from_upstream: Plain, bytes_out: Plain, policy_names: Words,
    policy_verdicts: Words, policy_us: Numbers, attempt_upstreams: Words, attempt_outcomes: Words,
    attempt_us: Numbers, trace_id: Plain, span_id: Plain, parent_span_id: Plain, sampled: Plain, kept: Dictionary,
    sample_interval: Plain, attrs: Pairs, block: Plain, ts_received: Plain, entry: Plain, policy_start_us: Numbers,
    policy_waited_us: Numbers, attempt_start_us: Numbers, waited_us: Plain,
}

/// A chunk that rows are being taken from: what all of them share, looked up once.
pub struct Source<'c> {
    header: &'c ChunkHeader,
    stream: StreamId,
    identity: [u32; 5],
}

/// Collects rows of one day into a block.
pub struct BlockBuilder {
    id: BlockId,
    received_ms: i64,
    rows: usize,
    columns: Columns,
    upstream: (Option<SocketAddr>, String),
}

impl BlockBuilder {
    /// An empty block. `received_us` is the wall time, microseconds since the Unix epoch.
    pub fn new(id: BlockId, received_us: i64) -> Self {
        let upstream = (None, String::new());
        Self { id, received_ms: received_us.div_euclid(1000), rows: 0, columns: Columns::default(), upstream }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Begins to take rows from a chunk.
    pub fn source<'c>(&mut self, header: &'c ChunkHeader) -> Source<'c> {
        let columns = &mut self.columns;
        let named = [
            &mut columns.api,
            &mut columns.api_instance,
            &mut columns.route,
            &mut columns.service,
            &mut columns.path_template,
            &mut columns.answered_by,
            &mut columns.policy_names.words,
        ];
        named.into_iter().for_each(Dictionary::next_chunk);
        let of = &header.stream.identity;
        let identity = [
            columns.organization.index_of(of.organization.as_bytes()),
            columns.environment.index_of(of.environment.as_bytes()),
            columns.site.index_of(of.site.as_bytes()),
            columns.gateway.index_of(of.gateway.as_bytes()),
            columns.replica.index_of(of.replica.as_bytes()),
        ];
        Source { header, stream: header.stream_id, identity }
    }

    /// Adds one event as a row.
    pub fn push(&mut self, source: &Source<'_>, event: &Event<'_>) {
        self.rows += 1;
        self.push_identity(source, event);
        self.push_request(source, event);
        self.push_result(source, event);
        self.push_times(event);
        self.push_policies(source, event);
        self.push_attempts(event);
        self.push_trace(event);
    }

    fn push_identity(&mut self, source: &Source<'_>, event: &Event<'_>) {
        let columns = &mut self.columns;
        let [organization, environment, site, gateway, replica] = source.identity;
        columns.ts.push(event.fixed.start_us.to_le_bytes());
        columns.organization.push_index(organization);
        columns.environment.push_index(environment);
        columns.site.push_index(site);
        columns.gateway.push_index(gateway);
        columns.replica.push_index(replica);
        columns.boot.push(source.header.stream.boot.0);
        columns.worker.push(source.header.stream.worker.to_le_bytes());
        columns.stream.push(source.stream.0.to_le_bytes());
        columns.seq.push(event.fixed.seq.to_le_bytes());
        columns.generation.push(event.fixed.generation.to_le_bytes());
        columns.entry.push([u8::from(event.entry())]);
        columns.block.push(self.id.native());
        columns.ts_received.push(self.received_ms.to_le_bytes());
    }

    fn push_request(&mut self, source: &Source<'_>, event: &Event<'_>) {
        let columns = &mut self.columns;
        let fixed = &event.fixed;
        let name = |id: u32| move || source.header.name(NameId(id)).unwrap_or_default();
        columns.api.push_name(fixed.api, name(fixed.api));
        columns.api_instance.push_name(fixed.api_instance, name(fixed.api_instance));
        columns.route.push_name(fixed.route, name(fixed.route));
        columns.service.push_name(fixed.service, name(fixed.service));
        columns.path_template.push_name(fixed.path_template, name(fixed.path_template));
        let upstream = event.upstream();
        if self.upstream.0 != upstream {
            self.upstream = (upstream, address(upstream));
        }
        columns.upstream.push(self.upstream.1.as_bytes());
        columns.consumer.push(event.consumer);
        columns.auth.push_word(fixed.auth, || event.auth().as_str());
        columns.method.push_word(fixed.method, || event.method().as_str());
        columns.method_original.push(event.method_original);
        columns.scheme.push_word(fixed.scheme, || event.scheme().as_str());
        columns.host.push(event.host);
        columns.path.push(event.path);
        columns.query.push(event.query);
        columns.protocol.push_word(fixed.protocol, || event.protocol().as_str());
        columns.tls_version.push_word(fixed.tls_version, || event.tls_version().as_str());
        columns.tls_cipher.push(event.tls_cipher);
        columns.client_ip.push(fixed.client);
        columns.user_agent.push(event.user_agent);
    }

    fn push_result(&mut self, source: &Source<'_>, event: &Event<'_>) {
        let columns = &mut self.columns;
        let fixed = &event.fixed;
        columns.status.push(fixed.status.to_le_bytes());
        columns.upstream_status.push(fixed.upstream_status.to_le_bytes());
        columns.reason.push_word(fixed.reason, || event.reason().as_str());
        columns.side.push_word(fixed.reason, || event.reason().side().as_str());
        columns.outcome.push_word(fixed.outcome, || event.outcome().as_str());
        let name = || source.header.name(NameId(fixed.answered_by)).unwrap_or_default();
        columns.answered_by.push_name(fixed.answered_by, name);
        columns.retries.push([event.retries()]);
        columns.cache.push_word(fixed.cache, || event.cache().as_str());
        columns.rate_limit.push_word(fixed.rate_limit, || event.rate_limit().as_str());
        columns.bytes_in.push(fixed.bytes_in.to_le_bytes());
        columns.bytes_to_upstream.push(fixed.bytes_to_upstream.to_le_bytes());
        columns.bytes_from_upstream.push(fixed.bytes_from_upstream.to_le_bytes());
        columns.bytes_out.push(fixed.bytes_out.to_le_bytes());
    }

    fn push_times(&mut self, event: &Event<'_>) {
        let columns = &mut self.columns;
        let fixed = &event.fixed;
        let last = event.attempts().last();
        let (connect, tls, first_byte) =
            last.map_or((0, 0, 0), |attempt| (attempt.connect_us, attempt.tls_us, attempt.first_byte_us));
        columns.total_us.push(event.total_us().to_le_bytes());
        columns.gateway_us.push(fixed.gateway_us.to_le_bytes());
        columns.upstream_us.push(fixed.upstream_us.to_le_bytes());
        columns.client_us.push(fixed.client_us.to_le_bytes());
        columns.link_us.push(fixed.link_us.to_le_bytes());
        columns.connect_us.push(connect.to_le_bytes());
        columns.tls_us.push(tls.to_le_bytes());
        columns.first_byte_us.push(first_byte.to_le_bytes());
    }

    fn push_policies(&mut self, source: &Source<'_>, event: &Event<'_>) {
        let columns = &mut self.columns;
        let policies = event.policies();
        let count = policies.len();
        columns.policy_names.offsets.push(count);
        columns.policy_verdicts.offsets.push(count);
        columns.policy_us.offsets.push(count);
        let has_starts = event.schema.has_starts();
        columns.policy_start_us.offsets.push(if has_starts { count } else { 0 });
        columns.policy_waited_us.offsets.push(if has_starts { count } else { 0 });
        columns.waited_us.push(event.waited_us().to_le_bytes());
        for run in policies {
            let name = || source.header.name(NameId(run.policy)).unwrap_or_default();
            columns.policy_names.words.push_name(run.policy, name);
            columns.policy_verdicts.words.push_word(run.verdict, || run.verdict().as_str());
            columns.policy_us.numbers.push(run.us.to_le_bytes());
            if has_starts {
                columns.policy_start_us.numbers.push(run.start_us.to_le_bytes());
                columns.policy_waited_us.numbers.push(run.waited_us.to_le_bytes());
            }
        }
    }

    fn push_attempts(&mut self, event: &Event<'_>) {
        let columns = &mut self.columns;
        let attempts = event.attempts();
        let count = attempts.len();
        columns.attempt_upstreams.offsets.push(count);
        columns.attempt_outcomes.offsets.push(count);
        columns.attempt_us.offsets.push(count);
        let has_starts = event.schema.has_starts();
        columns.attempt_start_us.offsets.push(if has_starts { count } else { 0 });
        for attempt in attempts {
            let socket = attempt.socket();
            if self.upstream.0 != socket {
                self.upstream = (socket, address(socket));
            }
            columns.attempt_upstreams.words.push(self.upstream.1.as_bytes());
            columns.attempt_outcomes.words.push_word(attempt.outcome, || attempt.outcome().as_str());
            columns.attempt_us.numbers.push(attempt.total_us.to_le_bytes());
            if has_starts {
                columns.attempt_start_us.numbers.push(attempt.start_us.to_le_bytes());
            }
        }
    }

    fn push_trace(&mut self, event: &Event<'_>) {
        let columns = &mut self.columns;
        let fixed = &event.fixed;
        columns.trace_id.push(fixed.trace);
        columns.span_id.push(fixed.span);
        columns.parent_span_id.push(fixed.parent);
        columns.sampled.push([fixed.sampled]);
        columns.kept.push_word(fixed.kept, || event.kept().as_str());
        // Zero is a probe's: the ledger counts the event by its number, the roll-ups leave it out.
        columns.sample_interval.push(fixed.sample_interval.to_le_bytes());
        let mut pairs = 0;
        for (key, value) in event.attrs() {
            columns.attrs.keys.push(key);
            columns.attrs.values.push(value);
            pairs += 1;
        }
        columns.attrs.offsets.push(pairs);
    }

    /// The block, compressed. Costs CPU: not for an async thread.
    pub fn finish(self) -> Block {
        let mut frames = Frames::default();
        // And the lease, which is sent after this.
        put_varint(&mut frames.open, FIELDS.len() as u64 + 1);
        put_varint(&mut frames.open, self.rows as u64);
        for (field, body) in FIELDS.iter().zip(self.columns.bodies()) {
            put_header(&mut frames.open, field.name, field.column);
            body.write(&mut frames.open);
            frames.flush();
        }
        Block { rows: self.rows, frames: frames.finish() }
    }
}

fn address(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_event::Instant;
    use weir_event::chunk::{Chunk, ChunkWriter};
    use weir_event::{Exchange, Outcome, Stream};

    #[test]
    fn the_columns_are_those_of_the_field_table_in_its_order() {
        let fields: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(Columns::NAMES, fields);
    }

    fn entries(chunks: &[Chunk]) -> Vec<u8> {
        let mut builder = BlockBuilder::new(BlockId([1; 16]), 0);
        for chunk in chunks {
            let source = builder.source(&chunk.header);
            chunk.events().for_each(|event| builder.push(&source, &event));
        }
        let mut bytes = Vec::new();
        builder.columns.entry.write(&mut bytes);
        bytes
    }

    /// Chunks of gateways of both versions in one block: what schema 1 does not say is 1.
    #[test]
    fn a_request_entered_at_its_gateway_unless_its_record_says_otherwise() {
        let mut writer = ChunkWriter::new(Stream { identity: Default::default(), boot: Default::default(), worker: 0 });
        for (seq, entry) in [true, false, false].into_iter().enumerate() {
            let mut exchange = Exchange::new(Instant::now(), 0);
            exchange.entry = entry;
            exchange.finish(Outcome::Completed, Instant::now());
            let mut record = Vec::new();
            weir_event::record::encode(&exchange, seq as u64, &mut record);
            writer.push(&record, |_| None).unwrap();
        }
        let newest = Chunk::decode(&writer.seal(0).unwrap()).unwrap();
        let first = Chunk::decode(include_bytes!("../../../event/tests/fixtures/schema-1.chunk")).unwrap();
        assert_eq!(entries(&[newest, first]), [1, 0, 0, 1, 1, 1, 1]);
    }
}
