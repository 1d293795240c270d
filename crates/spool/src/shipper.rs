//! The shipper: offers chunk files to the ingestor, oldest first in every stream, at most two at a time and those
//! of different streams, and tells it every ten seconds how far each stream has got.
//!
//! Its own thread with its own small runtime. It deletes nothing and decides nothing about files: it tells the
//! spool's thread how a journey ended.

use crate::answer::{Class, wait};
use crate::client::{Answer, Client, PostError};
use crate::config::SpoolError;
use crate::counters::Counters;
use crate::endpoint::Endpoint;
use crate::report::report;
use crate::shared::{Command, Shared, step_behind};
use crate::shelf::{Parcel, Verdict};
use bytes::Bytes;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout_at};
use tracing::{info, warn};
use weir_event::StreamId;

/// Chunks on their way at once, at most: one at first and after a failure, twice as many after each that was stored.
/// Each waits for its block to be stored, about 0.3 s: one at a time, a backlog of chunks of
/// one second each would take a third of the outage to ship; sixteen share a block.
const IN_FLIGHT: usize = 16;
const REPORT_EVERY: Duration = Duration::from_secs(10);
const CHUNK_TYPE: &str = "application/vnd.weir.chunk";

/// The handle of the shipper's thread.
pub(crate) struct Shipper {
    stop: watch::Sender<Option<Instant>>,
    thread: JoinHandle<()>,
}

impl Shipper {
    pub(crate) fn start(
        endpoint: Endpoint,
        shared: Arc<Shared>,
        commands: Sender<Command>,
    ) -> Result<Self, SpoolError> {
        let (stop, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SpoolError::Thread)?;
        let journey = Journey {
            client: Arc::new(Client::new(endpoint)),
            shared,
            commands,
            under_way: JoinSet::new(),
            parcels: 0,
            window: 1,
            reporting: false,
            report_again: false,
            failures: 0,
            until: None,
            said: None,
        };
        let thread = std::thread::Builder::new()
            .name("weir-shipper".into())
            .spawn(move || {
                step_behind();
                runtime.block_on(journey.run(stopped));
            })
            .map_err(SpoolError::Thread)?;
        Ok(Self { stop, thread })
    }

    /// Ships what is left and tells the end of the streams, until `deadline` at the latest.
    pub(crate) fn stop(self, deadline: Instant) {
        self.stop.send(Some(deadline)).ok();
        self.thread.join().ok();
    }
}

/// What one request was about.
enum Done {
    Parcel(Parcel, io::Result<Result<Answer, PostError>>),
    Report(Vec<StreamId>, Result<Answer, PostError>),
}

struct Journey {
    client: Arc<Client>,
    shared: Arc<Shared>,
    commands: Sender<Command>,
    under_way: JoinSet<Done>,
    parcels: usize,
    /// How many of them there may be.
    window: usize,
    reporting: bool,
    /// Something happened that the report under way does not tell.
    report_again: bool,
    /// In a row.
    failures: u32,
    /// Nothing is sent before.
    until: Option<Instant>,
    /// The trouble that was told last, by its class.
    said: Option<&'static str>,
}

impl Journey {
    async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut tick = interval(REPORT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = loop {
            self.send_parcels();
            let until = self.until;
            tokio::select! {
                stopped = stop.wait_for(Option::is_some) => {
                    break stopped.ok().and_then(|deadline| *deadline).unwrap_or_else(Instant::now);
                }
                Some(done) = self.under_way.join_next() => self.done(done.ok()),
                () = self.shared.shelf.ready.notified() => {}
                () = self.shared.ended.notified() => self.send_report(false),
                _ = tick.tick() => self.send_report(false),
                () = at(until) => self.until = None,
            }
        };
        // What is not done by then is done by the next life.
        timeout_at(deadline.into(), self.finish()).await.ok();
    }

    /// The last attempt: as long as nothing fails, everything that is left; then the end of the streams.
    async fn finish(&mut self) {
        (self.until, self.failures) = (None, 0);
        while self.until.is_none() && !(self.parcels == 0 && self.shared.shelf.is_empty()) {
            self.send_parcels();
            tokio::select! {
                Some(done) = self.under_way.join_next() => self.done(done.ok()),
                () = self.shared.shelf.ready.notified() => {}
            }
        }
        while let Some(done) = self.under_way.join_next().await {
            self.done(done.ok());
        }
        self.send_report(true);
        while let Some(done) = self.under_way.join_next().await {
            self.done(done.ok());
        }
    }

    fn send_parcels(&mut self) {
        while self.until.is_none() && self.parcels < self.window {
            let Some(parcel) = self.shared.shelf.take() else { return };
            self.parcels += 1;
            let (client, shared) = (Arc::clone(&self.client), Arc::clone(&self.shared));
            self.under_way.spawn(async move {
                let sent = match std::fs::read(&parcel.path) {
                    Ok(bytes) => Ok(send(&client, &shared, bytes.into()).await),
                    Err(error) => Err(error),
                };
                Done::Parcel(parcel, sent)
            });
        }
    }

    fn send_report(&mut self, closing: bool) {
        if self.reporting {
            self.report_again = true;
            return;
        }
        self.reporting = true;
        let ledgers = self.shared.ledgers();
        let (body, ended) = report(&ledgers, closing);
        let client = Arc::clone(&self.client);
        self.under_way.spawn(async move {
            let answered = client.post("/v1/streams", "application/json", body.into()).await;
            Done::Report(ended, answered)
        });
    }

    fn done(&mut self, done: Option<Done>) {
        match done {
            Some(Done::Parcel(parcel, answered)) => {
                self.parcels -= 1;
                self.parcel_done(&parcel, answered);
            }
            Some(Done::Report(ended, answered)) => {
                self.reporting = false;
                self.report_done(&ended, &answered);
                if std::mem::take(&mut self.report_again) {
                    self.send_report(false);
                }
            }
            None => {}
        }
    }

    fn parcel_done(&mut self, parcel: &Parcel, answered: io::Result<Result<Answer, PostError>>) {
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => return self.unreadable(parcel, &error),
        };
        let class = Class::of(&answered);
        match class {
            Class::Stored => self.settle(parcel, Verdict::Stored),
            Class::Refused => {
                self.told(parcel, &answered);
                self.settle(parcel, Verdict::Refused);
            }
            Class::Held | Class::Busy { .. } => {
                self.shared.shelf.put_back(parcel);
                return self.pause(class, &answered);
            }
        }
        self.failures = 0;
        self.window = (self.window * 2).min(IN_FLIGHT);
        if self.said.take().is_some() {
            info!(endpoint = %self.client.endpoint(), "chunks are shipped again");
        }
    }

    fn settle(&self, parcel: &Parcel, verdict: Verdict) {
        self.commands.send(Command::Settled(parcel.clone(), verdict)).ok();
    }

    fn unreadable(&self, parcel: &Parcel, error: &io::Error) {
        let path = parcel.path.display();
        self.shared.counters.failed(format!("the chunk file `{path}` cannot be read and is set aside: {error}"));
        warn!(path = %path, %error, "a chunk file cannot be read and is set aside");
        self.settle(parcel, Verdict::Refused);
    }

    fn told(&self, parcel: &Parcel, answered: &Result<Answer, PostError>) {
        let (path, answer) = (parcel.path.display(), words(answered));
        warn!(path = %path, answer, "the ingestor refused a chunk; it is set aside");
        self.shared.counters.failed(format!("the ingestor refused chunk `{path}`, which is set aside: {answer}"));
    }

    /// Waits, and says why: once for each kind of trouble.
    fn pause(&mut self, class: Class, answered: &Result<Answer, PostError>) {
        let pause = wait(class, self.failures, fastrand::f64());
        self.window = 1;
        // Those that were under way together fail together: that is one failure.
        if self.until.is_none() {
            self.failures = self.failures.saturating_add(1);
        }
        self.until = self.until.max(Some(Instant::now() + pause));
        let (kind, cure) = match class {
            Class::Held => ("held", "check token, address and version; chunks are kept"),
            _ => ("busy", "chunks are kept and offered again"),
        };
        let (endpoint, answer) = (self.client.endpoint(), words(answered));
        self.shared.counters.failed(format!("`{endpoint}` takes no chunks: {answer}; {cure}"));
        // Last, so that whoever sees the count finds the reason.
        Counters::add(&self.shared.counters.pauses, 1);
        if self.said.replace(kind) != Some(kind) {
            warn!(%endpoint, answer, "the ingestor takes no chunks; {cure}");
        }
    }

    fn report_done(&mut self, ended: &[StreamId], answered: &Result<Answer, PostError>) {
        match Class::of(answered) {
            Class::Stored => self.shared.shelf.end_told(ended),
            _ => {
                let (endpoint, answer) = (self.client.endpoint(), words(answered));
                self.shared.counters.failed(format!("`{endpoint}` took no report of the streams: {answer}"));
            }
        }
    }
}

async fn send(client: &Client, shared: &Shared, bytes: Bytes) -> Result<Answer, PostError> {
    weir_event::failpoint::pass("spool.before_send");
    Counters::add(&shared.counters.chunks_sent, 1);
    let answered = client.post("/v1/chunks", CHUNK_TYPE, bytes).await;
    weir_event::failpoint::pass("spool.after_send");
    answered
}

fn words(answered: &Result<Answer, PostError>) -> String {
    match answered {
        Ok(answer) => format!("{} {}", answer.status, answer.text).trim_end().to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}
