//! Rings of another schema than this version writes: what they hold is shipped under the schema that it has, also where
//! a ring's own header cannot be read any more; and what is of a newer version is kept as it is.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Heard, Ingestor, Reply};
use common::{config, start, wait_until};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use weir_event::Instant;
use weir_event::record::encode;
use weir_event::{Exchange, Outcome, Schema};
use weir_spool::Appended;

/// The spool of commit a23da7b: its rings hold six events that no chunk file has. Answers its one life's folder.
fn of_an_earlier_version() -> (TempDir, PathBuf) {
    unpacked("spool-a23da7b.tar.xz")
}

/// A spool of schema 2: four events in a chunk, two more in its ring alone.
fn of_schema_2() -> (TempDir, PathBuf) {
    unpacked("spool-schema-2.tar.xz")
}

fn unpacked(name: &str) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    assert!(Command::new("tar").arg("-C").arg(root.path()).arg("-xf").arg(fixture).status().unwrap().success());
    fs::remove_dir_all(root.path().join("set-aside")).unwrap();
    let mut folders = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.find(|path| path.join("identity.json").exists()).unwrap();
    // As right after the kill: the kernel has run on.
    assert!(Command::new("touch").arg(folder.join("identity.json")).status().unwrap().success());
    (root, folder)
}

/// A life of this version that leaves ten requests of peer gateways in its ring alone, as a copy of its folder.
fn of_this_version() -> (TempDir, PathBuf) {
    let (original, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (spool, mut ring) = start(config(original.path()));
    for seq in 0..10 {
        let mut exchange = Exchange::new(Instant::now(), 0);
        exchange.entry = false;
        exchange.finish(Outcome::Completed, Instant::now());
        let mut record = Vec::new();
        encode(&exchange, seq, &mut record);
        assert_eq!(ring.append(seq, &record), Appended::Written);
    }
    let copy = Command::new("cp").arg("-a").arg(original.path().join(".")).arg(copied.path()).status().unwrap();
    assert!(copy.success());
    let folder = copied.path().join(spool.boot().to_string());
    (copied, folder)
}

/// Writes over a part of the header of every ring.
fn write_over(folder: &Path, at: u64, bytes: &[u8]) {
    let rings = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for ring in rings.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("ring-")) {
        fs::OpenOptions::new().write(true).open(ring).unwrap().write_all_at(bytes, at).unwrap();
    }
}

/// Ships all of `root` until `folder` is gone.
fn shipped(root: &Path, folder: &Path) -> Vec<Heard> {
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, _ring) = start(config(root));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folder is gone", || !folder.exists());
    ingestor.heard()
}

fn events(heard: &[Heard]) -> usize {
    heard.iter().map(|heard| heard.seqs.len()).sum()
}

fn is_of_schema_1(heard: &Heard) -> bool {
    heard.schema == Schema::V1 && heard.entries.iter().all(|entry| *entry)
}

/// The ring says its schema itself, and the chunk that is made of it says the same.
#[test]
fn a_ring_of_schema_1_becomes_chunks_of_schema_1() {
    let (root, folder) = of_an_earlier_version();
    fs::remove_dir_all(folder.join("chunks")).unwrap();
    fs::create_dir(folder.join("chunks")).unwrap();
    let heard = shipped(root.path(), &folder);
    assert_eq!(events(&heard), 6);
    assert!(heard.iter().all(is_of_schema_1), "{heard:?}");
}

/// The note of the life says nothing of a schema: the gateways of schema 1 wrote none.
#[test]
fn a_ring_of_schema_1_without_a_header_is_read_as_one() {
    let (root, folder) = of_an_earlier_version();
    write_over(&folder, 0, b"nothing");
    let heard = shipped(root.path(), &folder);
    assert_eq!(events(&heard), 136);
    assert!(heard.iter().all(is_of_schema_1), "{heard:?}");
}

/// Neither ring nor note can be read: the life's chunk files say which schema it wrote.
#[test]
fn without_header_and_note_the_chunks_say_the_schema() {
    let (root, folder) = of_an_earlier_version();
    write_over(&folder, 0, b"nothing");
    fs::write(folder.join("identity.json"), "{").unwrap();
    let heard = shipped(root.path(), &folder);
    assert_eq!(events(&heard), 136);
    assert!(heard.iter().all(is_of_schema_1), "{heard:?}");
}

/// With its header, and without: then by the note of its life.
#[test]
fn a_ring_of_schema_2_becomes_chunks_of_schema_2() {
    for damage in [&b""[..], b"nothing"] {
        let (root, folder) = of_schema_2();
        write_over(&folder, 0, damage);
        let heard = shipped(root.path(), &folder);
        assert_eq!(events(&heard), 6);
        assert!(heard.iter().all(|heard| heard.schema == Schema::V2), "{heard:?}");
        let entries: Vec<_> = heard.iter().flat_map(|heard| heard.entries.clone()).collect();
        assert_eq!(entries, [true, true, true, false, true, true], "{heard:?}");
    }
}

/// With its header, and without: then by the note of its life.
#[test]
fn a_ring_of_this_version_becomes_chunks_of_its_schema() {
    for damage in [&b""[..], b"nothing"] {
        let (root, folder) = of_this_version();
        write_over(&folder, 0, damage);
        let heard = shipped(root.path(), &folder);
        assert_eq!(events(&heard), 10);
        assert!(heard.iter().all(|heard| heard.schema == Schema::NEWEST), "{heard:?}");
        assert!(heard.iter().all(|heard| heard.entries.iter().all(|entry| !entry)), "{heard:?}");
    }
}

/// Nobody here can say what its records are: they are neither read as something else nor given up.
#[test]
fn a_ring_of_a_newer_schema_is_kept() {
    let newer = Schema::NEWEST.number() + 1;
    let (with_header, of_header) = of_this_version();
    let page = fs::read(of_header.join("ring-0")).unwrap();
    let fixed = [&page[..14], &newer.to_le_bytes(), &page[16..40]].concat();
    write_over(&of_header, 0, &[&fixed[..], &crc32c::crc32c(&fixed).to_le_bytes()].concat());
    let (with_note, of_note) = of_this_version();
    write_over(&of_note, 0, b"nothing");
    let note = fs::read_to_string(of_note.join("identity.json")).unwrap();
    let of = |schema: u16| format!("\"schema\":{schema}");
    let changed = note.replace(&of(Schema::NEWEST.number()), &of(newer));
    assert_ne!(changed, note);
    fs::write(of_note.join("identity.json"), changed).unwrap();

    for (root, folder) in [(with_header, of_header), (with_note, of_note)] {
        let before = fs::read(folder.join("ring-0")).unwrap();
        let ingestor = Ingestor::start(|_, _| Reply::Status(200));
        let (mut spool, _ring) = start(config(root.path()));
        spool.ship_to(ingestor.endpoint()).unwrap();
        let boot = folder.file_name().unwrap().to_str().unwrap();
        let says = |line: &serde_json::Value| line["boot"] == boot && line["unknown_reason"] == "ring_unreadable";
        wait_until("its end is reported", || {
            ingestor.reports().iter().flat_map(|report| report.as_array().unwrap().clone()).any(|line| says(&line))
        });
        assert_eq!(events(&ingestor.heard()), 0);
        assert!(spool.stats().last_error.unwrap().contains("is of a newer version of weir and is kept"));
        assert_eq!(fs::read(folder.join("ring-0")).unwrap(), before);
    }
}
