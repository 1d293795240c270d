//! What an earlier release left behind is opened by this one, and nothing of it is lost or stored again.

mod common;

use common::{Analytics, Engine, chunk_of, exchange, now_us, stream, until};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use weir_analytics::schema::Schema;
use weir_event::Reason;

const DAY: i64 = 86_400_000_000;

/// The longest retention there is (the fixture was made with one that is refused by now): no row of it may expire while this is a
/// test.
const KEEP: [&str; 6] = ["--retention-raw", "18250d", "--retention-minutes", "18250d", "--retention-hours", "18250d"];

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
    until("the days before the upgrade are filled", || engine.number("SELECT count() FROM weir.rollup_fills") == 1);
    engine.assert_rolled_up();
    assert_eq!(engine.number("SELECT count() FROM weir.access_events WHERE entry != 1"), 0);
    let noted = engine.sql("SELECT DISTINCT number FROM weir.schema_migrations ORDER BY number");
    let steps: Vec<_> = Schema::single("weir").migrations().iter().map(|step| step.number.to_string()).collect();
    assert_eq!(noted, steps.join("\n"), "every step of this version is applied");
    assert_eq!(std::fs::read_dir(state.join("intents")).expect("a folder").count(), 0, "the open intent is settled");
}

/// Step 84 changes what `consumers_1m` counts as failed: what was stored before it is counted anew, whatever its day, beside
/// events that come in.
#[test]
fn a_changed_roll_up_is_filled_for_the_days_before_its_step() {
    const OF_ONE_DAY: u64 = 300;
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let before = Schema::single("weir").migrations().into_iter().find(|step| step.number == 73).expect("step 73");
    let (_, select) = before.sql.split_once(" AS\n").expect("the query of a view");
    engine.sql(&format!("ALTER TABLE weir.consumers_1m_mv MODIFY QUERY {select}"));
    let (edge, now) = (stream("on-prem", "edge", 0), now_us());
    let of_day = |days_ago: i64, seqs: std::ops::Range<u64>| {
        let broken = seqs.map(|seq| {
            let mut exchange = exchange(seq, now - days_ago * DAY);
            (exchange.status, exchange.reason) = (200, Reason::ResponseIncomplete);
            (seq, exchange)
        });
        chunk_of(&edge, broken, &[])
    };
    analytics.store(&of_day(0, 0..OF_ONE_DAY));
    analytics.store(&of_day(3, OF_ONE_DAY..2 * OF_ONE_DAY));
    let failed = "SELECT sum(failed) FROM weir.consumers_1m";
    assert_eq!(engine.number(failed), 0, "as it was counted before");
    let (_code, state) = analytics.terminate();
    engine.sql("ALTER TABLE weir.schema_migrations DELETE WHERE number >= 84 SETTINGS mutations_sync = 2");
    engine.sql("DROP TABLE weir.rollup_fills SYNC");

    let analytics = Analytics::on(&engine, state, &[]);
    for number in 2..20 {
        let first = number * OF_ONE_DAY;
        analytics.store(&of_day(if number % 2 == 0 { 0 } else { 3 }, first..first + OF_ONE_DAY));
    }
    until("the days before the upgrade are filled", || engine.number("SELECT count() FROM weir.rollup_fills") == 1);
    assert_eq!(engine.number(failed), 20 * OF_ONE_DAY);
    engine.assert_rolled_up();
}

#[test]
fn a_database_of_a_later_version_refuses_the_start_and_stays_as_it_is() {
    let engine = Engine::start();
    let state = Analytics::start(&engine).kill();
    engine.sql("INSERT INTO weir.schema_migrations (number, name, checksum) VALUES (999, 'of_a_later_version', '')");
    let epoch = engine.number("SELECT max(epoch) FROM weir.leases");
    let output = Analytics::command(&engine, state.path(), &[]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("has migration 999"), "{said}");
    assert!(said.contains("use a newer weir-analytics"), "{said}");
    assert_eq!(engine.number("SELECT max(epoch) FROM weir.leases"), epoch);
}
