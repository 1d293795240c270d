//! The engine's folder: made, locked, and made this process's surroundings.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const LOCK: &str = "weir-chdb.lock";
/// What the engine's jemalloc reads as it is loaded.
const ALLOCATOR: &str = "JE_MALLOC_CONF";
/// Free memory goes back after 50 ms and not after 5 s. 0 would cost a heavy query twice the CPU; 50 costs nothing
/// that can be measured.
const GIVES_BACK: &str = "dirty_decay_ms:50,muzzy_decay_ms:0";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("cannot use the folder `{path}`: {source}; give --path a folder that this user may write")]
    Access { path: PathBuf, source: io::Error },
    #[error("`{path}` is in use by another weir-chdb; stop that one, or give another --path")]
    Locked { path: PathBuf },
}

/// A folder that belongs to this process until the value is dropped, or the process ends in any way.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// One sentence with the cure.
    pub fn claim(path: &Path) -> Result<Folder, FolderError> {
        let access = |source| FolderError::Access { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(access)?;
        let path = path.canonicalize().map_err(access)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(access)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Folder { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked { path }),
            Err(error) => Err(access(error.into())),
        }
    }

    /// Makes the folder the working directory and the home, so that the engine does not pick up a
    /// stray `config.xml` or `~/.clickhouse-local`, and tells its allocator to give memory back soon.
    /// Call it before other threads start, and before the engine is loaded.
    ///
    /// # Errors
    /// One sentence with the cure.
    pub fn enter(&self) -> Result<(), FolderError> {
        std::env::set_current_dir(&self.path)
            .map_err(|source| FolderError::Access { path: self.path.clone(), source })?;
        // SAFETY: the caller has started no other thread, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var("HOME", &self.path) };
        if std::env::var_os(ALLOCATOR).is_none() {
            // SAFETY: as above.
            unsafe { std::env::set_var(ALLOCATOR, GIVES_BACK) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let root = tempfile::tempdir().expect("folder");
        let path = root.path().join("a/b");
        let first = Folder::claim(&path).expect("claimed");
        assert!(matches!(Folder::claim(&path), Err(FolderError::Locked { .. })));
        drop(first);
        Folder::claim(&path).expect("free again");
    }
}
