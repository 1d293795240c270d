//! What fuzzers feed, in every run of the tests: samples that are well formed, and what a thousand mutations make of
//! them. A mutation that fails is reported with its seed and input; the fuzzers proper, which follow the branches that an input
//! takes, are `make fuzz`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use weir_event::chunk::ChunkWriter;
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, Outcome, Stream};

/// Mutations of each target: a second or less, as tests are built.
const MUTATIONS: u64 = 1_000;
/// On a machine that is busy with other things fewer will do.
const ENOUGH: Duration = Duration::from_secs(10);

/// What readers take for something: lengths, ends, the bytes around them.
const TELLING: [&[u8]; 12] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\n",
    b"\r\n",
    b"/../",
    b"%2e",
    b"{",
    b"\"",
    b": ",
    b"- ",
    b"((a*)*)*",
    b"\x01\0\0\0\0\0\0\0",
];

fn mutated(samples: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = samples[random.usize(..samples.len())].clone();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 16));
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            2 => _ = bytes.splice(at..end, TELLING[random.usize(..TELLING.len())].iter().copied()),
            3 => _ = bytes.drain(at..end),
            4 => bytes.truncate(at),
            _ => {
                let other = &samples[random.usize(..samples.len())];
                let from = random.usize(..=other.len());
                bytes.splice(at..end, other[from..].iter().copied().take(64));
            }
        }
    }
    bytes
}

fn feed(samples: &[Vec<u8>], target: impl Fn(&[u8])) {
    samples.iter().for_each(|sample| target(sample));
    let begun = Instant::now();
    for seed in (0..MUTATIONS).take_while(|_| begun.elapsed() < ENOUGH) {
        let bytes = mutated(samples, &mut fastrand::Rng::with_seed(seed));
        let fed = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(fed.is_ok(), "seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

fn text(target: fn(&str)) -> impl Fn(&[u8]) {
    move |bytes| target(&String::from_utf8_lossy(bytes))
}

fn stream() -> Stream {
    Stream { identity: Identity::default(), boot: BootId::default(), worker: 0 }
}

fn records() -> Vec<Vec<u8>> {
    let of = |number: u64| {
        let now = weir_event::Instant::now();
        let mut exchange = Exchange::new(now, 1_795_416_085_000_000 + number as i64);
        exchange.target = format!("/orders/{number}?page=2").parse().unwrap();
        exchange.host = Some("api.example.com".parse().unwrap());
        exchange.status = 200;
        exchange.finish(Outcome::Completed, now);
        let mut record = Vec::new();
        encode(&exchange, number, &mut record);
        record
    };
    (1..40).map(of).collect()
}

#[test]
fn a_record() {
    let samples = records();
    assert!(weir_event::Event::decode(weir_event::Schema::NEWEST, &samples[0]).is_ok(), "a sample is a record");
    feed(&samples, weir_fuzz::record);
}

#[test]
fn a_chunk() {
    let mut writer = ChunkWriter::new(stream());
    records().iter().for_each(|record| writer.push(record, |_| None).unwrap());
    let whole = writer.seal(1_795_416_085_000_000).unwrap();
    assert!(weir_event::chunk::Chunk::decode(&whole).is_ok(), "a sample is a chunk");
    // Without its first eight bytes the target mends the checksum behind them.
    let headless = whole[8..].to_vec();
    feed(&[whole, headless], weir_fuzz::chunk);
}

#[test]
fn a_ring() {
    let mut records = vec![0, 0, 64, 0, 1, 0, 1, 0];
    for record in self::records() {
        records.extend((record.len() as u32).to_le_bytes());
        records.extend([0; 12]);
        records.extend(&record);
        records.resize(records.len().next_multiple_of(8), 0);
    }
    feed(&[records, b"WEIRRING".to_vec(), vec![0; 64]], weir_fuzz::ring);
}

#[test]
fn a_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files =
        ["conf.d/gateway", "conf.d/orders", "egress/gateway", "ingress/gateway", "ingress/orders", "sidecar/gateway"];
    let samples: Vec<_> = files.iter().map(|name| std::fs::read(root.join(format!("{name}.yaml"))).unwrap()).collect();
    feed(&samples, text(weir_fuzz::load));
}

#[test]
fn a_route() {
    let samples = [
        "/v1(/.*)\n/api\napi.example.com\nAPI.example.com:8080\n/v1/orders/1",
        "/a|/b/.*\n\n.*\nexample.com\n/é/b/%7Ec/./d//e",
        "(/[a-z]+){1,3}\n/x/y\n[^.]*.example.com\na.example.com\n/%C3%A9/a/b",
    ];
    feed(&samples.map(|sample| sample.as_bytes().to_vec()), text(weir_fuzz::route));
}

#[test]
fn a_trace_context() {
    let samples: [&[u8]; 3] = [
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        b"weir=1, a@b=c \nother=2,,third=3",
    ];
    feed(&samples.map(<[u8]>::to_vec), weir_fuzz::trace_context);
}

#[test]
fn http1_requests() {
    let samples: [&[u8]; 7] = [
        b"\x07GET /a?b HTTP/1.1\r\nHost: a\r\nX-Odd:  1 \r\nx-odd: 2\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"\x01\r\nPOST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x03PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\";c\r\nhello\r\n1 ; d\r\n!\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        b"\xffGET http://a:80/x?y#z HTTP/1.1\r\nHost: b\r\nConnection: close, te\r\nTE: trailers\r\n\r\n",
        b"\x09OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"\x02CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nany",
        b"\x05POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ];
    feed(&samples.map(<[u8]>::to_vec), weir_fuzz::http1_requests);
}

#[test]
fn http1_responses() {
    let samples: [&[u8]; 7] = [
        b"\x07HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer : a\r\n\r\nhello",
        b"\x01HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"\x43HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"\x8fHTTP/1.1 200 OK\r\n\r\nany",
        b"\x05HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"\xc5HTTP/1.1 204\r\nContent-Length: 2, 2\r\n\r\n",
        b"\x05HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\n",
    ];
    feed(&samples.map(<[u8]>::to_vec), weir_fuzz::http1_responses);
}

/// The feeder finds what is wrong, and tells the seed.
#[test]
fn a_fault_is_found() {
    let samples = [b"abc".to_vec()];
    let found = catch_unwind(|| feed(&samples, |bytes| assert!(!bytes.contains(&b'{'))));
    let reported = *found.unwrap_err().downcast::<String>().unwrap();
    assert!(reported.starts_with("seed "), "{reported}");
}
