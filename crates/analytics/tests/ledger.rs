//! What the ledger claims, against a real engine: balanced only where every row is there, and only up to a time.

mod common;

use common::{Analytics, Engine, chunk, chunk_of, exchange, now_us, stream};
use serde_json::{Value, json};
use weir_event::Stream;
use weir_event::chunk::{Gap, GapReason};

const DAY: i64 = 86_400_000_000;

/// A line of a report; `more` is merged into it.
fn line(of: &Stream, accepted: u64, more: &Value) -> Value {
    let who = &of.identity;
    let mut line = json!({ "stream": of.id().to_string(), "organization": who.organization,
        "environment": who.environment, "site": who.site, "gateway": who.gateway, "replica": who.replica,
        "boot": of.boot.to_string(), "worker": of.worker, "accepted": accepted });
    for (name, value) in more.as_object().expect("an object") {
        line[name] = value.clone();
    }
    line
}

fn report(analytics: &Analytics, of: &Stream, accepted: u64, more: &Value) {
    let reply = analytics.report(&json!([line(of, accepted, more)]));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// As a report that came `seconds` ago: every report, and the count with it.
fn age_reports(engine: &Engine, seconds: u64) {
    let ms = seconds * 1000;
    engine.sql("CREATE TABLE weir.aged AS weir.stream_reports");
    engine.sql(&format!(
        "INSERT INTO weir.aged SELECT * REPLACE (counted - INTERVAL {ms} MILLISECOND AS counted, \
         received - INTERVAL {ms} MILLISECOND AS received, \
         concat(leftPad(toString(toInt64(substring(newest, 1, 16)) - {ms}), 16, '0'), substring(newest, 17)) AS newest) \
         FROM weir.stream_reports"
    ));
    engine.sql("TRUNCATE TABLE weir.stream_reports");
    engine.sql("TRUNCATE TABLE weir.report_history");
    engine.sql("INSERT INTO weir.stream_reports SELECT * FROM weir.aged");
    engine.sql("DROP TABLE weir.aged SYNC");
}

fn ms_ago(seconds: i64) -> i64 {
    now_us() / 1000 - seconds * 1000
}

#[test]
fn an_empty_database_has_no_data_yet() {
    let engine = Engine::start();
    let ledger = Analytics::start(&engine).api("ledger");
    assert_eq!((&ledger["state"], &ledger["balanced_up_to_ms"]), (&json!("empty"), &Value::Null), "{ledger}");
    assert!(ledger["sentence"].as_str().is_some_and(|text| text.starts_with("no data yet")), "{ledger}");
}

#[test]
fn before_its_first_report_a_stream_is_not_reported_yet_and_accepted_is_not_below_stored() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..2000, now_us() - 1_000_000, 10));
    let ledger = analytics.api("ledger");
    assert_eq!(ledger["state"], "unknown", "{ledger}");
    let reported = &ledger["streams"][0];
    assert_eq!((&reported["accepted"], &reported["stored"]), (&json!(2000), &json!(2000)));
    assert_eq!(reported["unknown"][0]["kind"], "not_reported");
    // The report lags behind what is stored: up to its time all is well.
    let counted = ms_ago(5);
    report(&analytics, &edge, 1500, &json!({ "counted_ms": counted }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["balanced_up_to_ms"]), (&json!("balanced"), &json!(counted)), "{ledger}");
    assert_eq!((&ledger["accepted"], &ledger["stored"]), (&json!(2000), &json!(2000)));
}

#[test]
fn a_gateway_that_falls_silent_is_unknown_from_its_last_report_on() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let (edge, core) = (stream("on-prem", "edge", 0), stream("cloud", "core", 0));
    analytics.store(&chunk(&edge, 0..100, now_us() - 1_000_000, 10));
    let (before, now) = (ms_ago(90), ms_ago(1));
    report(&analytics, &edge, 100, &json!({ "counted_ms": before }));
    assert_eq!(analytics.api("ledger")["state"], "balanced");
    age_reports(&engine, 60);
    report(&analytics, &core, 0, &json!({ "counted_ms": now }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["balanced_up_to_ms"]), (&json!("unknown"), &json!(now)), "{ledger}");
    let reported = &ledger["streams"][0];
    assert_eq!((&reported["gateway"], &reported["state"]), (&json!("edge"), &json!("unknown")));
    assert_eq!(
        (&reported["unknown"][0]["kind"], &reported["unknown"][0]["since_ms"]),
        (&json!("not_heard"), &json!(before))
    );
    // Its end was reported: nothing more can come.
    report(&analytics, &edge, 100, &json!({ "closed": true }));
    age_reports(&engine, 60);
    report(&analytics, &core, 0, &json!({}));
    assert_eq!(analytics.api("ledger")["state"], "balanced");
}

#[test]
fn a_gap_counts_only_where_nothing_is_stored() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    analytics.store(&chunk(&edge, 0..500, now - 1_000_000, 10));
    // The acknowledgement was lost and the chunk was given up for its age: its tombstone comes.
    let tombstone = Gap { first: 0, last: 499, reason: GapReason::SpoolFull };
    analytics.store(&chunk_of(&edge, [], &[tombstone]));
    report(&analytics, &edge, 500, &json!({ "closed": true }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("balanced"), &json!(0)), "{ledger}");
    let partly = Gap { first: 490, last: 509, reason: GapReason::SpoolFull };
    analytics.store(&chunk_of(&edge, [], &[partly]));
    let ledger = analytics.api("ledger");
    assert_eq!(ledger["state"], "missing", "{ledger}");
    assert_eq!(
        ledger["streams"][0]["missing"],
        json!([{ "class": "lost", "reason": "spool_full", "count": 10, "ranges": [[500, 509]] }])
    );
}

#[test]
fn what_waits_moves_the_time_of_the_claim_and_a_held_gateway_is_named() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us() - 1_000_000, 10));
    let (whole, later) = (ms_ago(20), ms_ago(10));
    report(&analytics, &edge, 100, &json!({ "counted_ms": whole }));
    report(&analytics, &edge, 150, &json!({ "counted_ms": later }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["balanced_up_to_ms"]), (&json!("balanced"), &json!(whole)), "{ledger}");
    assert_eq!((&ledger["waiting"], &ledger["streams"][0]["waiting_since_ms"]), (&json!(50), &json!(later)));
    // An old count that comes late is not a later time at which all was well.
    report(&analytics, &edge, 90, &json!({ "counted_ms": ms_ago(2) }));
    assert_eq!(analytics.api("ledger")["balanced_up_to_ms"], json!(whole));
    // For too long: nobody can say that these will come.
    engine.sql("TRUNCATE TABLE weir.report_history");
    let edge = stream("on-prem", "edge", 1);
    report(&analytics, &edge, 0, &json!({ "counted_ms": ms_ago(700) }));
    let held = json!({ "counted_ms": ms_ago(600), "held": { "reason": "identity", "since_ms": ms_ago(650) } });
    report(&analytics, &edge, 10, &held);
    let ledger = analytics.api("ledger");
    let reported = &ledger["streams"][1];
    assert_eq!((&reported["state"], &reported["held"]), (&json!("unknown"), &json!("identity")), "{ledger}");
}

#[test]
fn what_is_not_stored_and_not_reported_as_waiting_is_missing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    analytics.store(&chunk(&edge, 0..100, now, 1));
    analytics.store(&chunk(&edge, 200..300, now, 1));
    report(&analytics, &edge, 300, &json!({ "waiting": [{ "first": 100, "last": 199 }] }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["missing"], &ledger["waiting"]), (&json!(0), &json!(100)), "{ledger}");
    // The gateway has had them acknowledged, by whomever.
    report(&analytics, &edge, 310, &json!({ "waiting": [{ "first": 300, "last": 309 }] }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["waiting"]), (&json!("missing"), &json!(10)), "{ledger}");
    assert_eq!(ledger["streams"][0]["missing"][0]["class"], "unaccounted");
    assert_eq!(ledger["streams"][0]["missing"][0]["ranges"], json!([[100, 199]]));
    // A list that is cut short proves nothing.
    report(&analytics, &edge, 310, &json!({ "waiting": [{ "first": 300, "last": 309 }], "waiting_more": true }));
    assert_eq!(analytics.api("ledger")["missing"], 0);
}

#[test]
fn what_was_set_aside_and_what_is_a_dead_letter_are_classes_of_their_own() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    let events = (0..100).map(|seq| (seq, exchange(seq, if seq < 10 { now - 40 * DAY } else { now })));
    analytics.store(&chunk_of(&edge, events, &[]));
    let more = json!({ "closed": true, "set_aside": [{ "first": 95, "last": 119, "reason": "rejected" }] });
    report(&analytics, &edge, 120, &more);
    let ledger = analytics.api("ledger");
    assert_eq!(ledger["state"], "missing", "{ledger}");
    assert_eq!(ledger["classes"], json!({ "dead_letter": 10, "set_aside": 20 }));
    let missing = &ledger["streams"][0]["missing"];
    assert_eq!((&missing[0]["reason"], &missing[1]["reason"]), (&json!("ts_too_old"), &json!("rejected")));
    // As after a retry that was stored.
    analytics.store(&chunk(&edge, 100..120, now, 1));
    assert_eq!(analytics.api("ledger")["classes"], json!({ "dead_letter": 10 }));
}

#[test]
fn an_open_end_is_unknown_with_its_reason() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us(), 1));
    let more = json!({ "closed": true, "unknown_from": 100, "unknown_reason": "ring_missing" });
    report(&analytics, &edge, 100, &more);
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("unknown"), &json!(0)), "{ledger}");
    let reported = &ledger["streams"][0]["unknown"][0];
    assert_eq!(
        (&reported["kind"], &reported["reason"], &reported["from"]),
        (&json!("open_end"), &json!("ring_missing"), &json!(100))
    );
}

#[test]
fn whether_a_stream_has_ended_is_the_newest_reports_word() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us(), 1));
    // A copy of the spool on another machine says that the stream ended at 60.
    report(&analytics, &edge, 60, &json!({ "closed": true }));
    report(&analytics, &edge, 100, &json!({ "counted_ms": ms_ago(0) }));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["streams"][0]["closed"]), (&json!("balanced"), &json!(false)), "{ledger}");
    assert_eq!(analytics.api("gateways")["rows"][0]["closed"], false);
}

/// A stream that has ended: a thousand events of the day before yesterday, two thousand of today.
fn two_days(analytics: &Analytics) {
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    analytics.store(&chunk(&edge, 0..1000, now - 2 * DAY, 1));
    analytics.store(&chunk(&edge, 1000..3000, now, 1));
    report(analytics, &edge, 3000, &json!({ "closed": true }));
}

/// The oldest partition of raw.
fn oldest(engine: &Engine) -> String {
    let day =
        engine.sql("SELECT DISTINCT partition FROM system.parts WHERE table = 'access_events' AND active ORDER BY 1");
    day.lines().next().expect("a partition").to_owned()
}

#[test]
fn rows_that_are_gone_are_missing_until_they_are_back() {
    let mut engine = Engine::start();
    let analytics = Analytics::start(&engine);
    two_days(&analytics);
    let state = |what: &str| {
        let ledger = analytics.api("ledger");
        assert_eq!(ledger["streams"][0]["accepted"], 3000, "{what}: {ledger}");
        let ranges = ledger["streams"][0]["missing"][0]["ranges"].clone();
        (ledger["state"].as_str().expect("a state").to_owned(), ledger["missing"].as_u64(), ranges)
    };
    let balanced = || ("balanced".to_owned(), Some(0), Value::Null);
    assert_eq!(state("whole"), balanced());
    let old = oldest(&engine);
    engine.sql(&format!("ALTER TABLE weir.access_events DETACH PARTITION '{old}'"));
    let gone = || ("missing".to_owned(), Some(1000), json!([[0, 999]]));
    assert_eq!(state("a partition"), gone());
    // Gone with what says that it was stored: as after a restore of an older backup.
    engine.sql(&format!("ALTER TABLE weir.stored_seqs DETACH PARTITION '{old}'"));
    assert_eq!(state("a partition and its runs"), gone());
    engine = engine.start_again();
    assert_eq!(state("after a restart of the engine"), gone());
    engine.sql(&format!("ALTER TABLE weir.stored_seqs ATTACH PARTITION '{old}'"));
    engine.sql(&format!("ALTER TABLE weir.access_events ATTACH PARTITION '{old}'"));
    assert_eq!(state("restored"), balanced());
    engine.sql(&format!("ALTER TABLE weir.stored_seqs DETACH PARTITION '{old}'"));
    assert_eq!(state("only the runs"), balanced(), "the rows are there");
    engine.sql(&format!("ALTER TABLE weir.stored_seqs ATTACH PARTITION '{old}'"));
    engine.sql("ALTER TABLE weir.access_events DELETE WHERE seq IN (1500, 1502, 1503) SETTINGS mutations_sync = 2");
    assert_eq!(state("rows"), ("missing".to_owned(), Some(3), json!([[1500, 1500], [1502, 1503]])));
}

/// An audit that said "gone" is not the last word: rows that came back while weir-analytics was down are there.
#[test]
fn rows_that_come_back_while_nobody_looks_are_balanced() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    two_days(&analytics);
    assert_eq!(analytics.api("ledger")["state"], "balanced");
    let old = oldest(&engine);
    engine.sql(&format!("ALTER TABLE weir.access_events DETACH PARTITION '{old}'"));
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("missing"), &json!(1000)), "{ledger}");
    let (_, state) = analytics.terminate();
    engine.sql(&format!("ALTER TABLE weir.access_events ATTACH PARTITION '{old}'"));
    let analytics = Analytics::on(&engine, state, &[]);
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("balanced"), &json!(0)), "{ledger}");
}

/// What was noted while the clock was forty days ahead does not outrank what is found when it is right again.
#[test]
fn notes_of_a_clock_that_was_ahead_are_not_the_newest_for_ever() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..1000, now_us() - 25 * DAY, 1));
    report(&analytics, &edge, 1000, &json!({ "closed": true }));
    assert_eq!(analytics.verify()["compacted"], 1);
    for (table, version) in [("audits", "audited"), ("stream_accounts", "compacted")] {
        engine.sql(&format!(
            "INSERT INTO weir.{table} SELECT * REPLACE ({version} + INTERVAL 40 DAY AS {version}) FROM weir.{table}"
        ));
    }
    // As another start, which knows of no audit but those.
    let (_, state) = analytics.terminate();
    let analytics = Analytics::on(&engine, state, &[]);
    engine.sql("ALTER TABLE weir.access_events DELETE WHERE seq < 100 SETTINGS mutations_sync = 2");
    analytics.store(&chunk(&edge, 1000..1100, now_us() - 25 * DAY, 1));
    report(&analytics, &edge, 1100, &json!({ "closed": true }));
    assert_eq!(analytics.verify()["compacted"], 1);
    engine.sql("OPTIMIZE TABLE weir.audits FINAL");
    engine.sql("OPTIMIZE TABLE weir.stream_accounts FINAL");
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["missing"], &ledger["classes"]), (&json!(100), &json!({ "gone": 100 })), "{ledger}");
    assert_eq!(engine.sql("SELECT stored FROM weir.stream_accounts"), "[(0,1099)]");
}

#[test]
fn a_day_that_has_expired_is_not_missing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us() - 5 * DAY, 1));
    analytics.store(&chunk(&edge, 100..200, now_us(), 1));
    report(&analytics, &edge, 200, &json!({ "closed": true }));
    assert_eq!(analytics.api("ledger")["state"], "balanced");
    let (_, state) = analytics.terminate();
    let short = ["--retention-raw", "3d", "--spool-max-age", "2d"];
    let analytics = Analytics::with_args(&engine, state, &[], &short);
    // What retention does when it comes to it.
    common::until("the day has expired", || {
        engine.sql("OPTIMIZE TABLE weir.access_events FINAL");
        engine.number("SELECT count() FROM weir.access_events") == 100
    });
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["stored"]), (&json!("balanced"), &json!(200)), "{ledger}");
}

#[test]
fn a_stream_that_outlives_the_retention_is_compacted() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let old = chunk(&edge, 0..700, now_us() - 25 * DAY, 1);
    analytics.store(&old);
    let shed = Gap { first: 700, last: 709, reason: GapReason::RingFull };
    analytics.store(&chunk_of(&edge, [], &[shed]));
    analytics.store(&chunk(&edge, 710..800, now_us(), 1));
    report(&analytics, &edge, 800, &json!({}));
    let done = analytics.verify();
    assert_eq!((&done["compacted"], &done["gone"]), (&json!(1), &json!(0)), "{done}");
    // A long time passes: what said that they are stored, and what said that they are lost, has expired.
    let (_, state) = analytics.terminate();
    let short = ["--retention-raw", "3d", "--spool-max-age", "2d"];
    let analytics = Analytics::with_args(&engine, state, &[], &short);
    common::until("the runs have expired", || {
        engine.sql("OPTIMIZE TABLE weir.stored_seqs FINAL");
        engine.number("SELECT sum(n) FROM weir.stored_seqs") == 90
    });
    engine.sql("TRUNCATE TABLE weir.gaps");
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["stored"], &ledger["waiting"]), (&json!(790), &json!(0)), "{ledger}");
    assert_eq!(ledger["classes"], json!({ "lost": 10 }), "{ledger}");
    // And nothing of it is taken for new.
    let answer = analytics.store(&old);
    assert_eq!((&answer["duplicate"], &answer["dead_letters"]), (&json!(700), &json!(0)), "{answer}");
}

#[test]
fn a_loss_stays_until_it_is_acknowledged_and_a_new_one_counts_again() {
    let engine = Engine::start();
    let state = tempfile::TempDir::new().expect("a temporary folder");
    let token = state.path().join("admin");
    std::fs::write(&token, "a-token-of-the-administrator\n").expect("written");
    let path = token.to_string_lossy().into_owned();
    let analytics = Analytics::with_args(&engine, state, &[], &["--admin-token-file", &path]);
    let (edge, old) = (stream("on-prem", "edge", 0), stream("on-prem", "edge", 1));
    let lose = |of: &Stream, first: u64, last: u64| {
        analytics.store(&chunk_of(of, [], &[Gap { first, last, reason: GapReason::RingFull }]));
    };
    // A stream that ended with a loss two months ago, and one that lives.
    analytics.store(&chunk(&old, 0..500, now_us(), 1));
    lose(&old, 500, 999);
    report(&analytics, &old, 1000, &json!({ "closed": true }));
    assert_eq!(analytics.verify()["compacted"], 1);
    age_reports(&engine, 60 * 86_400);
    for table in ["gaps", "stored_seqs", "access_events", "streams", "audits"] {
        engine.sql(&format!("TRUNCATE TABLE weir.{table}"));
    }
    engine.sql("ALTER TABLE weir.stream_accounts UPDATE stored = [(0, 499)] WHERE 1 SETTINGS mutations_sync = 2");
    analytics.store(&chunk(&edge, 0..100, now_us(), 1));
    report(&analytics, &edge, 100, &json!({}));
    let ledger = analytics.api("ledger?minutes=60");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("missing"), &json!(500)), "{ledger}");

    let acknowledge = |headers: &[(&str, &str)], body: &Value| {
        common::request(analytics.address(), "POST", "/api/v1/ledger/acknowledge", headers, body.to_string().as_bytes())
    };
    let body = json!({ "stream": old.id().to_string(), "reason": "INC-1234", "by": "ann" });
    let bearer = ("authorization", "Bearer a-token-of-the-administrator");
    let of_a_gateway = format!("Bearer {}", common::TOKEN);
    assert_eq!(acknowledge(&[], &body).status, 401);
    assert_eq!(acknowledge(&[("authorization", &of_a_gateway)], &body).status, 401);
    assert_eq!(acknowledge(&[bearer, ("origin", "http://attacker.example")], &body).status, 403);
    assert_eq!(acknowledge(&[bearer], &json!({ "stream": "all", "reason": " " })).status, 400);
    assert_eq!(acknowledge(&[bearer], &json!({ "stream": "00000000000000ab", "reason": "x" })).status, 404);
    assert_eq!(analytics.api("ledger")["state"], "missing", "nothing of these changed anything");
    let done = acknowledge(&[bearer], &body);
    assert_eq!((done.status, &done.json()["acknowledged"][0]["last"]), (200, &json!(999)), "{}", done.text());
    let ledger = analytics.api("ledger?minutes=all");
    assert_eq!((&ledger["state"], &ledger["acknowledged"]), (&json!("balanced"), &json!(500)), "{ledger}");
    assert_eq!(
        engine.sql("SELECT reason, who FROM weir.acknowledgements"),
        "INC-1234\tann (administrator at 127.0.0.1)"
    );
    let log = std::fs::read_to_string(analytics.state.path().join("audit.log")).expect("the audit log");
    assert!(log.lines().count() == 2 && log.contains("INC-1234"), "{log}");
    // What is lost later is not covered.
    lose(&edge, 100, 109);
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["missing"]), (&json!("missing"), &json!(10)), "{ledger}");
}
