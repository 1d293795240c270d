//! The folder of one life of a gateway process, and the lock that says whose it is.
//!
//! `<path>/<boot id>/` holds `lock` (held by `flock` as long as somebody cares for the folder), `identity.json`,
//! `names`, `ring-<worker>` and `chunks/`. Beside the folders lies `set-aside/`, the chunks that an ingestor refused,
//! so that they do not keep an old life's folder alive. Knows names and durability of files, not what is in them.

use serde_json::{Value, json};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use weir_event::{BootId, Identity, Stream};

const FRESH: &str = ".new-";
/// Where refused chunks lie, of all lives.
pub(crate) const SET_ASIDE: &str = "set-aside";
/// A folder half made is somebody's start of a moment ago, or rubbish of a crash.
const RUBBISH_AGE: Duration = Duration::from_secs(3600);

/// A folder whose lock is ours.
#[derive(Debug)]
pub(crate) struct BootFolder {
    pub(crate) path: PathBuf,
    pub(crate) boot: BootId,
    pub(crate) identity: Identity,
    /// Unlocked when it is closed.
    _lock: File,
}

/// What the name of a chunk file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkName {
    pub(crate) worker: u16,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl ChunkName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".chunk")?.splitn(3, '-');
        let worker = parts.next()?.parse().ok()?;
        let (first, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (first <= last && last < u64::MAX).then_some(Self { worker, first, last })
    }
}

impl std::fmt::Display for ChunkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:05}-{:020}-{:020}.chunk", self.worker, self.first, self.last)
    }
}

impl BootFolder {
    /// Makes the folder of a new life. It gets its name only when it is whole and locked: nobody can take a folder
    /// that is half made for one that is left behind.
    pub(crate) fn create(root: &Path, boot: BootId, identity: Identity) -> io::Result<Self> {
        fs::create_dir_all(root.join(SET_ASIDE))?;
        let fresh = root.join(format!("{FRESH}{boot}"));
        // Events tell who called what: nobody else's business on a shared machine.
        DirBuilder::new().mode(0o700).create(&fresh)?;
        let lock = OpenOptions::new().write(true).create_new(true).open(fresh.join("lock"))?;
        lock.try_lock()?;
        fs::create_dir(fresh.join("chunks"))?;
        let mut file = File::create(fresh.join("identity.json"))?;
        file.write_all(identity_json(&boot, &identity).to_string().as_bytes())?;
        file.sync_all()?;
        let path = root.join(boot.to_string());
        fs::rename(&fresh, &path)?;
        sync_folder(&path)?;
        sync_folder(root)?;
        Ok(Self { path, boot, identity, _lock: lock })
    }

    /// Takes over the folder at `path` if nobody cares for it.
    pub(crate) fn adopt(path: PathBuf) -> io::Result<Option<Self>> {
        let lock = match OpenOptions::new().write(true).open(path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let text = match fs::read(path.join("identity.json")) {
            Ok(text) => text,
            // Whoever had the lock before removed the folder under it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "`identity.json` is damaged");
        let (boot, identity) = identity_from(&text).ok_or_else(damaged)?;
        Ok(Some(Self { path, boot, identity, _lock: lock }))
    }

    pub(crate) fn stream(&self, worker: u16) -> Stream {
        Stream { identity: self.identity.clone(), boot: self.boot, worker }
    }

    pub(crate) fn ring(&self, worker: u16) -> PathBuf {
        self.path.join(format!("ring-{worker}"))
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.path.join("names")
    }

    pub(crate) fn chunks(&self) -> PathBuf {
        self.path.join("chunks")
    }

    pub(crate) fn chunk(&self, name: ChunkName) -> PathBuf {
        self.chunks().join(name.to_string())
    }

    /// Puts a chunk file there, whole and durable, or not at all.
    pub(crate) fn write_chunk(&self, name: ChunkName, bytes: &[u8]) -> io::Result<()> {
        let path = self.chunk(name);
        let temporary = path.with_extension("tmp");
        let written = write_synced(&temporary, bytes).and_then(|()| {
            weir_event::failpoint::pass("spool.after_write");
            fs::rename(&temporary, &path)
        });
        if written.is_err() {
            fs::remove_file(&temporary).ok();
        }
        written?;
        sync_folder(&self.chunks())
    }

    /// Moves a chunk file out of the way of those after it.
    pub(crate) fn set_aside(&self, name: ChunkName) -> io::Result<()> {
        let root = self.path.parent().unwrap_or(&self.path);
        fs::rename(self.chunk(name), root.join(SET_ASIDE).join(format!("{}-{name}", self.boot)))
    }

    /// Moves a ring that cannot be read out of the way; if even that fails, it goes with the folder.
    pub(crate) fn set_ring_aside(&self, worker: u16) {
        let root = self.path.parent().unwrap_or(&self.path);
        fs::rename(self.ring(worker), root.join(SET_ASIDE).join(format!("{}-ring-{worker}", self.boot))).ok();
    }

    /// Removes the folder of a life that is over and told, the lock last.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // Without its identity it is nobody's: a crash in the middle leaves nothing that would be adopted again.
        fs::remove_file(self.path.join("identity.json"))?;
        fs::remove_dir_all(&self.path)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folders of other lives under `root`; what a crash left half made or half removed is cleared away.
pub(crate) fn others(root: &Path, own: &BootId) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match BootId::from_hex(name.as_bytes()) {
            Some(boot) if boot != *own && entry.path().join("identity.json").exists() => found.push(entry.path()),
            Some(boot) if boot != *own => clear_rubbish(&entry),
            _ if name.starts_with(FRESH) => clear_rubbish(&entry),
            _ => {}
        }
    }
    Ok(found)
}

fn clear_rubbish(entry: &fs::DirEntry) {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age > RUBBISH_AGE) {
        fs::remove_dir_all(entry.path()).ok();
    }
}

fn identity_json(boot: &BootId, identity: &Identity) -> Value {
    json!({
        "boot": boot.to_string(),
        "organization": identity.organization,
        "environment": identity.environment,
        "site": identity.site,
        "gateway": identity.gateway,
        "replica": identity.replica,
    })
}

fn identity_from(text: &[u8]) -> Option<(BootId, Identity)> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let part = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
    let identity = Identity {
        organization: part("organization")?,
        environment: part("environment")?,
        site: part("site")?,
        gateway: part("gateway")?,
        replica: part("replica")?,
    };
    Some((BootId::from_hex(part("boot")?.as_bytes())?, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { site: "on-\"prem\"".into(), gateway: "edge".into(), ..Identity::default() }
    }

    #[test]
    fn a_folder_is_adopted_only_when_its_owner_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let folder = BootFolder::create(root.path(), BootId([1; 16]), identity()).unwrap();
        let [path] = &others(root.path(), &BootId([2; 16])).unwrap()[..] else { panic!("one folder") };
        assert!(BootFolder::adopt(path.clone()).unwrap().is_none());
        drop(folder);
        let adopted = BootFolder::adopt(path.clone()).unwrap().unwrap();
        assert_eq!((adopted.boot, &adopted.identity), (BootId([1; 16]), &identity()));
        adopted.remove().unwrap();
        assert!(others(root.path(), &BootId([2; 16])).unwrap().is_empty());
        assert!(BootFolder::adopt(path.clone()).unwrap().is_none());
    }

    #[test]
    fn a_chunk_name_reads_as_it_was_written() {
        let name = ChunkName { worker: 3, first: 7, last: 11 };
        assert_eq!(name.to_string(), "00003-00000000000000000007-00000000000000000011.chunk");
        assert_eq!(ChunkName::parse(&name.to_string()), Some(name));
        assert_eq!(ChunkName::parse("0-9-8.chunk"), None);
        assert_eq!(ChunkName::parse("0-9-8.tmp"), None);
    }
}
