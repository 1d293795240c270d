//! How many events a second one core takes from chunk to compressed block.
//!
//! `cargo run -p weir-analytics --example ingest_rate --profile demo`. One thread; nothing is sent. The events are
//! of a gateway with 40 routes, 300 user agents, 2000 clients and one policy, every id random.

use std::hint::black_box;
use std::time::{Duration, Instant};
use weir_analytics::block::{Block, BlockBuilder, BlockId};
use weir_event::chunk::{Chunk, ChunkWriter};
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn, Verdict};

const EVENTS: u64 = 20_000;
const CHUNKS: u16 = 10;

fn main() {
    let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
    let events = EVENTS * u64::from(CHUNKS);
    let wire: usize = chunks.iter().map(Vec::len).sum();
    println!("{events} events in {CHUNKS} chunks, {:.0} B each on the wire", wire as f64 / events as f64);
    let decode = best(|| chunks.iter().for_each(|chunk| drop(black_box(Chunk::decode(chunk)))));
    let decoded: Vec<_> = chunks.iter().filter_map(|chunk| Chunk::decode(chunk).ok()).collect();
    let build = best(|| drop(black_box(block(&decoded))));
    let built = block(&decoded);
    let compress = best(|| drop(black_box(built.compress())));
    let size = built.body.len() as f64 / events as f64;
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    println!("decode   {:>10.0} events/s", rate(decode));
    println!("build    {:>10.0} events/s, {size:.0} B each", rate(build));
    println!("compress {:>10.0} events/s", rate(compress));
    println!("in all   {:>10.0} events/s on one core", rate(decode + build + compress));
}

/// The shortest of several runs.
fn best(mut work: impl FnMut()) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..7 {
        let began = Instant::now();
        work();
        shortest = shortest.min(began.elapsed());
    }
    shortest
}

fn block(chunks: &[Chunk]) -> Block {
    let mut builder = BlockBuilder::new(BlockId::new(0), 0);
    for chunk in chunks {
        let source = builder.source(&chunk.header);
        chunk.events().for_each(|event| builder.push(&source, &event));
    }
    builder.finish()
}

fn chunk(worker: u16) -> Vec<u8> {
    let identity = Identity { organization: "acme".into(), site: "on-prem".into(), ..Identity::default() };
    let mut writer = ChunkWriter::new(Stream { identity, boot: BootId([1; 16]), worker });
    let mut rng = fastrand::Rng::with_seed(u64::from(worker));
    let mut record = Vec::new();
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
    exchange.api = NameId(1 + route / 10);
    exchange.api_instance = NameId(5);
    exchange.route = NameId(10 + route);
    exchange.service = NameId(60 + route / 4);
    exchange.path_template = NameId(100 + route);
    exchange.target = format!("/orders/{}?page={}", rng.u32(0..100_000), rng.u8(..)).parse().expect("a target");
    exchange.host = Some(http::HeaderValue::from_static("api.example.com"));
    let agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{0}) Gecko/20100101 Firefox/{0}", rng.u32(0..300));
    exchange.user_agent = Some(agent.parse().expect("a value"));
    exchange.consumer = format!("client-{}", rng.u32(0..2000)).into();
    exchange.client = [10, 0, rng.u8(..8), rng.u8(..)].into();
    exchange.upstream = Some(([10, 1, 0, rng.u8(..4)], 8080).into());
    (exchange.status, exchange.upstream_status) = (200, 200);
    exchange.bytes_out = rng.u64(200..20_000);
    rng.fill(&mut exchange.trace.trace.0);
    rng.fill(&mut exchange.trace.span.0);
    rng.fill(&mut exchange.trace.parent.0);
    let took = Duration::from_micros(rng.u64(500..50_000));
    exchange.policies.push(PolicyRun {
        policy: NameId(200),
        verdict: Verdict::Continue,
        took: Duration::from_micros(3),
    });
    exchange.attempts.push(Attempt { address: exchange.upstream, first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.hand_to(Turn::Gateway, now + took);
    exchange.finish(Outcome::Completed, now + took + Duration::from_micros(15));
    exchange
}
