//! The witness: a client that believes nobody and writes down what it saw.
//!
//! Every request carries a trace id of the witness's own making, which is its name in every log. A line is kept for
//! each request that was sent - its trace id, status, body bytes, whether the whole response came - written when
//! the request ends, and at the start as "sent", so that a witness that is killed has still said what it sent.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// 32 hex digits.
    pub trace: String,
    pub path: String,
    /// What became of it; a trace without an `Ended` line was in flight when the witness ended.
    #[serde(flatten)]
    pub state: State,
}

/// A request's start or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Sent,
    Ended {
        /// 0 when no response head came.
        status: u16,
        /// Body bytes read.
        bytes: u64,
        /// The whole response was read.
        completed: bool,
    },
}

/// What to send, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: SocketAddr,
    /// Connections at the same time, each with one request at a time.
    pub connections: usize,
    /// Requests a second over all connections; `None` for as fast as the answers come.
    pub rate: Option<f64>,
    /// Ends after so many requests …
    pub requests: Option<u64>,
    /// … or after so long, whichever comes first. One of the two must be given.
    pub duration: Option<Duration>,
    /// Paths with their weights.
    pub mix: Vec<(String, u32)>,
    pub log: PathBuf,
}

/// How its requests are distinguished from those of others.
pub const USER_AGENT: &str = "weir-witness/1";
/// `witness:demo`: what the demo's policy asks for; where nothing asks, it is ignored.
const AUTHORIZATION: &str = "Basic d2l0bmVzczpkZW1v";

/// A request without its whole response by then did not complete. No endpoint of ours takes a tenth of it; but a request
/// that is handed to a connection's task at the very moment at which its peer dies may get neither answer nor error.
const PATIENCE: Duration = Duration::from_secs(30);

/// The traffic of the demo: mostly quick, some slow, some large, a little of it failing.
pub fn demo_mix() -> Vec<(String, u32)> {
    let mix = [
        ("/orders/fast/1", 40),
        ("/orders/fast/2", 20),
        ("/orders/slow?ms=60", 8),
        ("/orders/slow?ms=350", 1),
        ("/orders/flaky", 12),
        ("/users/fast", 30),
        ("/users/large?kib=64", 3),
        ("/users/status/404", 2),
        ("/users/broken", 1),
        ("/nowhere", 1),
    ];
    mix.map(|(path, weight)| (path.to_owned(), weight)).to_vec()
}

/// What was sent and what came back, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub sent: u64,
    pub completed: u64,
    /// Ended without the whole response.
    pub failed: u64,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
}

/// A running witness.
pub struct Witness {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    log: Arc<Mutex<BufWriter<std::fs::File>>>,
}

impl Witness {
    /// Starts sending.
    pub fn start(plan: Plan) -> io::Result<Self> {
        if plan.requests.is_none() && plan.duration.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a witness needs a number of requests or a time"));
        }
        let log = Arc::new(Mutex::new(BufWriter::new(std::fs::File::create(&plan.log)?)));
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let plan = Arc::new(plan);
        let started = Instant::now();
        for _ in 0..plan.connections {
            let sender = Sender {
                plan: Arc::clone(&plan),
                counters: Arc::clone(&counters),
                log: Arc::clone(&log),
                stop: stopped.clone(),
                started,
                connection: None,
                rng: fastrand::Rng::new(),
            };
            tasks.spawn(sender.run());
        }
        Ok(Self { counters, stop, tasks, log })
    }

    /// The numbers so far.
    pub fn tally(&self) -> Tally {
        Tally {
            sent: self.counters.sent.load(Ordering::Relaxed),
            completed: self.counters.completed.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
        }
    }

    /// Lets open requests end, and closes the log.
    pub async fn stop(mut self) -> io::Result<Tally> {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        self.finish()
    }

    /// Waits for the plan's own end, and closes the log.
    pub async fn wait(mut self) -> io::Result<Tally> {
        while self.tasks.join_next().await.is_some() {}
        self.finish()
    }

    fn finish(&self) -> io::Result<Tally> {
        lock(&self.log).flush()?;
        Ok(self.tally())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Sender {
    plan: Arc<Plan>,
    counters: Arc<Counters>,
    log: Arc<Mutex<BufWriter<std::fs::File>>>,
    stop: watch::Receiver<bool>,
    started: Instant,
    connection: Option<SendRequest<Full<Bytes>>>,
    rng: fastrand::Rng,
}

impl Sender {
    async fn run(mut self) {
        while let Some(number) = self.next().await {
            let trace = format!("{:032x}", self.rng.u128(1..));
            let path = self.pick();
            self.write(&trace, &path, State::Sent);
            let ended = self.exchange(&trace, &path).await;
            let State::Ended { completed, .. } = ended else { continue };
            let counter = if completed { &self.counters.completed } else { &self.counters.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            self.write(&trace, &path, ended);
            if number % 256 == 0 {
                drop(lock(&self.log).flush());
            }
        }
    }

    /// The number of the next request, when its time has come; `None` at the end.
    async fn next(&mut self) -> Option<u64> {
        if *self.stop.borrow() || self.plan.duration.is_some_and(|limit| self.started.elapsed() >= limit) {
            return None;
        }
        let number = self.counters.sent.fetch_add(1, Ordering::Relaxed);
        if self.plan.requests.is_some_and(|limit| number >= limit) {
            self.counters.sent.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if let Some(rate) = self.plan.rate {
            let due = self.started + Duration::from_secs_f64(number as f64 / rate);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                _ = self.stop.wait_for(|stop| *stop) => {
                    self.counters.sent.fetch_sub(1, Ordering::Relaxed);
                    return None;
                }
            }
        }
        Some(number)
    }

    fn pick(&mut self) -> String {
        let total: u32 = self.plan.mix.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.u32(..total.max(1));
        for (path, weight) in &self.plan.mix {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return path.clone(),
            }
        }
        "/".to_owned()
    }

    fn write(&self, trace: &str, path: &str, state: State) {
        let line = Line { trace: trace.to_owned(), path: path.to_owned(), state };
        let mut log = lock(&self.log);
        // A log that cannot be written makes the comparison fail, which is what it is for.
        drop(serde_json::to_writer(&mut *log, &line).map(|()| log.write_all(b"\n")));
    }

    async fn exchange(&mut self, trace: &str, path: &str) -> State {
        let (mut status, mut bytes) = (0, 0);
        let attempt = timeout(PATIENCE, self.attempt(trace, path, &mut status, &mut bytes));
        let completed = matches!(attempt.await, Ok(Ok(())));
        if !completed {
            self.connection = None;
        }
        State::Ended { status, bytes, completed }
    }

    async fn attempt(&mut self, trace: &str, path: &str, status: &mut u16, bytes: &mut u64) -> io::Result<()> {
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(self.plan.target).await?,
        };
        let request = Request::get(path)
            .header("host", "api.example")
            .header("user-agent", USER_AGENT)
            .header("authorization", AUTHORIZATION)
            .header("traceparent", format!("00-{trace}-{:016x}-00", self.rng.u64(1..)))
            .body(Full::default())
            .map_err(io::Error::other)?;
        connection.ready().await.map_err(io::Error::other)?;
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        *status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            *bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

async fn connect(target: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Reads a log. A line cut short by a kill is the last one and is left out.
pub fn read_log(path: &Path) -> io::Result<Vec<Line>> {
    let file = std::fs::File::open(path)?;
    let mut lines = Vec::new();
    for line in io::BufReader::new(file).lines() {
        match serde_json::from_str(&line?) {
            Ok(line) => lines.push(line),
            Err(_) => break,
        }
    }
    Ok(lines)
}
