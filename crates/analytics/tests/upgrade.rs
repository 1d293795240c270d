//! What an earlier release left behind is opened by this one, and nothing of it is lost or stored again.

mod common;

use common::{Analytics, Engine};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use weir_analytics::schema::Schema;

/// The retention that the fixture was made with: no row of it may expire while this is a test.
const KEEP: [&str; 6] = ["--retention-raw", "20000d", "--retention-minutes", "20000d", "--retention-hours", "20000d"];

/// The folders `engine` and `state`, and three chunks.
fn unpacked() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-of-the-first-release.tar.xz");
    let done = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().expect("tar runs");
    assert!(done.success(), "{archive:?}: install tar and xz");
    folder
}

#[test]
fn the_store_of_the_first_release_is_brought_forward_whole() {
    let folder = unpacked();
    let engine = Engine::in_folder(folder.path().join("engine"));
    let rows = "SELECT count() FROM weir.access_events";
    assert_eq!(engine.number(rows), 589, "as it was left");
    let state = folder.path().join("state");
    let analytics = Analytics::with(&engine, &state, &[], &KEEP);
    assert_eq!(engine.number(rows), 589);
    let answers: Vec<_> = (0..3)
        .map(|number| {
            let chunk = std::fs::read(folder.path().join(format!("chunk-{number}"))).expect("a chunk");
            let answer = analytics.store(&chunk);
            ["stored", "duplicate", "dead_letters"].map(|part| answer[part].as_u64().expect("a number"))
        })
        .collect();
    assert_eq!(answers, [[0, 190, 0], [0, 300, 0], [0, 100, 0]]);
    assert_eq!(engine.number(rows), 589);
    assert_eq!(
        engine.sql("SELECT stream, sum(n) FROM weir.stored_seqs GROUP BY stream ORDER BY sum(n)").lines().count(),
        2
    );
    assert_eq!(engine.sql("SELECT seq, reason FROM weir.dead_letters FINAL"), "7\tts_ahead");
    assert_eq!(engine.sql("SELECT DISTINCT first, last, reason FROM weir.gaps"), "50\t59\tring_full");
    assert_eq!(engine.sql("SELECT max(accepted) AS most FROM weir.streams GROUP BY stream ORDER BY most"), "200\n400");
    engine.assert_rolled_up();
    assert_eq!(engine.number("SELECT count() FROM weir.access_events WHERE entry != 1"), 0);
    let noted = engine.sql("SELECT DISTINCT number FROM weir.schema_migrations ORDER BY number");
    let steps: Vec<_> = Schema::single("weir").migrations().iter().map(|step| step.number.to_string()).collect();
    assert_eq!(noted, steps.join("\n"), "every step of this version is applied");
    assert_eq!(std::fs::read_dir(state.join("intents")).expect("a folder").count(), 0, "the open intent is settled");
}
