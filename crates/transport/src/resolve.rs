//! Names to addresses by the system's resolver, which blocks: on threads of this process's own.
//!
//! The runtime's blocking threads would do, but it starts them when they are needed, and panics where none can be had. Here
//! [`KEPT`] are there from the start; more come with more names at once and go again, and where no more can be had the
//! names wait for one. Whoever has given up waiting costs no lookup.

use hyper_util::client::legacy::connect::dns::Name;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tower_service::Service;

/// Threads that stay.
const KEPT: usize = 2;
/// Threads at most: a name server that is silent keeps one for each name that is asked for.
const MOST: usize = 512;
/// How long a thread beyond those stays without work.
const IDLE: Duration = Duration::from_secs(10);

static THREADS: Threads = Threads { state: Mutex::new(State::new()), asked: Condvar::new() };

struct Threads {
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    waiting: VecDeque<Lookup>,
    threads: usize,
    idle: usize,
}

struct Lookup {
    host: String,
    port: u16,
    answer: oneshot::Sender<io::Result<Vec<SocketAddr>>>,
}

/// Starts the threads that stay; does nothing where they run.
///
/// # Errors
/// No thread can be started.
pub fn start_resolver() -> io::Result<()> {
    let mut state = THREADS.lock();
    while state.threads < KEPT {
        state.start_thread()?;
    }
    Ok(())
}

/// The addresses of a name, in the order that the system gives. An address is its own name.
///
/// # Errors
/// The name has none, or there is no thread that could ask.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (answer, answered) = oneshot::channel();
    THREADS.ask(Lookup { host: host.to_owned(), port, answer })?;
    answered.await.unwrap_or_else(|_| Err(io::Error::other("the system's resolver failed")))
}

/// [`lookup`] for the connectors of hyper-util.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resolver;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The connector puts its port in.
        Box::pin(async move { Ok(lookup(name.as_str(), 0).await?.into_iter()) })
    }
}

impl State {
    const fn new() -> Self {
        Self { waiting: VecDeque::new(), threads: 0, idle: 0 }
    }

    fn start_thread(&mut self) -> io::Result<()> {
        std::thread::Builder::new().name("resolver".to_owned()).spawn(|| THREADS.serve())?;
        self.threads += 1;
        Ok(())
    }
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, lookup: Lookup) -> io::Result<()> {
        let mut state = self.lock();
        if state.idle <= state.waiting.len() && state.threads < MOST {
            let started = state.start_thread();
            // Some thread comes to it.
            if state.threads == 0 {
                started?;
            }
        }
        state.waiting.push_back(lookup);
        drop(state);
        self.asked.notify_one();
        Ok(())
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(Lookup { host, port, answer }) = state.waiting.pop_front() {
                drop(state);
                if !answer.is_closed() {
                    // It may have given up meanwhile.
                    answer.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect)).ok();
                }
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (woken, wait) = self.asked.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.waiting.is_empty() && state.threads > KEPT {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_found_and_those_that_are_none_are_reported() {
        start_resolver().unwrap();
        let found = lookup("localhost", 80).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        assert!(lookup("no name", 80).await.is_err());
        assert_eq!(lookup("::1", 443).await.unwrap(), [SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 443))]);
    }
}
