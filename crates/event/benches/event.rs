//! A finished exchange as a record of the wire form, and records as a chunk: `cargo bench -p weir-event`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::time::Duration;
use weir_event::Instant;
use weir_event::chunk::{Chunk, ChunkWriter};
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn, Verdict};

const EVENTS: u64 = 10_000;

fn main() {
    divan::main();
}

fn exchange(number: u64) -> Exchange {
    let now = Instant::now();
    let mut exchange = Exchange::new(now, 1_795_416_085_000_000 + number as i64 * 97);
    (exchange.api, exchange.route, exchange.service) = (NameId(1), NameId(2), NameId(3));
    exchange.target = format!("/orders/{}?page=2", number * 7919 % 100_000).parse().expect("a target");
    exchange.host = Some(http::HeaderValue::from_static("api.example.com"));
    exchange.user_agent = Some(http::HeaderValue::from_static("curl/8.5.0"));
    exchange.client = [10, 0, 0, (number % 200) as u8].into();
    exchange.upstream = Some(([10, 1, 0, 4], 8080).into());
    (exchange.status, exchange.upstream_status, exchange.bytes_out) = (200, 200, 1024);
    exchange.trace.trace.0 =
        u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    let took = Duration::from_micros(500 + number % 5_000);
    let policy = NameId(4);
    exchange.policies.push(PolicyRun { took: Duration::from_micros(3), ..PolicyRun::new(policy, Verdict::Continue) });
    exchange.attempts.push(Attempt { address: exchange.upstream, first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.hand_to(Turn::Gateway, now + took);
    exchange.finish(Outcome::Completed, now + took + Duration::from_micros(15));
    exchange
}

/// What the worker does for its ring.
#[divan::bench]
fn encode_a_record(bencher: Bencher) {
    let (exchange, mut record) = (exchange(1), Vec::with_capacity(1024));
    bencher.bench_local(|| {
        record.clear();
        encode(black_box(&exchange), 7, &mut record);
        record.len()
    });
}

fn chunk(records: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = ChunkWriter::new(Stream { identity: Identity::default(), boot: BootId([1; 16]), worker: 0 });
    records.iter().for_each(|record| writer.push(record, |id| Some(format!("name-{}", id.0))).expect("a record"));
    writer.seal(0).expect("a chunk")
}

fn records() -> Vec<Vec<u8>> {
    let record = |seq| {
        let mut record = Vec::new();
        encode(&exchange(seq), seq, &mut record);
        record
    };
    (0..EVENTS).map(record).collect()
}

/// What the spool's thread does: compression included. Items are events.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn write_a_chunk(bencher: Bencher) {
    let records = records();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| chunk(&records).len());
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn decode_a_chunk(bencher: Bencher) {
    let chunk = chunk(&records());
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| Chunk::decode(&chunk).expect("a chunk").events().count());
}
