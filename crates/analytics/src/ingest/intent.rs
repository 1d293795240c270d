//! What is about to be inserted, on disk before it is: `DIR/intents/<block>.json`, synced, then renamed into place.
//!
//! An intent that is there at boot names a block whose outcome nobody has seen; it is settled against the tables
//! before the port opens. An intent that outlives its removal in a crash is settled again, which changes nothing.

use crate::block::BlockId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use weir_event::Ranges;
use weir_event::StreamId;

/// One block, as it was about to be inserted.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Intent {
    /// The block's UUID.
    pub block: String,
    /// Days since the Unix epoch.
    pub day: i64,
    pub rows: u64,
    /// The first and the last `ts`, microseconds since the Unix epoch: which minutes it touches.
    pub first_us: i64,
    pub last_us: i64,
    pub streams: Vec<StreamSeqs>,
}

/// The events of one stream in a block.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StreamSeqs {
    pub stream: u64,
    pub seqs: Vec<(u64, u64)>,
}

impl Intent {
    pub fn new(block: BlockId, day: i64, rows: usize, times: (i64, i64), streams: &[(StreamId, Ranges)]) -> Self {
        let seqs = |(stream, seqs): &(StreamId, Ranges)| StreamSeqs { stream: stream.0, seqs: seqs.iter().collect() };
        Self {
            block: block.to_string(),
            day,
            rows: rows as u64,
            first_us: times.0,
            last_us: times.1,
            streams: streams.iter().map(seqs).collect(),
        }
    }
}

/// The folder of intents; one process at a time.
pub struct Intents {
    folder: PathBuf,
    _lock: File,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the state folder {path}: {source}; give a folder of weir-analytics' own by --state")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the state folder {path} belongs to a weir-analytics that is running; give each its own by --state")]
    Taken { path: PathBuf },
    #[error("the intent {path} cannot be read: {text}; run `weir-analytics repair` for its day, then remove the file")]
    Broken { path: PathBuf, text: String },
}

impl Intents {
    /// Opens, or makes, the folder and takes its lock.
    pub fn open(state: &Path) -> Result<Self, StateError> {
        let folder = state.join("intents");
        let failed = |source| StateError::Folder { path: state.to_owned(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(state.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StateError::Taken { path: state.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Every intent that is open, oldest first. A temporary file is one that was never in force: it is removed.
    pub fn read(&self) -> Result<Vec<Intent>, StateError> {
        let failed = |source| StateError::Folder { path: self.folder.clone(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => paths.push(path),
                _ => std::fs::remove_file(&path).map_err(failed)?,
            }
        }
        // Block ids sort by time.
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }

    /// Puts `intent` in force: on disk before this returns.
    pub fn write(&self, intent: &Intent) -> io::Result<()> {
        self.write_synced(intent)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.folder.display())))
    }

    fn write_synced(&self, intent: &Intent) -> io::Result<()> {
        let temporary = self.folder.join(format!("{}.tmp", intent.block));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(intent)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, self.path(&intent.block))?;
        File::open(&self.folder)?.sync_all()
    }

    /// The block's outcome is known.
    pub fn remove(&self, block: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(block)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, block: &str) -> PathBuf {
        self.folder.join(format!("{block}.json"))
    }
}

fn read(path: &Path) -> Result<Intent, StateError> {
    let broken = |text: String| StateError::Broken { path: path.to_owned(), text };
    let bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_there_until_its_outcome_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let intents = Intents::open(folder.path()).unwrap();
        let intent = Intent::new(BlockId::new(5), 3, 2, (7, 8), &[(StreamId(u64::MAX), Ranges::of(4, 5))]);
        intents.write(&intent).unwrap();
        std::fs::write(folder.path().join("intents/x.tmp"), "{").unwrap();
        assert!(matches!(Intents::open(folder.path()), Err(StateError::Taken { .. })));
        drop(intents);
        let intents = Intents::open(folder.path()).unwrap();
        assert_eq!(intents.read().unwrap(), std::slice::from_ref(&intent));
        intents.remove(&intent.block).unwrap();
        intents.remove(&intent.block).unwrap();
        assert_eq!(intents.read().unwrap(), []);
    }
}
