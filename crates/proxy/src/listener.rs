//! Listening sockets: one a worker and address, all bound before any is used.
//!
//! Binding happens off the workers, for all of them at once, so that a configuration whose port is taken is
//! refused as a whole.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

/// Connections that may wait to be accepted, per worker and listener.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("port {} of {} is taken by another process; stop it, change the port in `spec.address`, or start beside a gateway of the same user with --take-over", .0.port(), .0.ip())]
    Taken(SocketAddr),
    #[error("no permission to listen on {0}; take a port from 1024 up, or grant CAP_NET_BIND_SERVICE to the program")]
    Permission(SocketAddr),
    #[error("cannot listen on {0}: this machine has no such address; see `ip address`")]
    NoSuchAddress(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// The sockets of one address.
pub(crate) struct Bound {
    /// As configured: its port may be 0.
    pub(crate) configured: SocketAddr,
    pub(crate) actual: SocketAddr,
    /// One a worker.
    pub(crate) sockets: Vec<StdListener>,
}

/// Binds `workers` sockets to one address. `ours` is what this process listens on now.
pub(crate) fn bind(
    configured: SocketAddr,
    workers: usize,
    ours: &[SocketAddr],
    ports: Ports,
) -> Result<Bound, BindError> {
    // Where a listener of ours has the port already, at another address, it would look like somebody else's.
    let is_ours = configured.port() != 0 && ours.iter().any(|address| address.port() == configured.port());
    let share = is_ours || ports == Ports::Shared;
    let mut actual = configured;
    let mut sockets = Vec::new();
    for number in 0..workers {
        let bound = if number == 0 && !share { bind_first(actual) } else { bind_another(actual) };
        let socket = bound.map_err(|error| explain(configured, error))?;
        actual = socket.local_addr().map_err(|error| BindError::Other(configured, error))?;
        sockets.push(socket);
    }
    Ok(Bound { configured, actual, sockets })
}

/// Whether another process may have the port, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// It is refused then: each of two gateways would get half of the requests.
    Alone,
    /// It is shared with a gateway of the same user, which is about to end.
    Shared,
}

/// The first socket of an address listens before it may be shared: who comes at the same moment and would be first, too,
/// is refused by the system. Who shares on purpose may come from then on.
fn bind_first(address: SocketAddr) -> io::Result<StdListener> {
    let mut tries = 0..20;
    loop {
        let socket = bound(address, false)?;
        match socket.listen(BACKLOG) {
            Ok(()) => {
                socket.set_reuse_port(true)?;
                return Ok(socket.into());
            }
            // Two that were bound and not listening yet: both may be refused, so both try again, not at the same time.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries.next().is_some() => {
                drop(socket);
                std::thread::park_timeout(Duration::from_millis(fastrand::u64(1..20)));
            }
            Err(error) => return Err(error),
        }
    }
}

/// One more socket of an address that this process listens on.
pub(crate) fn bind_another(actual: SocketAddr) -> io::Result<StdListener> {
    let socket = bound(actual, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn explain(address: SocketAddr, error: io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address),
        io::ErrorKind::PermissionDenied => BindError::Permission(address),
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress(address),
        _ => BindError::Other(address, error),
    }
}
