//! Descriptors: how few a spool needs, and that having none left is a passing fault. One test, for they are counted
//! by the process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::ingestor::{Ingestor, Reply};
use common::{append, config, start, wait_until};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

const LIVES: u64 = 60;

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn leave(root: &Path) {
    let (spool, mut ring) = start(config(root));
    append(&mut ring, 0..10);
    spool.stop(Duration::ZERO).unwrap();
}

#[test]
fn many_lives_need_one_descriptor_and_none_left_is_no_verdict() {
    let root = tempfile::tempdir().unwrap();
    (0..LIVES).for_each(|_| leave(root.path()));
    let before = open_files();
    let (mut spool, _ring) = start(config(root.path()));
    wait_until("all lives are taken over", || spool.stats().adopted == LIVES);
    // Not those of a file that is being read at this moment.
    wait_until("it needs few descriptors for all of them", || open_files() - before < 12);

    let ingestor = Ingestor::start(|_, _| Reply::Status(503));
    spool.ship_to(ingestor.endpoint()).unwrap();
    // The first answers may come over several connections; by the third pause, one is left and kept.
    wait_until("a connection is kept", || spool.stats().pauses > 2);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    ingestor.answer(|_, _| Reply::Status(200));
    wait_until("files that cannot be opened", || spool.stats().file_failures > 10);
    drop(taken);
    wait_until("everything is stored", || ingestor.stored().len() as u64 == 10 * LIVES);
    assert_eq!((spool.stats().chunks_set_aside, spool.stats().set_aside_chunks), (0, 0));
}
