//! Requests that two readers could read in two ways, and others that no honest client sends: one row a shape.
//!
//! Each row is sent, byte for byte, to Weir. What it must answer, what its event must say and how many requests it may
//! forward stand in the row. `hostile.md` has all rows, and beside them what Debian's nginx and HAProxy do with the same
//! bytes in front of the same kind of upstream: that is printed (`UPDATE_EXPECT=1`) and not held, for it is theirs, and
//! some of it depends on which of two packets they read first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{DEADLINE, Gateway, api};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use weir_event::Instant;
use weir_event::Reason;

/// What Weir answers: the statuses, in order, and the reason in the event of the last one.
type Reported = (&'static [u16], Reason);

struct Row {
    shape: &'static str,
    /// `\r\n` is written `|`, and what is not text as `<00>`.
    bytes: String,
    reported: Reported,
    /// The requests that the upstream sees, by their targets.
    forwarded: &'static [&'static str],
}

const PASSES: Reported = (&[200], Reason::None);
const MALFORMED: Reported = (&[400], Reason::MalformedRequest);
const NONE: &[&str] = &[];

fn row(shape: &'static str, bytes: &str, reported: Reported, forwarded: &'static [&'static str]) -> Row {
    Row { shape, bytes: bytes.to_owned(), reported, forwarded }
}

/// A GET whose head has one more line.
fn with(shape: &'static str, line: &str, reported: Reported, forwarded: &'static [&'static str]) -> Row {
    row(shape, &format!("GET / HTTP/1.1|Host: a|{line}|Connection: close||"), reported, forwarded)
}

/// A POST with these lines of framing, and this body.
fn framed(shape: &'static str, lines: &str, body: &str, reported: Reported, forwarded: &'static [&'static str]) -> Row {
    row(shape, &format!("POST / HTTP/1.1|Host: a|{lines}|Connection: close||{body}"), reported, forwarded)
}

/// A chunked body that breaks its own framing. Whether the upstream sees the beginning of the request depends on when.
fn broken(shape: &'static str, body: &str) -> Row {
    let head = "POST /broken HTTP/1.1|Host: a|Transfer-Encoding: chunked|Connection: close||";
    row(shape, &format!("{head}{body}"), (&[400], Reason::MalformedRequestBody), NONE)
}

fn path(shape: &'static str, target: &str, reported: Reported, forwarded: &'static [&'static str]) -> Row {
    row(shape, &format!("GET {target} HTTP/1.1|Host: a|Connection: close||"), reported, forwarded)
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<Row> {
    let smuggled = "0||GET /smuggled HTTP/1.1|Host: a||";
    let chunked = "5|hello|0||";
    let not_implemented: Reported = (&[501], Reason::MalformedRequest);
    let mut rows = vec![
        row("a request as it should be", "GET / HTTP/1.1|Host: a|Connection: close||", PASSES, &["/"]),
        // Where the body ends.
        framed("CL.TE", "Content-Length: 6|Transfer-Encoding: chunked", "0||G", MALFORMED, NONE),
        framed("TE.CL", "Transfer-Encoding: chunked|Content-Length: 3", chunked, MALFORMED, NONE),
        framed(
            "TE.TE, one of them unknown",
            "Transfer-Encoding: chunked|Transfer-Encoding: x",
            chunked,
            MALFORMED,
            NONE,
        ),
        framed(
            "TE.TE, both chunked",
            "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
            chunked,
            MALFORMED,
            NONE,
        ),
        framed("TE, a list", "Transfer-Encoding: gzip, chunked", chunked, not_implemented, NONE),
        framed("TE, chunked is not the last", "Transfer-Encoding: chunked, gzip", chunked, MALFORMED, NONE),
        framed("TE, unknown", "Transfer-Encoding: xchunked", chunked, MALFORMED, NONE),
        framed("TE, in quotes", "Transfer-Encoding: \"chunked\"", chunked, MALFORMED, NONE),
        framed("TE, identity", "Transfer-Encoding: identity", "", MALFORMED, NONE),
        framed("TE, capitals and blanks", "transfer-encoding:  \t ChUnKeD \t", chunked, PASSES, &["/"]),
        framed("TE, vertical tab", "Transfer-Encoding: <0b>chunked", chunked, MALFORMED, NONE),
        framed("TE, a name with a blank", "Transfer-Encoding : chunked", chunked, MALFORMED, NONE),
        framed("TE, folded", "Transfer-Encoding:| chunked", chunked, MALFORMED, NONE),
        row(
            "TE in HTTP/1.0",
            &format!("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||{chunked}"),
            MALFORMED,
            NONE,
        ),
        framed("CL, twice the same", "Content-Length: 5|Content-Length: 5", "hello", MALFORMED, NONE),
        framed("CL, twice and not the same", "Content-Length: 5|Content-Length: 6", "hello", MALFORMED, NONE),
        framed("CL, a list", "Content-Length: 5, 5", "hello", MALFORMED, NONE),
        framed("CL, a plus", "Content-Length: +5", "hello", MALFORMED, NONE),
        framed("CL, a minus", "Content-Length: -5", "hello", MALFORMED, NONE),
        framed("CL, hexadecimal", "Content-Length: 0x5", "hello", MALFORMED, NONE),
        framed("CL, no number", "Content-Length: five", "hello", MALFORMED, NONE),
        framed("CL, empty", "Content-Length:", "", MALFORMED, NONE),
        framed("CL, larger than 64 bits", "Content-Length: 18446744073709551621", "hello", MALFORMED, NONE),
        framed("CL, leading zeros", "Content-Length: 005", "hello", PASSES, &["/"]),
        framed("CL, a name with a blank", "Content-Length : 5", "hello", MALFORMED, NONE),
        framed("CL, folded", "Content-Length:| 5", "hello", MALFORMED, NONE),
        row("a body of GET", "GET / HTTP/1.1|Host: a|Content-Length: 5|Connection: close||hello", PASSES, &["/"]),
        // Chunks.
        framed("chunk extensions", "Transfer-Encoding: chunked", "5;a=\"b\";c|hello|0;d||", PASSES, &["/"]),
        broken("chunk extension with a line feed", "5;a<0a>hello|0||"),
        broken("chunk size, no number", "zz|hello|0||"),
        broken("chunk size, a sign", "+5|hello|0||"),
        broken("chunk size, 0x", "0x5|hello|0||"),
        broken("chunk size, more than 64 bits", "fffffffffffffffff|a|0||"),
        broken("chunk longer than its size", "3|hello|0||"),
        broken("chunk line ends with LF alone", "5<0a>hello|0||"),
        broken("chunk size with seventy zeros", &format!("{}5|hello|0||", "0".repeat(70))),
        broken("a chunk extension without a name", "5;=b|hello|0||"),
        broken("a chunk extension with a control character", "5;a=<01>|hello|0||"),
        broken("a chunk extension with an open quote", "5;a=\"b|hello|0||"),
        framed("a chunk extension with blanks", "Transfer-Encoding: chunked", "5 ; a = b|hello|0||", PASSES, &["/"]),
        broken("a chunk extension of 2 KiB", &format!("5;a={}|hello|0||", "x".repeat(2048))),
        broken(
            "chunks that are mostly extensions",
            &format!("{}0||", format!("1;a={}|x|", "y".repeat(900)).repeat(20)),
        ),
        broken("a chunk size with a blank in front", " 5|hello|0||"),
        broken("a chunk size in quotes", "\"5\"|hello|0||"),
        broken("a chunk without its end", "5|hello0||"),
        broken("a chunk that ends with LF alone", "5|hello<0a>0||"),
        broken("an empty chunk size", "|hello|0||"),
        framed("a chunk size of 16 digits", "Transfer-Encoding: chunked", "0000000000000005|hello|0||", PASSES, &["/"]),
        framed("a trailer", "Transfer-Encoding: chunked", "5|hello|0|X-Sum: 1||", PASSES, &["/"]),
        broken("a trailer that is folded", "0|X: a| b||"),
        broken("a trailer with a blank in its name", "0|X : a||"),
        broken("a trailer without a colon", "0|X||"),
        broken("a trailer with NUL", "0|X: <00>||"),
        broken("a trailer that frames", "0|Content-Length: 5||hello"),
        broken("a trailer that is a coding", "0|Transfer-Encoding: chunked||0||"),
        broken("a trailer that is a host", "0|Host: b||"),
        broken("trailers of 20 KiB", &format!("0|X: {}||", "x".repeat(20 * 1024))),
        broken("a trailer that ends with LF alone", "0|X: a<0a><0a>GET /smuggled HTTP/1.1|Host: a||"),
        framed("CL with sixty blanks", &format!("Content-Length:{}5", " ".repeat(60)), "hello", MALFORMED, NONE),
        framed("CL with sixty zeros", &format!("Content-Length: {}5", "0".repeat(60)), "hello", MALFORMED, NONE),
        row(
            "Upgrade to h2c",
            "GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings, close|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__||",
            PASSES,
            &["/"],
        ),
        row(
            "Upgrade to h2c with content",
            "POST / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings, close|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__|Content-Length: 5||hello",
            PASSES,
            &["/"],
        ),
        row(
            "a WebSocket handshake without Connection",
            "GET / HTTP/1.1|Host: a|Upgrade: websocket|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Version: 13|Connection: close||",
            PASSES,
            &["/"],
        ),
        row(
            "a WebSocket handshake of HTTP/1.0",
            "GET / HTTP/1.0|Host: a|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Version: 13||",
            PASSES,
            &["/"],
        ),
        framed("TE, a list that says chunked twice", "Transfer-Encoding: chunked, chunked", chunked, MALFORMED, NONE),
        framed("TE, a list with an empty member", "Transfer-Encoding: ,chunked", chunked, MALFORMED, NONE),
        framed("TE, with a parameter", "Transfer-Encoding: chunked;q=1", chunked, MALFORMED, NONE),
        framed("TE, empty", "Transfer-Encoding:", chunked, MALFORMED, NONE),
        // Lines.
        row("LF alone ends the lines", "GET / HTTP/1.1<0a>Host: a<0a>Connection: close<0a><0a>", MALFORMED, NONE),
        row("LF alone ends one line", "GET / HTTP/1.1|Host: a<0a>Connection: close||", MALFORMED, NONE),
        row("CR alone ends a line", "GET / HTTP/1.1|Host: a<0d>X: b|Connection: close||", MALFORMED, NONE),
        with("obs-fold", "X-Folded: a| b", MALFORMED, NONE),
        row(
            "ten blank lines before the request",
            &format!("{}GET / HTTP/1.1|Host: a||", "|".repeat(10)),
            MALFORMED,
            NONE,
        ),
        row("a blank line before the request", "||GET / HTTP/1.1|Host: a|Connection: close||", PASSES, &["/"]),
        row("a blank before the first field", "GET / HTTP/1.1| Host: a|Connection: close||", MALFORMED, NONE),
        with("NUL in a value", "X: a<00>b", MALFORMED, NONE),
        with("NUL in a name", "X<00>: a", MALFORMED, NONE),
        with("a control character in a value", "X: a<01>b", MALFORMED, NONE),
        with("a name with a blank", "X Y: a", MALFORMED, NONE),
        with("a name with a blank behind it", "X : a", MALFORMED, NONE),
        with("a name with a bracket", "X[0]: a", MALFORMED, NONE),
        with("no name", ": a", MALFORMED, NONE),
        with("no colon", "nonsense", MALFORMED, NONE),
        with("bytes beyond ASCII in a value", "X: <c3><a9>", PASSES, &["/"]),
        with("bytes beyond ASCII in a name", "<c3><a9>: a", MALFORMED, NONE),
        with("an underscore in a name", "content_length: 5", PASSES, &["/"]),
        // Hosts.
        row("no Host", "GET / HTTP/1.1|Connection: close||", MALFORMED, NONE),
        row("no Host in HTTP/1.0", "GET / HTTP/1.0||", PASSES, &["/"]),
        with("two Hosts", "Host: b", MALFORMED, NONE),
        row("Host with user information", "GET / HTTP/1.1|Host: u:p@a|Connection: close||", MALFORMED, NONE),
        row("Host with a blank", "GET / HTTP/1.1|Host: a b|Connection: close||", MALFORMED, NONE),
        row("Host with a path", "GET / HTTP/1.1|Host: a/b|Connection: close||", MALFORMED, NONE),
        row("absolute form, another Host", "GET http://b/x HTTP/1.1|Host: a|Connection: close||", PASSES, &["/x"]),
        row("absolute form without a path", "GET http://a HTTP/1.1|Host: a|Connection: close||", PASSES, &["/"]),
        row(
            "absolute form with user information",
            "GET http://u:p@a/ HTTP/1.1|Host: a|Connection: close||",
            MALFORMED,
            NONE,
        ),
        row("authority form", "GET a:80 HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("CONNECT with content", "CONNECT a:80 HTTP/1.1|Host: a:80|Content-Length: 5||hello", MALFORMED, NONE),
        row("CONNECT without a port", "CONNECT a HTTP/1.1|Host: a||", MALFORMED, NONE),
        row("absolute form of another scheme", "GET ftp://a/ HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("absolute form without Host", "GET http://a/ HTTP/1.1|Connection: close||", MALFORMED, NONE),
        row("CONNECT", "CONNECT a:80 HTTP/1.1|Host: a|Connection: close||", (&[501], Reason::MethodNotAllowed), NONE),
        row("OPTIONS *", "OPTIONS * HTTP/1.1|Host: a|Connection: close||", PASSES, NONE),
        row("GET *", "GET * HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("TRACE", "TRACE / HTTP/1.1|Host: a|Connection: close||", (&[405], Reason::MethodNotAllowed), NONE),
        row("an empty Host", "GET / HTTP/1.1|Host:|Connection: close||", MALFORMED, NONE),
        row("a Host whose port is no number", "GET / HTTP/1.1|Host: a:x|Connection: close||", MALFORMED, NONE),
        row("Max-Forwards of 0", "OPTIONS /x HTTP/1.1|Host: a|Max-Forwards: 0|Connection: close||", PASSES, NONE),
        row(
            "Max-Forwards, no number",
            "OPTIONS /x HTTP/1.1|Host: a|Max-Forwards: -1|Connection: close||",
            MALFORMED,
            NONE,
        ),
        // Request lines.
        row("HTTP/0.9", "GET /|", MALFORMED, NONE),
        row("HTTP/0.9 with a body", "POST /|Content-Length: 5||hello", MALFORMED, NONE),
        row("HTTP/2.0", "GET / HTTP/2.0|Host: a|Connection: close||", (&[505], Reason::MalformedRequest), NONE),
        row("HTTP/1.2", "GET / HTTP/1.2|Host: a|Connection: close||", PASSES, &["/"]),
        row("HTTP/1.12", "GET / HTTP/1.12|Host: a|Connection: close||", MALFORMED, NONE),
        row("HTTP/3.0", "GET / HTTP/3.0|Host: a|Connection: close||", (&[505], Reason::MalformedRequest), NONE),
        row("two blanks", "GET  /  HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("a tab", "GET<09>/ HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("a method in small letters", "get / HTTP/1.1|Host: a|Connection: close||", PASSES, &["/"]),
        row("a method with a colon", "GE:T / HTTP/1.1|Host: a|Connection: close||", MALFORMED, NONE),
        row("no HTTP at all", "<16><03><01><00><05>hello||", MALFORMED, NONE),
        // Paths: one spelling for routing, policies and forwarding.
        path("slashes that follow each other", "//a///b", PASSES, &["/a/b"]),
        path("dot segments", "/a/../b/./c", PASSES, &["/b/c"]),
        path("escaped dot segments", "/a/%2e%2E/b", PASSES, &["/b"]),
        path("above the root", "/../a", MALFORMED, NONE),
        path("escaped, above the root", "/%2e%2e/a", MALFORMED, NONE),
        path("an escaped slash", "/a%2fb", PASSES, &["/a%2Fb"]),
        path("escaped letters", "/%61%62", PASSES, &["/ab"]),
        path("escaped twice", "/%252e%252e/a", PASSES, &["/%252e%252e/a"]),
        path("an escaped NUL", "/a%00b", MALFORMED, NONE),
        path("an escape that is none", "/a%zz", MALFORMED, NONE),
        path("a backslash", "/a\\..\\b", MALFORMED, NONE),
        path("a fragment", "/a#b", PASSES, &["/a"]),
        path("bytes beyond ASCII", "/<c3><a9>", PASSES, &["/%C3%A9"]),
        path("bytes beyond ASCII in a query", "/?<c3><a9>", PASSES, &["/?%C3%A9"]),
        path("bytes that are no UTF-8", "/<e9>?<e9>", PASSES, &["/%E9?%E9"]),
        path("quotes and brackets in a query", "/?a={\"b\"}<3c>c<3e>", PASSES, &["/?a={%22b%22}%3Cc%3E"]),
        // Sizes.
        with("a field of 61 KiB", &format!("X: {}", "x".repeat(61 * 1024)), (&[431], Reason::HeadersTooLarge), NONE),
        row(
            "a target of 70 KiB",
            &format!("GET /{} HTTP/1.1|Host: a|Connection: close||", "x".repeat(70 * 1024)),
            (&[414], Reason::HeadersTooLarge),
            NONE,
        ),
        with("200 fields", "X: y|".repeat(200).trim_end_matches('|'), (&[431], Reason::HeadersTooLarge), NONE),
    ];
    // What could hide behind a request must not be seen by the upstream.
    rows.push(row(
        "CL.TE with a request behind it",
        &format!(
            "POST / HTTP/1.1|Host: a|Content-Length: {}|Transfer-Encoding: chunked||{smuggled}",
            smuggled.replace('|', "\r\n").len()
        ),
        MALFORMED,
        NONE,
    ));
    rows.push(row(
        "two requests at once",
        "GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a|Connection: close||",
        (&[200, 200], Reason::None),
        &["/1", "/2"],
    ));
    rows.push(row(
        "a good request, then TE.CL, at once",
        &format!("POST /1 HTTP/1.1|Host: a|Content-Length: 5||helloPOST /2 HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 3||{chunked}"),
        (&[200, 400], Reason::MalformedRequest),
        &["/1"],
    ));
    rows
}

/// `|` → CR LF, `<0a>` → that byte.
fn wire(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['|', '<']) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at..].strip_prefix('<').and_then(|tail| tail.split_once('>'));
        match escape {
            Some((digits, tail)) => {
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = tail;
            }
            None => {
                out.extend_from_slice(b"\r\n");
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Sends a row and reads until the other side closes, or has been silent for a while.
fn statuses(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    // It may have answered and closed before it has all of it.
    drop(stream.write_all(bytes));
    let mut all = Vec::new();
    let mut piece = [0; 65536];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        all.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&all);
    let lines = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    lines.collect()
}

/// Answers every request that is whole by its framing, and tells its target.
struct Witness {
    address: SocketAddr,
    seen: Receiver<String>,
}

impl Witness {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, seen }
    }

    fn targets(&self) -> Vec<String> {
        self.seen.try_iter().filter(|target| target != "/broken").collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Sender<String>) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        drop(seen.send(text.split_whitespace().nth(1).unwrap_or_default().to_owned()));
        let lower = text.to_ascii_lowercase();
        let whole = if lower.contains("\r\ntransfer-encoding: chunked") {
            common::read_chunks(&mut stream)
        } else {
            let length = common::header(&text, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            stream.read_exact(&mut vec![0; length]).is_ok()
        };
        if !whole || stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
        head.clear();
    }
}

/// Another proxy, in front of a witness of its own.
struct Peer {
    child: Child,
    address: SocketAddr,
    witness: Witness,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn peer(dir: &Path, name: &str) -> Peer {
    let witness = Witness::start();
    let upstream = witness.address;
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let dir = dir.display();
    let (file, text, args) = match name {
        "nginx" => (
            "nginx.conf",
            format!(
                "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{}}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{ listen {address}; location / {{ proxy_pass http://{upstream}; proxy_http_version 1.1; }} }}
}}"
            ),
            vec!["-c", "nginx.conf", "-p", "."],
        ),
        _ => (
            "haproxy.cfg",
            format!(
                "defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n\
                 frontend in\n  bind {address}\n  default_backend out\nbackend out\n  server one {upstream}\n"
            ),
            vec!["-f", "haproxy.cfg"],
        ),
    };
    std::fs::write(format!("{dir}/{file}"), text).unwrap();
    let mut command = Command::new(name);
    command.args(args).current_dir(dir.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; `make tools` installs it"));
    let peer = Peer { child, address, witness };
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{name} does not listen");
        std::thread::yield_now();
    }
    peer
}

fn words(statuses: &[u16], forwarded: &[String]) -> String {
    let statuses = statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
    let statuses = if statuses.is_empty() { "closed".to_owned() } else { statuses };
    if forwarded.is_empty() { statuses } else { format!("{statuses}, forwards `{}`", forwarded.join("` `")) }
}

/// What a peer does with each row, in the table's words.
fn asked(peer: &mut Peer, rows: &[Vec<u8>]) -> Vec<String> {
    let ask = |bytes: &Vec<u8>| {
        let statuses = statuses(peer.address, bytes);
        words(&statuses, &peer.witness.targets())
    };
    rows.iter().map(ask).collect()
}

#[test]
fn every_shape_has_its_answer() {
    let rows = rows();
    let bytes: Vec<_> = rows.iter().map(|row| wire(&row.bytes)).collect();
    let witness = Witness::start();
    let gateway = Gateway::start(&api(witness.address, ""));
    let mut wrong = Vec::new();
    let mut reported = Vec::new();
    for (row, bytes) in rows.iter().zip(&bytes) {
        let got = statuses(gateway.address, bytes);
        let reason = got.iter().map(|_| gateway.event().reason).last().unwrap_or(Reason::Unknown);
        let more = gateway.events().len();
        let forwarded = witness.targets();
        if (got.as_slice(), reason, more) != (row.reported.0, row.reported.1, 0) || forwarded != row.forwarded {
            wrong.push(format!("{}: {got:?} {reason} (+{more} events), forwards {forwarded:?}", row.shape));
        }
        reported.push((words(&got, &forwarded), reason));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ours = rows.iter().zip(&reported).map(|(row, (weir, reason))| line(row.shape, weir, *reason));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        print(&ours.collect::<Vec<_>>(), &bytes);
        return;
    }
    let printed = std::fs::read_to_string(table()).unwrap();
    let missing: Vec<_> = ours.filter(|line| !printed.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "`UPDATE_EXPECT=1` prints the table anew; it lacks\n{}", missing.join("\n"));
    assert_eq!(printed.matches("\n| ").count(), rows.len() + 1, "the table has rows that are no more");
}

fn table() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile.md"))
}

/// The columns of a row that are Weir's.
fn line(shape: &str, weir: &str, reason: Reason) -> String {
    format!("| {shape} | {weir} | {} |", reason.as_str())
}

/// Prints all rows, with what the peers do.
fn print(ours: &[String], bytes: &[Vec<u8>]) {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut peers = [peer(dirs[0].path(), "nginx"), peer(dirs[1].path(), "haproxy")];
    let [nginx, haproxy] = std::thread::scope(|scope| {
        let asking = peers.each_mut().map(|peer| scope.spawn(|| asked(peer, bytes)));
        asking.map(|peer| peer.join().unwrap())
    });
    let mut text =
        "# Hostile requests\n\nPrinted by `hostile.rs` of this folder: the same bytes to Weir and to Debian 12's \
        nginx 1.22 and HAProxy 2.6, and what each forwards.\n\n\
        | shape | Weir | event's reason | nginx | HAProxy |\n|---|---|---|---|---|\n"
            .to_owned();
    for ((ours, nginx), haproxy) in ours.iter().zip(nginx).zip(haproxy) {
        let _ = writeln!(text, "{ours} {nginx} | {haproxy} |");
    }
    std::fs::write(table(), text).unwrap();
}
