//! From a chunk to a compressed block, stage by stage, decoding and building with compression: `cargo bench -p weir-analytics`. Items are events.

use divan::Bencher;
use divan::counter::ItemsCount;
use std::time::Duration;
use weir_analytics::block::{Block, BlockBuilder, BlockId};
use weir_event::Instant;
use weir_event::chunk::{Chunk, ChunkWriter};
use weir_event::exchange::Attempt;
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn};

const EVENTS: u64 = 20_000;

fn main() {
    divan::main();
}

/// Of a gateway with 40 routes, 300 user agents and 2000 clients, every id random.
fn chunk() -> Vec<u8> {
    let identity = Identity { organization: "acme".into(), site: "on-prem".into(), ..Identity::default() };
    let mut writer = ChunkWriter::new(Stream { identity, boot: BootId([1; 16]), worker: 0 });
    let (mut rng, mut record) = (fastrand::Rng::with_seed(1), Vec::new());
    for seq in 0..EVENTS {
        record.clear();
        encode(&exchange(seq, &mut rng), seq, &mut record);
        writer.push(&record, |id| Some(format!("name-{}", id.0))).expect("a record");
    }
    writer.seal(0).expect("a chunk")
}

fn exchange(seq: u64, rng: &mut fastrand::Rng) -> Exchange {
    let now = Instant::now();
    let mut exchange = Exchange::new(now, 1_795_416_085_000_000 + seq as i64 * 97);
    let route = rng.u32(0..40);
    (exchange.api, exchange.route) = (NameId(1 + route / 10), NameId(10 + route));
    exchange.target = format!("/orders/{}?page={}", rng.u32(0..100_000), rng.u8(..)).parse().expect("a target");
    exchange.user_agent = Some(format!("Mozilla/5.0 (rv:{})", rng.u32(0..300)).parse().expect("a value"));
    exchange.consumer = format!("client-{}", rng.u32(0..2000)).into();
    exchange.client = [10, 0, rng.u8(..8), rng.u8(..)].into();
    (exchange.status, exchange.upstream_status) = (200, 200);
    exchange.bytes_out = rng.u64(200..20_000);
    rng.fill(&mut exchange.trace.trace.0);
    rng.fill(&mut exchange.trace.span.0);
    let took = Duration::from_micros(rng.u64(500..50_000));
    exchange.attempts.push(Attempt { first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.finish(Outcome::Completed, now + took);
    exchange
}

fn block(chunk: &Chunk) -> Block {
    let mut builder = BlockBuilder::new(BlockId::new(0), 0);
    let source = builder.source(&chunk.header);
    chunk.events().for_each(|event| builder.push(&source, &event));
    builder.finish()
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn decode(bencher: Bencher) {
    let chunk = chunk();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| Chunk::decode(&chunk).expect("a chunk"));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn build(bencher: Bencher) {
    let chunk = chunk();
    let decoded = Chunk::decode(&chunk).expect("a chunk");
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| block(&decoded));
}
