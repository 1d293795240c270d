//! How far each worker of a life has got into chunk files, on disk before any of them is unlinked.
//!
//! After a power failure the ring's own counters are as old as the last write-back; without this file the account
//! would go back to them. One slot a worker, of two sectors written in turn, so that a write that is cut off leaves
//! the one before; the file has its full size from the start, so that writing to it needs no room on a full disk.
//!
//! ```text
//! sector (512 bytes): generation u64 · sealed_seq u64 · position u64 · crc32c u32 of all before, the worker last
//! ```

use crate::format::u64_at;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: usize = 512;
const SLOT: usize = 2 * SECTOR;
const LEN: usize = 28;

/// How far one worker has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Every number below this is in a chunk file, or was.
    pub(crate) sealed_seq: u64,
    /// The ring's records from this position on are not.
    pub(crate) position: u64,
    generation: u64,
}

/// Makes the file of a life with `workers` workers.
pub(crate) fn create(path: &Path, workers: u16) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(&vec![0; SLOT * usize::from(workers)])?;
    file.sync_all()
}

/// What is on disk; a slot that was never written, or is damaged, is left out. No file is an empty one.
pub(crate) fn read(path: &Path) -> io::Result<BTreeMap<u16, Mark>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        bytes => bytes?,
    };
    let slots = bytes.chunks(SLOT).zip(0..=u16::MAX);
    Ok(slots.filter_map(|(slot, worker)| Some((worker, newest(slot, worker)?))).collect())
}

/// Writes the marks that are ahead of what is on disk, and returns when they are durable.
pub(crate) fn advance(path: &Path, marks: &[(u16, u64, u64)]) -> io::Result<()> {
    let on_disk = read(path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    for (worker, sealed_seq, position) in marks {
        let before = on_disk.get(worker).copied().unwrap_or_default();
        let generation = before.generation + 1;
        let (sealed_seq, position) = (before.sealed_seq.max(*sealed_seq), before.position.max(*position));
        write(&file, *worker, Mark { sealed_seq, position, generation })?;
    }
    file.sync_all()
}

fn write(file: &File, worker: u16, mark: Mark) -> io::Result<()> {
    let at = usize::from(worker) * SLOT + (mark.generation % 2) as usize * SECTOR;
    file.write_all_at(&encode(worker, mark), at as u64)
}

fn encode(worker: u16, mark: Mark) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[..8].copy_from_slice(&mark.generation.to_le_bytes());
    out[8..16].copy_from_slice(&mark.sealed_seq.to_le_bytes());
    out[16..24].copy_from_slice(&mark.position.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[..24]), &worker.to_le_bytes());
    out[24..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn newest(slot: &[u8], worker: u16) -> Option<Mark> {
    let sectors = slot.chunks(SECTOR).filter_map(|sector| {
        let mark =
            Mark { generation: u64_at(sector, 0)?, sealed_seq: u64_at(sector, 8)?, position: u64_at(sector, 16)? };
        (mark.generation > 0 && sector.get(..LEN)? == encode(worker, mark)).then_some(mark)
    });
    sectors.max_by_key(|mark| mark.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(path: &Path) -> Vec<(u16, u64, u64)> {
        read(path).unwrap().into_iter().map(|(worker, mark)| (worker, mark.sealed_seq, mark.position)).collect()
    }

    #[test]
    fn marks_only_go_forward_and_a_torn_write_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        assert_eq!(marks(&path), []);
        create(&path, 2).unwrap();
        assert_eq!(marks(&path), []);
        advance(&path, &[(0, 10, 800), (1, 5, 400)]).unwrap();
        advance(&path, &[(0, 20, 1600)]).unwrap();
        advance(&path, &[(1, 4, 300)]).unwrap();
        assert_eq!(marks(&path), [(0, 20, 1600), (1, 5, 400)]);
        let good = std::fs::read(&path).unwrap();
        assert_eq!(good.len(), 2 * SLOT, "it never grows");
        for at in 0..LEN {
            let mut torn = good.clone();
            // The second write of worker 0 went to the first sector of its slot.
            torn[at] ^= 1;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(marks(&path)[0], (0, 10, 800), "byte {at}");
        }
    }

    #[test]
    fn a_life_without_the_file_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        advance(&path, &[(3, 7, 0)]).unwrap();
        assert_eq!(marks(&path), [(3, 7, 0)]);
    }
}
