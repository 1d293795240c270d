//! A gateway's work on one exchange, without sockets: the request of the load tests is read, edited and written, and so is
//! its response of 1 KiB; by this crate, and by hyper on both sides.
//!
//! `cargo bench -p weir-http1` measures times. `… -- count codec 1000` does one of them so often and nothing else, for
//! valgrind: instructions an exchange are the difference between two numbers of times.

mod codec;
mod peer;

use divan::{Bencher, black_box};

/// What `wrk` sends in the load tests.
const REQUEST: &[u8] =
    b"GET /bench/1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Basic d2l0bmVzczpkZW1v\r\n\r\n";
/// A browser's.
const BROWSER: &[u8] = b"GET /orders/1234?page=2 HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    */*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef\r\n\r\n";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const REQUEST_ID: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
const VIA: &str = "1.1 edge";

/// What nginx answers in the load tests.
fn response() -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 02:40:00 GMT\r\n\
        Content-Type: text/plain\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n";
    [head.as_bytes(), &[b'x'; 1024]].concat()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "count", which, times, ..] => {
            let times = times.parse().expect("a number of times");
            black_box(count(which, times));
        }
        _ => divan::main(),
    }
}

fn count(which: &str, times: usize) -> usize {
    match which {
        "codec" => codec::exchanges(REQUEST, &response(), times),
        "codec-browser" => codec::exchanges(BROWSER, &response(), times),
        "codec-request" => codec::requests(REQUEST, times),
        "codec-request-browser" => codec::requests(BROWSER, times),
        "hyper" => peer::exchanges(REQUEST, &response(), times),
        "hyper-browser" => peer::exchanges(BROWSER, &response(), times),
        _ => panic!("codec, codec-browser, codec-request, codec-request-browser, hyper or hyper-browser"),
    }
}

/// So many exchanges on one connection: its beginning is not what is measured.
const EACH: usize = 1_000;

#[divan::bench(args = ["codec", "codec-browser", "hyper", "hyper-browser"])]
fn exchange(bencher: Bencher, which: &str) {
    bencher.counter(divan::counter::ItemsCount::new(EACH)).bench_local(|| count(which, EACH));
}
