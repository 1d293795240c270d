//! The way of events from the ingest door into the embedded engine, and what it answers then: events stored a second,
//! bytes an event, query times.
//!
//! Chunks are offered as a gateway's shipper offers them, by streams of their own; stored means acknowledged, which means
//! in the raw table and in every roll-up. At the end the rows are counted: a fast run that lost one is a failed run.

use crate::child::{Child, pause};
use crate::load::http;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_event::chunk::ChunkWriter;
use weir_event::exchange::Attempt;
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, Stream, Turn};
use weir_testkit::process::program;

const SENDERS: u64 = 4;
const CHUNK: u64 = 10_000;
/// All cores: nothing else is priced beside it.
const CORES: &str = "0-1023";
const READY: Duration = Duration::from_secs(60);

/// What is asked of the stored events: a name and its SQL.
const QUERIES: [(&str, &str); 4] = [
    (
        "overview: an hour by API from the minute roll-up",
        "SELECT api, sum(n), max(max_total_us) FROM weir.requests_1m GROUP BY api FORMAT Null",
    ),
    (
        "slowest 20 of an API, raw",
        "SELECT path, total_us FROM weir.access_events WHERE organization = 'acme' AND api = 'name-1' ORDER BY total_us DESC LIMIT 20 FORMAT Null",
    ),
    (
        "quantiles by route, raw",
        "SELECT route, count(), quantiles(0.5, 0.99)(total_us) FROM weir.access_events GROUP BY route FORMAT Null",
    ),
    (
        "one trace, raw",
        "SELECT * FROM weir.access_events WHERE trace_id = unhex('00000000000000000000000000000001') FORMAT Null",
    ),
];

/// Stores so many events and asks for them. False when one is not there.
pub fn run(events: u64) -> io::Result<bool> {
    let dir = tempfile::tempdir()?;
    let (engine_at, analytics_at) = (free()?, free()?);
    let _engine = engine(dir.path(), engine_at)?;
    let _analytics = analytics(dir.path(), engine_at, analytics_at)?;
    let chunks = events.div_ceil(CHUNK * SENDERS);
    let (wire, began) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn({
                    let wire = &wire;
                    move || (0..chunks).try_for_each(|index| offer(analytics_at, &chunk(sender, index, chunks), wire))
                })
            })
            .collect();
        let gone = |_| Err(io::Error::other("a sender panicked"));
        senders.into_iter().try_for_each(|sender| sender.join().unwrap_or_else(gone))
    })
    .map_err(|error| with_logs(error, dir.path()))?;
    let (took, sent) = (began.elapsed().as_secs_f64(), chunks * CHUNK * SENDERS);
    println!("{sent} events stored in {took:.1} s: {:.0} a second, making them included", sent as f64 / took);
    println!("on the wire: {:.1} bytes an event", wire.load(Relaxed) as f64 / sent as f64);
    let number = |sql: &str| -> io::Result<f64> {
        ask(engine_at, sql)?.trim().parse().map_err(|_| io::Error::other(format!("`{sql}` gave no number")))
    };
    let parts = "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = 'weir' AND table = 'access_events'";
    println!("on disk: {:.1} bytes an event in the raw table", number(parts)?);
    for (name, sql) in QUERIES {
        println!("{:7.1} ms  {name}", milliseconds(engine_at, sql)?);
    }
    let (raw, rolled) =
        (number("SELECT count() FROM weir.access_events")?, number("SELECT sum(n) FROM weir.requests_1m")?);
    println!("rows: {raw} raw, {rolled} in the minute roll-up, {sent} sent");
    Ok(raw == sent as f64 && rolled == sent as f64)
}

/// The error, and what the programs said.
fn with_logs(error: io::Error, dir: &Path) -> io::Error {
    let said = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    io::Error::new(error.kind(), format!("{error}\n{}{}", said("engine.err"), said("analytics.err")))
}

fn free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn engine(dir: &Path, at: SocketAddr) -> io::Result<Child> {
    let (at_text, data) = (at.to_string(), dir.join("engine").to_string_lossy().into_owned());
    std::fs::create_dir_all(&data)?;
    let args = ["--listen", &at_text, "--path", &data];
    ready(
        Child::start(CORES, &program("weir-chdb")?, &args, &dir.join("engine.out"))?,
        at,
        "/ping",
        &dir.join("engine.err"),
    )
}

fn analytics(dir: &Path, engine: SocketAddr, at: SocketAddr) -> io::Result<Child> {
    let tokens = dir.join("tokens");
    std::fs::write(&tokens, "bench-token acme * * *\n")?;
    let (listen, engine) = (at.to_string(), format!("http://{engine}"));
    let (tokens, state) = (tokens.to_string_lossy(), dir.join("state").to_string_lossy().into_owned());
    let args = ["--listen", &listen, "--clickhouse", &engine, "--tokens", &tokens, "--state", &state];
    ready(
        Child::start(CORES, &program("weir-analytics")?, &args, &dir.join("analytics.out"))?,
        at,
        "/healthz",
        &dir.join("analytics.err"),
    )
}

fn ready(mut child: Child, at: SocketAddr, path: &str, log: &Path) -> io::Result<Child> {
    let deadline = Instant::now() + READY;
    while !matches!(http::get(at, path), Ok((200, _))) {
        if child.ended() || Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "`{path}` is not answered: {}",
                std::fs::read_to_string(log)?.trim()
            )));
        }
        pause(Duration::from_millis(50));
    }
    Ok(child)
}

/// The median of five, after one.
fn milliseconds(at: SocketAddr, sql: &str) -> io::Result<f64> {
    ask(at, sql)?;
    let mut times = (0..5)
        .map(|_| {
            let began = Instant::now();
            ask(at, sql).map(|_| began.elapsed().as_secs_f64() * 1000.0)
        })
        .collect::<io::Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[2])
}

fn ask(at: SocketAddr, sql: &str) -> io::Result<String> {
    match post(at, "/", "", sql.as_bytes())? {
        (200, text) => Ok(text),
        (status, text) => Err(io::Error::other(format!("`{sql}` was answered {status}: {text}"))),
    }
}

/// Until it is taken; a gateway comes again as well when it is told to.
fn offer(at: SocketAddr, chunk: &[u8], wire: &AtomicU64) -> io::Result<()> {
    loop {
        match post(at, "/v1/chunks", "authorization: Bearer bench-token\r\n", chunk)? {
            (200, _) => break,
            (429 | 503, _) => pause(Duration::from_millis(50)),
            (status, text) => return Err(io::Error::other(format!("a chunk was answered {status}: {text}"))),
        }
    }
    wire.fetch_add(chunk.len() as u64, Relaxed);
    Ok(())
}

fn post(at: SocketAddr, path: &str, headers: &str, body: &[u8]) -> io::Result<(u16, String)> {
    let mut stream = http::connect(at)?;
    let length = body.len();
    // 1.0: no answer in chunks, and the connection ends with it.
    let head = format!("POST {path} HTTP/1.0\r\nhost: {at}\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = http::head(&answer).ok_or_else(|| io::Error::other("the answer has no whole head"))?;
    Ok((head.status, String::from_utf8_lossy(&answer[head.bytes..]).into_owned()))
}

/// A chunk of one of the streams; all streams together fill the hour before now.
fn chunk(sender: u64, index: u64, of: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let site = format!("site-{sender}");
    let identity = Identity { organization: "acme".into(), environment: "bench".into(), site, ..Identity::default() };
    let identity = Identity { gateway: "edge".into(), ..identity };
    let mut writer = ChunkWriter::new(Stream { identity, boot: BootId([sender as u8 + 1; 16]), worker: 0 });
    let (mut rng, mut record) = (fastrand::Rng::with_seed(sender << 32 | index), Vec::new());
    let step = 3_600_000_000 / (of * CHUNK) as i64;
    for seq in index * CHUNK..(index + 1) * CHUNK {
        record.clear();
        encode(&exchange(now - 3_600_000_000 + seq as i64 * step, &mut rng), seq, &mut record);
        writer.push(&record, |id| Some(format!("name-{}", id.0))).expect("a record of this build");
    }
    writer.seal(now).expect("a chunk of this build")
}

fn exchange(start_us: i64, rng: &mut fastrand::Rng) -> Exchange {
    let now = Instant::now();
    let mut exchange = Exchange::new(now, start_us);
    let route = rng.u32(0..40);
    (exchange.api, exchange.route, exchange.service) =
        (NameId(1 + route / 10), NameId(10 + route), NameId(60 + route / 4));
    exchange.target = format!("/orders/{}", rng.u32(0..100_000)).parse().expect("a target");
    exchange.host = Some(::http::HeaderValue::from_static("api.example.com"));
    exchange.consumer = format!("client-{}", rng.u32(0..2000)).into();
    exchange.client = [10, 0, rng.u8(..8), rng.u8(..)].into();
    exchange.status = if rng.u32(0..200) == 0 { 502 } else { 200 };
    exchange.bytes_out = rng.u64(200..20_000);
    rng.fill(&mut exchange.trace.trace.0);
    rng.fill(&mut exchange.trace.span.0);
    let took = Duration::from_micros(rng.u64(500..50_000));
    exchange.attempts.push(Attempt { first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.finish(Outcome::Completed, now + took);
    exchange
}
