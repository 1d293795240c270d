//! The program itself: how it starts, refuses to start, ends, and who may ask.

mod common;

use std::process::{Command, Output, Stdio};

use common::{Engine, command};

fn refused(command: &mut Command) -> String {
    let Output { status, stderr, stdout } = command.stderr(Stdio::piped()).output().expect("weir-chdb runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(stdout.is_empty() && text.contains("weir-chdb: ") && text.contains("; "), "{text}");
    text
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut folder = tempfile::TempDir::new().expect("folder");
    for round in 1..=3 {
        let engine = Engine::on(folder, &[]);
        engine.sql("CREATE TABLE IF NOT EXISTS t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100");
        let target = format!("/?query=INSERT%20INTO%20t%20FORMAT%20TSV&insert_deduplication_token=round-{round}");
        assert_eq!(engine.post(&target, "1\n2\n").status, 200);
        folder = engine.kill();
        let engine = Engine::on(folder, &[]);
        assert_eq!(engine.sql("SELECT count() FROM t"), (2 * round).to_string());
        // The same token after the kill: it is remembered.
        assert_eq!(engine.post(&target, "1\n2\n").status, 200);
        assert_eq!(engine.sql("SELECT count() FROM t"), (2 * round).to_string());
        folder = engine.kill();
    }
}

#[test]
fn a_signal_lets_statements_finish() {
    let engine = Engine::start();
    let mut running = engine.connect();
    common::send(&mut running, "POST", "/", &[], b"SELECT sleep(1), 'done' FORMAT JSONCompact");
    engine.await_sql(
        "SELECT count() FROM system.processes WHERE query LIKE '%sleep(1)%' AND query NOT LIKE '%processes%'",
        "1",
    );
    engine.terminate();
    let reply = common::receive(&mut std::io::BufReader::new(running));
    assert!(reply.status == 200 && reply.text().contains("done"), "{}", reply.text());
    assert_eq!(engine.wait(), Some(0));
}

#[test]
fn a_statement_that_does_not_end_is_cancelled_at_the_end() {
    let engine = Engine::with(&["--drain-timeout", "1"]);
    let mut running = engine.connect();
    common::send(
        &mut running,
        "POST",
        "/",
        &[],
        b"SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 3 FORMAT JSON",
    );
    engine.await_sql(
        "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%processes%'",
        "1",
    );
    engine.terminate();
    let reply = common::receive(&mut std::io::BufReader::new(running));
    assert_eq!(reply.code(), "394", "{}", reply.text());
    assert_eq!(engine.wait(), Some(0));
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let engine = Engine::start();
    let other = tempfile::TempDir::new().expect("folder");
    let taken = refused(command(other.path()).args(["--listen", &engine.address]));
    assert!(taken.contains("cannot listen on") && taken.contains("--listen"), "{taken}");
    let locked = refused(&mut command(engine.folder.path()));
    assert!(locked.contains("in use by another weir-chdb"), "{locked}");
    let missing = refused(command(other.path()).env("WEIR_CHDB_LIB", "/nowhere/libchdb.so"));
    assert!(missing.contains("WEIR_CHDB_LIB names `/nowhere/libchdb.so`"), "{missing}");
    let broken = refused(command(other.path()).env("WEIR_CHDB_LIB", "/etc/hostname"));
    assert!(broken.contains("cannot load `/etc/hostname`") && broken.contains("npm ci"), "{broken}");
    // Nothing is beside a copy of the program in an empty folder.
    let alone = other.path().join("weir-chdb");
    std::fs::copy(env!("CARGO_BIN_EXE_weir-chdb"), &alone).expect("copied");
    let nowhere = refused(Command::new(&alone).arg("--path").arg(other.path()));
    assert!(nowhere.contains("libchdb.so is not beside this program"), "{nowhere}");
    let exposed = refused(command(other.path()).args(["--listen", "0.0.0.0:0"]));
    assert!(exposed.contains("--users FILE"), "{exposed}");
    let file = refused(&mut command(&alone));
    assert!(file.contains("cannot use the folder"), "{file}");
    let usage = Command::new(&alone).output().expect("runs");
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_stray_configuration_is_not_picked_up() {
    let stray = tempfile::TempDir::new().expect("folder");
    std::fs::create_dir(stray.path().join(".clickhouse-local")).expect("folder");
    let config = "<clickhouse><profiles><default><max_threads>3</max_threads></default></profiles><not closed";
    for path in ["config.xml", ".clickhouse-local/config.xml"] {
        std::fs::write(stray.path().join(path), config).expect("written");
    }
    let folder = tempfile::TempDir::new().expect("folder");
    let mut child = command(folder.path()).current_dir(stray.path()).env("HOME", stray.path()).spawn().expect("starts");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().expect("piped")), &mut line)
        .expect("a line");
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(line.starts_with("listening on"), "{line}");
}

#[test]
fn a_death_at_a_named_place_leaves_all_or_nothing() {
    // Where it dies at its second INSERT, how many of the two rows are there afterwards.
    for (place, stored) in [
        ("insert.before_data", Some("1")),
        ("insert.before_commit", Some("1")),
        ("insert.in_commit", None),
        ("insert.after_commit", Some("2")),
        ("insert.before_answer", Some("2")),
        ("insert.after_answer", Some("2")),
    ] {
        let engine = Engine::dying_at(&format!("{place}:2"));
        engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
        assert_eq!(engine.post("/?query=INSERT%20INTO%20t%20FORMAT%20TSV", "1\n").status, 200, "{place}");
        let mut stream = engine.connect();
        common::send(&mut stream, "POST", "/?query=INSERT%20INTO%20t%20FORMAT%20TSV", &[], b"2\n");
        let folder = engine.await_death();
        let engine = Engine::on(folder, &[]);
        let count = engine.sql("SELECT count() FROM t");
        match stored {
            Some(stored) => assert_eq!(count, stored, "{place}"),
            None => assert!(count == "1" || count == "2", "{place}: {count}"),
        }
    }
}

#[test]
fn a_statement_that_changes_dies_on_either_side() {
    for (place, tables) in [("write.before", "0"), ("write.after", "1")] {
        let engine = Engine::dying_at(place);
        assert_eq!(engine.sql("SELECT 1"), "1");
        let mut stream = engine.connect();
        common::send(&mut stream, "POST", "/", &[], b"CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
        let engine = Engine::on(engine.await_death(), &[]);
        assert_eq!(engine.sql("SELECT count() FROM system.tables WHERE database = 'default'"), tables, "{place}");
    }
}
