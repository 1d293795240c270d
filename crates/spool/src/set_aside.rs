//! Chunks that cannot be shipped, in `<spool>/set-aside/`: each with a file beside it that says whose it is and why.
//!
//! They are part of the account: reported to the ingestor, bounded in bytes, and given up only by name. An operator
//! lists and exports them with `weirctl spool`, which also leaves a request to retry or drop one as an empty file of
//! the chunk's name with `.retry` or `.drop` added. Of several gateways that share a spool, the one that holds
//! `set-aside.lock` looks after the folder.

use crate::folder::{
    BootFolder, ChunkName, SET_ASIDE, identity_from, ignore_missing, sync_folder, try_lock, write_synced,
};
use crate::ledger::StreamLedger;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_event::chunk::ChunkHeader;
use weir_event::clock::system_us;
use weir_event::{BootId, Identity, Stream};

/// Bytes of a chunk that are read to learn whose it is.
const PREFIX: u64 = 64 * 1024;

/// One chunk that is set aside.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) boot: BootId,
    pub(crate) name: ChunkName,
    /// Not known of a damaged one that an earlier version set aside.
    pub(crate) stream: Option<Stream>,
    pub(crate) bytes: u64,
    pub(crate) reason: String,
    /// Wall time, microseconds since the Unix epoch.
    pub(crate) at_us: i64,
}

/// What an operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Retry,
    Drop,
}

#[derive(Default)]
struct Inner {
    items: BTreeMap<String, Item>,
    lock: Option<File>,
}

pub(crate) struct SetAside {
    folder: PathBuf,
    inner: Mutex<Inner>,
}

impl SetAside {
    pub(crate) fn new(root: &Path) -> Self {
        Self { folder: root.join(SET_ASIDE), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a chunk file there. Why is on disk first.
    pub(crate) fn put(&self, folder: &BootFolder, name: ChunkName, reason: &str, error: &str) -> io::Result<()> {
        let file = format!("{}-{name}", folder.boot);
        let (stream, at_us) = (folder.stream(name.worker), system_us());
        let identity = &stream.identity;
        let note = json!({
            "boot": folder.boot.to_string(), "worker": name.worker, "first": name.first, "last": name.last,
            "organization": identity.organization, "environment": identity.environment, "site": identity.site,
            "gateway": identity.gateway, "replica": identity.replica,
            "reason": reason, "error": error, "at_us": at_us,
        });
        fs::create_dir_all(&self.folder)?;
        write_synced(&self.folder.join(format!("{file}.json")), note.to_string().as_bytes())?;
        let from = folder.chunk(name);
        let bytes = fs::metadata(&from)?.len();
        fs::rename(&from, self.folder.join(&file))?;
        sync_folder(&self.folder)?;
        sync_folder(&folder.chunks())?;
        let item = Item { boot: folder.boot, name, stream: Some(stream), bytes, reason: reason.to_owned(), at_us };
        self.lock().items.insert(file, item);
        Ok(())
    }

    /// Looks what is there, and takes the lock of who looks after it if nobody has it. Answers whether that is this
    /// process.
    pub(crate) fn scan(&self) -> io::Result<bool> {
        let mut files = Vec::new();
        match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            listed => {
                for entry in listed? {
                    files.push(entry?.file_name().to_string_lossy().into_owned());
                }
            }
        }
        let mut inner = self.lock();
        inner.items.retain(|file, _| files.contains(file));
        for file in files {
            let Some((boot, name)) = parse(&file) else { continue };
            if let Entry::Vacant(vacant) = inner.items.entry(file) {
                let item = self.read(vacant.key(), boot, name)?;
                vacant.insert(item);
            }
        }
        if inner.lock.is_none() {
            inner.lock = try_lock(&self.folder.with_file_name("set-aside.lock"))?;
        }
        Ok(inner.lock.is_some())
    }

    fn read(&self, file: &str, boot: BootId, name: ChunkName) -> io::Result<Item> {
        let path = self.folder.join(file);
        let (bytes, modified) = (fs::metadata(&path)?.len(), crate::adopt::modified_us(&path));
        let note = match fs::read(path.with_extension("chunk.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => serde_json::from_slice::<Value>(&read?).ok(),
        };
        let noted = note.as_ref().and_then(|note| Some((stream_of(note, boot, name)?, reason_of(note)?)));
        let (stream, (reason, at_us)) = match noted {
            Some((stream, why)) => (Some(stream), why),
            // Of a version that kept no note.
            None => (header_of(&path)?.map(|header| header.stream), ("refused".to_owned(), modified)),
        };
        Ok(Item { boot, name, stream, bytes, reason, at_us })
    }

    /// The oldest that are too much for `most` bytes.
    pub(crate) fn beyond(&self, most: u64) -> Vec<(String, Item)> {
        let inner = self.lock();
        let mut items: Vec<_> = inner.items.iter().collect();
        items.sort_by_key(|(file, item)| (item.at_us, (*file).clone()));
        let mut bytes: u64 = items.iter().map(|(_, item)| item.bytes).sum();
        let too_much = items.into_iter().take_while(|(_, item)| {
            let over = bytes > most;
            bytes -= item.bytes;
            over
        });
        too_much.map(|(file, item)| (file.clone(), item.clone())).collect()
    }

    /// What operators have asked for.
    pub(crate) fn requests(&self) -> Vec<(String, Item, Request)> {
        let inner = self.lock();
        let asked = |file: &String, item: &Item| {
            let is_asked = |what| self.folder.join(format!("{file}.{what}")).exists();
            let request = if is_asked("drop") { Request::Drop } else { is_asked("retry").then_some(Request::Retry)? };
            Some((file.clone(), item.clone(), request))
        };
        inner.items.iter().filter_map(|(file, item)| asked(file, item)).collect()
    }

    /// Where a chunk lies.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Removes what is left of a chunk that is not set aside any more.
    pub(crate) fn forget(&self, file: &str) -> io::Result<()> {
        for end in ["", ".json", ".retry", ".drop"] {
            fs::remove_file(self.folder.join(format!("{file}{end}"))).or_else(ignore_missing)?;
        }
        self.lock().items.remove(file);
        sync_folder(&self.folder)
    }

    /// How many, and their bytes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.items.len() as u64, inner.items.values().map(|item| item.bytes).sum())
    }

    /// Enters what is set aside into the accounts of its streams: those of the gateway `own`, and where this process
    /// looks after the folder those of everybody.
    pub(crate) fn add_to(&self, ledgers: &mut Vec<StreamLedger>, own: &Identity) {
        let inner = self.lock();
        let is_own = |of: &Identity| Identity { replica: own.replica.clone(), ..of.clone() } == *own;
        for item in inner.items.values() {
            let Some(stream) = item.stream.as_ref() else { continue };
            if inner.lock.is_none() && !is_own(&stream.identity) {
                continue;
            }
            let place = ledgers.iter().position(|ledger| ledger.stream == *stream).unwrap_or_else(|| {
                let over =
                    StreamLedger { accepted: item.name.last + 1, closed: true, ..StreamLedger::new(stream.clone()) };
                ledgers.push(over);
                ledgers.len() - 1
            });
            let ledger = &mut ledgers[place];
            ledger.accepted = ledger.accepted.max(item.name.last + 1);
            ledger.set_aside.insert(item.name.first, item.name.last);
            ledger.set_aside_reasons.push((item.name.first, item.name.last, item.reason.clone()));
        }
    }
}

fn parse(file: &str) -> Option<(BootId, ChunkName)> {
    let (boot, name) = file.split_once('-')?;
    Some((BootId::from_hex(boot.as_bytes())?, ChunkName::parse(name)?))
}

fn stream_of(note: &Value, boot: BootId, name: ChunkName) -> Option<Stream> {
    Some(Stream { identity: identity_from(note)?, boot, worker: name.worker })
}

fn reason_of(note: &Value) -> Option<(String, i64)> {
    Some((note.get("reason")?.as_str()?.to_owned(), note.get("at_us")?.as_i64()?))
}

/// The header of a chunk file, if it is one.
pub(crate) fn header_of(path: &Path) -> io::Result<Option<ChunkHeader>> {
    let file = File::open(path)?;
    let total = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    (&file).take(PREFIX).read_to_end(&mut bytes)?;
    let Ok(length) = ChunkHeader::length(&bytes) else { return Ok(None) };
    if length > bytes.len() {
        let missing = length - bytes.len();
        (&file).take(missing as u64).read_to_end(&mut bytes)?;
    }
    Ok(ChunkHeader::decode_prefix(&bytes, total).ok())
}
