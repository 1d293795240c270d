//! The spool of one gateway process: the handle that the program holds.

use crate::config::{SpoolConfig, SpoolError};
use crate::counters::SpoolStats;
use crate::endpoint::Endpoint;
use crate::folder::BootFolder;
use crate::housekeeper::Housekeeper;
use crate::ledger::StreamLedger;
use crate::names::NamesLog;
use crate::ring::{self, RingReader, RingWriter};
use crate::shared::{Chore, Command, Shared};
use crate::shipper::Shipper;
use crate::spooler::Spooler;
use crate::stream_writer::StreamWriter;
use crate::tail::Tail;
use rustls::crypto::aws_lc_rs;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use weir_api::gauges::Gauges;
use weir_event::{BootId, Identity, Names};

/// Rings, chunk files and shipper of this process. Dropped without [`Spool::stop`], it leaves on disk what the
/// next life takes over.
pub struct Spool {
    shared: Arc<Shared>,
    names_log: Mutex<NamesLog>,
    commands: Sender<Command>,
    chores: Sender<Chore>,
    spooler: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
    shipper: Option<Shipper>,
}

impl Spool {
    /// Makes this life's folder and a ring for each of `workers` workers, and starts the spool's thread. What earlier
    /// lives left is taken over from there.
    pub fn start(
        config: SpoolConfig,
        identity: Identity,
        workers: u16,
        names: Arc<Names>,
    ) -> Result<(Self, Vec<RingWriter>), SpoolError> {
        let path = config.path.clone();
        let folder = BootFolder::create(&path, random_boot(), identity, workers)
            .map_err(|error| SpoolError::Folder { path, error })?;
        let folder = Arc::new(folder);
        let path = folder.names();
        let names_log = NamesLog::create(&path).map_err(|error| SpoolError::Names { path, error })?;
        let shared = Shared::new(config, Arc::clone(&folder), names);
        let rings = make_rings(&folder, workers, shared.config.ring_bytes).inspect_err(|_| drop(folder.remove()))?;
        let (mut ring_writers, mut stream_writers) = (Vec::new(), Vec::new());
        for (worker, (writer, reader)) in (0..).zip(rings) {
            let stream = folder.stream(worker);
            shared.index.open(stream.clone(), &folder, false);
            ring_writers.push(writer);
            stream_writers.push(StreamWriter::new(reader, stream, Arc::clone(&folder)));
        }
        *shared.rings.lock().unwrap_or_else(PoisonError::into_inner) =
            stream_writers.iter().map(StreamWriter::fill).collect();
        let shared = Arc::new(shared);
        let (commands, receiver) = channel();
        let spooler = Spooler::new(Arc::clone(&shared), stream_writers);
        let spooler = thread("weir-spool", move || spooler.run(receiver))?;
        let (chores, receiver) = channel();
        let housekeeper = Housekeeper::new(Arc::clone(&shared));
        let housekeeper = thread("weir-housekeeper", move || housekeeper.run(receiver))?;
        let names_log = Mutex::new(names_log);
        let spool = Self { shared, names_log, commands, chores, spooler, housekeeper, shipper: None };
        spool.sync_names()?;
        Ok((spool, ring_writers))
    }

    /// Returns when every name that is registered now is on disk; to be called before a snapshot that uses them is
    /// published.
    pub fn sync_names(&self) -> Result<(), SpoolError> {
        let mut log = self.names_log.lock().unwrap_or_else(PoisonError::into_inner);
        let path = || self.shared.config.path.join(self.boot().to_string()).join("names");
        log.sync(&self.shared.names).map_err(|error| SpoolError::Names { path: path(), error })
    }

    /// The id of this life.
    pub fn boot(&self) -> BootId {
        self.shared.boot
    }

    /// Names where the number of requests that each worker has counted comes from: the ledger's `accepted`. Until
    /// then the rings are believed. Only the first call counts.
    pub fn accepted_from(&self, accepted: impl Fn(u16) -> u64 + Send + Sync + 'static) {
        self.shared.accepted.set(Box::new(accepted)).ok();
    }

    /// Names where a sample of the process comes from that goes with each report. The shipper asks for it on its own
    /// thread, so it must not wait for anybody; `None` leaves it out of this report. Only the first call counts.
    pub fn gauges_from(&self, sample: impl Fn() -> Option<Gauges> + Send + Sync + 'static) {
        self.shared.gauges.set(Box::new(sample)).ok();
        self.shared.report_now.notify_one();
    }

    /// Starts to ship chunks to `endpoint`; without it they stay on disk, within the spool's bounds. A second call
    /// has no effect.
    pub fn ship_to(&mut self, endpoint: Endpoint) -> Result<(), SpoolError> {
        if self.shipper.is_none() {
            self.shipper = Some(Shipper::start(endpoint, Arc::clone(&self.shared), self.chores.clone())?);
        }
        Ok(())
    }

    /// The figures of this moment.
    pub fn stats(&self) -> SpoolStats {
        let mut stats = self.shared.counters.snapshot();
        stats.rings.clone_from(&self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.index.describe(&mut stats);
        (stats.set_aside_chunks, stats.set_aside_bytes) = self.shared.set_aside.totals();
        stats.limit_bytes = self.shared.config.max_bytes;
        stats
    }

    /// Where every sequence number is, for each stream of this life and of those taken over.
    pub fn ledger(&self) -> Vec<StreamLedger> {
        self.shared.ledgers()
    }

    /// Listens to the events from now on.
    pub fn tail(&self) -> Tail {
        self.shared.listeners.subscribe()
    }

    /// Puts everything that was committed into chunk files; returns when that was done, or was tried and the disk
    /// was in the way.
    pub fn flush(&self) -> Result<(), SpoolError> {
        let (done, wait) = sync_channel(1);
        self.commands.send(Command::Flush(done)).map_err(|_| SpoolError::Ended)?;
        wait.recv().map_err(|_| SpoolError::Ended)
    }

    /// As [`Spool::stop_until`], for this long.
    pub fn stop(self, within: Duration) -> Result<(), SpoolError> {
        self.stop_until(Instant::now() + within, || false)
    }

    /// Ends the spool, after the workers: everything committed goes to chunk files, which takes what it takes; then
    /// it is shipped, and the end of the streams reported, until `deadline`, or until it is `hurried`. What is left stays on
    /// disk.
    pub fn stop_until(mut self, deadline: Instant, hurried: impl Fn() -> bool) -> Result<(), SpoolError> {
        self.flush()?;
        if let Some(shipper) = self.shipper.take() {
            shipper.stop(deadline, hurried);
        }
        let (done, wait) = sync_channel(1);
        self.commands.send(Command::Finish(done)).map_err(|_| SpoolError::Ended)?;
        let all_sealed = wait.recv().map_err(|_| SpoolError::Ended)?;
        self.spooler.join().map_err(|_| SpoolError::Ended)?;
        self.chores.send(Chore::Finish(all_sealed)).map_err(|_| SpoolError::Ended)?;
        self.housekeeper.join().map_err(|_| SpoolError::Ended)
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SpoolError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(SpoolError::Thread)
}

fn make_rings(folder: &BootFolder, workers: u16, bytes: u64) -> Result<Vec<(RingWriter, RingReader)>, SpoolError> {
    let make = |worker| {
        let path = folder.ring(worker);
        ring::create(&path, folder.boot, worker, bytes).map_err(|error| SpoolError::Ring { path, error })
    };
    (0..workers).map(make).collect()
}

/// From the system's source of randomness: two machines of one image that start together must differ.
fn random_boot() -> BootId {
    let mut boot = fastrand::u128(1..).to_le_bytes();
    // It fails where the system has no randomness; then the clock and the address space have to do.
    aws_lc_rs::default_provider().secure_random.fill(&mut boot).ok();
    BootId(boot)
}
