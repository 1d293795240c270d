//! Power failures: what the disk may hold then, and what the next life makes of it.
//!
//! A ring is memory that is mapped to a file and never synced: after a power failure each of its pages may be as it
//! was at any write-back since the file was made. Chunk files, names and progress are synced before what they replace
//! goes; a file that was unlinked may be there again. Each seed is one life that ends in one such state; the next life
//! reads it. Whatever was appended must be stored, be a named loss, or be at or above the number from which on the
//! stream is reported as unknown - and a named loss below it that is stored after all must not be.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{config, identity, record, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use weir_event::{NameId, Names, Ranges, Stream, StreamId};
use weir_spool::{Appended, RingWriter, Spool, SpoolConfig};

const PAGE: usize = 4096;

/// A life that ended by a power failure.
struct Failed {
    stream: StreamId,
    /// Numbers that were in the ring when `append` returned.
    appended: Ranges,
    offered: u64,
    /// What it had shipped by then.
    stored: Ranges,
}

/// Lives for a while, and dies: its folder is copied to `to` as the disk may hold it.
fn live_and_fail(seed: u64, to: &Path) -> Failed {
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let mut rng = fastrand::Rng::with_seed(seed);
    let root = tempfile::tempdir().unwrap();
    let config = SpoolConfig { ring_bytes: 128 * 1024, ..config(root.path()) };
    let (mut spool, mut rings) = Spool::start(config, identity(), 1, Arc::new(Names::new())).unwrap();
    if rng.bool() {
        spool.ship_to(ingestor.endpoint()).unwrap();
    }
    let mut ring = rings.pop().unwrap();
    let folder = root.path().join(spool.boot().to_string());
    let (mut versions, mut unlinked) = (vec![fs::read(folder.join("ring-0")).unwrap()], BTreeMap::new());
    let mut failed = Failed {
        stream: Stream { identity: identity(), boot: spool.boot(), worker: 0 }.id(),
        appended: Ranges::new(),
        offered: 0,
        stored: Ranges::new(),
    };
    for _ in 0..rng.u64(1..8) {
        append(&mut ring, rng.u64(1..400), &mut failed);
        match rng.u8(0..4) {
            0 => {}
            1 => versions.push(fs::read(folder.join("ring-0")).unwrap()),
            _ => spool.flush().unwrap(),
        }
        if rng.bool() {
            remember(&folder, &mut unlinked);
        }
        if rng.u8(0..3) == 0 {
            let before = spool.stats();
            wait_briefly(|| spool.stats().chunks_acked > before.chunks_acked || spool.stats().chunks_on_disk == 0);
        }
    }
    append(&mut ring, rng.u64(0..200), &mut failed);
    versions.push(fs::read(folder.join("ring-0")).unwrap());
    // What another page has, this one need not have.
    let mut on_disk = versions[0].clone();
    for (number, page) in on_disk.chunks_mut(PAGE).enumerate() {
        let version = rng.choice(&versions).unwrap();
        page.copy_from_slice(&version[number * PAGE..(number + 1) * PAGE]);
    }
    // The files and what is stored are to be those of one moment: none in which a chunk has just arrived.
    let there = loop {
        let heard = ingestor.heard().len();
        let there = copy(&folder, to, &on_disk);
        if ingestor.heard().len() == heard {
            // What goes on behind this, as the process ends, is not what the disk held then.
            let stored = ingestor.heard();
            failed.stored = stored[..heard].iter().flat_map(|heard| &heard.seqs).map(|seq| (*seq, *seq)).collect();
            break there;
        }
        fs::remove_dir_all(there).unwrap();
    };
    // An unlink that had not reached the disk.
    for (name, bytes) in unlinked.iter().filter(|_| rng.u8(0..4) == 0) {
        let back = there.join("chunks").join(name);
        if !back.exists() {
            fs::write(back, bytes).unwrap();
        }
    }
    failed
}

fn append(ring: &mut RingWriter, count: u64, failed: &mut Failed) {
    for _ in 0..count {
        if ring.append(failed.offered, &record(failed.offered, NameId::NONE)) == Appended::Written {
            failed.appended.add(failed.offered);
        }
        failed.offered += 1;
    }
}

fn remember(folder: &Path, unlinked: &mut BTreeMap<String, Vec<u8>>) {
    for file in fs::read_dir(folder.join("chunks")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().to_string_lossy().into_owned();
        // It may be unlinked while we look.
        if let (true, Ok(bytes)) = (name.ends_with(".chunk"), fs::read(file.path())) {
            unlinked.insert(name, bytes);
        }
    }
}

/// A state to be in when it happens, not one to be waited for.
fn wait_briefly(mut condition: impl FnMut() -> bool) {
    for _ in 0..20 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The life's folder under `to`, of another start of the kernel. Progress first: it is synced before what it lets go.
fn copy(folder: &Path, to: &Path, ring: &[u8]) -> PathBuf {
    let there = to.join(folder.file_name().unwrap());
    fs::create_dir_all(there.join("chunks")).unwrap();
    // An order in which a chunk that is unlinked meanwhile is below the progress that is copied after it.
    for file in fs::read_dir(folder.join("chunks")).unwrap() {
        let file = file.unwrap();
        if let (Ok(bytes), true) = (fs::read(file.path()), file.path().extension().is_some_and(|end| end == "chunk")) {
            fs::write(there.join("chunks").join(file.file_name()), bytes).unwrap();
        }
    }
    for name in ["names", "progress", "lock"] {
        fs::copy(folder.join(name), there.join(name)).unwrap();
    }
    let mut identity: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("identity.json")).unwrap()).unwrap();
    identity["place"]["kernel_boot"] = "before the power failed".into();
    fs::write(there.join("ring-0"), ring).unwrap();
    fs::write(there.join("identity.json"), identity.to_string()).unwrap();
    there
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match (number("WEIR_POWER_SEED"), number("WEIR_POWER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(60),
    }
}

#[test]
fn after_a_power_failure_every_event_is_stored_or_lost_by_name_or_known_to_be_unknown() {
    let all: Vec<u64> = seeds().collect();
    for batch in all.chunks(50) {
        let root = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(|_, _| Reply::Status(200));
        let failed: Vec<_> = batch.iter().map(|seed| (*seed, live_and_fail(*seed, root.path()))).collect();
        let (mut spool, mut rings) = Spool::start(config(root.path()), identity(), 1, Arc::new(Names::new())).unwrap();
        drop(rings.pop());
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("the folders of all lives are gone", || {
            fs::read_dir(root.path()).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().len() == 32).count()
                == 1
        });
        for (seed, failed) in &failed {
            check(*seed, failed, &ingestor);
        }
    }
}

fn check(seed: u64, failed: &Failed, ingestor: &Ingestor) {
    let (mut stored, mut gaps) = (failed.stored.clone(), Ranges::new());
    for heard in ingestor.heard().iter().filter(|heard| heard.stored && heard.stream == failed.stream) {
        for (seq, path) in heard.seqs.iter().zip(&heard.paths) {
            assert_eq!(*path, format!("/orders/{seq}"), "seed {seed}: another event's record");
            stored.add(*seq);
        }
        heard.gaps.iter().for_each(|gap| gaps.insert(gap.first, gap.last));
    }
    let both = gaps.intersection(&stored);
    assert!(both.is_empty(), "seed {seed}: {both:?} are stored, and named as lost");
    let reports = ingestor.reports();
    let mut lines = reports.iter().flat_map(|report| report.as_array().unwrap());
    let end = lines.find(|line| line["stream"] == failed.stream.to_string() && line["closed"] == true);
    let end = end.unwrap_or_else(|| panic!("seed {seed}: its end is not reported"));
    let (accepted, unknown) = (end["accepted"].as_u64().unwrap(), end["unknown_from"].as_u64());
    assert_eq!(end["unknown_reason"], "torn", "seed {seed}: nobody can be sure of it");
    let mut unaccounted = failed.appended.clone();
    unaccounted.subtract(&stored);
    unaccounted.subtract(&gaps);
    unaccounted.remove(unknown.unwrap(), u64::MAX - 1);
    assert!(
        unaccounted.is_empty(),
        "seed {seed}: {unaccounted:?} of {} are neither stored, lost nor unknown",
        failed.offered
    );
    assert!(accepted <= failed.offered, "seed {seed}: {accepted} accepted, {} given out", failed.offered);
    let last = stored.iter().last().map_or(0, |(_, last)| last + 1);
    assert!(last <= failed.offered && accepted >= last, "seed {seed}: {last} stored, {accepted} accepted");
}
