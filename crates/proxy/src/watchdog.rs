//! Workers that stand still: a page that a dead disk does not give, a debugger, an endless loop.
//!
//! New connections would wait at the sockets of such a worker: what waits there is accepted in its place and given to the
//! others, and its sockets are closed to the network. It gets new ones when it runs again. What it had open waits for it:
//! nobody else can touch that.

use crate::event_loop::Command;
use crate::listener::bind_another;
use crate::proxy::Proxy;
use crate::pulse::LONGEST;
use crate::running::Running;
use socket2::SockRef;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tracing::error;
use weir_event::Instant;

/// What a look has found out.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands still; so many connections that waited for it are the others' now.
    Stalled { worker: usize, still: Duration, moved: usize },
    /// It runs again.
    Revived { worker: usize },
}

impl Proxy {
    /// To be called once a second: sees which workers stand still for `limit`, and moves what waits for them.
    pub fn look_at_workers(&mut self, now: Instant, limit: Duration) -> Vec<Change> {
        let looks = self.workers.iter_mut().map(|worker| {
            let stalled = worker.pulse.look(worker.stats.turns(), now, limit) && !worker.stats.has_ended();
            (std::mem::replace(&mut worker.pulse.stalled, stalled), stalled)
        });
        let looks: Vec<_> = looks.collect();
        let change = |(worker, (before, stalled))| match (before, stalled) {
            (false, true) => Some(self.stall(worker)),
            (true, false) => Some(self.revive(worker)),
            (true, true) => {
                // A reload may have given it a socket meanwhile.
                self.relieve(worker);
                None
            }
            (false, false) => {
                self.give_back(worker);
                None
            }
        };
        looks.into_iter().enumerate().filter_map(change).collect()
    }

    /// The workers that stand still, and for how long.
    pub fn stalled(&self) -> impl Iterator<Item = (usize, Duration)> {
        let stalled = self.workers.iter().enumerate().filter(|(_, worker)| worker.pulse.stalled);
        stalled.map(|(number, worker)| (number, worker.pulse.still))
    }

    /// Of each worker: for how long it has not turned, and how often it stood still for too long.
    pub fn pulses(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.workers.iter().map(|worker| {
            let still = if worker.stats.has_ended() { Duration::ZERO } else { worker.pulse.still };
            (still, worker.pulse.stalls)
        })
    }

    fn stall(&mut self, number: usize) -> Change {
        self.workers[number].pulse.stalls += 1;
        let moved = self.relieve(number);
        Change::Stalled { worker: number, still: self.workers[number].pulse.still, moved }
    }

    /// Moves what waits at its sockets, and closes them. Answers how many connections that were.
    fn relieve(&mut self, number: usize) -> usize {
        let others: Vec<_> = (0..self.workers.len()).filter(|other| self.takes_more(*other)).collect();
        // With nobody to take them they wait at their sockets: better late than refused.
        if others.is_empty() {
            return 0;
        }
        let mut moved = 0;
        for (configured, socket) in std::mem::take(&mut self.workers[number].sockets) {
            moved += empty(&socket, |turn, stream, peer| {
                let other = &self.workers[others[turn % others.len()]];
                drop(other.commands.send(Command::Welcome(configured, stream, peer)));
            });
            self.workers[number].take(configured, &socket);
        }
        moved
    }

    fn takes_more(&self, number: usize) -> bool {
        let worker = &self.workers[number];
        !worker.pulse.stalled && !worker.stats.has_ended() && worker.pulse.still < LONGEST
    }

    fn revive(&mut self, number: usize) -> Change {
        self.give_back(number);
        Change::Revived { worker: number }
    }

    /// Gives a worker sockets for what was taken from it; what cannot be given is tried again with the next look.
    fn give_back(&mut self, number: usize) {
        let worker = &mut self.workers[number];
        for configured in std::mem::take(&mut worker.pulse.taken) {
            // Not what a reload has taken away meanwhile.
            let Some(actual) = self.listening.get(&configured) else { continue };
            match bind_another(*actual) {
                Ok(socket) => worker.listen(configured, socket),
                Err(error) => {
                    error!(worker = number, address = %actual, %error, "a worker that runs again gets no socket: the others serve this address, and it is tried again");
                    worker.pulse.taken.push(configured);
                }
            }
        }
    }
}

impl Running {
    /// Closes a socket to the network, whatever handles of it are open.
    fn take(&mut self, configured: SocketAddr, socket: &TcpListener) {
        // Fails only where it does not listen any more.
        drop(SockRef::from(socket).shutdown(Shutdown::Read));
        drop(self.commands.send(Command::Unlisten(configured)));
        self.pulse.taken.push(configured);
    }
}

/// Accepts all that waits. Answers how many that were.
fn empty(socket: &TcpListener, take: impl Fn(usize, TcpStream, SocketAddr)) -> usize {
    let mut moved = 0;
    while let Ok((stream, peer)) = socket.accept() {
        // Without it the stream cannot be used, and closing it says so.
        if stream.set_nonblocking(true).is_ok() {
            take(moved, stream, peer);
            moved += 1;
        }
    }
    moved
}
