//! The account under what operators really meet: other people's answers, refused identities, copies, removed files,
//! full descriptors, many lives, and the spool of an earlier version.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{append, config, identity, record, start, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use weir_event::chunk::GapReason;
use weir_event::{Identity, NameId, Names, Ranges, Schema};
use weir_spool::{Appended, RingWriter, Spool, SpoolConfig};

fn named(gateway: &str) -> Identity {
    Identity { gateway: gateway.into(), ..identity() }
}

fn start_as(config: SpoolConfig, identity: Identity) -> (Spool, RingWriter) {
    let (spool, mut rings) = Spool::start(config, identity, 1, Arc::new(Names::new())).unwrap();
    (spool, rings.pop().unwrap())
}

/// A life of `gateway` that has ended, with ten events in a chunk file.
fn left_by(root: &Path, gateway: &str) -> PathBuf {
    let (spool, mut ring) = start_as(config(root), named(gateway));
    append(&mut ring, 0..10);
    let folder = root.join(spool.boot().to_string());
    spool.stop(Duration::ZERO).unwrap();
    folder
}

/// P1: whatever somebody else answers, nothing is unlinked; and all goes on when weir-analytics answers again.
#[test]
fn an_answer_of_somebody_else_acknowledges_nothing() {
    let portal = "<html>Please sign in</html>";
    for (status, text) in [(200, portal), (204, ""), (200, "{}"), (202, "ok"), (302, ""), (400, portal), (422, portal)]
    {
        let root = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(move |_, _| Reply::Foreign(status, text));
        ingestor.answer_reports(Some((status, text)));
        let (mut spool, mut ring) = start(config(root.path()));
        append(&mut ring, 0..10);
        spool.flush().unwrap();
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("an answer", || spool.stats().not_understood == 1);
        let stats = spool.stats();
        assert_eq!((stats.chunks_on_disk, stats.chunks_acked, stats.chunks_set_aside), (1, 0, 0), "{status} {text}");
        assert_eq!(stats.blocked, Some("not_understood"));
        let boot = spool.boot().to_string();
        spool.stop(Duration::from_secs(5)).unwrap();
        assert!(root.path().join(&boot).exists(), "the end of its stream was not heard either");
        ingestor.answer(|_, _| Reply::Status(200));
        ingestor.answer_reports(None);
        let (mut next, _ring) = start(config(root.path()));
        next.ship_to(ingestor.endpoint()).unwrap();
        wait_until("the folder is gone", || !root.path().join(&boot).exists());
        assert_eq!(ingestor.stored().len(), 10);
    }
}

/// P4, P5: what is refused to one identity waits alone, is reported as held, and goes on when its token is right.
#[test]
fn a_refused_identity_delays_no_other() {
    let root = tempfile::tempdir().unwrap();
    let old = left_by(root.path(), "renamed");
    let old_boot = old.file_name().unwrap().to_str().unwrap().to_owned();
    let ingestor = Ingestor::start(|_, heard| Reply::Status(if heard.gateway == "renamed" { 403 } else { 200 }));
    let (mut spool, mut ring) = start_as(config(root.path()), named("edge"));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the old life is refused", || spool.stats().held.len() == 1);
    for round in 0..5 {
        append(&mut ring, round * 10..round * 10 + 10);
        spool.flush().unwrap();
    }
    wait_until("the new life's events", || ingestor.stored().len() == 50 && spool.stats().chunks_on_disk == 1);
    let stats = spool.stats();
    assert_eq!((stats.held[0].reason, stats.held[0].boot.to_string(), stats.held[0].chunks), ("identity", old_boot, 1));
    assert_eq!((stats.blocked, stats.chunks_on_disk), (None, 1));
    let held = spool.ledger().into_iter().find(|ledger| ledger.stream.identity.gateway == "renamed").unwrap();
    assert_eq!(held.held.map(|(reason, _)| reason), Some("identity"));
}

/// P4: two gateways share a folder; the one that lives takes over nothing of the other once that one lives again.
#[test]
fn a_gateway_that_lives_again_takes_its_own_lives_back() {
    let root = tempfile::tempdir().unwrap();
    let old = left_by(root.path(), "second");
    let (first, _ring) = start_as(config(root.path()), named("first"));
    wait_until("the first takes it over, for nobody else is there", || first.stats().adopted == 1);
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut second, _ring) = start_as(config(root.path()), named("second"));
    second.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the second ships its own", || ingestor.stored().len() == 10 && !old.exists());
    assert_eq!(second.stats().adopted, 1);
}

/// P33: what is set aside, and why, outlives the process; an operator has it offered again, or drops it.
#[test]
fn what_is_set_aside_outlives_the_process_and_is_retried_or_dropped_by_request() {
    let root = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, heard| Reply::Status(if heard.seqs.is_empty() { 200 } else { 422 }));
    let (mut spool, mut ring) = start(config(root.path()));
    for chunk in 0..2 {
        append(&mut ring, chunk * 10..chunk * 10 + 10);
        spool.flush().unwrap();
    }
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("both are set aside", || spool.stats().chunks_set_aside == 2);
    spool.stop(Duration::from_secs(5)).unwrap();

    ingestor.answer(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    let both: Vec<_> = [(0, 9), (10, 19)].map(|(first, last)| (first, last, "rejected".to_owned())).into();
    wait_until("the next life knows", || spool.ledger().iter().any(|ledger| ledger.set_aside_reasons == both));
    assert_eq!(spool.stats().set_aside_chunks, 2);
    let mut files: Vec<_> =
        fs::read_dir(root.path().join("set-aside")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "chunk"));
    files.sort();
    fs::write(files[0].with_extension("chunk.retry"), "").unwrap();
    fs::write(files[1].with_extension("chunk.drop"), "").unwrap();
    wait_until("one is stored", || ingestor.stored().len() == 10);
    let dropped =
        || ingestor.heard().into_iter().flat_map(|heard| heard.gaps).find(|gap| gap.reason == GapReason::Dropped);
    wait_until("the other is a named loss", || dropped().is_some());
    assert_eq!(dropped().map(|gap| (gap.first, gap.last)), Some((10, 19)));
    wait_until("nothing is left", || fs::read_dir(root.path().join("set-aside")).unwrap().count() == 0);
    assert_eq!(spool.stats().shed.of(GapReason::Dropped), 10);
}

/// P37: a spool that was copied while its gateway ran: its events may be shipped, its streams are not ended.
#[test]
fn a_copy_does_not_end_the_stream_of_its_original() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, mut ring) = start(config(root.path()));
    append(&mut ring, 0..10);
    original.flush().unwrap();
    append(&mut ring, 10..15);
    let copied = Command::new("cp").arg("-a").arg(root.path().join(".")).arg(elsewhere.path()).status().unwrap();
    assert!(copied.success());
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut copy, _ring) = start(config(elsewhere.path()));
    copy.ship_to(ingestor.endpoint()).unwrap();
    let boot = original.boot().to_string();
    wait_until("the copy is shipped and gone", || !elsewhere.path().join(&boot).exists());
    assert_eq!(ingestor.stored().len(), 15);
    assert!(ingestor.heard().iter().all(|heard| heard.gaps.is_empty()));
    copy.stop(Duration::from_secs(5)).unwrap();
    let reports = ingestor.reports();
    let mut lines = reports.iter().flat_map(|report| report.as_array().unwrap());
    assert!(lines.all(|line| line["boot"] != boot || line["closed"] == false), "{reports:?}");
}

/// P38: the spool is removed under a running gateway. It is made again; what was lost with it has its reason.
#[test]
fn a_spool_that_is_removed_is_made_again_and_the_loss_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("spool");
    let (mut spool, mut ring) = start(config(&path));
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    fs::remove_dir_all(&path).unwrap();
    append(&mut ring, 10..20);
    spool.flush().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("what came after is stored", || ingestor.stored().len() == 10);
    let gone = || ingestor.heard().into_iter().flat_map(|heard| heard.gaps).collect::<Vec<_>>();
    wait_until("what was removed is named", || !gone().is_empty());
    assert_eq!(
        gone().iter().map(|gap| (gap.first, gap.last, gap.reason)).collect::<Vec<_>>(),
        [(0, 9, GapReason::Removed)]
    );
    assert_eq!(spool.stats().shed.of(GapReason::Removed), 10);
    assert!(spool.ledger()[0].open().is_empty());
}

/// P38: events that find no room because files cannot be written are counted under that reason, and at once.
#[test]
fn what_a_failing_disk_costs_is_counted_while_it_happens() {
    let root = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(SpoolConfig { ring_bytes: 128 * 1024, ..config(root.path()) });
    let chunks = root.path().join(spool.boot().to_string()).join("chunks");
    fs::remove_dir(&chunks).unwrap();
    fs::write(&chunks, "in the way").unwrap();
    append(&mut ring, 0..1);
    spool.flush().unwrap();
    assert!(spool.stats().write_failures > 0);
    let mut shed = 0;
    for seq in 1..3000 {
        shed += u64::from(ring.append(seq, &record(seq, NameId::NONE)) == Appended::Shed);
    }
    assert!(shed > 0);
    wait_until("it is counted", || spool.stats().shed.of(GapReason::WriteFailed) == shed);
    fs::remove_file(&chunks).unwrap();
    fs::create_dir(&chunks).unwrap();
    spool.flush().unwrap();
    let ledger = spool.ledger().pop().unwrap();
    let lost: Vec<_> = ledger.shed.iter().map(|(reason, set)| (*reason, set.count())).collect();
    assert_eq!((lost, ledger.open()), (vec![(GapReason::WriteFailed, shed)], Ranges::new()));
    assert_eq!(spool.stats().shed.iter().map(|(_, count)| count).sum::<u64>(), shed, "and counted once");
}

/// P41: a chunk that is stored and cannot be unlinked is not offered again.
#[test]
fn a_stored_chunk_that_cannot_be_unlinked_is_not_offered_again() {
    let root = tempfile::tempdir().unwrap();
    let (mut spool, mut ring) = start(config(root.path()));
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    let chunks = root.path().join(spool.boot().to_string()).join("chunks");
    let file = fs::read_dir(&chunks).unwrap().next().unwrap().unwrap().path();
    let in_the_way = file.clone();
    let ingestor = Ingestor::start(move |_, _| {
        fs::remove_file(&in_the_way).unwrap();
        fs::create_dir(&in_the_way).unwrap();
        Reply::Status(200)
    });
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("two tries to unlink it", || spool.stats().file_failures >= 2);
    assert_eq!((ingestor.heard().len(), spool.ledger()[0].acked.count()), (1, 10));
    fs::remove_dir(&file).unwrap();
    wait_until("it is unlinked", || spool.stats().chunks_on_disk == 0);
    assert_eq!(ingestor.heard().len(), 1);
}

/// P34: a chunk of an earlier life that is past its age is offered before it is given up.
#[test]
fn what_is_too_old_is_offered_first() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_by(root.path(), "edge");
    let file = fs::read_dir(folder.join("chunks")).unwrap().next().unwrap().unwrap().path();
    let touched =
        Command::new("touch").args(["-d", "2001-01-01"]).arg(&file).arg(folder.join("identity.json")).status();
    assert!(touched.unwrap().success());
    // As of another start of the kernel: nothing but the wall clock says how old it is.
    forget_kernel(&folder);
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) =
        start_as(SpoolConfig { max_age: Duration::from_secs(3600), ..config(root.path()) }, named("edge"));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    assert_eq!(ingestor.stored().len(), 10);
    assert_eq!(spool.stats().tombstones, 0);
}

/// Makes a life one of another start of the kernel.
fn forget_kernel(folder: &Path) {
    let path = folder.join("identity.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    value["place"]["kernel_boot"] = "another".into();
    fs::write(path, value.to_string()).unwrap();
}

/// P9: the age of what this life sealed is that of a clock that nothing moves, whatever the files say.
#[test]
fn an_own_chunk_is_as_old_as_the_machine_says() {
    let root = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(SpoolConfig { max_age: Duration::from_secs(60), ..config(root.path()) });
    append(&mut ring, 0..10);
    spool.flush().unwrap();
    let chunks = root.path().join(spool.boot().to_string()).join("chunks");
    let file = fs::read_dir(&chunks).unwrap().next().unwrap().unwrap().path();
    assert!(Command::new("touch").args(["-d", "2001-01-01"]).arg(&file).status().unwrap().success());
    assert!(spool.stats().oldest_age.unwrap() < Duration::from_secs(30));
    append(&mut ring, 10..20);
    spool.flush().unwrap();
    assert_eq!((spool.stats().tombstones, spool.stats().chunks_on_disk), (0, 2));
}

/// P8: a start over many chunks that are past their age costs no new event, and each of them is named.
#[test]
fn giving_up_many_old_chunks_costs_no_new_event() {
    let root = tempfile::tempdir().unwrap();
    let folder = left_by(root.path(), "edge");
    let chunk = fs::read(fs::read_dir(folder.join("chunks")).unwrap().next().unwrap().unwrap().path()).unwrap();
    // As many files as there may be; what is in them is read only when they are given up.
    for number in 1..4_000_u64 {
        let name = format!("00000-{:020}-{:020}.chunk", number * 10, number * 10 + 9);
        fs::write(folder.join("chunks").join(name), &chunk).unwrap();
    }
    forget_kernel(&folder);
    let config = SpoolConfig { max_age: Duration::from_millis(1), ..config(root.path()) };
    let (spool, mut ring) = start(config);
    let mut seq = 0;
    wait_until("all of them are given up", || {
        // New events all the while: the ring holds those of half a second.
        for _ in 0..20 {
            assert_eq!(ring.append(seq, &record(seq, NameId::NONE)), Appended::Written, "event {seq}");
            seq += 1;
        }
        spool.stats().shed.of(GapReason::TooOld) >= 40_000
    });
    assert_eq!(spool.stats().shed.of(GapReason::RingFull), 0);
}

/// The spool that commit a23da7b leaves behind after kill -9: two workers, chunk files, events in the rings alone, and
/// a chunk that it had set aside without a word. Nothing of it is lost.
#[test]
fn the_spool_of_an_earlier_version_is_shipped_whole() {
    let root = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool-a23da7b.tar.xz");
    assert!(Command::new("tar").arg("-C").arg(root.path()).arg("-xf").arg(fixture).status().unwrap().success());
    let folder = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path());
    let folder = folder.into_iter().find(|path| path.join("identity.json").exists()).unwrap();
    // As right after the kill: the kernel has run on.
    assert!(Command::new("touch").arg(folder.join("identity.json")).status().unwrap().success());
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    let ledger = spool.ledger();
    let aside: Vec<_> = ledger.iter().flat_map(|ledger| ledger.set_aside_reasons.clone()).collect();
    assert_eq!(aside, [(33, 46, "refused".to_owned())]);
    let heard = ingestor.heard();
    let paths: BTreeSet<_> = heard.iter().flat_map(|heard| heard.paths.clone()).collect();
    // 150 requests: 120 in three rounds, 25 and 5 at the end; 14 of them are set aside.
    assert_eq!((ingestor.stored().len(), paths.len()), (136, 136));
    assert!(
        heard.iter().all(|heard| heard.gaps.is_empty() && heard.apis.iter().all(|api| api == "orders")),
        "{heard:?}"
    );
    // Those of the rings too: records stay as they were written, and their chunk says so.
    assert!(heard.iter().all(|heard| heard.schema == Schema::V1 && heard.entries.iter().all(|entry| *entry)));
    let lines: Vec<_> = ingestor.reports().iter().flat_map(|report| report.as_array().unwrap().clone()).collect();
    let total: u64 = (0..2)
        .map(|worker| {
            let of_worker = |line: &&serde_json::Value| line["worker"] == worker && line["replica"] == "fixture";
            let last = lines.iter().rev().find(of_worker).unwrap();
            assert!(last["unknown_from"].is_null(), "{last}");
            last["accepted"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(total, 150);
    // And what was set aside is offered again when an operator asks for it.
    let file = fs::read_dir(root.path().join("set-aside")).unwrap().next().unwrap().unwrap().path();
    fs::write(file.with_extension("chunk.retry"), "").unwrap();
    wait_until("all of it", || ingestor.stored().len() == 150);
}
