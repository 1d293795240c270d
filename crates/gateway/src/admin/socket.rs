//! The Unix socket beside the admin port: who may open it administers the gateway without a token.
//!
//! That is the user that the gateway runs as, and root: the system says who calls, and the file and its folder are
//! theirs alone. It appears under its name when this process answers at the admin port, so that both always lead to the
//! same process, and it is never removed: one that nobody answers at refuses whoever calls.

use super::operator::Peer;
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
    /// Opens it, and makes its folder where there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
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

    /// From now on it is found under its name, in place of that of a process before.
    pub fn in_place(mut self) -> io::Result<UnixListener> {
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

/// Whether `peer` is who the gateway runs as, or root.
pub fn may_call(peer: &Peer) -> bool {
    matches!(peer, Peer::User(user) if *user == 0 || *user == rustix::process::geteuid().as_raw())
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
            let socket = AdminSocket::open(&path).unwrap();
            let listener = socket.in_place().unwrap();
            let data = fs::metadata(&path).unwrap();
            assert!(data.file_type().is_socket() && data.permissions().mode() & 0o777 == 0o600);
            assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
            let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert!(may_call(&Peer::User(stream.peer_cred().unwrap().uid())));
            drop((client, listener));
            assert!(path.exists(), "and nobody answers there");
        }
        drop(AdminSocket::open(&path).unwrap());
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [path], "one that was not put in place leaves nothing");
    }

    #[test]
    fn other_users_and_ports_may_not() {
        let own = rustix::process::geteuid().as_raw();
        assert!(may_call(&Peer::User(own)) && may_call(&Peer::User(0)));
        assert!(!may_call(&Peer::User(own + 1)) && !may_call(&Peer::At(([127, 0, 0, 1], 1).into())));
    }
}
