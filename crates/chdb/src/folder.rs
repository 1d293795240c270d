//! The engine's folder: made, locked, and held against the engine's version.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const LOCK: &str = "weir-chdb.lock";
/// Which engine had the folder last.
const VERSION: &str = "weir-chdb.engine";
/// Where the files are that only the start needs.
const RUN: &str = "weir-chdb.run";
/// What a weir-chdb with an HTTP layer of its own left in the folder.
const OF_BEFORE: [&str; 2] = ["weir-chdb-engine.xml", "weir-chdb-rights.xml"];

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("the disk of `{path}` is full; make room on it, or give another --path")]
    Full { path: PathBuf },
    #[error("cannot use the folder `{path}`: {source}; give --path a folder that this user may write")]
    Access { path: PathBuf, source: io::Error },
    #[error("`{path}` is in use by another weir-chdb; stop that one, or give another --path")]
    Locked { path: PathBuf },
    #[error(
        "`{path}` was written by ClickHouse's engine {wrote}, which is newer than {has}; install that one or a newer, or give another --path"
    )]
    Newer { path: PathBuf, wrote: String, has: String },
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
    /// One sentence with the fix.
    pub fn claim(path: &Path) -> Result<Self, FolderError> {
        let access = |source| wrong(path, source);
        std::fs::create_dir_all(path).map_err(access)?;
        let path = path.canonicalize().map_err(access)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(access)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked { path }),
            Err(error) => Err(access(error.into())),
        }
    }

    /// What an error of the system about this folder is called.
    pub fn refused(&self, source: io::Error) -> FolderError {
        wrong(&self.path, source)
    }

    /// Refuses an engine that is older than the one that had the folder last: it might not know what it finds.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn check_version(&self, has: &str) -> Result<(), FolderError> {
        let wrote = match std::fs::read_to_string(self.path.join(VERSION)) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(wrong(&self.path, error)),
        };
        if numbers(&wrote) <= numbers(has) {
            return Ok(());
        }
        Err(FolderError::Newer { path: self.path.clone(), wrote, has: has.to_owned() })
    }

    /// Notes which engine has the folder, and removes what an earlier weir-chdb kept in it.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn note_version(&self, has: &str) -> Result<(), FolderError> {
        for name in OF_BEFORE {
            let _not_there = std::fs::remove_file(self.path.join(name));
        }
        let path = self.path.join(VERSION);
        if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == has) {
            return Ok(());
        }
        write(&path, &format!("{has}\n")).map_err(|source| wrong(&self.path, source))
    }

    /// A folder for this user alone, for the time of the start.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn run(&self) -> Result<Run, FolderError> {
        let path = self.path.join(RUN);
        // Of a start that was killed.
        let _not_there = std::fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| wrong(&self.path, source))?;
        Ok(Run { path })
    }
}

/// The folder of a start; it goes with this value.
#[derive(Debug)]
pub struct Run {
    pub path: PathBuf,
}

impl Run {
    /// Writes a file for this user alone, whole or not at all.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        write(&path, text).map_err(|source| wrong(&self.path, source))?;
        Ok(path)
    }

    /// Makes a named pipe for this user alone.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn pipe(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.path.join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .map_err(|error| wrong(&self.path, error.into()))?;
        Ok(path)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.path);
    }
}

/// Parts that the engine found broken and set aside: folders `broken-on-start_…`, here and from earlier starts.
pub fn broken_parts(path: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let tables = list(path.join("store")).flat_map(list);
    let detached = tables.flat_map(|table| list(table.join("detached")));
    let is_broken = |part: &PathBuf| part.file_name().is_some_and(|name| name.to_string_lossy().starts_with("broken"));
    let mut broken: Vec<PathBuf> = detached.filter(is_broken).collect();
    broken.sort();
    broken
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _not_there = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

fn wrong(path: &Path, source: io::Error) -> FolderError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FolderError::Full { path },
        _ => FolderError::Access { path, source },
    }
}

/// `26.7.3` as numbers; what is none counts as 0.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
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

    #[test]
    fn an_older_engine_is_refused() {
        let root = tempfile::tempdir().expect("folder");
        let folder = Folder::claim(root.path()).expect("claimed");
        folder.check_version("26.7.3").expect("nobody had it");
        folder.note_version("26.7.3").expect("noted");
        for same_or_newer in ["26.7.3", "26.7.10", "26.10.0", "27.1"] {
            folder.check_version(same_or_newer).expect(same_or_newer);
        }
        for older in ["26.7.2", "26.6.9", "25.12.1", "nonsense"] {
            let said = folder.check_version(older).expect_err(older).to_string();
            assert!(said.contains("26.7.3, which is newer"), "{said}");
        }
    }

    #[test]
    fn what_a_start_writes_is_for_this_user_alone_and_goes() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().expect("folder");
        let folder = Folder::claim(root.path()).expect("claimed");
        let run = folder.run().expect("made");
        let file = run.write("users.xml", "x").expect("written");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&run.path), mode(&file)), (0o700, 0o600));
        let path = run.path.clone();
        drop(run);
        assert!(!path.exists());
    }
}
