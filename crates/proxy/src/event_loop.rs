//! A worker's thread: what it is sent, its accept loops, its look at its connections, and its end.
//!
//! A worker is sent signals by [`Command`]s and tells nothing back but its `WorkerStats`.

use crate::connection::Connection;
use crate::connections::Connections;
use crate::welcome::{accept_loop, welcome_from_elsewhere};
use crate::worker::{SWEEP, Worker};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error};
use weir_event::Instant;

/// What a worker is sent.
pub(crate) enum Command {
    /// Accept on this socket too. The address is the configured one.
    Listen(SocketAddr, StdListener),
    /// Accept no more at this address.
    Unlisten(SocketAddr),
    /// Serve a connection that was accepted for a worker that stands still. The address is the configured one.
    Welcome(SocketAddr, TcpStream, SocketAddr),
    /// Take up the newest snapshot, and say so.
    Renew,
    /// Accept no more at all, finish what is open within this time, then end.
    Drain(Duration),
}

/// A worker's accept loops, by configured address.
type Listeners = HashMap<SocketAddr, (oneshot::Sender<()>, JoinHandle<()>)>;

/// What a worker runs on. Tasks of one thread without a `LocalSet` between them and the runtime: 3 % fewer instructions a
/// request. Made on the worker's thread.
pub(crate) fn runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Runs a worker on the calling thread until it has drained.
pub(crate) fn run(runtime: LocalRuntime, worker: Worker, commands: mpsc::UnboundedReceiver<Command>) {
    let worker = Rc::new(worker);
    let connections = Rc::new(Connections::new(Rc::clone(&worker)));
    runtime.block_on(obey(connections, commands));
    worker.ends();
    // What did not finish in time is dropped with the tasks here: each open exchange records itself as cancelled. A name
    // that is still being looked up does not hold up the end.
    runtime.shutdown_background();
    worker.stats().end();
}

async fn obey(connections: Rc<Connections>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listeners = Listeners::new();
    let mut tick = interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(address, socket)) => listen(&connections, &mut listeners, address, socket),
                Some(Command::Unlisten(address)) => drop(listeners.remove(&address)),
                Some(Command::Welcome(address, stream, peer)) => welcome_from_elsewhere(&connections, address, stream, peer),
                Some(Command::Renew) => renew(connections.worker()),
                Some(Command::Drain(limit)) => return drain(&connections, listeners, limit).await,
                None => return drain(&connections, listeners, Duration::ZERO).await,
            },
            now = tick.tick() => sweep(&connections, Instant::from_std(now.into_std())),
        }
    }
}

fn renew(worker: &Worker) {
    worker.stats().set_generation(worker.snapshot().generation());
}

fn sweep(connections: &Connections, now: Instant) {
    let worker = connections.worker();
    worker.stats().turn();
    let snapshot = worker.snapshot();
    let limit = snapshot.timeouts.downstream_connection_idle;
    let blocked = snapshot.timeouts.stream_idle;
    connections.each(|connection| connection.sweep(now, limit, blocked));
    worker.pool.evict(now, &snapshot.upstream_timeouts());
}

fn listen(connections: &Rc<Connections>, listeners: &mut Listeners, address: SocketAddr, socket: StdListener) {
    match TcpListener::from_std(socket) {
        Ok(listener) => {
            let (stop, stopped) = oneshot::channel();
            let accepting = tokio::task::spawn_local(accept_loop(Rc::clone(connections), address, listener, stopped));
            listeners.insert(address, (stop, accepting));
        }
        Err(error) => error!(%address, %error, "a worker cannot use its listener"),
    }
}

async fn drain(connections: &Rc<Connections>, listeners: Listeners, limit: Duration) {
    let deadline = Instant::now() + limit;
    for (stop, accepting) in listeners.into_values() {
        drop(stop);
        // It takes in what is queued before it ends; if it panicked there is nothing more to take in.
        drop(accepting.await);
    }
    let mut tick = interval(Duration::from_millis(10));
    loop {
        connections.each(Connection::drain);
        sweep(connections, Instant::now());
        let open = connections.len();
        if open == 0 || Instant::now() >= deadline || connections.worker().stats().is_hurried() {
            debug!(open, "worker drained");
            return;
        }
        tick.tick().await;
    }
}
