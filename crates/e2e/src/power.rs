//! What a power failure leaves of a gateway's spool.
//!
//! What the gateway syncs stays as it is: chunk files, names, progress, identity. A ring is memory that is mapped to a file
//! and synced only when it is made: each of its pages is as it was then, or as it is now. What was being written is empty.
//! And the kernel has been started again. `docs/durability.md` has the order of writes and syncs that this relies on.

use std::fs;
use std::io;
use std::path::Path;

const PAGE: usize = 4096;
/// The part of a ring's first page that is written before the file is synced.
const RING_HEADER: usize = 44;

/// Makes the lives in `spool`, whose processes have been killed, those of a machine whose power failed. Of ten pages of a
/// ring, `kept` have reached the disk.
pub fn fail_power(spool: &Path, kept: u8, rng: &mut fastrand::Rng) -> io::Result<()> {
    for entry in fs::read_dir(spool)? {
        let life = entry?.path();
        if life.file_name().is_some_and(|name| name.len() == 32) {
            fail_life(&life, kept, rng)?;
        }
    }
    Ok(())
}

fn fail_life(life: &Path, kept: u8, rng: &mut fastrand::Rng) -> io::Result<()> {
    for entry in fs::read_dir(life)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ring-")) {
            let mut ring = fs::read(&path)?;
            for (number, page) in ring.chunks_mut(PAGE).enumerate() {
                if rng.u8(0..10) >= kept {
                    page[if number == 0 { RING_HEADER } else { 0 }..].fill(0);
                }
            }
            fs::write(&path, ring)?;
        }
    }
    for entry in fs::read_dir(life.join("chunks"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::write(path, "")?;
        }
    }
    restart_kernel(life)
}

/// Makes a life one of another start of the kernel.
pub fn restart_kernel(life: &Path) -> io::Result<()> {
    let path = life.join("identity.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    identity["place"]["kernel_boot"] = "before the power failed".into();
    fs::write(path, identity.to_string())
}
