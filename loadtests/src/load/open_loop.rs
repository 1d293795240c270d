//! Requests at a fixed rate, whatever the answers take: the time of each counts from when it was to be sent, so that a
//! stall is seen by all who would have come meanwhile (no coordinated omission).
//!
//! One thread, one `epoll` and kept connections. A request whose turn comes when every connection is busy waits, and its
//! waiting counts. A connection that was closed while idle is opened anew; one that was closed on a request without a byte
//! of an answer is too, and the request sent once more, as RFC 9112, 9.3.1 lets a client (its time goes on).

use super::http;
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const LAST: Duration = Duration::from_secs(10);

/// What is sent, and how often.
pub struct Pace<'a> {
    pub target: SocketAddr,
    /// Sent in turn.
    pub paths: &'a [String],
    pub per_second: u64,
    pub connections: usize,
    pub time: Duration,
}

/// What came of it. Latencies in nanoseconds, from the time that was meant.
pub struct Paced {
    pub latencies: Histogram<u64>,
    pub sent: u64,
    pub errors: u64,
    /// How late the generator itself was: of requests with a connection free, from the time that was meant to the sending.
    pub late: Histogram<u64>,
    /// Requests whose turn came when every connection was busy.
    pub queued: u64,
    /// Connections that the proxy closed while they were idle, or on a request that was then sent once more.
    pub closed: u64,
}

struct Connection {
    stream: TcpStream,
    /// When the request under way was to be sent.
    meant: Option<Instant>,
    /// Which of the requests that is, and whether it is sent for the second time.
    request: usize,
    again: bool,
    answer: Vec<u8>,
}

/// Sends at the pace until the time is over, then waits for what is under way.
pub fn run(pace: &Pace) -> io::Result<Paced> {
    let mut fleet = Fleet::connect(pace)?;
    let step = 1_000_000_000 / pace.per_second.max(1);
    let begun = Instant::now();
    let end = begun + pace.time;
    let turn = |sent: u64| begun + Duration::from_nanos(step * sent);
    loop {
        fleet.send_what_is_due(turn, end)?;
        let (meant, now) = (turn(fleet.outcome.sent), Instant::now());
        let over = meant >= end;
        if (over && fleet.under_way() == 0) || now > end + LAST {
            fleet.outcome.errors += fleet.under_way() as u64;
            return Ok(fleet.outcome);
        }
        let idle = over || fleet.free.is_empty();
        fleet.wait(if idle { Duration::from_millis(10) } else { meant.saturating_duration_since(now) })?;
    }
}

struct Fleet {
    target: SocketAddr,
    requests: Vec<Vec<u8>>,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    /// The request whose turn it is has been waiting for a connection.
    starved: bool,
    outcome: Paced,
    buffer: Vec<u8>,
}

impl Fleet {
    fn connect(pace: &Pace) -> io::Result<Self> {
        // Three digits, up to a minute.
        let histogram = || Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other);
        let (latencies, late) = (histogram()?, histogram()?);
        let mut fleet = Self {
            target: pace.target,
            requests: pace.paths.iter().map(|path| http::request(path)).collect(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(pace.connections),
            free: (0..pace.connections).collect(),
            starved: false,
            outcome: Paced { latencies, sent: 0, errors: 0, late, queued: 0, closed: 0 },
            buffer: vec![0; 65536],
        };
        for index in 0..pace.connections {
            let connection = fleet.open(index)?;
            fleet.connections.push(connection);
        }
        Ok(fleet)
    }

    fn open(&self, index: usize) -> io::Result<Connection> {
        let stream = http::connect(self.target)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        Ok(Connection { stream, meant: None, request: 0, again: false, answer: Vec::with_capacity(4096) })
    }

    fn under_way(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    fn send_what_is_due(&mut self, turn: impl Fn(u64) -> Instant, end: Instant) -> io::Result<()> {
        loop {
            let (meant, now) = (turn(self.outcome.sent), Instant::now());
            if meant > now || meant >= end {
                return Ok(());
            }
            let Some(index) = self.free.pop_front() else {
                self.starved = true;
                return Ok(());
            };
            if std::mem::take(&mut self.starved) {
                self.outcome.queued += 1;
            } else {
                self.outcome.late.saturating_record((now - meant).as_nanos() as u64);
            }
            let connection = &mut self.connections[index];
            connection.meant = Some(meant);
            connection.answer.clear();
            connection.request = (self.outcome.sent % self.requests.len() as u64) as usize;
            connection.again = false;
            self.outcome.sent += 1;
            if connection.stream.write_all(&self.requests[connection.request]).is_err() {
                self.broken(index)?;
            }
        }
    }

    fn wait(&mut self, wait: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other?,
        };
        events.iter().try_for_each(|event| self.read(event.data.u64() as usize))
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        match connection.stream.read(&mut self.buffer) {
            Ok(read) if read > 0 => connection.answer.extend_from_slice(&self.buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            _ => return self.broken(index),
        }
        let Some(head) = http::head(&connection.answer) else { return Ok(()) };
        if (connection.answer.len() as u64) < head.bytes as u64 + head.body.unwrap_or(0) {
            return Ok(());
        }
        if let Some(meant) = connection.meant.take() {
            self.outcome.errors += u64::from(head.status != 200);
            self.outcome.latencies.saturating_record(meant.elapsed().as_nanos() as u64);
            self.free.push_back(index);
        }
        Ok(())
    }

    /// Another connection in its place.
    fn broken(&mut self, index: usize) -> io::Result<()> {
        let mut new = self.open(index)?;
        let old = &self.connections[index];
        match old.meant {
            None => self.outcome.closed += 1,
            Some(meant) if old.answer.is_empty() && !old.again => {
                self.outcome.closed += 1;
                (new.meant, new.request, new.again) = (Some(meant), old.request, true);
                // Should this fail, the reading will tell.
                let _ = new.stream.write_all(&self.requests[old.request]);
            }
            Some(_) => {
                self.outcome.errors += 1;
                self.free.push_back(index);
            }
        }
        self.connections[index] = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that answers, and is still for a while once.
    fn stalling_server(stall: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut buffer, mut served) = ([0; 4096], 0);
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                served += 1;
                if served == 100 {
                    crate::child::pause(stall);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            }
        });
        address
    }

    #[test]
    fn a_request_that_met_a_closing_connection_is_sent_once_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            // Four answers a connection; the fifth request meets its end.
            for stream in listener.incoming() {
                let (mut stream, mut buffer) = (stream.unwrap(), [0; 4096]);
                for _ in 0..4 {
                    if !stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        break;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
                let _ = stream.read(&mut buffer);
            }
        });
        let paths = ["/".to_owned()];
        let pace = Pace { target, paths: &paths, per_second: 100, connections: 1, time: Duration::from_millis(200) };
        let paced = run(&pace).unwrap();
        assert_eq!((paced.sent, paced.errors, paced.latencies.len(), paced.closed), (20, 0, 20, 4));
    }

    #[test]
    fn a_stall_is_seen_by_all_who_would_have_come_meanwhile() {
        let target = stalling_server(Duration::from_millis(300));
        let paths = ["/".to_owned()];
        let pace = Pace { target, paths: &paths, per_second: 500, connections: 1, time: Duration::from_secs(1) };
        let paced = run(&pace).unwrap();
        assert_eq!((paced.sent, paced.errors, paced.latencies.len()), (500, 0, 500));
        // A closed loop would have seen one slow answer of 500. Here the 150 of these 300 ms waited, 50 of them 200 ms.
        let slow = paced.latencies.count_between(200_000_000, 60_000_000_000);
        assert!((30..=100).contains(&slow), "{slow}");
        assert!(paced.queued >= 1);
    }
}
