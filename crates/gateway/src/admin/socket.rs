//! The Unix socket beside the admin port: who may open it administers the gateway without a token.
//!
//! That is the user that the gateway runs as, and root: the system says who calls, and the file and its folder are
//! theirs alone. It appears under its name when this process answers at the admin port, so that both always lead to the
//! same process, and it is never removed: one that nobody answers at refuses whoever calls.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::{fs, process};
use tokio::net::UnixListener;

/// The name in the folder of `--state`.
const NAME: &str = "admin.sock";

/// Where it is unless somebody says otherwise.
pub fn default_path(state: &Path) -> PathBuf {
    state.join(NAME)
}

/// A socket that is open, under a name of this process alone.
pub struct AdminSocket {
    listener: Option<StdListener>,
    temporary: PathBuf,
    path: PathBuf,
}

impl AdminSocket {
    /// Opens it, and makes its folder where there is none. An error where another gateway answers there, unless this one
    /// may wait until it does no more.
    pub fn open(path: &Path, may_wait: bool) -> io::Result<Self> {
        if !may_wait && is_answered(path) {
            return Err(taken());
        }
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", process::id()));
        let temporary = PathBuf::from(temporary);
        // Of a process that had this number before.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = StdListener::bind(&temporary)?;
        let socket = Self { listener: Some(listener), temporary, path: path.to_owned() };
        fs::set_permissions(&socket.temporary, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it is found under its name, in place of that of a process before; not of one that still answers.
    pub fn in_place(mut self) -> io::Result<UnixListener> {
        if is_answered(&self.path) {
            return Err(taken());
        }
        fs::rename(&self.temporary, &self.path)?;
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if self.listener.is_some() {
            // It may be gone already.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers there")
}

/// Whether a process listens there. Never waits for it.
fn is_answered(path: &Path) -> bool {
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    });
    // It has as many waiting as may be: it is there all the same.
    matches!(connected, Ok(()) | Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;

    #[tokio::test]
    async fn it_is_the_users_alone_and_replaces_what_is_left_of_another() {
        let root = tempfile::tempdir().unwrap();
        let path = default_path(&root.path().join("spool.state"));
        for _ in 0..2 {
            let socket = AdminSocket::open(&path, false).unwrap();
            let listener = socket.in_place().unwrap();
            let data = fs::metadata(&path).unwrap();
            assert!(data.file_type().is_socket() && data.permissions().mode() & 0o777 == 0o600);
            assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
            let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(stream.peer_cred().unwrap().uid(), rustix::process::geteuid().as_raw());
            // One that is answered is nobody else's, and who waits for it does not get it before.
            let refused = AdminSocket::open(&path, false).map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            let waiting = AdminSocket::open(&path, true).unwrap();
            assert_eq!(waiting.in_place().map(drop).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop((client, listener));
            assert!(path.exists(), "and nobody answers there");
        }
        drop(AdminSocket::open(&path, false).unwrap());
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [path], "one that was not put in place leaves nothing");
    }
}
