//! What earlier lives left behind, whole or damaged, and a disk that fails for a while.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{append, chunks, config, seqs, start, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_event::Ranges;
use weir_event::chunk::GapReason;
use weir_spool::{SpoolConfig, StreamLedger};

/// A life that ended with three chunks of ten events on disk, and its folder.
fn left_behind(path: &Path) -> PathBuf {
    let (spool, mut ring) = start(config(path));
    for chunk in 0..3 {
        append(&mut ring, chunk * 10..chunk * 10 + 10);
        spool.flush().unwrap();
    }
    let folder = path.join(spool.boot().to_string());
    spool.stop(Duration::ZERO).unwrap();
    folder
}

fn chunk_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.join("chunks")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_life_that_ended_is_shipped_reported_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_behind(root.path());
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    wait_until("adoption", || spool.stats().adopted == 1);
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    assert_eq!(ingestor.stored().len(), 30);
    let boot = folder.file_name().unwrap().to_str().unwrap();
    let reports = ingestor.reports();
    // The last word on it: a report may come while its ring is still being read.
    let lines = reports.iter().flat_map(|report| report.as_array().unwrap());
    let line = lines.rev().find(|line| line["boot"] == boot).unwrap();
    assert_eq!((line["accepted"].as_u64(), line["closed"].as_bool()), (Some(30), Some(true)));
    assert_eq!(spool.stats().chunks_set_aside, 0);
}

#[test]
fn a_living_process_keeps_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let (first, mut ring) = start(config(root.path()));
    let (second, _ring) = start(config(root.path()));
    second.flush().unwrap();
    second.flush().unwrap();
    append(&mut ring, 0..5);
    first.flush().unwrap();
    assert_eq!((first.stats().adopted, second.stats().adopted), (0, 0));
    assert_eq!(seqs(&chunks(root.path(), &first.boot().to_string())), [0, 1, 2, 3, 4]);
}

#[test]
fn a_damaged_chunk_is_set_aside_and_the_others_flow() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_behind(root.path());
    flip(&chunk_files(&folder)[1], 20);
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    let ledgers = spool.ledger();
    let ledger = ledgers.iter().find(|ledger| ledger.closed).unwrap();
    assert_eq!(
        (&ledger.set_aside, &*ledger.set_aside_reasons),
        (&Ranges::of(10, 19), &[(10, 19, "damaged".into())][..])
    );
    assert!(spool.stats().last_error.unwrap().contains("is set aside (damaged)"));
    assert_eq!(
        ingestor.stored().into_keys().map(|(_, seq)| seq).collect::<Vec<_>>(),
        (0..10).chain(20..30).collect::<Vec<_>>()
    );
    assert_eq!(spool.stats().set_aside_chunks, 1);
}

#[test]
fn a_damaged_ring_does_not_hold_up_its_chunks() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_behind(root.path());
    flip(&folder.join("ring-0"), 3);
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    assert_eq!(ingestor.stored().len(), 30);
}

#[test]
fn a_damaged_identity_is_read_from_the_chunks() {
    let root = tempfile::tempdir().unwrap();
    let bad = left_behind(root.path());
    fs::write(bad.join("identity.json"), "{").unwrap();
    let good = left_behind(root.path());
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("both folders are gone", || !good.exists() && !bad.exists());
    assert_eq!(ingestor.stored().len(), 60);
    assert!(ingestor.stored().values().all(|times| *times == 1));
}

#[test]
fn a_folder_that_says_nothing_of_itself_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let bad = left_behind(root.path());
    fs::write(bad.join("identity.json"), "{").unwrap();
    chunk_files(&bad).iter().for_each(|file| fs::write(file, "rubbish").unwrap());
    let good = left_behind(root.path());
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the good folder is gone", || !good.exists());
    assert_eq!(chunk_files(&bad).len(), 3, "it stays as it is");
    assert!(spool.stats().last_error.is_some());
}

#[test]
fn what_a_tombstone_was_about_to_replace_goes() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_behind(root.path());
    let before: Vec<_> = chunk_files(&folder).iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    // One tombstone for all three chunks, and then the chunks again, as a crash before the unlink would leave them.
    let old = SpoolConfig { max_age: Duration::from_micros(1), ..config(root.path()) };
    let (spool, _ring) = start(old);
    wait_until("tombstones", || spool.stats().shed.of(GapReason::TooOld) == 30);
    spool.stop(Duration::ZERO).unwrap();
    let [tombstone] = &chunk_files(&folder)[..] else { panic!("one tombstone") };
    let (tombstone, bytes) = (tombstone.clone(), fs::read(tombstone).unwrap());
    for (file, bytes) in before.iter().filter(|(file, _)| *file != tombstone) {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(fs::read(&tombstone).unwrap(), bytes);
    let (spool, _ring) = start(config(root.path()));
    let is_reported = |ledger: &StreamLedger| ledger.closed && ledger.accepted == 30 && ledger.spooled.is_empty();
    let ledger = || spool.ledger().into_iter().find(is_reported);
    wait_until("adoption", || ledger().is_some() && chunk_files(&folder).len() == 1);
    let ledger = ledger().unwrap();
    assert_eq!(ledger.shed, [(GapReason::TooOld, Ranges::of(0, 29))]);
    assert!(ledger.spooled.is_empty() && ledger.open().is_empty());
}

#[test]
fn a_disk_that_fails_for_a_while_costs_only_what_the_ring_could_not_hold() {
    let root = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(root.path()));
    let boot = spool.boot().to_string();
    let chunks_folder = root.path().join(&boot).join("chunks");
    fs::remove_dir(&chunks_folder).unwrap();
    fs::write(&chunks_folder, "in the way").unwrap();
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    let stats = spool.stats();
    assert!(stats.write_failures > 0 && stats.chunks_sealed == 0);
    let sentence = stats.last_error.unwrap();
    assert!(sentence.starts_with("cannot write a chunk file in `/"), "{sentence}");
    append(&mut ring, 10..20);
    fs::remove_file(&chunks_folder).unwrap();
    fs::create_dir(&chunks_folder).unwrap();
    spool.flush().unwrap();
    assert_eq!(seqs(&chunks(root.path(), &boot)), (0..20).collect::<Vec<_>>());
    assert_eq!(spool.stats().shed.of(GapReason::RingFull), 0);
}
