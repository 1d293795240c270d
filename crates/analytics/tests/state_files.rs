//! Every file of weir-analytics, in every state that a disk or an operator may leave it in. What becomes of each is the
//! first table of `docs/account-files.md`, which names these tests. Whatever the state: every event that was sent is
//! there once, in raw and in every roll-up.

mod common;

use common::{Analytics, Engine, TOKEN, chunk, chunk_of, exchange, forge_intent, now_us, request, stream};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use weir_api::operations::{ANALYTICS, Access, Method};

const RAW: &str = "SELECT count() FROM weir.access_events";
const EPOCH: &str = "SELECT max(epoch) FROM weir.leases";
/// A lease that no test waits for: whoever writes within it has not waited.
const LONG: [(&str, &str); 1] = [("WEIR_ANALYTICS_LEASE", "1h")];
const SHORT: [(&str, &str); 1] = [("WEIR_ANALYTICS_LEASE", "1s")];
const ADMIN: &str = "an-administrators-token";

/// Exit code and log of a start that does not come to listen.
fn refused(engine: &Engine, state: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = Analytics::command(engine, state, &LONG).args(args).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Names and bytes of everything in `folder`.
fn contents(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let is_folder = path.is_dir();
            all.push((path.clone(), (!is_folder).then(|| std::fs::read(&path).expect("a file"))));
            if is_folder {
                folders.push(path);
            }
        }
    }
    all.sort();
    all
}

/// A folder is in the way of the file `path`: nobody can read or write it, whatever rights they have.
fn put_out_of_reach(path: &Path) {
    if path.exists() {
        std::fs::remove_file(path).expect("removed");
    }
    std::fs::create_dir(path).expect("made");
}

fn log_of(state: &Path) -> String {
    std::fs::read_to_string(state.join("log")).expect("a log")
}

/// A state folder whose weir-analytics stored a hundred events and was killed.
fn killed_after_a_hundred(engine: &Engine) -> TempDir {
    let analytics = Analytics::on(engine, TempDir::new().expect("a temporary folder"), &LONG);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..100, now_us(), 10));
    analytics.kill()
}

/// Stores a hundred more than `analytics` has, and finds all of them once.
fn goes_on(engine: &Engine, analytics: &Analytics) {
    let before = engine.number(RAW);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), before..before + 100, now_us(), 10));
    assert_eq!(engine.number(RAW), before + 100);
    engine.assert_rolled_up();
}

#[test]
fn a_lock_is_only_locked_and_one_out_of_reach_refuses_the_start() {
    let engine = Engine::start();
    let state = killed_after_a_hundred(&engine);
    let (lock, epoch) = (state.path().join("lock"), engine.number(EPOCH));
    put_out_of_reach(&lock);
    let before = contents(state.path());
    let (code, said) = refused(&engine, state.path(), &[]);
    assert!(code == Some(1) && said.contains("cannot use the state folder") && said.contains("--state"), "{said}");
    assert_eq!((contents(state.path()), engine.number(EPOCH)), (before, epoch), "nothing is changed");
    std::fs::remove_dir(&lock).expect("removed");
    std::fs::write(&lock, "4711 of another program").expect("written");
    let analytics = Analytics::on(&engine, state, &LONG);
    goes_on(&engine, &analytics);
    let state = analytics.kill();
    std::fs::remove_file(lock).expect("removed");
    goes_on(&engine, &Analytics::on(&engine, state, &LONG));
}

/// With its name the next process claims at once; without it only when the lease has run out. Another name is nobody's
/// word for what is whole: the days are audited.
#[test]
fn a_folder_without_its_holders_name_waits_and_audits() {
    let engine = Engine::start();
    let mut state = killed_after_a_hundred(&engine);
    let holder = state.path().join("holder");
    let name = std::fs::read_to_string(&holder).expect("a name");
    // As old as it is, it is as good as new.
    let analytics = Analytics::on(&engine, state, &LONG);
    goes_on(&engine, &analytics);
    state = analytics.kill();
    assert_eq!(std::fs::read_to_string(&holder).expect("a name"), name);
    let missing = |path: &Path| std::fs::remove_file(path).expect("removed");
    let empty = |path: &Path| std::fs::write(path, "").expect("written");
    let foreign = |path: &Path| std::fs::write(path, "{\"of\": \"another version\"}").expect("written");
    let spoil =
        [("missing", missing as fn(&Path)), ("empty", empty), ("foreign", foreign), ("out of reach", put_out_of_reach)];
    for (what, spoil) in spoil {
        let before = std::fs::read_to_string(&holder).expect("a name");
        spoil(&holder);
        engine.sql("TRUNCATE TABLE weir.requests_1h");
        let analytics = Analytics::on(&engine, state, &SHORT);
        goes_on(&engine, &analytics);
        state = analytics.kill();
        if holder.is_dir() {
            // The name of that process alone.
            assert!(log_of(state.path()).contains("the name of this state folder could not be kept"), "{what}");
            std::fs::remove_dir(&holder).expect("removed");
            let analytics = Analytics::on(&engine, state, &SHORT);
            goes_on(&engine, &analytics);
            state = analytics.kill();
        }
        let after = std::fs::read_to_string(&holder).expect("a name");
        assert!(after != before && after != "{\"of\": \"another version\"}" && !after.is_empty(), "{what}: {after}");
        let analytics = Analytics::on(&engine, state, &LONG);
        goes_on(&engine, &analytics);
        state = analytics.kill();
        assert_eq!(std::fs::read_to_string(&holder).expect("a name"), after, "{what}");
    }
}

/// An intent in it is settled like one's own. The original is fenced off and waits.
#[test]
fn of_a_copied_folder_and_its_original_one_writes() {
    let engine = Engine::start();
    let original = Analytics::on(&engine, TempDir::new().expect("a temporary folder"), &LONG);
    original.store(&chunk(&stream("on-prem", "edge", 0), 0..100, now_us(), 10));
    let copy = TempDir::new().expect("a temporary folder");
    std::fs::copy(original.state.path().join("holder"), copy.path().join("holder")).expect("copied");
    forge_intent(&engine, copy.path());
    engine.sql("TRUNCATE TABLE weir.requests_1m");
    let copied = Analytics::on(&engine, copy, &LONG);
    let more = chunk(&stream("on-prem", "edge", 0), 100..200, now_us(), 10);
    let standby = original.post(&more);
    assert_eq!((standby.status, &standby.json()["result"]), (503, &json!("standby")), "{}", standby.text());
    assert_eq!(copied.store(&more)["stored"], 100);
    goes_on(&engine, &copied);
    let left = contents(&copied.state.path().join("intents"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_intent_out_of_reach_stays_and_its_day_is_audited() {
    let engine = Engine::start();
    let state = killed_after_a_hundred(&engine);
    forge_intent(&engine, state.path());
    let intents = contents(&state.path().join("intents"));
    let [(path, Some(bytes))] = &intents[..] else { panic!("one intent: {intents:?}") };
    put_out_of_reach(path);
    engine.sql("TRUNCATE TABLE weir.requests_1h");
    // The audit: of the intent nothing is known.
    let analytics = Analytics::on(&engine, state, &LONG);
    engine.assert_rolled_up();
    goes_on(&engine, &analytics);
    let state = analytics.kill();
    assert!(path.is_dir() && log_of(state.path()).contains("an intent cannot be read now"), "it stays");
    std::fs::remove_dir(path).expect("removed");
    std::fs::write(path, bytes).expect("written");
    // Its hundred are short of a roll-up once more, and the others are not: it is settled, not only removed.
    engine.sql("ALTER TABLE weir.requests_1h DELETE WHERE 1 SETTINGS mutations_sync = 2");
    let analytics = Analytics::on(&engine, state, &LONG);
    engine.assert_rolled_up();
    goes_on(&engine, &analytics);
    assert!(!path.exists(), "it is settled");
}

/// One of the first release has these fields and no others; what is not one is kept beside.
#[test]
fn an_intent_of_another_version_is_settled_or_kept_beside() {
    let engine = Engine::start();
    let state = killed_after_a_hundred(&engine);
    forge_intent(&engine, state.path());
    let intents = contents(&state.path().join("intents"));
    let [(path, Some(bytes))] = &intents[..] else { panic!("one intent: {intents:?}") };
    let mut intent: serde_json::Value = serde_json::from_slice(bytes).expect("an intent");
    let fields: Vec<_> = intent.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(fields, ["block", "day", "first_us", "last_us", "rows", "streams"], "those of the first release");
    intent["a_later_field"] = json!({ "of": "a later version" });
    std::fs::write(path, intent.to_string()).expect("written");
    let other = path.with_file_name("01a2159c-e6bd-7a0d-86af-6da7503650ad.json");
    std::fs::write(&other, r#"{"version": 99, "blocks": []}"#).expect("written");
    engine.sql("TRUNCATE TABLE weir.requests_1h");
    let analytics = Analytics::on(&engine, state, &LONG);
    goes_on(&engine, &analytics);
    assert!(!path.exists() && !other.exists() && other.with_extension("json.damaged").exists());
}

#[test]
fn a_temporary_file_of_an_intent_was_never_in_force() {
    let engine = Engine::start();
    let state = killed_after_a_hundred(&engine);
    let intents = state.path().join("intents");
    for (name, bytes) in [("half", &b"{\"block\": \"01a2"[..]), ("empty", b""), ("foreign", b"\x7fELF")] {
        std::fs::write(intents.join(name).with_extension("tmp"), bytes).expect("written");
    }
    let out_of_reach = intents.join("folder.tmp");
    put_out_of_reach(&out_of_reach);
    let analytics = Analytics::on(&engine, state, &LONG);
    goes_on(&engine, &analytics);
    assert_eq!(contents(&intents), [(out_of_reach.clone(), None)], "the others are removed");
    let state = analytics.kill();
    assert!(log_of(state.path()).contains("a temporary file could not be removed"));
    std::fs::remove_dir(&out_of_reach).expect("removed");
    std::fs::write(&out_of_reach, "").expect("written");
    goes_on(&engine, &Analytics::on(&engine, state, &LONG));
    assert!(!out_of_reach.exists(), "it is tried again");
}

/// Every call that needs the administrator, and none of them does anything.
#[test]
fn without_its_line_in_the_audit_log_nothing_is_done() {
    let engine = Engine::start();
    let state = TempDir::new().expect("a temporary folder");
    let (token, log) = (state.path().join("admin"), state.path().join("audit.log"));
    std::fs::write(&token, ADMIN).expect("written");
    let args = ["--admin-token-file", token.to_str().expect("text")];
    put_out_of_reach(&log);
    let (code, said) = refused(&engine, state.path(), &args);
    assert!(code == Some(1) && said.contains("the audit log") && said.contains("make its folder writable"), "{said}");
    std::fs::remove_dir(&log).expect("removed");

    // It can be opened, and every write finds the disk full.
    std::os::unix::fs::symlink("/dev/full", &log).expect("linked");
    let analytics = Analytics::with_args(&engine, state, &LONG, &args);
    let edge = stream("on-prem", "edge", 0);
    let ahead = now_us() + 26 * 3_600_000_000;
    analytics.store(&chunk_of(&edge, (0..10).map(|seq| (seq, exchange(seq, ahead))), &[]));
    let bearer = format!("Bearer {ADMIN}");
    let call = |analytics: &Analytics, method: Method, path: &str| {
        let body = json!({ "stream": "all", "reason": "INC-1", "by": "ann" }).to_string();
        let headers = [("authorization", bearer.as_str())];
        request(analytics.address(), method.names()[0], path, &headers, body.as_bytes())
    };
    let administrators = || ANALYTICS.iter().filter(|operation| operation.access == Access::Administrator);
    assert!(administrators().count() >= 4);
    for operation in administrators() {
        let reply = call(&analytics, operation.method, operation.path);
        assert_eq!(reply.status, 503, "{}: {}", operation.path, reply.text());
        assert!(reply.text().contains("the audit log cannot be written"), "{}", reply.text());
        assert!(!reply.text().contains("\"rows\""), "{}: nothing is shown", operation.path);
    }
    assert_eq!(engine.number("SELECT count() FROM weir.acknowledgements"), 0);
    assert_eq!(engine.number("SELECT count() FROM weir.dead_letters"), 10);
    let state = analytics.kill();

    // What is in it, whoever wrote it, stays in front of what is appended.
    std::fs::remove_file(&log).expect("removed");
    std::fs::write(&log, "half a line of another program").expect("written");
    let analytics = Analytics::with_args(&engine, state, &LONG, &args);
    assert_eq!(call(&analytics, Method::Get, "/api/v1/deadletters").status, 200);
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(text.starts_with("half a line of another program") && text.contains("GET /api/v1/deadletters"), "{text}");
}

#[test]
fn tokens_out_of_reach_stay_in_force_and_start_nothing() {
    let engine = Engine::start();
    let analytics = Analytics::on(&engine, TempDir::new().expect("a temporary folder"), &LONG);
    let tokens = analytics.state.path().join("tokens");
    let said = |times: usize| {
        let log = || log_of(analytics.state.path()).matches("the tokens of before stay in force").count();
        common::until("a warning", || log() >= times);
    };
    let chunk = |seq: u64| chunk(&stream("on-prem", "edge", 0), seq * 10..seq * 10 + 10, now_us(), 10);
    put_out_of_reach(&tokens);
    said(1);
    assert_eq!(analytics.post(&chunk(0)).status, 200);
    std::fs::remove_dir(&tokens).expect("removed");
    std::fs::write(&tokens, format!("{TOKEN} acme demo * *\na-later-token acme demo * *\n")).expect("written");
    common::until("the later token", || analytics.post_as("a-later-token", &chunk(1)).status == 200);
    std::fs::remove_file(&tokens).expect("removed");
    said(2);
    assert_eq!((analytics.post(&chunk(2)).status, analytics.post_as("a-later-token", &chunk(3)).status), (200, 200));
    let state = analytics.kill();

    let out_of_reach = state.path().join("nothing");
    let with = |option: &str| refused(&engine, state.path(), &[option, out_of_reach.to_str().expect("text")]);
    for attempt in ["missing", "out of reach"] {
        for option in ["--tokens", "--admin-token-file"] {
            let (code, said) = with(option);
            assert!(code == Some(1) && said.contains(option), "{option} {attempt}: {said}");
        }
        if attempt == "missing" {
            put_out_of_reach(&out_of_reach);
        }
    }
}
