//! The folder of one life of a gateway process, and the locks that say whose it is.
//!
//! `<path>/<boot id>/` holds `lock` (held by `flock` as long as its process lives), `identity.json`, `names`,
//! `ring-<worker>`, `progress`, `ends.json` (the streams whose end is known) and `chunks/`. Beside the folders lie
//! `set-aside/`, chunks that cannot be shipped, and `adopt-<hash>.lock`: whoever holds it takes over the lives of that
//! identity that are over, with one descriptor for all of them. Knows names and durability of files, not what is in them.

use crate::machine::Place;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use weir_event::{BootId, Identity, Schema, Stream};

const FRESH: &str = ".new-";
/// Where chunks lie that cannot be shipped, of all lives.
pub(crate) const SET_ASIDE: &str = "set-aside";
/// A folder half made is somebody's start of a moment ago, or rubbish of a crash.
const RUBBISH_AGE: Duration = Duration::from_secs(3600);

/// The folder of one life.
#[derive(Debug)]
pub(crate) struct BootFolder {
    pub(crate) path: PathBuf,
    pub(crate) boot: BootId,
    pub(crate) identity: Identity,
    /// Of the records in its rings, for a ring whose own header is damaged; none where it is of a newer version.
    pub(crate) schema: Option<Schema>,
    /// How many workers it had; unknown of lives of earlier versions.
    pub(crate) workers: Option<u16>,
    /// Where it ran; unknown of lives of earlier versions.
    pub(crate) place: Option<Place>,
    /// Held by the process whose life it is.
    _lock: Option<File>,
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
    pub(crate) fn create(root: &Path, boot: BootId, identity: Identity, workers: u16) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        make_private(&root.join(SET_ASIDE)).or_else(ignore_existing)?;
        let fresh = root.join(format!("{FRESH}{boot}"));
        make_private(&fresh)?;
        let lock = OpenOptions::new().write(true).create_new(true).open(fresh.join("lock"))?;
        lock.try_lock()?;
        fs::create_dir(fresh.join("chunks"))?;
        crate::progress::create(&fresh.join("progress"), workers)?;
        let place = Place::here(&fresh)?;
        let folder = Self {
            path: root.join(boot.to_string()),
            boot,
            identity,
            schema: Some(Schema::NEWEST),
            workers: Some(workers),
            place: Some(place),
            _lock: Some(lock),
        };
        write_synced(&fresh.join("identity.json"), folder.identity_json().to_string().as_bytes())?;
        fs::rename(&fresh, &folder.path)?;
        sync_folder(&folder.path)?;
        sync_folder(root)?;
        Ok(folder)
    }

    /// Makes the folder again of a life that is over and was removed, for a chunk of it that comes back.
    pub(crate) fn revive(root: &Path, boot: BootId, identity: Identity) -> io::Result<Self> {
        let path = root.join(boot.to_string());
        let folder = Self::of(path, boot, identity);
        if folder.path.join("identity.json").exists() {
            fs::create_dir_all(folder.chunks())?;
            return Ok(folder);
        }
        let fresh = root.join(format!("{FRESH}{boot}"));
        fs::remove_dir_all(&fresh).or_else(ignore_missing)?;
        make_private(&fresh)?;
        fs::create_dir(fresh.join("chunks"))?;
        write_synced(&fresh.join("lock"), b"")?;
        write_synced(&fresh.join("identity.json"), folder.identity_json().to_string().as_bytes())?;
        fs::rename(&fresh, &folder.path)?;
        sync_folder(&folder.path)?;
        sync_folder(root)?;
        Ok(folder)
    }

    /// Reads the folder at `path`; none where it is being removed. Says nothing of whose it is.
    pub(crate) fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let text = match fs::read(path.join("identity.json")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "`identity.json` is damaged");
        Ok(Some(Self::parse(path, &text).ok_or_else(damaged)?))
    }

    /// The folder of a life of which only this is known.
    pub(crate) fn of(path: PathBuf, boot: BootId, identity: Identity) -> Self {
        Self { path, boot, identity, schema: Some(Schema::V1), workers: None, place: None, _lock: None }
    }

    fn parse(path: PathBuf, text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let identity = identity_from(&value)?;
        let workers = value.get("workers").and_then(Value::as_u64).and_then(|workers| workers.try_into().ok());
        let place = value.get("place").and_then(Place::from_json);
        let boot = BootId::from_hex(value.get("boot")?.as_str()?.as_bytes())?;
        let schema = match value.get("schema") {
            // Of an earlier version, which did not say.
            None => Some(Schema::V1),
            Some(number) => number.as_u64().and_then(|number| number.try_into().ok()).and_then(Schema::from_number),
        };
        Some(Self { path, boot, identity, schema, workers, place, _lock: None })
    }

    fn identity_json(&self) -> Value {
        let identity = &self.identity;
        let mut value = json!({
            "boot": self.boot.to_string(),
            "organization": identity.organization,
            "environment": identity.environment,
            "site": identity.site,
            "gateway": identity.gateway,
            "replica": identity.replica,
        });
        if let Some(schema) = self.schema {
            value["schema"] = schema.number().into();
        }
        if let Some(workers) = self.workers {
            value["workers"] = workers.into();
        }
        if let Some(place) = &self.place {
            value["place"] = place.to_json();
        }
        value
    }

    /// Makes again what somebody removed under a living process: its folder, so that chunks can be written.
    pub(crate) fn restore(&self) -> io::Result<()> {
        fs::create_dir_all(self.chunks())?;
        let identity = self.path.join("identity.json");
        if !identity.exists() {
            write_synced(&identity, self.identity_json().to_string().as_bytes())?;
            sync_folder(&self.path)?;
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        if lock.try_lock().is_ok() {
            // Held for as long as the process lives, as the one that was removed was.
            std::mem::forget(lock);
        }
        Ok(())
    }

    /// Whether its process lives.
    pub(crate) fn is_alive(&self) -> io::Result<bool> {
        let lock = match OpenOptions::new().write(true).open(self.path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether it was copied from elsewhere, where its life may go on.
    pub(crate) fn is_copy(&self) -> io::Result<bool> {
        self.place.as_ref().map_or(Ok(false), |place| place.is_copy(&self.path))
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

    pub(crate) fn progress(&self) -> PathBuf {
        self.path.join("progress")
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

    /// Removes the folder of a life that is over and reported, the lock last.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // Without its identity it is nobody's: a crash in the middle leaves nothing that would be adopted again.
        fs::remove_file(self.path.join("identity.json"))?;
        fs::remove_dir_all(&self.path)
    }
}

/// The identity among the members of a note, as this crate writes them all.
pub(crate) fn identity_from(note: &Value) -> Option<Identity> {
    let part = |key: &str| Some(note.get(key)?.as_str()?.to_owned());
    Some(Identity {
        organization: part("organization")?,
        environment: part("environment")?,
        site: part("site")?,
        gateway: part("gateway")?,
        replica: part("replica")?,
    })
}

fn make_private(path: &Path) -> io::Result<()> {
    // Events say who called what: nobody else's business on a shared machine.
    DirBuilder::new().mode(0o700).create(path)
}

fn ignore_existing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

pub(crate) fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The lock of whoever takes over the lives of `identity` that are over; none where another process has it. Which
/// replica of a gateway it is does not matter.
pub(crate) fn lock_identity(root: &Path, identity: &Identity) -> io::Result<Option<File>> {
    let any =
        Stream { identity: Identity { replica: String::new(), ..identity.clone() }, boot: BootId([0; 16]), worker: 0 };
    try_lock(&root.join(format!("adopt-{}.lock", any.id())))
}

/// The file at `path`, locked; none where another process has the lock.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The folders of other lives under `root`; what a crash left half made or half removed is cleared away.
pub(crate) fn others(root: &Path, own: &BootId) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        match BootId::from_hex(name.as_bytes()) {
            Some(boot) if boot != *own && (path.join("identity.json").exists() || has_chunks(&path)) => {
                found.push(path);
            }
            Some(boot) if boot != *own => clear_rubbish(&entry),
            _ if name.starts_with(FRESH) && !has_chunks(&path) => clear_rubbish(&entry),
            _ => {}
        }
    }
    Ok(found)
}

/// Whether there is any chunk file; what cannot be listed may have one.
fn has_chunks(path: &Path) -> bool {
    match fs::read_dir(path.join("chunks")) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(files) => {
            let is_chunk = |file: fs::DirEntry| ChunkName::parse(&file.file_name().to_string_lossy()).is_some();
            files.into_iter().any(|file| file.map_or(true, is_chunk))
        }
    }
}

fn clear_rubbish(entry: &fs::DirEntry) {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age > RUBBISH_AGE) {
        fs::remove_dir_all(entry.path()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { site: "on-\"prem\"".into(), gateway: "edge".into(), ..Identity::default() }
    }

    #[test]
    fn a_folder_is_alive_as_long_as_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let folder = BootFolder::create(root.path(), BootId([1; 16]), identity(), 3).unwrap();
        let [path] = &others(root.path(), &BootId([2; 16])).unwrap()[..] else { panic!("one folder") };
        let read = BootFolder::open(path.clone()).unwrap().unwrap();
        assert!(read.is_alive().unwrap());
        drop(folder);
        assert!(!read.is_alive().unwrap() && !read.is_copy().unwrap());
        assert_eq!((read.boot, &read.identity, read.workers), (BootId([1; 16]), &identity(), Some(3)));
        assert!(read.place.as_ref().unwrap().same_kernel());
        read.remove().unwrap();
        assert!(others(root.path(), &BootId([2; 16])).unwrap().is_empty());
        assert!(BootFolder::open(path.clone()).unwrap().is_none());
        let revived = BootFolder::revive(root.path(), BootId([1; 16]), identity()).unwrap();
        assert_eq!(BootFolder::open(path.clone()).unwrap().unwrap().identity, revived.identity);
        BootFolder::revive(root.path(), BootId([1; 16]), identity()).unwrap();
    }

    #[test]
    fn one_process_at_a_time_adopts_an_identity() {
        let root = tempfile::tempdir().unwrap();
        let held = lock_identity(root.path(), &identity()).unwrap().unwrap();
        let other = Identity { replica: "another".into(), ..identity() };
        assert!(lock_identity(root.path(), &other).unwrap().is_none());
        assert!(lock_identity(root.path(), &Identity { gateway: "b".into(), ..identity() }).unwrap().is_some());
        drop(held);
        assert!(lock_identity(root.path(), &other).unwrap().is_some());
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
