//! The shipper against an ingestor that answers as it is reported.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Heard, Ingestor, Reply};
use common::{append, config, identity, start, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::chunk::GapReason;
use weir_event::{Names, Ranges};
use weir_spool::{Endpoint, RingWriter, Spool};

/// Ten events a chunk.
fn fill(spool: &Spool, ring: &mut RingWriter, chunks: u64) {
    for chunk in 0..chunks {
        append(ring, chunk * 10..chunk * 10 + 10);
        spool.flush().unwrap();
    }
}

fn chunk_files(folder: &Path) -> usize {
    let is_chunk = |file: &fs::DirEntry| file.path().extension().is_some_and(|extension| extension == "chunk");
    fs::read_dir(folder).unwrap().filter(|file| is_chunk(file.as_ref().unwrap())).count()
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, std::iter::Iterator::count)
}

#[test]
fn what_is_stored_is_acknowledged_and_unlinked() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(202));
    let (mut spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 5);
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("acknowledgements", || spool.stats().chunks_acked == 5);
    let mut firsts: Vec<_> = ingestor.heard().iter().map(|heard| heard.first).collect();
    assert_eq!(firsts[0], 0, "the oldest goes first");
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 10, 20, 30, 40]);
    assert_eq!(spool.ledger()[0].acked, Ranges::of(0, 49));
    assert_eq!(files(&folder.path().join(spool.boot().to_string()).join("chunks")), 0);
}

#[test]
fn without_an_endpoint_chunks_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 2);
    let boot = spool.boot().to_string();
    spool.stop(Duration::from_secs(5)).unwrap();
    assert_eq!(files(&folder.path().join(boot).join("chunks")), 2);
}

#[test]
fn a_refused_chunk_is_set_aside_and_those_after_it_flow() {
    for status in [400, 422] {
        let folder = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(move |_, heard| Reply::Status(if heard.first == 10 { status } else { 200 }));
        let (mut spool, mut ring) = start(config(folder.path()));
        fill(&spool, &mut ring, 3);
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("all three", || spool.stats().chunks_acked == 2 && spool.stats().chunks_set_aside == 1);
        let stats = spool.stats();
        assert_eq!((stats.chunks_set_aside, stats.pauses, stats.chunks_on_disk), (1, 0, 0));
        assert!(stats.last_error.unwrap().contains(&status.to_string()));
        assert_eq!(spool.ledger()[0].set_aside, Ranges::of(10, 19));
        assert!(spool.ledger()[0].open().is_empty());
        assert_eq!(chunk_files(&folder.path().join("set-aside")), 1);
    }
}

#[test]
fn a_chunk_that_is_too_large_is_halved_down_to_the_one_event_that_is() {
    // By weir-analytics itself, and by a proxy in front of it.
    for reply in [Reply::Status(413), Reply::Foreign(413, "<h1>Request Entity Too Large</h1>")] {
        let folder = tempfile::tempdir().unwrap();
        let holds = |heard: &Heard| heard.seqs.contains(&17);
        let ingestor = Ingestor::start(move |_, heard| if holds(heard) { reply } else { Reply::Status(200) });
        let (mut spool, mut ring) = start(config(folder.path()));
        fill(&spool, &mut ring, 3);
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("all but one", || ingestor.stored().len() == 29 && spool.stats().chunks_set_aside == 1);
        let ledger = spool.ledger().pop().unwrap();
        assert_eq!(ledger.set_aside_reasons, [(17, 17, "too_large".to_owned())]);
        assert!(ingestor.stored().values().all(|times| *times == 1) && ledger.open().is_empty());
        assert!(spool.stats().chunks_split >= 3);
    }
}

/// As a newer gateway wrote it, which was then replaced by this one.
#[test]
fn a_chunk_of_a_newer_version_that_a_proxy_finds_too_large_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 1);
    let chunks = folder.path().join(spool.boot().to_string()).join("chunks");
    let chunk = fs::read_dir(chunks).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&chunk).unwrap();
    let header = 16..16 + u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    bytes[16..18].copy_from_slice(&99_u16.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[header]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(&chunk, bytes).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Endpoint::new(&format!("http://{}", listener.local_addr().unwrap()), "token").unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            // All of it is less than this, and comes at once.
            let _gone = client.read(&mut [0; 64 * 1024]);
            let _gone = client.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    spool.ship_to(proxy).unwrap();
    wait_until("set aside", || spool.stats().chunks_set_aside == 1);
    assert_eq!(spool.ledger()[0].set_aside_reasons, [(0, 9, "too_large".to_owned())]);
}

#[test]
fn the_set_aside_folder_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    // What has events is refused; the tombstones in the place of what is given up are not.
    let ingestor = Ingestor::start(|_, heard| Reply::Status(if heard.seqs.is_empty() { 200 } else { 400 }));
    let (mut spool, mut ring) = start(weir_spool::SpoolConfig { max_bytes: 40_000, ..config(folder.path()) });
    fill(&spool, &mut ring, 20);
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("all of them, within the bound", || {
        let stats = spool.stats();
        let bounded = stats.set_aside_bytes <= 5_000 && stats.set_aside_dropped > 0;
        bounded && stats.chunks_set_aside == 20 && stats.set_aside_chunks == 20 - stats.set_aside_dropped
    });
    let stats = spool.stats();
    // What was given up is a named loss, and what is still there is named too.
    let ledger = spool.ledger().pop().unwrap();
    let lost: u64 = ledger
        .shed
        .iter()
        .map(|(reason, set)| (*reason == GapReason::SetAsideFull).then(|| set.count()).unwrap())
        .sum();
    assert_eq!(lost, 10 * stats.set_aside_dropped);
    assert_eq!(stats.shed.of(GapReason::SetAsideFull), lost);
    assert!(ledger.open().is_empty() && ledger.set_aside.count() + lost == 200);
}

#[test]
fn what_only_an_operator_can_change_keeps_the_chunk() {
    for (reply, said) in [
        (Reply::Status(401), "give the gateway a token"),
        (Reply::Status(403), "give the gateway a token for that identity"),
        (Reply::Status(409), "update weir-analytics"),
        (Reply::Result(503, "clock"), "set both by NTP"),
        (Reply::Foreign(404, "nothing here"), "check the address, and any proxy in between"),
        (Reply::Foreign(302, ""), "check the address, and any proxy in between"),
        (Reply::Foreign(200, r#"{"stored":10,"duplicate":0,"dead_letters":0}"#), "update it first"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(move |_, _| reply);
        let (mut spool, mut ring) = start(config(folder.path()));
        fill(&spool, &mut ring, 3);
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("a pause", || spool.stats().pauses == 1);
        let stats = spool.stats();
        assert_eq!((stats.chunks_on_disk, stats.chunks_set_aside, ingestor.heard().len()), (3, 0, 1), "{reply:?}");
        assert!(stats.last_error.as_ref().unwrap().contains(said), "{:?}", stats.last_error);
        assert!(stats.blocked.is_some() || stats.held.len() == 1);
    }
}

#[test]
fn a_busy_ingestor_gets_the_same_chunk_again() {
    for reply in [Reply::Status(429), Reply::Status(503), Reply::Status(500), Reply::Close] {
        let folder = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(move |nth, _| if nth < 2 { reply } else { Reply::Status(200) });
        let (mut spool, mut ring) = start(config(folder.path()));
        fill(&spool, &mut ring, 2);
        spool.ship_to(ingestor.endpoint()).unwrap();
        wait_until("both", || spool.stats().chunks_acked == 2);
        let heard = ingestor.heard();
        assert_eq!(heard.iter().map(|heard| heard.first).collect::<Vec<_>>(), [0, 0, 0, 10], "{reply:?}");
        assert!(heard[0].bytes == heard[1].bytes && heard[1].bytes == heard[2].bytes, "the same chunk, byte for byte");
        assert!(spool.stats().pauses >= 1);
    }
}

#[test]
fn retry_after_is_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|nth, _| if nth == 0 { Reply::RetryAfter(429, "1") } else { Reply::Status(200) });
    let (mut spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 1);
    let begun = Instant::now();
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("an acknowledgement", || spool.stats().chunks_acked == 1);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn an_ingestor_that_comes_late_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 3);
    spool.ship_to(Endpoint::new(&format!("http://{address}"), "token-of-test").unwrap()).unwrap();
    wait_until("a pause", || spool.stats().pauses > 0);
    assert!(spool.stats().last_error.unwrap().contains("cannot connect"));
    let ingestor = Ingestor::start_at(&address.to_string(), |_, _| Reply::Status(200));
    wait_until("acknowledgements", || spool.stats().chunks_acked == 3);
    assert_eq!(ingestor.stored().len(), 30);
}

#[test]
fn two_streams_ship_side_by_side_and_their_end_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, mut rings) = Spool::start(config(folder.path()), identity(), 2, Arc::new(Names::new())).unwrap();
    spool.accepted_from(|worker| 20 + u64::from(worker));
    rings.iter_mut().for_each(|ring| append(ring, 0..20));
    spool.ship_to(ingestor.endpoint()).unwrap();
    let boot = spool.boot().to_string();
    spool.stop(Duration::from_secs(20)).unwrap();
    assert_eq!(ingestor.stored().len(), 40);
    let reports = ingestor.reports();
    let last = reports.last().unwrap().as_array().unwrap();
    assert_eq!(last.len(), 2);
    for line in last {
        let worker = line["worker"].as_u64().unwrap();
        assert_eq!((line["accepted"].as_u64(), line["closed"].as_bool()), (Some(20 + worker), Some(true)));
        assert_eq!((line["site"].as_str(), line["boot"].as_str()), (Some("on-prem"), Some(&*boot)));
    }
    assert!(!folder.path().join(boot).exists(), "nothing is left to do for this life");
}

#[test]
fn stopping_waits_for_a_dead_ingestor_no_longer_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(503));
    let (mut spool, mut ring) = start(config(folder.path()));
    append(&mut ring, 0..20);
    spool.ship_to(ingestor.endpoint()).unwrap();
    let begun = Instant::now();
    let boot = spool.boot().to_string();
    spool.stop(Duration::from_secs(20)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "one last attempt, {:?}", begun.elapsed());
    assert_eq!(files(&folder.path().join(boot).join("chunks")), 1);
}

#[test]
fn https_is_not_spoken_to_whoever_cannot_prove_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, mut ring) = start(config(folder.path()));
    fill(&spool, &mut ring, 1);
    let uri = format!("https://{}", ingestor.address);
    spool.ship_to(Endpoint::new(&uri, "token-of-test").unwrap()).unwrap();
    wait_until("a pause", || spool.stats().pauses > 0);
    let sentence = spool.stats().last_error.unwrap();
    assert!(sentence.contains(&format!("cannot connect to `{uri}`")), "{sentence}");
    assert_eq!((ingestor.heard().len(), spool.stats().chunks_on_disk), (0, 1));
}
