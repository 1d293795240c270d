//! A worker as the rest of the process has it in hand.

use crate::event_loop::Command;
use crate::pulse::Pulse;
use crate::sink::WorkerStats;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

pub(crate) struct Running {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) stats: Arc<WorkerStats>,
    /// `None` once it was asked to end.
    pub(crate) thread: Option<JoinHandle<()>>,
    /// Second handles of its sockets, by configured address: for the case that it stands still. A socket is open for as
    /// long as one of its handles is.
    pub(crate) sockets: BTreeMap<SocketAddr, StdListener>,
    pub(crate) pulse: Pulse,
}

impl Running {
    /// Hands a socket over. Without a second handle of it - no more files may be opened - what waits at it waits for this
    /// worker.
    pub(crate) fn listen(&mut self, configured: SocketAddr, socket: StdListener) {
        if let Ok(second) = socket.try_clone() {
            self.sockets.insert(configured, second);
        }
        // Fails only for a worker that has ended.
        drop(self.commands.send(Command::Listen(configured, socket)));
    }
}
