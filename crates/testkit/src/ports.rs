//! Ports for programs that must be given theirs before they listen.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// An address that nobody has, outside the range from which the system takes ports for outgoing connections and for port 0: it must
/// still be free when the part that listens there is started a second time. Other tests run beside this one, in processes
/// of their own: a lock on a file of the port's name, held until this process ends, keeps it for this one.
pub fn reserve() -> io::Result<SocketAddr> {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("weir-test-ports");
    std::fs::create_dir_all(&folder)?;
    let mut last = io::Error::other("no port");
    for _ in 0..100 {
        let port = fastrand::u16(10_000..32_000);
        let lock = File::create(folder.join(port.to_string()))?;
        if lock.try_lock().is_err() {
            continue;
        }
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => {
                HELD.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
                return listener.local_addr();
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
