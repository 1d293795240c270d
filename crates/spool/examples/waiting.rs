//! What a spool of many waiting chunks costs at a start: `cargo run -p weir-spool --profile demo --example waiting -- [CHUNKS]`.
//!
//! Copies of one chunk of ten events under as many names; then a start, timed until all of them are in the index and
//! until all of their headers are read, and the memory that the process has grown by.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::{Exchange, Identity, Names, Outcome};
use weir_spool::{Appended, Spool, SpoolConfig, SpoolError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chunks: u64 = std::env::args().nth(1).unwrap_or_else(|| "100000".into()).parse()?;
    let folder = tempfile::tempdir_in(".")?;
    let (spool, mut rings) = start(folder.path())?;
    if let Some(ring) = rings.first_mut() {
        for seq in 0..10 {
            let mut exchange = Exchange::new(weir_event::Instant::now(), 0);
            exchange.finish(Outcome::Completed, weir_event::Instant::now());
            let mut record = Vec::new();
            weir_event::record::encode(&exchange, seq, &mut record);
            assert_eq!(ring.append(seq, &record), Appended::Written);
        }
    }
    let life = folder.path().join(spool.boot().to_string()).join("chunks");
    spool.stop(Duration::ZERO)?;
    let mut first = fs::read_dir(&life)?.next().ok_or("a chunk")??.path();
    for number in 1..chunks {
        let name = life.join(format!("00000-{:020}-{:020}.chunk", number * 10, number * 10 + 9));
        // A file system allows so many links to one file.
        if number % 50_000 == 0 {
            fs::copy(&first, &name)?;
            first = name;
        } else {
            fs::hard_link(&first, name)?;
        }
    }
    let (before, begun) = (resident()?, Instant::now());
    let (spool, _rings) = start(folder.path())?;
    while spool.stats().chunks_on_disk < chunks {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    println!(
        "{chunks} chunks are in the index after {:.2} s, {} MiB",
        begun.elapsed().as_secs_f64(),
        resident()? - before
    );
    Ok(())
}

fn start(path: &std::path::Path) -> Result<(Spool, Vec<weir_spool::RingWriter>), SpoolError> {
    let config = SpoolConfig { ring_bytes: 1024 * 1024, max_bytes: u64::MAX, ..SpoolConfig::at(path) };
    Spool::start(config, Identity::default(), 1, Arc::new(Names::new()))
}

/// MiB.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
