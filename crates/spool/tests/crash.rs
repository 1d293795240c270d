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
use weir_event::Ranges;
use weir_event::{NameId, Names, Stream};
use weir_spool::{Appended, Endpoint, RingWriter, Seal, Spool, SpoolConfig};

const PATH: &str = "WEIR_TEST_SPOOL";
/// More than a life says before it comes to its failpoint.
const NEVER: usize = 2_000_000;
const ENDPOINT: &str = "WEIR_TEST_ENDPOINT";

/// The life that is going to end: appends for ever, and says each number that is safe.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let names = Arc::new(Names::new());
    let api = names.register("orders");
    let seal = Seal { count: 200, bytes: usize::MAX, age: Duration::from_millis(20), wire: 1 << 20 };
    let config = SpoolConfig { seal, ..config(Path::new(&path)) };
    let (mut spool, mut rings) = Spool::start(config, identity(), 1, names).unwrap();
    spool.sync_names().unwrap();
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        spool.ship_to(Endpoint::new(&endpoint, "token-of-test").unwrap()).unwrap();
    }
    println!("\nstream {}", Stream { identity: identity(), boot: spool.boot(), worker: 0 }.id());
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

/// What a life said before it died.
#[derive(Default)]
struct Dead {
    stream: String,
    safe: Vec<u64>,
}

/// Listens to the child until it dies, or has said `most` numbers; then it is killed with SIGKILL.
fn listen(mut life: Life, out: BufReader<ChildStdout>, most: usize) -> Dead {
    let mut dead = Dead::default();
    for line in out.lines() {
        let Ok(line) = line else { break };
        match line.split_once(' ') {
            Some(("stream", stream)) => dead.stream = stream.to_owned(),
            Some(("safe", seq)) => dead.safe.extend(seq.parse::<u64>().ok()),
            _ => {}
        }
        if dead.safe.len() == most {
            life.0.kill().unwrap();
        }
    }
    life.0.wait().unwrap();
    dead
}

/// The next life ships what is left. Of each dead one: every number that was safe has arrived, under its own name,
/// and every number that it had given out is a record or a gap.
fn the_next_life_ships(path: &Path, ingestor: &Ingestor, dead: &[Dead], why: &str) {
    let (mut spool, _ring) = start(config(path));
    spool.ship_to(ingestor.endpoint()).unwrap();
    wait_until("the folders of the dead are gone", || {
        let folders =
            std::fs::read_dir(path).unwrap().filter(|folder| folder.as_ref().unwrap().file_name().len() == 32);
        folders.count() == 1
    });
    let reports = ingestor.reports();
    let lines: Vec<_> = reports.iter().flat_map(|report| report.as_array().unwrap()).collect();
    for Dead { stream, safe } in dead {
        let (mut stored, mut gone) = (Ranges::new(), Ranges::new());
        for heard in ingestor.heard().iter().filter(|heard| heard.stored && heard.stream.to_string() == *stream) {
            heard.seqs.iter().for_each(|seq| stored.insert(*seq, *seq));
            heard.gaps.iter().for_each(|gap| gone.insert(gap.first, gap.last));
            assert!(heard.apis.iter().all(|api| api == "orders"), "{why}");
        }
        let missing: Vec<_> = safe.iter().filter(|seq| !stored.contains(**seq)).collect();
        assert!(missing.is_empty(), "{why}: safe and not stored: {missing:?}");
        let end = lines.iter().find(|line| line["stream"] == **stream && line["closed"] == true).expect(why);
        stored.union(&gone);
        assert_eq!(stored, Ranges::of(0, end["accepted"].as_u64().unwrap() - 1), "{why}");
    }
}

#[test]
fn sigkill_in_the_middle_of_appending_loses_nothing() {
    for most in [1, 150, 3_000, 20_000] {
        let folder = tempfile::tempdir().unwrap();
        let (life, out) = Life::start(folder.path(), None, "");
        let dead = listen(life, out, most);
        assert!(dead.safe.len() >= most);
        let ingestor = Ingestor::start(|_, _| Reply::Status(200));
        the_next_life_ships(folder.path(), &ingestor, &[dead], &format!("after {most}"));
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
            let (life, out) = Life::start(folder.path(), Some(&ingestor), &failpoint);
            let dead = listen(life, out, NEVER);
            assert!(dead.safe.len() < NEVER, "{failpoint} was never passed");
            the_next_life_ships(folder.path(), &ingestor, &[dead], &failpoint);
        }
    }
}

/// A life takes over the ring of another and dies over it; the third finds both.
#[test]
fn death_while_taking_over_loses_nothing() {
    for failpoint in
        ["after_write:1", "after_write:2", "after_rename:1", "after_rename:2", "after_send:1", "before_unlink:1"]
    {
        let folder = tempfile::tempdir().unwrap();
        let ingestor = Ingestor::start(|_, _| Reply::Status(200));
        let (life, out) = Life::start(folder.path(), None, "");
        let first = listen(life, out, 2_500);
        let failpoint = format!("spool.{failpoint}");
        let (life, out) = Life::start(folder.path(), Some(&ingestor), &failpoint);
        let second = listen(life, out, NEVER);
        assert!(second.safe.len() < NEVER, "{failpoint} was never passed");
        the_next_life_ships(folder.path(), &ingestor, &[first, second], &failpoint);
    }
}
