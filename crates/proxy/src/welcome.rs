//! Connections on their way in: accepted on a worker's sockets, counted, and served.
//!
//! A listener that goes away is accepted empty first: closing a SO_REUSEPORT socket resets what waits in its queue.

use crate::client::Client;
use crate::connection::{Connection, serve};
use crate::connections::Connections;
use crate::gate::{Full, Gate};
use crate::snapshot::Snapshot;
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tracing::warn;

/// Accepts on one worker's socket until asked to stop, then until its queue is empty.
pub(crate) async fn accept_loop(
    connections: Rc<Connections>,
    configured: SocketAddr,
    listener: TcpListener,
    mut stop: oneshot::Receiver<()>,
) {
    let (mut door, mut failing) = (Door::default(), false);
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    welcome(&connections, configured, &mut door, stream, peer);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    connections.worker().stats().accept_failed();
                    // Reported once: it fails again and again for as long as descriptors are used up.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "cannot accept a connection; raise the limit of open files if this goes on");
                    }
                    // What is there must be let go first: wait a moment rather than spin.
                    tokio::select! {
                        _ = &mut stop => break,
                        () = tokio::time::sleep(Duration::from_millis(50)) => {}
                    }
                }
            },
        }
    }
    match listener.into_std() {
        Ok(listener) => empty_queue(&connections, configured, &mut door, &listener),
        Err(error) => warn!(%error, "what waits at a listener that ends cannot be taken in"),
    }
}

/// By plain accept(2): the runtime's readiness may not know yet what has come, and gives each task a budget.
fn empty_queue(connections: &Rc<Connections>, configured: SocketAddr, door: &mut Door, listener: &StdListener) {
    loop {
        let accepted = listener.accept().and_then(|(stream, peer)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, peer))
        });
        match accepted {
            Ok((stream, peer)) => welcome(connections, configured, door, stream, peer),
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A connection that was accepted elsewhere; informed by its closing where it cannot be used.
pub(crate) fn welcome_from_elsewhere(
    connections: &Rc<Connections>,
    configured: SocketAddr,
    stream: StdStream,
    peer: SocketAddr,
) {
    match TcpStream::from_std(stream) {
        Ok(stream) => welcome(connections, configured, &mut Door::default(), stream, peer),
        Err(error) => warn!(%error, "a connection of a worker that stands still cannot be taken over"),
    }
}

/// The client had left before it was accepted.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// What a port is, as its newest configuration says; kept past the reload that takes the port away, because what waits
/// in its queue is still owed a handshake.
#[derive(Default)]
struct Door {
    acceptor: Option<Arc<ServerConfig>>,
    gate: Option<Arc<Gate>>,
}

impl Door {
    fn look(&mut self, snapshot: &Snapshot, address: SocketAddr) {
        if let Some(index) = snapshot.listener(address) {
            let listener = &snapshot.listeners[index];
            self.acceptor.clone_from(&listener.acceptor);
            self.gate = Some(Arc::clone(&listener.gate));
        }
    }
}

fn welcome(
    connections: &Rc<Connections>,
    configured: SocketAddr,
    door: &mut Door,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let worker = connections.worker();
    let snapshot = worker.snapshot();
    door.look(&snapshot, configured);
    let entered = door.gate.as_ref().map(|gate| gate.enter(peer.ip().to_canonical(), &snapshot.limits)).transpose();
    let pass = match entered {
        Ok(pass) => pass,
        // Closed here and now: an answer would cost what the limit is to save.
        Err(full) => return worker.stats().refuse(full),
    };
    let Some(descriptor) = snapshot.descriptors.client() else { return worker.stats().refuse(Full::Descriptors) };
    drop(snapshot);
    let client = Client::new(Rc::clone(worker), configured, peer, door.acceptor.clone());
    let connection = Rc::new(Connection::new(client));
    let entry = connections.enter(&connection);
    tokio::task::spawn_local(async move {
        serve(connection, stream).await;
        drop((entry, pass, descriptor));
    });
}
