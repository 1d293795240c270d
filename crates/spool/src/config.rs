//! What a spool is reported, and the sentences with which it refuses to start.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how much.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The folder that holds one folder for each life of a gateway process.
    pub path: PathBuf,
    /// Chunk files of all streams together, in bytes; past it the oldest are shed.
    pub max_bytes: u64,
    /// Chunk files older than this are shed, once they have been offered.
    pub max_age: Duration,
    /// Memory of one worker's ring, in bytes; at least 128 KiB are taken.
    pub ring_bytes: u64,
    pub seal: Seal,
}

/// A chunk is closed at whichever comes first. A ring that is half full closes one, too.
#[derive(Clone, Copy, Debug)]
pub struct Seal {
    /// Events in it.
    pub count: u32,
    /// Bytes of its records before compression; at most 8 MiB.
    pub bytes: usize,
    /// Since its first event was copied: what a power failure may cost, with the time that writing takes.
    pub age: Duration,
    /// Bytes that it may have on its way to the ingestor: what a proxy in between lets pass.
    pub wire: usize,
}

impl SpoolConfig {
    /// The defaults under `path`: 1 GiB, three days, rings of 8 MiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 1024 * 1024 * 1024,
            max_age: Duration::from_secs(3 * 24 * 3600),
            ring_bytes: 8 * 1024 * 1024,
            seal: Seal::default(),
        }
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self { count: 20_000, bytes: 4 * 1024 * 1024, age: Duration::from_secs(1), wire: 1024 * 1024 }
    }
}

/// Why a spool cannot start, or cannot keep a promise.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool folder `{}` cannot be used: {error}; {}", .path.display(), fix(.error))]
    Folder { path: PathBuf, error: io::Error },
    #[error("no room for the event ring `{}`: {error}; {}", .path.display(), fix(.error))]
    Ring { path: PathBuf, error: io::Error },
    #[error("names cannot be written to `{}`: {error}; {}", .path.display(), fix(.error))]
    Names { path: PathBuf, error: io::Error },
    #[error("the spool's thread cannot be started: {0}; raise the limit of threads or processes")]
    Thread(io::Error),
    #[error("the spool's thread has ended; see the log for why, and restart weir")]
    Ended,
}

/// What mends a spool that started well and cannot go on.
pub(crate) fn cure_running(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there, or lower `spool.maxBytes`",
        io::ErrorKind::PermissionDenied => "let the user that weir runs as write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
        io::ErrorKind::NotFound => "put the folder back",
        _ => "check that folder and its disk",
    }
}

fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user that weir runs as write there, or name another folder in `spool.path`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space, lower `spool.ringBytes`, or name another folder in `spool.path`"
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable, or name another folder in `spool.path`",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "name a folder in `spool.path`",
        _ => "check the folder named in `spool.path`",
    }
}
