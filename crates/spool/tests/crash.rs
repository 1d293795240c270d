//! A gateway that dies: whatever the moment, what its `append` had taken is shipped by the next life, once it is
//! sorted by sequence number - and what it knew of names and streams lives on.
//!
//! The process that dies is this test binary, started again for its one test `child`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{config, identity, record, start, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use weir_event::{NameId, Names};
use weir_spool::{Appended, Endpoint, RingWriter, Seal, Spool, SpoolConfig};

const PATH: &str = "WEIR_TEST_SPOOL";
const ENDPOINT: &str = "WEIR_TEST_ENDPOINT";

/// The life that is going to end: appends for ever, and says each number that is safe.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let names = Arc::new(Names::new());
    let api = names.register("orders");
    let seal = Seal { count: 200, bytes: usize::MAX, age: Duration::from_millis(20) };
    let config = SpoolConfig { seal, ..config(Path::new(&path)) };
    let (mut spool, mut rings) = Spool::start(config, identity(), 1, names).unwrap();
    spool.sync_names().unwrap();
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        spool.ship_to(Endpoint::new(&endpoint, "token-of-test").unwrap()).unwrap();
    }
    append_for_ever(rings.pop().unwrap(), api);
}

fn append_for_ever(mut ring: RingWriter, api: NameId) {
    let mut out = std::io::stdout().lock();
    for seq in 0.. {
        let taken = ring.append(seq, &record(seq, api));
        let word = if taken == Appended::Written { "safe" } else { "shed" };
        if writeln!(out, "\n{word} {seq}").is_err() {
            return;
        }
    }
}

/// A child that dies with this test, however the test ends.
struct Life(Child);

impl Life {
    fn start(path: &Path, endpoint: Option<&Ingestor>, failpoint: &str) -> (Self, BufReader<ChildStdout>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(PATH, path).stdout(Stdio::piped());
        if let Some(ingestor) = endpoint {
            command.env(ENDPOINT, format!("http://{}", ingestor.address));
        }
        if !failpoint.is_empty() {
            command.env("WEIR_FAILPOINT", failpoint);
        }
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (Self(child), out)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Reads what the child says until it dies, or until it has said `most` lines; then it is killed with SIGKILL.
fn safe_numbers(life: &mut Life, out: BufReader<ChildStdout>, most: usize) -> Vec<u64> {
    let mut safe = Vec::new();
    for line in out.lines() {
        let Ok(line) = line else { break };
        safe.extend(line.strip_prefix("safe ").and_then(|seq| seq.parse::<u64>().ok()));
        if safe.len() == most {
            life.0.kill().unwrap();
        }
    }
    life.0.wait().unwrap();
    safe
}

/// The next life ships what is left; every number that was safe must have arrived, under its own name.
fn the_next_life_ships(path: &Path, ingestor: &Ingestor, safe: &[u64], why: &str) {
    let (mut spool, _ring) = start(config(path));
    spool.ship_to(ingestor.endpoint()).unwrap();
    let told = || ingestor.reports().iter().flat_map(|report| report.as_array().unwrap().clone()).collect::<Vec<_>>();
    let own = spool.boot().to_string();
    wait_until("the dead life's end is told and its folder gone", || {
        let folders =
            std::fs::read_dir(path).unwrap().filter(|folder| folder.as_ref().unwrap().file_name().len() == 32);
        folders.count() == 1 && told().iter().any(|line| line["closed"] == true && line["boot"] != *own)
    });
    let stored = ingestor.stored();
    let mut seqs: Vec<u64> = stored.keys().map(|(_, seq)| *seq).collect();
    seqs.sort_unstable();
    let missing: Vec<u64> = safe.iter().copied().filter(|seq| seqs.binary_search(seq).is_err()).collect();
    assert_eq!(missing, [0; 0], "{why}: safe and not stored");
    assert!(ingestor.heard().iter().all(|heard| heard.apis.iter().all(|api| api == "orders")), "{why}");
    let accepted =
        told().iter().filter(|line| line["closed"] == true).map(|line| line["accepted"].as_u64().unwrap()).max();
    let gaps: u64 = ingestor
        .heard()
        .iter()
        .filter(|heard| heard.stored)
        .flat_map(|heard| heard.gaps.clone())
        .map(|gap| gap.count())
        .sum();
    assert_eq!(accepted, Some(seqs.len() as u64 + gaps), "{why}: every number is a record or a gap");
}

#[test]
fn sigkill_in_the_middle_of_appending_loses_nothing() {
    for most in [1, 150, 3_000, 20_000] {
        let folder = tempfile::tempdir().unwrap();
        let (mut life, out) = Life::start(folder.path(), None, "");
        let safe = safe_numbers(&mut life, out, most);
        assert!(safe.len() >= most);
        let ingestor = Ingestor::start(|_, _| Reply::Status(200));
        the_next_life_ships(folder.path(), &ingestor, &safe, &format!("after {most}"));
        assert!(ingestor.stored().values().all(|times| *times == 1), "nothing was offered twice");
    }
}

#[test]
fn death_at_every_failpoint_loses_nothing() {
    for name in ["before_seal", "after_write", "after_rename", "before_send", "after_send", "before_unlink"] {
        for nth in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let ingestor = Ingestor::start(|_, _| Reply::Status(200));
            let failpoint = format!("spool.{name}:{nth}");
            let (mut life, out) = Life::start(folder.path(), Some(&ingestor), &failpoint);
            let safe = safe_numbers(&mut life, out, 2_000_000);
            assert!(safe.len() < 2_000_000, "{failpoint} was never passed");
            the_next_life_ships(folder.path(), &ingestor, &safe, &failpoint);
        }
    }
}
