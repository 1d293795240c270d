//! The task of a connection: it moves the frames of all streams, and asks a peer that says nothing whether it is there.
//!
//! A PING goes out when requests wait and nothing has come for [`QUIET`], which may be at once on a connection that had
//! none; without an answer in [`ANSWER`] the connection
//! is dead, and its requests are told. Behind an answer the next goes out only after [`AGAIN`] unless something else has
//! come: servers of gRPC end a connection of somebody who asks more often than every five minutes while they have nothing
//! to say (gRPC, "Client-side Keepalive").

use super::io::Heard;
use super::vital::Vital;
use crate::descriptors::Descriptor;
use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

/// Requests wait and nothing comes: the peer is asked.
const QUIET: Duration = Duration::from_secs(30);
/// So long it may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// The peer has answered and is quiet since: it is asked again.
const AGAIN: Duration = Duration::from_secs(330);

/// A connection until it ends.
pub(super) struct Driver {
    connection: Connection<Heard, Bytes>,
    vital: Rc<Vital>,
    ping: Option<PingPong>,
    asked: Option<Asked>,
    sleep: Option<Pin<Box<Sleep>>>,
    _descriptor: Descriptor,
}

/// The last PING.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// When something had been heard last, with its answer; `None` while there is none.
    answered: Option<Instant>,
}

impl Driver {
    pub(super) fn new(mut connection: Connection<Heard, Bytes>, vital: Rc<Vital>, descriptor: Descriptor) -> Self {
        let ping = connection.ping_pong();
        Self { connection, vital, ping, asked: None, sleep: None, _descriptor: descriptor }
    }

    /// Ready when the peer is dead.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.poll_answer(cx);
            if self.vital.open.get() == 0 {
                self.sleep = None;
                return Poll::Pending;
            }
            let due = due(self.vital.heard.get(), self.asked);
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            // What was heard meanwhile moves the time only when it is over.
            ready!(sleep.as_mut().poll(cx));
            if due > Instant::now() {
                sleep.as_mut().reset(due);
                continue;
            }
            let waits = self.asked.is_some_and(|asked| asked.answered.is_none());
            let sent = self.ping.as_mut().is_some_and(|ping| ping.send_ping(Ping::opaque()).is_ok());
            if waits || !sent {
                return Poll::Ready(());
            }
            self.asked = Some(Asked { at: Instant::now(), answered: None });
            self.sleep = None;
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) {
        let Some(Asked { at, answered: None }) = self.asked else { return };
        if let Some(ping) = &mut self.ping
            && let Poll::Ready(Ok(_)) = ping.poll_pong(cx)
        {
            self.asked = Some(Asked { at, answered: Some(self.vital.heard.get()) });
        }
    }
}

/// When the silence is too long.
fn due(heard: Instant, asked: Option<Asked>) -> Instant {
    match asked {
        Some(Asked { at, answered: None }) => at + ANSWER,
        Some(Asked { at, answered: Some(answered) }) if heard <= answered => at + AGAIN,
        _ => heard + QUIET,
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(cx) {
            if let Err(error) = ended {
                debug!(%error, "a connection of HTTP/2 to an upstream has ended");
            }
            return Poll::Ready(());
        }
        ready!(this.poll_silence(cx));
        debug!("an upstream does not answer a PING of HTTP/2");
        Poll::Ready(())
    }
}

/// However it ends, no request is sent on it any more; `h2` tells those that are open.
impl Drop for Driver {
    fn drop(&mut self) {
        self.vital.is_closed.set(true);
    }
}
