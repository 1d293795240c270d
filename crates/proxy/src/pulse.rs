//! Workers that stand still: a page that a dead disk does not give, a debugger, an endless loop.
//!
//! Each worker counts up once a second; whoever looks at the counts once a second sees which one does not. New
//! connections would wait at its sockets: what waits there is accepted in its place and given to the others, and its
//! sockets are closed to the network. It gets new ones when it runs again. What it had open waits for it: nobody else
//! can touch that.

use crate::listener::bind_another;
use crate::proxy::{Proxy, Running};
use crate::worker::{Command, SWEEP};
use socket2::SockRef;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tracing::error;

/// The most that counts between two looks: where the whole process stood still, no worker did alone.
const LONGEST: Duration = SWEEP.saturating_mul(2);

/// What is known of one worker's turns.
#[derive(Default)]
pub(crate) struct Pulse {
    turns: u64,
    looked: Option<Instant>,
    still: Duration,
    /// Whether its time is over.
    stalled: bool,
    stalls: u64,
    /// What was taken from it, to be given back.
    taken: Vec<SocketAddr>,
}

/// What a look has found out.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands still; so many connections that waited for it are the others' now.
    Stalled { worker: usize, still: Duration, moved: usize },
    /// It runs again.
    Revived { worker: usize },
}

impl Pulse {
    /// Takes a look. Answers whether the worker stands still for `limit` or longer.
    fn look(&mut self, turns: u64, now: Instant, limit: Duration) -> bool {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        self.still = if turns == self.turns { self.still + since.min(LONGEST) } else { Duration::ZERO };
        self.turns = turns;
        self.still >= limit
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stands_still_when_its_count_does() {
        let (mut pulse, limit, start) = (Pulse::default(), Duration::from_secs(3), Instant::now());
        let mut look = |second, turns| pulse.look(turns, start + Duration::from_secs(second), limit);
        assert!(!look(0, 1) && !look(1, 2) && !look(2, 2) && !look(3, 2) && !look(4, 2 + 1));
        assert!(!look(5, 3) && !look(6, 3) && look(7, 3) && look(8, 3));
        assert!(!look(9, 4));
    }

    #[test]
    fn a_process_that_stood_still_as_a_whole_has_no_such_worker() {
        let (mut pulse, limit, start) = (Pulse::default(), Duration::from_secs(10), Instant::now());
        assert!(!pulse.look(5, start, limit));
        assert!(!pulse.look(5, start + Duration::from_secs(3600), limit));
    }
}
