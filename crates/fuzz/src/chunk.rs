//! Any bytes, and any bytes behind a checksum that is right: a chunk or an error, in bounded memory.

use weir_event::chunk::{Chunk, ChunkHeader};

pub fn chunk(bytes: &[u8]) {
    check(bytes);
    check(&mended(bytes));
}

fn check(bytes: &[u8]) {
    let Ok(chunk) = Chunk::decode(bytes) else { return };
    let ChunkHeader { first, last, count, .. } = chunk.header;
    let mut seen = 0;
    for event in chunk.events() {
        assert!((first..=last).contains(&event.fixed.seq));
        seen += 1;
    }
    assert_eq!(seen, count);
}

/// The header under its own checksum, so that the fuzzer gets past it.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut out = [b"WEIRCHNK".as_slice(), bytes].concat();
    if out.len() < 16 {
        return out;
    }
    let len = usize::from(out[8]).min(out.len() - 16);
    out[8..12].copy_from_slice(&(len as u32).to_le_bytes());
    let crc = crc32c(&out[16..16 + len]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// CRC-32C (Castagnoli), bit by bit: the fuzz crate needs no other dependency for it.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}
