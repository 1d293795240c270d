//! Gateways as weir-analytics meets them: each a stream of its own that offers its chunks over kept connections, so many
//! at once as a shipper has under way, and comes again when it is asked to.

use crate::child::pause;
use crate::load::http::Connection;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_event::chunk::ChunkWriter;
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn, Verdict};

/// What the gateways authenticate with.
pub const TOKEN: &str = "bench-token";

/// How many gateways there are and what they send.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Fleet {
    /// Events in all.
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Gateways, each a stream of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub gateways: u64,
    /// Events in a chunk.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub chunk: u64,
    /// Chunks that a gateway has under way at once; a shipper has up to 16.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub in_flight: u64,
    /// Events a second of each gateway; 0: as fast as they are taken.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
}

impl Fleet {
    /// Chunks of one gateway.
    fn chunks(self) -> u64 {
        self.events.div_ceil(self.chunk * self.gateways)
    }

    /// When a chunk is offered at the earliest, counted from the start. Gateways do not seal at the same moment.
    fn due(self, gateway: u64, index: u64) -> Duration {
        let Some(nanoseconds) = (self.chunk * 1_000_000_000).checked_div(self.rate) else { return Duration::ZERO };
        Duration::from_nanos(index * nanoseconds + gateway * nanoseconds / self.gateways)
    }

    /// What is run, in one line.
    pub fn line(self) -> String {
        let rate = match self.rate {
            0 => "as fast as they are taken".to_owned(),
            rate => format!("{rate} events a second each"),
        };
        format!(
            "{} gateways, {} events a chunk, {} chunks under way each, {rate}",
            self.gateways, self.chunk, self.in_flight
        )
    }
}

/// What was offered and stored.
pub struct Load {
    pub sent: u64,
    /// Bytes of chunks.
    pub wire: u64,
    pub took: Duration,
}

/// Has every event of the fleet stored.
pub fn offer(fleet: Fleet, at: SocketAddr) -> io::Result<Load> {
    let (wire, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..fleet.gateways * fleet.in_flight)
            .map(|lane| {
                let wire = &wire;
                scope.spawn(move || ship(fleet, lane % fleet.gateways, lane / fleet.gateways, at, began, wire))
            })
            .collect();
        let gone = |_| Err(io::Error::other("a gateway panicked"));
        lanes.into_iter().try_for_each(|lane| lane.join().unwrap_or_else(gone))
    })?;
    let sent = fleet.chunks() * fleet.chunk * fleet.gateways;
    Ok(Load { sent, wire: wire.into_inner(), took: began.elapsed() })
}

/// One of the chunks that a gateway has under way, and then the next.
fn ship(fleet: Fleet, gateway: u64, lane: u64, at: SocketAddr, began: Instant, wire: &AtomicU64) -> io::Result<()> {
    let mut connection = Connection::new(at);
    for index in (lane..fleet.chunks()).step_by(fleet.in_flight as usize) {
        pause(fleet.due(gateway, index).saturating_sub(began.elapsed()));
        let chunk = chunk(fleet, gateway, index);
        let headers = format!("authorization: Bearer {TOKEN}\r\n");
        loop {
            match connection.post("/v1/chunks", &headers, &chunk)? {
                (200, _) => break,
                (429 | 503, _) => pause(Duration::from_millis(50)),
                (status, text) => return Err(io::Error::other(format!("a chunk was answered {status}: {text}"))),
            }
        }
        wire.fetch_add(chunk.len() as u64, Relaxed);
    }
    Ok(())
}

/// A chunk of one of the streams; all streams together fill the hour before now.
fn chunk(fleet: Fleet, gateway: u64, index: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let site = format!("site-{}", gateway % 4);
    let identity = Identity { organization: "acme".into(), environment: "bench".into(), site, ..Identity::default() };
    let identity = Identity { gateway: format!("edge-{gateway}"), ..identity };
    let mut boot = [1; 16];
    boot[..8].copy_from_slice(&gateway.to_le_bytes());
    let mut writer = ChunkWriter::new(Stream { identity, boot: BootId(boot), worker: 0 });
    let (mut rng, mut record) = (fastrand::Rng::with_seed(gateway << 32 | index), Vec::new());
    let step = 3_600_000_000 / (fleet.chunks() * fleet.chunk) as i64;
    for seq in index * fleet.chunk..(index + 1) * fleet.chunk {
        record.clear();
        encode(&exchange(now - 3_600_000_000 + seq as i64 * step, &mut rng), seq, &mut record);
        writer.push(&record, |id| Some(format!("name-{}", id.0))).expect("a record of this build");
    }
    writer.seal(now).expect("a chunk of this build")
}

fn exchange(start_us: i64, rng: &mut fastrand::Rng) -> Exchange {
    let now = weir_event::Instant::now();
    let mut exchange = Exchange::new(now, start_us);
    let route = rng.u32(0..40);
    (exchange.api, exchange.route, exchange.service) =
        (NameId(1 + route / 10), NameId(10 + route), NameId(60 + route / 4));
    exchange.target = format!("/orders/{}", rng.u32(0..100_000)).parse().expect("a target");
    exchange.host = Some(http::HeaderValue::from_static("api.example.com"));
    exchange.consumer = format!("client-{}", rng.u32(0..2000)).into();
    exchange.client = [10, 0, rng.u8(..8), rng.u8(..)].into();
    exchange.status = if rng.u32(0..200) == 0 { 502 } else { 200 };
    exchange.bytes_out = rng.u64(200..20_000);
    rng.fill(&mut exchange.trace.trace.0);
    rng.fill(&mut exchange.trace.span.0);
    let took = Duration::from_micros(rng.u64(500..50_000));
    exchange.upstream = Some(([10, 1, 0, rng.u8(..4)], 8080).into());
    let run = PolicyRun::new(NameId(80), Verdict::Continue);
    exchange.policies.push(PolicyRun { took: Duration::from_micros(rng.u64(1..20)), ..run });
    exchange.attempts.push(Attempt { address: exchange.upstream, first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.finish(Outcome::Completed, now + took);
    exchange
}
