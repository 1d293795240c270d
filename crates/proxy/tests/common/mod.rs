//! A gateway in this process, upstreams that do exactly what a test says, and a client that sends exact bytes.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

pub mod http2;
pub mod http2_upstream;
pub mod pki;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_event::Exchange;
use weir_event::Instant;
use weir_proxy::{EventSink, Proxy, Registry, Snapshot};

/// What every wait of a test may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

struct Collect(Sender<Exchange>);

impl EventSink for Collect {
    fn record(&mut self, _seq: u64, exchange: &Exchange) {
        drop(self.0.send(exchange.clone()));
    }
}

/// A running gateway with two workers.
pub struct Gateway {
    pub proxy: Option<Proxy>,
    pub registry: Registry,
    pub address: SocketAddr,
    events: Receiver<Exchange>,
}

impl Gateway {
    pub fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &|_| None)
    }

    /// With variables of the environment.
    pub fn start_with(yaml: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        Self::start_in(Registry::new(2), yaml, env)
    }

    pub fn start_in(registry: Registry, yaml: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let snapshot = Snapshot::compile(&config_with(yaml, env), 1, &registry).expect("the configuration compiles");
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let sinks = move |_| -> Box<dyn EventSink> { Box::new(Collect(sender.lock().unwrap().clone())) };
        let proxy = Proxy::start(snapshot, 2, Arc::new(sinks)).expect("the gateway starts");
        let address = *proxy.listening().values().next().expect("one listener");
        Self { proxy: Some(proxy), registry, address, events }
    }

    /// A gateway with one API that forwards everything to `upstream`.
    pub fn before(upstream: SocketAddr) -> Self {
        Self::start(&api(upstream, ""))
    }

    pub fn reload(&mut self, yaml: &str) {
        let proxy = self.proxy.as_mut().expect("running");
        let next = proxy.snapshot().next(&config(yaml), &self.registry).expect("the configuration compiles");
        proxy.publish(next).expect("the configuration is published");
    }

    /// The next event; fails when none comes.
    pub fn event(&self) -> Exchange {
        self.events.recv_timeout(DEADLINE).expect("an event is recorded")
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<Exchange> {
        self.events.try_iter().collect()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on one connection, and everything that comes back until the gateway closes.
    pub fn exchange(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.read_to_end()
    }

    /// A GET that closes, and its answer.
    pub fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.drain(Duration::from_secs(5));
        }
    }
}

fn config(yaml: &str) -> weir_config::GatewayConfig {
    config_with(yaml, &|_| None)
}

fn config_with(yaml: &str, env: &dyn Fn(&str) -> Option<String>) -> weir_config::GatewayConfig {
    weir_config::load_text(Path::new("test.yaml"), yaml, env).unwrap_or_else(|errors| panic!("{errors}"))
}

/// An ApiInstance on a port of its own that forwards to `upstream`, with more of its spec in `extra`.
pub fn api(upstream: SocketAddr, extra: &str) -> String {
    format!(
        "
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: orders}}
spec:
  address: http://127.0.0.1:0
  services:
    main: {{address: \"http://{upstream}\"}}
{extra}"
    )
}

/// Short timeouts, in whole seconds as Flex counts them.
pub fn timeouts(stream_idle: u32, response: u32) -> String {
    format!(
        "
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Configuration
metadata: {{name: timeouts}}
spec:
  timeouts: {{streamIdleSeconds: {stream_idle}, upstreamResponseSeconds: {response}, upstreamConnectionIdleSeconds: 60}}
"
    )
}

/// One connection whose bytes the test writes itself.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    pub fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads until what came contains `mark`.
    pub fn read_until(&mut self, mark: &str) -> String {
        read_until(&mut self.stream, mark)
    }
}

pub fn read_until(stream: &mut TcpStream, mark: &str) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(mark.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            other => panic!("{other:?} before {mark:?}, after {:?}", String::from_utf8_lossy(&all)),
        }
    }
    String::from_utf8(all).unwrap()
}

/// An upstream: each connection that comes in is handed to the next of a list of handlers, the last of which serves
/// all further ones. Heads of requests are kept.
pub struct Upstream {
    pub address: SocketAddr,
    heads: Receiver<String>,
    accept: Option<JoinHandle<()>>,
}

pub type Handler = Box<dyn Fn(&mut TcpStream, &Sender<String>) + Send + Sync>;

impl Upstream {
    pub fn new(handlers: Vec<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heads) = channel();
        let accept = std::thread::spawn(move || {
            let mut handlers: VecDeque<Arc<Handler>> = handlers.into_iter().map(Arc::new).collect();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let last = handlers.len() == 1;
                let handler = if last { handlers[0].clone() } else { handlers.pop_front().unwrap() };
                let sender = sender.clone();
                // A connection that says STOP ends the upstream.
                let mut first = [0; 4];
                if stream.peek(&mut first).is_ok() && &first == b"STOP" {
                    return;
                }
                std::thread::spawn(move || handler(&mut stream, &sender));
            }
        });
        Self { address, heads, accept: Some(accept) }
    }

    /// Answers every request on every connection with `answer`.
    pub fn answering(answer: &'static str) -> Self {
        Self::new(vec![Box::new(move |stream, heads| {
            while let Some(head) = read_request(stream) {
                drop(heads.send(head));
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })])
    }

    /// Reads one request, then does what the test says.
    pub fn after_one(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::new(vec![Box::new(move |stream, heads| {
            if let Some(head) = read_request(stream) {
                drop(heads.send(head));
                act(stream);
            }
        })])
    }

    /// Reads the head of one request and nothing behind it, then does what the test says.
    pub fn after_one_head(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::new(vec![Box::new(move |stream, heads| {
            drop(heads.send(read_until(stream, "\r\n\r\n")));
            act(stream);
        })])
    }

    /// The next request, if one has come.
    pub fn try_request(&self) -> Option<String> {
        self.heads.try_recv().ok()
    }

    /// The next request as it came, head and body.
    pub fn request(&self) -> String {
        self.heads.recv_timeout(DEADLINE).expect("a request reaches the upstream")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            drop(stream.write_all(b"STOP"));
            drop(stream.shutdown(Shutdown::Both));
        }
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
    }
}

/// Reads one request whole: its head, and its body by length or chunks. `None` when the connection ends.
pub fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    read_while(stream, &mut all, |all| !all.ends_with(b"\r\n\r\n"))?;
    let head = String::from_utf8_lossy(&all).to_ascii_lowercase();
    if let Some(rest) = head.split("content-length: ").nth(1) {
        let len: usize = rest.lines().next()?.trim().parse().ok()?;
        let end = all.len() + len;
        read_while(stream, &mut all, |all| all.len() < end)?;
    } else if head.contains("transfer-encoding: chunked") {
        read_chunked(stream, &mut all)?;
    }
    Some(String::from_utf8_lossy(&all).into_owned())
}

/// Reads a chunked body to its end.
pub fn read_chunks(stream: &mut TcpStream) -> bool {
    read_chunked(stream, &mut Vec::new()).is_some()
}

fn read_chunked(stream: &mut TcpStream, all: &mut Vec<u8>) -> Option<()> {
    let start = all.len();
    // A last chunk, and then trailers up to an empty line.
    read_while(stream, all, |all| {
        let body = &all[start..];
        let last = if body.starts_with(b"0\r\n") { Some(0) } else { find(body, b"\r\n0\r\n").map(|at| at + 2) };
        !(last.is_some_and(|at| body.len() >= at + 5) && body.ends_with(b"\r\n\r\n"))
    })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn read_while(stream: &mut TcpStream, all: &mut Vec<u8>, more: impl Fn(&[u8]) -> bool) -> Option<()> {
    let mut byte = [0];
    while more(all) {
        match stream.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            _ => return None,
        }
    }
    Some(())
}

/// Lets `duration` pass, for tests that inject a delay and measure it: the delay is what is tested.
pub fn delay(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The value of a header in a head, whatever its case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
