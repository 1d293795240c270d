//! From the ring to chunk files: when, with what in them, and what is informed of what is not in them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{append, chunks, config, identity, record, seqs, start, wait_until};
use std::sync::Arc;
use std::time::Duration;
use weir_event::Ranges;
use weir_event::chunk::{Gap, GapReason};
use weir_event::{NameId, Names};
use weir_spool::{Appended, Seal, Spool, SpoolError, TailItem, read_names};

const NEVER: Seal = Seal { count: u32::MAX, bytes: usize::MAX, age: Duration::from_secs(3600), wire: 1 << 20 };

/// Starts a spool with `seal`, appends 100 events, and gives the numbers of each chunk that comes without asking.
fn sealed_by(seal: Seal, until: usize) -> Vec<Vec<u64>> {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(weir_spool::SpoolConfig { seal, ..config(folder.path()) });
    append(&mut ring, 0..100);
    let boot = spool.boot().to_string();
    wait_until("chunks", || spool.stats().chunks_sealed >= until as u64);
    chunks(folder.path(), &boot).iter().map(|chunk| seqs(std::slice::from_ref(chunk))).collect()
}

#[test]
fn a_chunk_is_sealed_by_count() {
    let chunks = sealed_by(Seal { count: 40, ..NEVER }, 2);
    assert_eq!(chunks, [(0..40).collect::<Vec<_>>(), (40..80).collect()]);
}

#[test]
fn a_chunk_is_sealed_by_bytes() {
    let bytes = record(0, NameId::NONE).len() * 30;
    let chunks = sealed_by(Seal { bytes, ..NEVER }, 3);
    assert!(chunks.iter().all(|chunk| (28..=31).contains(&chunk.len())), "{chunks:?}");
}

#[test]
fn a_chunk_is_sealed_by_age() {
    let chunks = sealed_by(Seal { age: Duration::from_millis(1), ..NEVER }, 1);
    assert_eq!(chunks[0][0], 0);
}

#[test]
fn a_ring_that_is_half_full_is_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(weir_spool::SpoolConfig { ring_bytes: 256 * 1024, ..config(folder.path()) });
    // Each round is more than half of the ring, and with what the round before may have left less than all of it.
    let round = 150 * 1024 / record(0, NameId::NONE).len() as u64;
    let mut seq = 0;
    for _ in 0..8 {
        let before = spool.stats().chunks_sealed;
        append(&mut ring, seq..seq + round);
        seq += round;
        wait_until("a chunk", || spool.stats().chunks_sealed > before);
    }
    spool.flush().unwrap();
    assert_eq!(seqs(&chunks(folder.path(), &spool.boot().to_string())), (0..seq).collect::<Vec<_>>());
}

#[test]
fn what_found_no_room_is_a_gap_in_the_chunk_and_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(folder.path()));
    append(&mut ring, 0..3);
    // Larger than any record: shed, as a full ring would.
    assert_eq!(ring.append(3, &[0; 20_000]), Appended::Shed);
    append(&mut ring, 4..5);
    assert_eq!(ring.append(5, &[0; 20_000]), Appended::Shed);
    spool.flush().unwrap();
    let chunks = chunks(folder.path(), &spool.boot().to_string());
    let gap = |seq| Gap { first: seq, last: seq, reason: GapReason::RingFull };
    assert_eq!((seqs(&chunks), &*chunks[0].header.gaps), (vec![0, 1, 2, 4], &[gap(3), gap(5)][..]));
    let [ledger] = &spool.ledger()[..] else { panic!("one stream") };
    assert_eq!((ledger.accepted, ledger.spooled.count(), ledger.shed[0].1.count()), (6, 4, 2));
    assert!(ledger.open().is_empty());
    assert_eq!(spool.stats().shed.of(GapReason::RingFull), 2);
}

#[test]
fn bytes_that_are_no_record_are_reported_and_do_not_stop_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(folder.path()));
    append(&mut ring, 0..2);
    assert_eq!(ring.append(2, b"not a record"), Appended::Written);
    assert_eq!(ring.append(3, &record(77, NameId::NONE)), Appended::Written);
    append(&mut ring, 4..6);
    spool.flush().unwrap();
    let chunks = chunks(folder.path(), &spool.boot().to_string());
    assert_eq!(seqs(&chunks), [0, 1, 4, 5]);
    assert_eq!(chunks[0].header.gaps.len(), 2);
    assert_eq!((spool.stats().shed.of(GapReason::Unknown), spool.stats().events_written), (2, 4));
}

#[test]
fn the_request_counter_is_the_ledgers_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(folder.path()));
    append(&mut ring, 0..2);
    spool.flush().unwrap();
    spool.accepted_from(|worker| 5 + u64::from(worker));
    assert_eq!(spool.ledger()[0].accepted, 5);
    assert_eq!(spool.ledger()[0].open(), Ranges::of(2, 4), "counted and never offered: open, not balanced");
}

#[test]
fn names_are_on_disk_when_sync_names_returns() {
    let folder = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::new());
    let first = names.register("orders");
    let (spool, _rings) = Spool::start(config(folder.path()), identity(), 1, Arc::clone(&names)).unwrap();
    let on_disk = || read_names(&std::fs::read(folder.path().join(spool.boot().to_string()).join("names")).unwrap());
    assert_eq!(on_disk()[&first], "orders");
    let second = names.register("users");
    assert_eq!(on_disk().get(&second), None);
    spool.sync_names().unwrap();
    assert_eq!(on_disk()[&second], "users");
}

#[test]
fn a_tail_hears_what_is_recorded_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(folder.path()));
    append(&mut ring, 0..1);
    spool.flush().unwrap();
    let mut tail = spool.tail();
    append(&mut ring, 1..3);
    for expected in 1..3 {
        let Some(TailItem::Event(event)) = tail.next_blocking() else { panic!("an event") };
        assert_eq!(
            (event["seq"].as_u64(), event["path"].as_str()),
            (Some(expected), Some(&*format!("/orders/{expected}")))
        );
    }
    spool.stop(Duration::ZERO).unwrap();
    assert!(tail.next_blocking().is_none());
}

#[test]
fn a_folder_that_cannot_be_used_is_reported_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    std::fs::write(&path, "a file").unwrap();
    let error = Spool::start(config(&path), identity(), 1, Arc::new(Names::new())).err().unwrap();
    assert!(matches!(error, SpoolError::Folder { .. }));
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("the spool folder `/") && sentence.ends_with("name a folder in `spool.path`"),
        "{sentence}"
    );
}
