//! Every file of a life that ended, in every state that a disk or an operator may leave it in: missing, empty, cut,
//! changed, another program's, out of reach for a while. What the next life makes of it is the table of
//! `docs/durability.md`. Whatever the state: nothing is stored twice, what the file does not hold is stored, and what is
//! not stored is lost by name, set aside, or known to be unknown.
//!
//! The life is this test binary, started again for its one test `child`, and killed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{append, config, start, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use weir_event::Ranges;

const PATH: &str = "WEIR_TEST_SPOOL";

/// In three chunks of ten, and in the ring alone.
const SEALED: u64 = 30;
const ALL: u64 = 40;

/// The life: dies with ten events that only its ring has.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let (spool, mut ring) = start(config(Path::new(&path)));
    for chunk in 0..3 {
        append(&mut ring, chunk * 10..chunk * 10 + 10);
        spool.flush().unwrap();
    }
    append(&mut ring, SEALED..ALL);
    std::process::abort();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    Empty,
    Half,
    /// One byte of it is another, so many thousandths from its beginning.
    Changed(usize),
    Foreign,
    /// It cannot be opened as a file; after a while it is what it was.
    OutOfReach,
}

const STATES: [State; 8] = [
    State::Missing,
    State::Empty,
    State::Half,
    State::Changed(1),
    State::Changed(400),
    State::Changed(990),
    State::Foreign,
    State::OutOfReach,
];

/// Of a life: its middle chunk, and what lies beside.
const FILES: [&str; 6] = ["chunk", "identity.json", "ring-0", "names", "progress", "lock"];

fn life(root: &Path) -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| std::env::current_exe().unwrap());
    let arguments = ["--exact", "child", "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).env(PATH, root).output().unwrap();
    assert!(!output.status.success(), "it dies");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    folders.into_iter().find(|path| path.file_name().unwrap().len() == 32).unwrap()
}

fn file_of(life: &Path, name: &str) -> PathBuf {
    if name != "chunk" {
        return life.join(name);
    }
    let mut chunks: Vec<_> = fs::read_dir(life.join("chunks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    chunks.sort();
    chunks.swap_remove(1)
}

fn spoil(path: &Path, state: State) {
    let bytes = fs::read(path).unwrap();
    match state {
        State::Missing => fs::remove_file(path).unwrap(),
        State::Empty => fs::write(path, b"").unwrap(),
        State::Half => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        State::Changed(at) => {
            let mut bytes = bytes;
            let at = bytes.len() * at / 1000;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x20;
            }
            fs::write(path, bytes).unwrap();
        }
        State::Foreign => fs::write(path, b"{\"of\": \"another program\", \"version\": 99}\n").unwrap(),
        State::OutOfReach => {
            fs::rename(path, path.with_extension("away")).unwrap();
            fs::create_dir(path).unwrap();
        }
    }
}

/// What is said of the numbers of the life that are not stored.
#[derive(Debug)]
struct Said {
    /// Lost, set aside or unknown.
    named: Ranges,
    /// The stream has ended with all that it had: what of it is neither stored nor named is missing without a word, and
    /// the ledger says so.
    is_counted: bool,
}

/// By the newest report of its stream, and by gaps.
fn said(ingestor: &Ingestor, boot: &str) -> Said {
    let mut said = Said { named: Ranges::new(), is_counted: false };
    let heard = ingestor.heard();
    let gaps = heard.iter().filter(|heard| heard.stored).flat_map(|heard| &heard.gaps);
    gaps.for_each(|gap| said.named.insert(gap.first, gap.last));
    let reports = ingestor.reports();
    let lines = reports.iter().flat_map(|report| report.as_array().unwrap());
    let Some(line) = lines.rev().find(|line| line["boot"] == boot) else { return said };
    for part in line["set_aside"].as_array().into_iter().flatten() {
        said.named.insert(part["first"].as_u64().unwrap(), part["last"].as_u64().unwrap());
    }
    if let Some(from) = line["unknown_from"].as_u64() {
        said.named.insert(from, u64::MAX - 1);
    }
    said.is_counted = line["closed"] == true && line["accepted"] == ALL;
    said
}

fn survives(file: &str, state: State) {
    let root = tempfile::tempdir().unwrap();
    let folder = life(root.path());
    let boot = folder.file_name().unwrap().to_string_lossy().into_owned();
    let path = file_of(&folder, file);
    spoil(&path, state);
    let ingestor = Ingestor::start(|_, _| Reply::Status(200));
    let (mut spool, mut ring) = start(config(root.path()));
    spool.ship_to(ingestor.endpoint()).unwrap();
    // The next life's own are not held up by it.
    append(&mut ring, 0..5);
    spool.flush().unwrap();
    let of = |own: bool| {
        let mut counts = BTreeMap::new();
        for heard in ingestor.heard().iter().filter(|heard| heard.stored) {
            // The new life has five events; whatever is later, or was there first, is the old one's.
            let is_own =
                heard.stream == weir_event::Stream { identity: common::identity(), boot: spool.boot(), worker: 0 }.id();
            heard.seqs.iter().filter(|_| is_own == own).for_each(|seq| *counts.entry(*seq).or_insert(0) += 1);
        }
        counts
    };
    wait_until(&format!("{file} {state:?}: the next life's own"), || of(true).len() == 5);
    if state == State::OutOfReach {
        fs::remove_dir(&path).unwrap();
        fs::rename(path.with_extension("away"), &path).unwrap();
    }
    let must: Vec<u64> = (0..SEALED).filter(|seq| file != "chunk" || !(10..20).contains(seq)).collect();
    wait_until(&format!("{file} {state:?}: what the file does not hold"), || {
        must.iter().all(|seq| of(false).contains_key(seq))
    });
    wait_until(&format!("{file} {state:?}: the rest is stored, or named"), || {
        let (stored, said) = (of(false), said(&ingestor, &boot));
        (0..ALL).all(|seq| stored.contains_key(&seq) || said.named.contains(seq) || said.is_counted)
    });
    let stored = of(false);
    assert!(stored.values().all(|times| *times == 1), "{file} {state:?}: {stored:?}");
    let named = said(&ingestor, &boot).named;
    assert!(
        named.iter().all(|(first, last)| last >= ALL || (first..=last).all(|seq| !stored.contains_key(&seq))),
        "{file} {state:?}: {named:?} are stored"
    );
    if state == State::OutOfReach {
        // A passing fault is no verdict about data.
        wait_until(&format!("{file}: all of it"), || of(false).len() as u64 == ALL);
        assert_eq!(spool.stats().chunks_set_aside, 0, "{file}");
    }
}

#[test]
fn whatever_becomes_of_a_file_everything_is_stored_or_named() {
    std::thread::scope(|scope| {
        for file in FILES {
            scope.spawn(move || STATES.into_iter().for_each(|state| survives(file, state)));
        }
    });
}
