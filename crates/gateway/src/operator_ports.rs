//! The ports beside the data plane's, admin and probes: opened before anything is written, so that of two gateways that
//! start at once one is refused before it has left a trace.
//!
//! They cannot be shared as the data plane's are: whoever asks must know whom. With `--take-over` they move: the process
//! of before answers until it is asked to end. Then it looks whether another one waits for them - who does holds a lock in
//! the spool's folder, which both have - and lets go.

use crate::error::RunError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often it is looked whether a port is free, or awaited.
pub const LOOK: Duration = Duration::from_millis(50);

/// A port of this process, or one that it waits for.
pub enum OperatorPort {
    Open(StdListener),
    Taken { what: &'static str, address: SocketAddr },
}

impl OperatorPort {
    /// # Errors
    /// It cannot be listened on; not where it is taken and may be waited for.
    pub fn open(what: &'static str, address: SocketAddr, may_wait: bool) -> Result<Self, RunError> {
        match bind(address) {
            Ok(listener) => Ok(Self::Open(listener)),
            Err(error) if may_wait && error.kind() == io::ErrorKind::AddrInUse => Ok(Self::Taken { what, address }),
            Err(error) => Err(RunError::Admin { what, address, error }),
        }
    }

    /// Once this process has it.
    pub async fn listener(self, hand_over: &HandOver) -> io::Result<TcpListener> {
        let (what, address) = match self {
            Self::Open(listener) => return TcpListener::from_std(listener),
            Self::Taken { what, address } => (what, address),
        };
        info!(%address, "another process has the port of `{what}`: it is taken over when that one ends");
        let mut lock = None;
        loop {
            lock = lock.or_else(|| hand_over.wait());
            match bind(address).and_then(TcpListener::from_std) {
                Ok(listener) => {
                    info!(%address, "the port of `{what}` is taken over");
                    return Ok(listener);
                }
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

/// All addresses are those of both families, and those of IPv4 alone where the machine has no other.
fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let bound = match StdListener::bind(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            StdListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        bound => bound,
    };
    let listener = bound?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// How a process that waits for ports is seen by the one that has them.
#[derive(Clone)]
pub struct HandOver(PathBuf);

impl HandOver {
    pub fn within(spool: &Path) -> Self {
        Self(spool.join("take-over.lock"))
    }

    /// Waits for as long as the file lives; none where another process waits already.
    fn wait(&self) -> Option<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.0);
        let locked = file.map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
        match locked {
            Ok(file) => Some(file),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => {
                let path = self.0.display();
                warn!(%path, %error, "cannot say that this process waits for a port: it gets it when the other one is gone");
                None
            }
        }
    }

    /// Whether a process waits.
    pub fn is_awaited(&self) -> bool {
        let file = OpenOptions::new().write(true).open(&self.0);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_seen_for_as_long_as_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let hand_over = HandOver::within(folder.path());
        assert!(!hand_over.is_awaited());
        let waiting = hand_over.wait().unwrap();
        assert!(hand_over.is_awaited() && hand_over.wait().is_none());
        drop(waiting);
        assert!(!hand_over.is_awaited());
    }
}
