//! How many events a second a running `weir-analytics` takes, from the port to raw and every roll-up.
//!
//! `cargo run -p weir-analytics --example insert_rate --profile demo -- ADDRESS TOKEN [CHUNKS] [SENDERS]`, where the
//! token speaks for organization `acme`. Each sender offers chunks of 10,000 events of a stream of its own, one after
//! the other, and comes again when it is asked to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_event::chunk::ChunkWriter;
use weir_event::exchange::Attempt;
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn};

const EVENTS: u64 = 10_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(token)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: insert_rate ADDRESS TOKEN [CHUNKS] [SENDERS]");
        std::process::exit(2);
    };
    let mut number = |usual: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (chunks, senders) = (number(20), number(4));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let made: Vec<Vec<_>> =
        (0..senders).map(|sender| (0..chunks).map(|index| chunk(sender, index, now)).collect()).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for chunks in &made {
            let (address, token) = (&address, &token);
            scope.spawn(move || chunks.iter().for_each(|chunk| offer(address, token, chunk)));
        }
    });
    let took = began.elapsed();
    let events = EVENTS * chunks * senders;
    let rate = events as f64 / took.as_secs_f64();
    println!("{events} events stored in {:.2} s: {rate:.0} a second", took.as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "it is asked to come again later, and nothing else tells when")]
fn offer(address: &str, token: &str, chunk: &[u8]) {
    loop {
        match status(address, token, chunk) {
            Ok(200) => return,
            Ok(503) => std::thread::sleep(Duration::from_millis(200)),
            other => {
                eprintln!("a chunk was not taken: {other:?}");
                std::process::exit(1);
            }
        }
    }
}

fn status(address: &str, token: &str, chunk: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "POST /v1/chunks HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n",
        chunk.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(chunk)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| std::io::Error::other("no status"))
}

fn chunk(sender: u64, index: u64, now: Duration) -> Vec<u8> {
    let identity = Identity {
        organization: "acme".into(),
        environment: "bench".into(),
        site: format!("site-{sender}"),
        gateway: "edge".into(),
        replica: String::new(),
    };
    let mut boot = BootId::default();
    boot.0[..8].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
    let mut writer = ChunkWriter::new(Stream { identity, boot, worker: 0 });
    let mut rng = fastrand::Rng::with_seed(sender << 32 | index);
    let mut record = Vec::new();
    for seq in index * EVENTS..(index + 1) * EVENTS {
        record.clear();
        encode(&exchange(now.as_micros() as i64 + seq as i64, &mut rng), seq, &mut record);
        writer.push(&record, |id| Some(format!("name-{}", id.0))).expect("a record");
    }
    writer.seal(now.as_micros() as i64).expect("a chunk")
}

fn exchange(start_us: i64, rng: &mut fastrand::Rng) -> Exchange {
    let now = weir_event::Instant::now();
    let mut exchange = Exchange::new(now, start_us);
    let route = rng.u32(0..40);
    (exchange.api, exchange.route) = (NameId(1 + route / 10), NameId(10 + route));
    exchange.target = format!("/orders/{}", rng.u32(0..100_000)).parse().expect("a target");
    exchange.client = [10, 0, rng.u8(..8), rng.u8(..)].into();
    exchange.status = 200;
    exchange.bytes_out = rng.u64(200..20_000);
    rng.fill(&mut exchange.trace.trace.0);
    rng.fill(&mut exchange.trace.span.0);
    let took = Duration::from_micros(rng.u64(500..50_000));
    exchange.attempts.push(Attempt { first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.finish(Outcome::Completed, now + took);
    exchange
}
