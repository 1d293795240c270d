//! Past its bounds the spool sheds the oldest, and says so in the same place.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{append, chunks, config, seqs, start, wait_until};
use std::time::Duration;
use weir_event::Ranges;
use weir_event::chunk::GapReason;
use weir_spool::SpoolConfig;

#[test]
fn past_its_bytes_the_oldest_give_way_to_one_tombstone() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(SpoolConfig { max_bytes: 4_000, ..config(folder.path()) });
    for round in 0..8 {
        append(&mut ring, round * 100..(round + 1) * 100);
        spool.flush().unwrap();
    }
    wait_until("the bound", || spool.stats().tombstones > 0 && spool.stats().bytes_on_disk <= 4_000);
    let stats = spool.stats();
    let on_disk = chunks(folder.path(), &spool.boot().to_string());
    assert_eq!(stats.chunks_on_disk, on_disk.len() as u64);
    let tombstone = &on_disk[0].header;
    assert_eq!((tombstone.first, tombstone.count, tombstone.gaps.len()), (0, 0, 1));
    assert_eq!(tombstone.gaps[0].reason, GapReason::SpoolFull);
    assert!(on_disk[1..].iter().all(|chunk| chunk.header.count == 100), "tombstones are merged");
    let kept = seqs(&on_disk);
    assert_eq!(kept, (tombstone.last + 1..800).collect::<Vec<_>>());
    assert!(!kept.is_empty() && stats.shed.of(GapReason::SpoolFull) == tombstone.last + 1);
    let [ledger] = &spool.ledger()[..] else { panic!("one stream") };
    assert_eq!(ledger.shed, [(GapReason::SpoolFull, Ranges::of(0, tombstone.last))]);
    assert!(ledger.open().is_empty());
}

#[test]
fn past_their_age_chunks_give_way() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(SpoolConfig { max_age: Duration::from_millis(1), ..config(folder.path()) });
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    wait_until("a tombstone", || spool.stats().shed.of(GapReason::TooOld) == 10);
    assert_eq!(spool.ledger()[0].spooled, Ranges::new());
}

#[test]
fn a_tombstone_reaches_the_ingestor_and_the_ledger_balances() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, mut ring) = start(SpoolConfig { max_age: Duration::from_millis(1), ..config(folder.path()) });
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    wait_until("a tombstone", || spool.stats().tombstones == 1);
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("its acknowledgement", || spool.stats().chunks_acked == 1);
    let heard = &ingestor.heard()[0];
    assert_eq!((heard.first, heard.last, heard.seqs.len()), (0, 9, 0));
    assert_eq!(spool.ledger()[0].acked, Ranges::new());
    assert!(spool.ledger()[0].open().is_empty());
    assert_eq!(spool.stats().chunks_on_disk, 0);
}
