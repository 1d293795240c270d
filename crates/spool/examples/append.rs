//! What an append costs a worker: `cargo run -p weir-spool --profile demo --example append -- [FOLDER]`.
//!
//! Records of 300 bytes into a ring that the spool's thread empties to disk meanwhile: 50,000 a second, and then as
//! many as it takes. FOLDER should be on the kind of disk that is asked about.

use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::chunk::GapReason;
use weir_event::{Exchange, Identity, Names, Outcome};
use weir_spool::{Appended, RingWriter, Spool, SpoolConfig};

const LEN: usize = 300;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir_in(std::env::args().nth(1).unwrap_or_else(|| ".".into()))?;
    // Room for 200,000 events, so that the spool's pace is seen and not that of its wake-ups.
    let config = SpoolConfig { ring_bytes: 64 * 1024 * 1024, ..SpoolConfig::at(folder.path()) };
    let (spool, mut rings) = Spool::start(config, Identity::default(), 1, Arc::new(Names::new()))?;
    let Some(ring) = rings.first_mut() else { return Ok(()) };
    let mut record = record();
    println!("record {} bytes", record.len());
    let (mut seq, mut batches) = (0, Vec::new());
    // At a pace that the disk can follow: batches of 100, each timed, 2 ms apart.
    let begun = Instant::now();
    for batch in 0..5_000_u32 {
        while begun.elapsed() < Duration::from_millis(2) * batch {
            std::hint::spin_loop();
        }
        batches.push(timed(ring, &mut seq, &mut record, 100));
    }
    reported("paced, 50,000/s", &mut batches);
    let paced = spool.stats();
    println!("  shed {} of {seq}", paced.shed.of(GapReason::RingFull));
    // As fast as the spool's thread empties the ring to disk.
    let (begun, from) = (Instant::now(), seq);
    while seq < from + 3_000_000 {
        while seq - spool.stats().events_written > 100_000 {
            std::thread::yield_now();
        }
        batches.push(timed(ring, &mut seq, &mut record, 100));
    }
    spool.flush()?;
    reported("as fast as it is emptied", &mut batches);
    let (stats, seconds) = (spool.stats(), begun.elapsed().as_secs_f64());
    println!(
        "  {:.0} events/s to {} chunk files, shed {}",
        3e6 / seconds,
        stats.chunks_sealed,
        stats.shed.of(GapReason::RingFull)
    );
    Ok(())
}

/// Appends `count` records; nanoseconds for each.
fn timed(ring: &mut RingWriter, seq: &mut u64, record: &mut [u8], count: u64) -> f64 {
    let begun = Instant::now();
    for _ in 0..count {
        record[..8].copy_from_slice(&seq.to_le_bytes());
        let appended = ring.append(*seq, record);
        debug_assert!(matches!(appended, Appended::Written | Appended::Shed));
        *seq += 1;
    }
    begun.elapsed().as_nanos() as f64 / count as f64
}

fn reported(what: &str, batches: &mut Vec<f64>) {
    batches.sort_by(f64::total_cmp);
    let mean = batches.iter().sum::<f64>() / batches.len() as f64;
    let at = |part: f64| batches[((batches.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: mean {mean:.0} ns, p50 {:.0}, p99 {:.0}, worst batch {:.0} ns an event",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    batches.clear();
}

/// A real record, its path as long as makes it [`LEN`] bytes.
fn record() -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in 1.. {
        let mut exchange = Exchange::new(weir_event::Instant::now(), 0);
        exchange.target = format!("/{}", "a".repeat(path)).parse().unwrap_or_default();
        exchange.finish(Outcome::Completed, weir_event::Instant::now());
        bytes.clear();
        weir_event::record::encode(&exchange, 0, &mut bytes);
        if bytes.len() >= LEN {
            break;
        }
    }
    bytes
}
