//! The handle that the rest of the process has on the data plane: start, publish, drain.

use crate::event_loop::{Command, run, runtime};
use crate::listener::{BindError, Bound, Ports, bind};
use crate::pulse::Pulse;
use crate::registry::Registry;
use crate::running::Running;
use crate::sink::{SinkFactory, WorkerStats};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::worker::Worker;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use weir_config::{GatewayConfig, Live};
use weir_event::Instant;
use weir_transport::start_resolver;

/// Why the data plane cannot run a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("cannot start a thread: {0}; raise the limit of threads (`ulimit -u`, the `pids` limit of the container)")]
    Thread(std::io::Error),
    #[error("cannot start a worker: {0}; raise the limit of open files (`ulimit -n`, LimitNOFILE=)")]
    Worker(std::io::Error),
}

/// How much longer than its time a worker is waited for.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// As [`LEFT_BEHIND`], where it is hurried.
const LEFT_BEHIND_IN_A_HURRY: Duration = Duration::from_millis(500);

/// Workers that finish what is open.
pub struct Draining {
    threads: Vec<(usize, JoinHandle<()>)>,
    stats: Vec<Arc<WorkerStats>>,
    /// When a worker that has not ended is left behind.
    left_behind: Instant,
}

impl Draining {
    /// How often it is to be looked whether workers have ended.
    pub const LOOK: Duration = Duration::from_millis(5);

    /// Ends at once what is open.
    pub fn hurry(&mut self) {
        self.stats.iter().for_each(|stats| stats.hurry());
        self.left_behind = self.left_behind.min(Instant::now() + LEFT_BEHIND_IN_A_HURRY);
    }

    /// Looks whether the workers have ended, which each does at the deadline, or at once where it is hurried: one that
    /// stands still - a page that cannot be read, a debugger - is left behind a little later, and named.
    pub fn ended(&mut self) -> Option<Vec<usize>> {
        // A worker that panicked has nothing left to finish.
        self.threads.retain(|(_, thread)| !thread.is_finished());
        let over = self.threads.is_empty() || Instant::now() >= self.left_behind;
        over.then(|| self.threads.drain(..).map(|(worker, _)| worker).collect())
    }

    fn wait(mut self) {
        while self.ended().is_none() {
            std::thread::park_timeout(Self::LOOK);
        }
    }
}

/// The ports of a snapshot, open before anything else is begun. Who connects waits for the workers.
pub struct OpenPorts(Vec<Bound>);

impl OpenPorts {
    pub fn bind(snapshot: &Snapshot, workers: u16, ports: Ports) -> Result<Self, ProxyError> {
        Ok(Self(bind_all(snapshot.addresses(), usize::from(workers), &[], ports)?))
    }
}

/// The workers, and what they serve.
pub struct Proxy {
    live: Live<Snapshot>,
    pub(crate) workers: Vec<Running>,
    /// Configured address → actual address.
    pub(crate) listening: BTreeMap<SocketAddr, SocketAddr>,
    /// Old snapshots, kept until this is their only holder, so that no worker pays for freeing one.
    retired: Vec<Arc<Snapshot>>,
}

impl Proxy {
    /// Starts `workers` workers on `snapshot`. All its addresses are bound when this returns.
    pub fn start(snapshot: Snapshot, workers: u16, sinks: Arc<SinkFactory>) -> Result<Self, ProxyError> {
        let open = OpenPorts::bind(&snapshot, workers, Ports::Alone)?;
        Self::start_on(open, snapshot, workers, sinks)
    }

    /// As [`Proxy::start`], on ports that are open already.
    pub fn start_on(
        open: OpenPorts,
        snapshot: Snapshot,
        workers: u16,
        sinks: Arc<SinkFactory>,
    ) -> Result<Self, ProxyError> {
        start_resolver().map_err(ProxyError::Thread)?;
        let live = Live::new(snapshot);
        let running = (0..workers).map(|index| spawn(index, live.clone(), Arc::clone(&sinks)));
        let workers = running.collect::<Result<_, _>>()?;
        let mut proxy = Self { live, workers, listening: BTreeMap::new(), retired: Vec::new() };
        proxy.listen(open.0);
        proxy.tell_all(|| Command::Renew);
        Ok(proxy)
    }

    /// Puts a new snapshot in the old one's place. New addresses are bound first; if one cannot be, nothing
    /// changes. Requests that began under the old snapshot end under it.
    pub fn publish(&mut self, snapshot: Snapshot) -> Result<(), ProxyError> {
        let wanted: Vec<_> = snapshot.addresses().collect();
        let new = wanted.iter().copied().filter(|address| !self.listening.contains_key(address));
        let ours: Vec<_> = self.listening.values().copied().collect();
        let bound = bind_all(new, self.workers.len(), &ours, Ports::Alone)?;
        self.retired.push(self.live.publish(snapshot));
        self.listen(bound);
        let gone: Vec<_> = self.listening.keys().copied().filter(|address| !wanted.contains(address)).collect();
        for address in gone {
            self.listening.remove(&address);
            self.workers.iter_mut().for_each(|worker| drop(worker.sockets.remove(&address)));
            self.tell_all(|| Command::Unlisten(address));
        }
        // Last: a worker that says that it serves this generation has its listeners, too.
        self.tell_all(|| Command::Renew);
        self.reap();
        Ok(())
    }

    /// Frees the old snapshots that no worker holds any more. Answers how many are still held.
    pub fn reap(&mut self) -> usize {
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.retired.len()
    }

    /// The snapshot that new requests are served by.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.live.snapshot()
    }

    /// The generation that every worker has said to serve by, on all of its listeners.
    pub fn serving(&self) -> u32 {
        self.stats().map(|stats| stats.generation()).min().unwrap_or(0)
    }

    /// Where it listens: configured address → actual address (they differ where the port is 0).
    pub fn listening(&self) -> &BTreeMap<SocketAddr, SocketAddr> {
        &self.listening
    }

    /// The counts of each worker.
    pub fn stats(&self) -> impl Iterator<Item = &Arc<WorkerStats>> {
        self.workers.iter().map(|worker| &worker.stats)
    }

    /// Stops accepting and lets open requests finish for `limit`. What it served can still be asked for; nothing is
    /// published any more.
    pub fn begin_drain(&mut self, limit: Duration) -> Draining {
        self.workers.iter_mut().for_each(|worker| worker.sockets.clear());
        self.tell_all(|| Command::Drain(limit));
        let threads = self.workers.iter_mut().enumerate();
        let threads = threads.filter_map(|(worker, running)| Some((worker, running.thread.take()?))).collect();
        let stats = self.stats().cloned().collect();
        Draining { threads, stats, left_behind: Instant::now() + limit + LEFT_BEHIND }
    }

    /// Whether it was asked to end.
    pub fn is_draining(&self) -> bool {
        self.workers.iter().any(|worker| worker.thread.is_none())
    }

    /// Stops accepting, lets open requests finish for `limit`, and ends the workers.
    pub fn drain(mut self, limit: Duration) {
        self.begin_drain(limit).wait();
    }

    fn listen(&mut self, bound: Vec<Bound>) {
        for Bound { configured, actual, sockets } in bound {
            for (worker, socket) in self.workers.iter_mut().zip(sockets) {
                worker.listen(configured, socket);
            }
            self.listening.insert(configured, actual);
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // Fails only for a worker that has ended.
            drop(worker.commands.send(command()));
        }
    }
}

fn bind_all(
    addresses: impl Iterator<Item = SocketAddr>,
    workers: usize,
    ours: &[SocketAddr],
    ports: Ports,
) -> Result<Vec<Bound>, BindError> {
    addresses.map(|address| bind(address, workers, ours, ports)).collect()
}

fn spawn(index: u16, live: Live<Snapshot>, sinks: Arc<SinkFactory>) -> Result<Running, ProxyError> {
    let stats = Arc::new(WorkerStats::default());
    let (commands, received) = mpsc::unbounded_channel();
    let shared = Arc::clone(&stats);
    let (tell, started) = sync_channel(1);
    let body = move || match runtime() {
        Ok(runtime) => {
            drop(tell.send(Ok(())));
            run(runtime, Worker::new(index, &live, sinks(index), shared), received);
        }
        Err(error) => drop(tell.send(Err(error))),
    };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body).map_err(ProxyError::Thread)?;
    // Nobody is informed that the gateway listens while a worker may still lack a descriptor.
    let ended = |_| Err(std::io::Error::other("the thread has ended"));
    started.recv().unwrap_or_else(ended).map_err(ProxyError::Worker)?;
    Ok(Running { commands, stats, thread: Some(thread), sockets: BTreeMap::new(), pulse: Pulse::default() })
}

impl Snapshot {
    /// As [`Snapshot::compile`], numbered after `self`.
    pub fn next(&self, config: &GatewayConfig, registry: &Registry) -> Result<Self, SnapshotError> {
        Self::compile(config, self.generation() + 1, registry)
    }

    /// How long open requests may take once the process is asked to end.
    pub fn drain_limit(&self) -> Duration {
        self.drain
    }
}
