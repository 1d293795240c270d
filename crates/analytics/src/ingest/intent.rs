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
    state: PathBuf,
    folder: PathBuf,
    _lock: File,
}

/// The intents that are open.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub intents: Vec<Intent>,
    /// False when there is a file that could not be read or is damaged.
    pub all_read: bool,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the state folder {path}: {source}; give a folder of weir-analytics' own by --state")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the state folder {path} belongs to a weir-analytics that is running; give each its own by --state")]
    Taken { path: PathBuf },
}

impl Intents {
    /// Opens, or makes, the folder and takes its lock.
    pub fn open(state: &Path) -> Result<Self, StateError> {
        let folder = state.join("intents");
        let failed = |source| StateError::Folder { path: state.to_owned(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(state.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { state: state.to_owned(), folder, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StateError::Taken { path: state.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Every intent that is open, oldest first, and whether these are all. A temporary file is one that was never in
    /// force: it is removed. A file that cannot be read now stays and is tried again at the next start; one whose bytes
    /// are no intent is kept beside, as `NAME.damaged`. Neither stops a start: what they speak of is found by holding
    /// the last days against each other.
    pub fn read(&self) -> Result<Open, StateError> {
        let failed = |source| StateError::Folder { path: self.folder.clone(), source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => paths.push(path),
                Some("tmp") => {
                    if let Err(error) = std::fs::remove_file(&path) {
                        tracing::warn!(path = %path.display(), %error, "a temporary file could not be removed");
                    }
                }
                _ => {}
            }
        }
        // Block ids sort by time.
        paths.sort();
        let read: Vec<_> = paths.iter().map(|path| read(path)).collect();
        let all_read = read.iter().all(Option::is_some);
        Ok(Open { intents: read.into_iter().flatten().collect(), all_read })
    }

    /// The name under which this folder's processes hold the lease: made once. Where it cannot be kept, each process
    /// has one of its own, and the next has to wait until its lease has run out.
    pub fn holder(&self) -> String {
        let path = self.state.join("holder");
        let kept = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
        if let Some(holder) = kept.filter(|text| BlockId::parse(text).is_some()) {
            return holder;
        }
        let holder = BlockId::new(super::now_us()).to_string();
        if let Err(error) = keep(&path, holder.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "the name of this state folder could not be kept");
        }
        holder
    }

    /// Puts `intent` in force: on disk before this returns.
    pub fn write(&self, intent: &Intent) -> io::Result<()> {
        self.write_synced(intent)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.folder.display())))
    }

    fn write_synced(&self, intent: &Intent) -> io::Result<()> {
        keep(&self.path(&intent.block), &serde_json::to_vec(intent)?)
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

/// Writes a file so that it is there, whole, or not at all.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn read(path: &Path) -> Option<Intent> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "an intent cannot be read now; the next start tries again");
            return None;
        }
    };
    match serde_json::from_slice::<Intent>(&bytes) {
        Ok(intent) if BlockId::parse(&intent.block).is_some() => Some(intent),
        _ => {
            let aside = path.with_extension("json.damaged");
            let moved = std::fs::rename(path, &aside);
            tracing::warn!(path = %path.display(), ?moved, "an intent is damaged; it is kept aside, and its day is audited");
            None
        }
    }
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
        assert_eq!(intents.read().unwrap(), Open { intents: vec![intent.clone()], all_read: true });
        intents.remove(&intent.block).unwrap();
        intents.remove(&intent.block).unwrap();
        assert_eq!(intents.read().unwrap(), Open { intents: vec![], all_read: true });
    }

    #[test]
    fn a_damaged_intent_stops_nothing_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let intents = Intents::open(folder.path()).unwrap();
        for (name, bytes) in [("empty", &b""[..]), ("text", b"{"), ("other", br#"{"block":"../x"}"#)] {
            std::fs::write(folder.path().join(format!("intents/{name}.json")), bytes).unwrap();
            assert_eq!(intents.read().unwrap(), Open { intents: vec![], all_read: false }, "{name}");
            assert_eq!(intents.read().unwrap(), Open { intents: vec![], all_read: true }, "{name}: it is aside");
            assert!(folder.path().join(format!("intents/{name}.json.damaged")).exists());
        }
    }

    #[test]
    fn the_holder_of_a_folder_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let intents = Intents::open(folder.path()).unwrap();
        let holder = intents.holder();
        assert_eq!(intents.holder(), holder);
        std::fs::write(folder.path().join("holder"), "").unwrap();
        assert_ne!(intents.holder(), holder, "an empty file names nobody");
    }
}
