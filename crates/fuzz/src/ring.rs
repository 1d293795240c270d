//! Any bytes in the place of a dead process's ring: no panic, and memory bounded by the file.
//!
//! Once as they come, and once behind a header that checks out, with counters from the fuzzer and the first records
//! of the data area given the CRC that they need - or no fuzzer would ever come to what lies behind a CRC.

use crc32c::{crc32c, crc32c_append};
use weir_spool::{Recovered, read_names};

const HEADER: usize = 4096;
const SIZE: usize = 8 * 16 * 1024;

pub fn ring(data: &[u8]) {
    read_names(data);
    check(data);
    if let Some((counters, records)) = data.split_at_checked(8) {
        check(&file(counters, records));
    }
}

fn check(file: &[u8]) {
    let Some(ring) = Recovered::read(file) else { return };
    let mut bytes = 0;
    let end = ring.records(|_, payload| bytes += payload.len());
    assert!(bytes <= file.len());
    assert!(end.next_seq >= ring.sealed_seq());
}

fn file(counters: &[u8], records: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEADER + SIZE];
    file[..8].copy_from_slice(b"WEIRRING");
    file[8] = 1;
    file[32..40].copy_from_slice(&(SIZE as u64).to_le_bytes());
    let crc = crc32c(&file[..40]);
    file[40..44].copy_from_slice(&crc.to_le_bytes());
    let word = |at: usize| u64::from(u16::from_le_bytes([counters[at], counters[at + 1]]));
    let (sealed, used) = (word(0) * 8, word(2) * 8);
    for (at, value) in [(64, sealed + used), (72, word(4)), (128, sealed), (136, word(6))] {
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let lap = sealed / SIZE as u64;
    let start = HEADER + (sealed % SIZE as u64) as usize;
    let len = records.len().min(file.len() - start);
    file[start..start + len].copy_from_slice(&records[..len]);
    fix(&mut file, start, lap);
    file
}

/// Gives every record from `at` to the end of the lap its CRC, as long as the lengths allow.
fn fix(file: &mut [u8], mut at: usize, lap: u64) {
    let seed = crc32c_append(crc32c(&[0; 16]), &lap.to_le_bytes());
    while at + 16 <= file.len() {
        let len = u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
        if len == u32::MAX {
            let crc = crc32c_append(seed, &len.to_le_bytes());
            file[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
            return;
        }
        let end = at + 16 + len as usize;
        if end > file.len() {
            return;
        }
        let crc = crc32c_append(crc32c_append(seed, &file[at..at + 4]), &file[at + 8..end]);
        file[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at = (at + 16 + len as usize).next_multiple_of(8);
    }
}
