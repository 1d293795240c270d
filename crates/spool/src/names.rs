//! The log of names of one life of a process: what its ids mean to whoever reads its ring after it.
//!
//! Append-only. An entry is `len u16, crc32c u32, id u32, name`; the first that does not check out ends the log.
//! A name must be here before a record that uses it can be, which is why [`NamesLog::sync`] is called before a
//! configuration's snapshot is published.

use crate::format::u32_at;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use weir_event::{NameId, Names};

const HEAD: usize = 10;

/// The log, open for appending.
pub(crate) struct NamesLog {
    file: File,
    /// Names that are on disk, and the length of the file that holds exactly those.
    known: usize,
    len: u64,
}

impl NamesLog {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().write(true).create_new(true).open(path)?, known: 0, len: 0 })
    }

    /// Returns when every name that is registered now is on disk.
    pub(crate) fn sync(&mut self, names: &Names) -> io::Result<()> {
        let fresh = names.since(self.known);
        if fresh.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (id, name) in &fresh {
            put_entry(&mut bytes, *id, name);
        }
        // From where the good entries end: what a failed write left behind is written over.
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.known += fresh.len();
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn put_entry(out: &mut Vec<u8>, id: NameId, name: &str) {
    let mut end = name.len().min(usize::from(u16::MAX));
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mut covered = id.0.to_le_bytes().to_vec();
    covered.extend_from_slice(&name.as_bytes()[..end]);
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    out.extend_from_slice(&covered);
}

/// Reads the names of a log, up to the first entry that is damaged.
pub fn read_names(mut bytes: &[u8]) -> HashMap<NameId, String> {
    let mut names = HashMap::new();
    while let Some((id, name, rest)) = take_entry(bytes) {
        names.insert(id, name);
        bytes = rest;
    }
    names
}

fn take_entry(bytes: &[u8]) -> Option<(NameId, String, &[u8])> {
    let len = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let covered = bytes.get(6..HEAD + len)?;
    if crc32c::crc32c(covered) != u32_at(bytes, 2)? {
        return None;
    }
    let name = std::str::from_utf8(&covered[4..]).ok()?.to_owned();
    Some((NameId(u32_at(covered, 0)?), name, &bytes[HEAD + len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_a_torn_end_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let names = Names::new();
        let mut log = NamesLog::create(&path).unwrap();
        let orders = names.register("orders");
        log.sync(&names).unwrap();
        let users = names.register("users");
        log.sync(&names).unwrap();
        log.sync(&names).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let read = read_names(&bytes);
        assert_eq!((read.len(), &*read[&orders], &*read[&users]), (2, "orders", "users"));
        for cut in 0..bytes.len() {
            let read = read_names(&bytes[..cut]);
            assert_eq!(read.len(), usize::from(cut >= HEAD + 6), "cut at {cut}");
        }
    }
}
