//! The shipper: offers chunk files to the ingestor, each life of a gateway in its turn and the oldest of each first,
//! and reports every ten seconds how far each stream has got.
//!
//! Its own thread with its own small runtime. It deletes nothing and decides nothing about files: it says what became
//! of a chunk, and the housekeeper acts on it.

use crate::answer::{Outcome, ReportOutcome, Sent, wait};
use crate::client::{Answer, Client, PostError};
use crate::config::SpoolError;
use crate::counters::Counters;
use crate::endpoint::Endpoint;
use crate::index::ChunkRef;
use crate::report::{Report, reports};
use crate::shared::{Chore, Shared, step_behind};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};
use weir_event::StreamId;
use weir_event::chunk::{ChunkError, ChunkHeader};

/// Chunks on their way at once, at most: one at first and after a failure, twice as many after each that was stored.
/// Each waits for its block to be stored, about 0.3 s: one at a time, a backlog of chunks of
/// one second each would take a third of the outage to ship; sixteen share a block.
const IN_FLIGHT: usize = 16;
/// How often whoever stops it looks whether it has ended.
const LOOK: Duration = Duration::from_millis(5);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const CHUNK_TYPE: &str = "application/vnd.weir.chunk";
/// A chunk so small is too large for no real limit: who answers 413 to it is not asked again at once.
const SMALL: u64 = 64 * 1024;

/// The handle of the shipper's thread.
pub(crate) struct Shipper {
    stop: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

impl Shipper {
    pub(crate) fn start(endpoint: Endpoint, shared: Arc<Shared>, chores: Sender<Chore>) -> Result<Self, SpoolError> {
        let (stop, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SpoolError::Thread)?;
        shared.index.ships();
        let shipping = Shipping {
            client: Arc::new(Client::new(endpoint)),
            shared,
            chores,
            under_way: JoinSet::new(),
            chunks: 0,
            window: 1,
            reports: VecDeque::new(),
            reporting: false,
            report_again: false,
            failures: 0,
            until: None,
            logged: None,
        };
        let thread = std::thread::Builder::new()
            .name("weir-shipper".into())
            .spawn(move || {
                step_behind();
                runtime.block_on(shipping.run(stopped));
            })
            .map_err(SpoolError::Thread)?;
        Ok(Self { stop, thread })
    }

    /// Ships what is left and reports the end of the streams, until `deadline` at the latest, or until it is `hurried`.
    pub(crate) fn stop(self, deadline: Instant, hurried: impl Fn() -> bool) {
        self.stop.send(Some(deadline)).ok();
        while !self.thread.is_finished() {
            if hurried() {
                let now = Instant::now();
                self.stop.send_if_modified(|until| until.replace(now).is_some_and(|until| now < until));
            }
            std::thread::park_timeout(LOOK);
        }
        self.thread.join().ok();
    }
}

/// What one request was about, and what came of it.
enum Done {
    Chunk(ChunkRef, Read),
    Report(Vec<StreamId>, Result<Answer, PostError>),
}

/// What reading a chunk file came to, and offering it.
enum Read {
    Answered(Sent, Result<Answer, PostError>),
    Damaged(ChunkError),
    Failed(io::Error),
}

struct Shipping {
    client: Arc<Client>,
    shared: Arc<Shared>,
    chores: Sender<Chore>,
    under_way: JoinSet<Done>,
    chunks: usize,
    /// How many of them there may be.
    window: usize,
    /// Still to be sent, of this round.
    reports: VecDeque<Report>,
    reporting: bool,
    /// Something happened that the reports under way do not say.
    report_again: bool,
    /// In a row.
    failures: u32,
    /// Nothing is sent before.
    until: Option<Instant>,
    /// The trouble that was logged last.
    logged: Option<&'static str>,
}

impl Shipping {
    async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut tick = interval(REPORT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_chunks();
            let until = self.next_turn();
            tokio::select! {
                _ = stop.wait_for(Option::is_some) => break,
                Some(done) = self.under_way.join_next() => self.done(done.ok()),
                () = self.shared.index.ready.notified() => {}
                () = self.shared.report_now.notified() => self.begin_reports(false),
                _ = tick.tick() => self.begin_reports(false),
                () = at(until) => {}
            }
        }
        let finish = self.finish();
        tokio::pin!(finish);
        loop {
            let deadline = *stop.borrow_and_update();
            tokio::select! {
                () = &mut finish => return,
                // What is not done by then is done by the next life.
                () = at(deadline) => return,
                changed = stop.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// When sending may go on of itself.
    fn next_turn(&self) -> Option<Instant> {
        let of_chunks = if self.chunks < self.window { self.shared.index.next_turn(Instant::now()) } else { None };
        of_chunks.map(|at| self.until.map_or(at, |until| at.max(until)))
    }

    /// The last attempt: as long as nothing fails, everything that is left; then the end of the streams.
    async fn finish(&mut self) {
        (self.until, self.failures) = (None, 0);
        while self.until.is_none() && !(self.chunks == 0 && self.shared.index.is_empty()) {
            self.send_chunks();
            tokio::select! {
                Some(done) = self.under_way.join_next() => self.done(done.ok()),
                () = self.shared.index.ready.notified() => {}
            }
        }
        while let Some(done) = self.under_way.join_next().await {
            self.done(done.ok());
        }
        self.begin_reports(true);
        while let Some(done) = self.under_way.join_next().await {
            self.done(done.ok());
        }
    }

    fn send_chunks(&mut self) {
        let now = Instant::now();
        if self.until.is_some_and(|until| until > now) {
            return;
        }
        self.until = None;
        while self.chunks < self.window {
            let Some(chunk) = self.shared.index.take(now) else { return };
            let Some((folder, entry)) = self.shared.index.find(&chunk) else { return };
            self.chunks += 1;
            let (client, shared) = (Arc::clone(&self.client), Arc::clone(&self.shared));
            let path = folder.chunk(entry.name);
            self.under_way.spawn(async move {
                let read = offer(&client, &shared, &chunk, path).await;
                Done::Chunk(chunk, read)
            });
        }
    }

    fn begin_reports(&mut self, closing: bool) {
        if self.reporting {
            self.report_again = true;
            return;
        }
        let own = self.shared.gauges.get().and_then(|sample| sample()).map(|gauges| (self.shared.boot, gauges));
        self.reports = reports(&self.shared.ledgers(), closing, own).into();
        self.send_report();
    }

    fn send_report(&mut self) {
        let Some(report) = self.reports.pop_front() else { return };
        self.reporting = true;
        let client = Arc::clone(&self.client);
        self.under_way.spawn(async move {
            let answered = client.post("/v1/streams", "application/json", report.body.into()).await;
            Done::Report(report.ended, answered)
        });
    }

    fn done(&mut self, done: Option<Done>) {
        match done {
            Some(Done::Chunk(chunk, read)) => {
                self.chunks -= 1;
                self.chunk_done(&chunk, read);
            }
            Some(Done::Report(ended, answered)) => {
                self.reporting = false;
                self.report_done(&ended, &answered);
                self.send_report();
                if !self.reporting && std::mem::take(&mut self.report_again) {
                    self.begin_reports(false);
                }
            }
            None => {}
        }
    }

    fn chunk_done(&mut self, chunk: &ChunkRef, read: Read) {
        let (sent, answered) = match read {
            Read::Answered(sent, answered) => (sent, answered),
            Read::Damaged(error) => return self.set_aside(chunk, "damaged", error.to_string()),
            Read::Failed(error) => return self.unreadable(chunk, &error),
        };
        let outcome = Outcome::of(&sent, &answered);
        match outcome {
            Outcome::Stored => {
                self.shared.index.acknowledged(chunk);
                self.chores.send(Chore::Unlink(chunk.clone())).ok();
            }
            Outcome::SetAside(reason) => self.set_aside(chunk, reason, words(&answered)),
            Outcome::Split { foreign } => {
                self.chores.send(Chore::Split(chunk.clone())).ok();
                if foreign {
                    Counters::add(&self.shared.counters.not_understood, 1);
                    if sent.bytes < SMALL {
                        return self.pause("not_understood", &outcome, &answered);
                    }
                }
            }
            Outcome::Retry => {
                return self
                    .shared
                    .index
                    .put_back_later(chunk, |failures| wait(&Outcome::Retry, failures.max(2), fastrand::f64()));
            }
            Outcome::HoldLife(reason) => return self.hold(chunk, reason, &outcome, &answered),
            Outcome::HoldAll(reason) => {
                self.shared.index.put_back(chunk);
                return self.pause(reason, &outcome, &answered);
            }
            Outcome::Busy { .. } => {
                self.shared.index.put_back(chunk);
                return self.pause("busy", &outcome, &answered);
            }
        }
        self.failures = 0;
        self.window = (self.window * 2).min(IN_FLIGHT);
        self.shared.counters.blocked(None);
        if self.logged.take().is_some() {
            info!(endpoint = %self.client.endpoint(), "chunks are shipped again");
        }
    }

    fn set_aside(&self, chunk: &ChunkRef, reason: &'static str, error: String) {
        self.chores.send(Chore::SetAside(chunk.clone(), reason, error)).ok();
    }

    /// A file that cannot be read now says nothing about what is in it: it alone waits.
    fn unreadable(&self, chunk: &ChunkRef, error: &io::Error) {
        Counters::add(&self.shared.counters.file_failures, 1);
        let name = format!("{}/chunks/{}", chunk.boot, chunk.name);
        self.shared.counters.failed(format!("the chunk file `{name}` cannot be read now: {error}; it is tried again"));
        if error.kind() == ErrorKind::NotFound {
            self.chores.send(Chore::Missing(chunk.clone())).ok();
            return;
        }
        self.shared.index.put_back_later(chunk, |failures| {
            if failures == 0 {
                warn!(chunk = name, %error, "a chunk file cannot be read now; it is tried again");
            }
            wait(&Outcome::Busy { asked: None }, failures.saturating_add(2), fastrand::f64())
        });
    }

    /// This life's chunks wait; those of others go on.
    fn hold(
        &mut self,
        chunk: &ChunkRef,
        reason: &'static str,
        outcome: &Outcome,
        answered: &Result<Answer, PostError>,
    ) {
        let pause = wait(outcome, 0, fastrand::f64());
        let (endpoint, answer) = (self.client.endpoint(), words(answered));
        self.shared.index.put_back(chunk);
        if self.shared.index.hold(chunk.boot, pause, reason, &answer) {
            let boot = chunk.boot;
            warn!(%endpoint, %boot, reason, answer, "the ingestor takes no chunks of this life, which are kept; {}", fix(reason));
        }
        self.shared.counters.failed(format!(
            "`{endpoint}` takes no chunks of life {}: {answer}; {}",
            chunk.boot,
            fix(reason)
        ));
        Counters::add(&self.shared.counters.pauses, 1);
    }

    /// Waits, and says why: once for each kind of trouble.
    fn pause(&mut self, reason: &'static str, outcome: &Outcome, answered: &Result<Answer, PostError>) {
        let pause = wait(outcome, self.failures, fastrand::f64());
        self.shared.index.failed();
        self.window = 1;
        // Those that were under way together fail together: that is one failure.
        let now = Instant::now();
        if self.until.is_none_or(|until| until <= now) {
            self.failures = self.failures.saturating_add(1);
        }
        self.until = self.until.max(Some(now + pause));
        if reason == "not_understood" && !matches!(outcome, Outcome::Split { .. }) {
            Counters::add(&self.shared.counters.not_understood, 1);
        }
        let (endpoint, answer) = (self.client.endpoint(), words(answered));
        self.shared.counters.blocked(Some(reason));
        self.shared.counters.failed(format!("`{endpoint}` takes no chunks ({reason}): {answer}; {}", fix(reason)));
        // Last, so that whoever sees the count finds the reason.
        Counters::add(&self.shared.counters.pauses, 1);
        if self.logged.replace(reason) != Some(reason) {
            warn!(%endpoint, reason, answer, "the ingestor takes no chunks, which are kept; {}", fix(reason));
        }
    }

    fn report_done(&mut self, ended: &[StreamId], answered: &Result<Answer, PostError>) {
        let taken = ReportOutcome::of(answered);
        let heard: Vec<_> = ended.iter().filter(|id| taken.taken.contains(&id.to_string())).copied().collect();
        self.shared.index.end_reported(&heard);
        let (endpoint, answer) = (self.client.endpoint(), words(answered));
        if !taken.understood {
            // Whoever does not answer this one will not answer the others of this round.
            self.reports.clear();
            self.shared.counters.failed(format!("`{endpoint}` took no report of the streams: {answer}"));
        } else if let Some((stream, why)) = taken.refused.iter().next() {
            self.shared.counters.failed(format!("`{endpoint}` took no report of stream {stream}: {why}"));
        }
    }
}

/// What an operator can do about it.
fn fix(reason: &str) -> &'static str {
    match reason {
        "token" => "give the gateway a token that weir-analytics knows",
        "identity" => "give the gateway a token for that identity, or drop its events with `weirctl spool`",
        "version" => "update weir-analytics",
        "older_analytics" => "weir-analytics is older than this gateway: update it first",
        "clock" => "the clocks of this machine and of weir-analytics differ: set both by NTP",
        "not_understood" => "the answer is not weir-analytics': check the address, and any proxy in between",
        _ => "they are offered again",
    }
}

/// Reads a chunk file, checks its header, and offers it.
async fn offer(client: &Client, shared: &Shared, chunk: &ChunkRef, path: PathBuf) -> Read {
    let bytes: Bytes = match std::fs::read(path) {
        Ok(bytes) => bytes.into(),
        Err(error) => return Read::Failed(error),
    };
    let records = match ChunkHeader::decode(&bytes) {
        Ok(header)
            if (header.stream_id, header.first, header.last) != (chunk.stream, chunk.name.first, chunk.name.last) =>
        {
            return Read::Damaged(ChunkError::Order);
        }
        Ok(header) => Some(u64::from(header.count)),
        // The ingestor may be newer than this process.
        Err(ChunkError::Version(_)) => None,
        Err(error) => return Read::Damaged(error),
    };
    let sent = Sent {
        stream: chunk.stream.to_string(),
        first: chunk.name.first,
        last: chunk.name.last,
        records,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
    };
    weir_event::failpoint::pass("spool.before_send");
    Counters::add(&shared.counters.chunks_sent, 1);
    let answered = client.post("/v1/chunks", CHUNK_TYPE, bytes).await;
    weir_event::failpoint::pass("spool.after_send");
    Read::Answered(sent, answered)
}

fn words(answered: &Result<Answer, PostError>) -> String {
    match answered {
        Ok(answer) => format!("{} {}", answer.status, answer.text()).trim_end().to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}
