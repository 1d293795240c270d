//! Who may read what: no question of a reader is answered with anything of an organization that is not in its line, and
//! none at all without a token where tokens are asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Analytics, Engine, Reply, filled, now_us, request, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use weir_analytics::query::dashboards::shipped;
use weir_api::dashboards::{Dashboard, VariableKind};
use weir_api::operations::{ANALYTICS, Access, Analytics as Operation, Method};

const NOBODY: &str = "token-of-nobody-01";
const ANNA: &str = "token-of-anna-0001";
const BOLT: &str = "token-of-bolt-0001";
const DEMO: &str = "token-of-demo-0001";
const OTHER: &str = "token-of-other-001";
const OPS: &str = "token-of-ops-00001";
const READERS: &str = "token-of-nobody-01 nobody viewer nobody *
token-of-anna-0001 anna viewer acme *
token-of-bolt-0001 bolt viewer bolt,o'neill\\ *
token-of-demo-0001 demo viewer * demo
token-of-other-001 other viewer * production
token-of-ops-00001 ops admin * *
";

/// A server with these readers, and its state.
fn started(engine: &Engine) -> Analytics {
    let state = tempfile::tempdir().unwrap();
    let readers = state.path().join("readers");
    std::fs::write(&readers, READERS).unwrap();
    let env = [("WEIR_ANALYTICS_READERS", readers.to_str().unwrap())];
    Analytics::with_args(engine, state, &env, &["--retention-gauges", "18250d"])
}

fn ask(analytics: &Analytics, method: &str, target: &str, token: Option<&str>) -> Reply {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let fields: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    request(analytics.address(), method, target, &fields, b"")
}

fn of_dashboard(dashboard: &Dashboard, range: &str) -> Vec<String> {
    let at = format!("/api/v1/dashboards/{}", dashboard.uid);
    let trace = format!("{}{}", "0000000000000001", "0".repeat(16));
    let has_trace = dashboard.templating.list.iter().any(|variable| variable.name == "trace");
    let chosen = if has_trace { format!("&var=trace:{trace}") } else { String::new() };
    let panels = dashboard.panels.iter().flat_map(|panel| {
        let of = |target: &str| format!("{at}/panel?panel={}&target={target}{range}", panel.id);
        let targets = panel.targets.iter().map(move |target| of(&target.ref_id));
        targets.flat_map(|one| [one.clone(), format!("{one}&format=csv"), format!("{one}{chosen}")]).collect::<Vec<_>>()
    });
    let variables = dashboard.templating.list.iter().filter(|variable| variable.kind == VariableKind::Query);
    let variables = variables.map(|variable| format!("{at}/variable?name={}{range}", variable.name));
    let annotations = dashboard.annotations.list.iter();
    let annotations = annotations.map(|one| format!("{at}/annotation?name={}{range}", one.name.replace(' ', "+")));
    let mut all: Vec<_> = panels.chain(variables).chain(annotations).collect();
    all.dedup();
    all
}

/// Every question that is answered with something of events.
fn questions(range: &str) -> Vec<String> {
    let trace = format!("/api/v1/trace/{}{}", "0000000000000001", "0".repeat(16));
    let mut all: Vec<_> = shipped().iter().flat_map(|dashboard| of_dashboard(dashboard, range)).collect();
    all.extend(["overview", "series", "gateways", "errors?limit=1000", "slow"].map(|one| format!("/api/v1/{one}")));
    all.extend(["", "&format=csv", "&format=ndjson"].map(|format| format!("/api/v1/events?limit=1000{format}")));
    all.push(format!("/api/v1/blame?var=api:orders{range}"));
    all.extend([trace, "/api/v1/ledger?minutes=all".to_owned()]);
    all
}

/// Columns and members that are another with each second.
const PASSING: [&str; 3] = ["silent", "silent_s", "requests_per_second"];

/// What was answered, without what changes from one moment to the next.
fn answer(analytics: &Analytics, question: &str, token: &str) -> String {
    let reply = ask(analytics, "GET", question, Some(token));
    assert_eq!(reply.status, 200, "{question}: {}", reply.text());
    let Ok(mut document) = serde_json::from_slice::<Value>(&reply.body) else { return lasting_lines(&reply.text()) };
    let passing: Vec<_> = document["columns"]
        .as_array()
        .map(|columns| columns.iter().map(|column| PASSING.iter().any(|name| column["name"] == *name)).collect())
        .unwrap_or_default();
    for row in document["rows"].as_array_mut().into_iter().flatten() {
        match row {
            Value::Array(cells) => {
                cells.iter_mut().zip(&passing).filter(|(_, passes)| **passes).for_each(|(cell, _)| *cell = Value::Null);
            }
            Value::Object(members) => members.retain(|name, _| !PASSING.contains(&name.as_str())),
            _ => {}
        }
    }
    for member in ["sentence", "now_ms", "audited_ms"] {
        document.as_object_mut().unwrap().remove(member);
    }
    document.to_string()
}

/// The same of a file: of one with such a column, whose cells have no commas.
fn lasting_lines(text: &str) -> String {
    let names: Vec<_> = text.lines().next().unwrap_or_default().split(',').collect();
    if !names.iter().any(|name| PASSING.contains(name)) {
        return text.to_owned();
    }
    let lasting = |line: &str| {
        let cells = line.split(',').zip(&names).filter(|(_, name)| !PASSING.contains(name));
        cells.map(|(cell, _)| cell).collect::<Vec<_>>().join(",")
    };
    text.lines().map(lasting).collect::<Vec<_>>().join("\n")
}

/// Whether two readers are answered the same. An answer is kept for five seconds, in which a minute may have ended, or a
/// gateway become one that is silent: they are asked for again until both answers were made after that.
fn is_answered_alike(analytics: &Analytics, question: &str, tokens: [&str; 2]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let [one, other] = tokens.map(|token| answer(analytics, question, token));
        if one == other || Instant::now() > deadline {
            return one == other;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_reader_of_another_organization_sees_nothing_of_this_one_anywhere() {
    let engine = Engine::start();
    let analytics = started(&engine);
    let to_ms = now_us() / 5_000_000 * 5000 + 60_000;
    let range = format!("&from={}&to={to_ms}&step=60", to_ms - 3_600_000);
    let questions = questions(&range);
    assert!(questions.len() > 200, "{}", questions.len());
    let before: Vec<_> = questions.iter().map(|question| answer(&analytics, question, NOBODY)).collect();
    filled(&analytics, &engine);
    let (mut seen, mut leaks) = (0, Vec::new());
    for (question, before) in questions.iter().zip(&before) {
        let all = answer(&analytics, question, OPS);
        seen += usize::from(all != *before);
        for token in [BOLT, OTHER] {
            let found = answer(&analytics, question, token);
            let names = ["acme", "on-prem"].iter().any(|name| found.contains(name));
            if found != *before || names {
                leaks.push(format!("{token} {question}: {found}"));
            }
        }
        for token in [ANNA, DEMO] {
            let theirs = answer(&analytics, question, token);
            // Sizes of tables are the operator's.
            let is_operators = question.contains("weir-pipeline/panel?panel=19");
            let is_equal = theirs == all
                || is_operators && theirs == *before
                || is_answered_alike(&analytics, question, [OPS, token]);
            if !is_equal {
                leaks.push(format!("{token} {question}: {theirs} instead of {all}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(seen > 120, "the questions show something where it may be seen: {seen}");
}

#[test]
fn a_reader_sees_all_of_its_own() {
    let engine = Engine::start();
    let analytics = started(&engine);
    filled(&analytics, &engine);
    let figure = |token| {
        let reply = ask(&analytics, "GET", "/api/v1/dashboards/weir-fleet/panel?panel=2", Some(token));
        reply.json()["rows"].clone()
    };
    for token in [OPS, ANNA, DEMO] {
        assert_eq!(figure(token), json!([[90]]), "{token}");
        let ledger = ask(&analytics, "GET", "/api/v1/ledger?minutes=all", Some(token)).json();
        assert_eq!(ledger["streams"].as_array().map(Vec::len), Some(1), "{token}");
        assert_eq!(ledger["streams"][0]["stored"], 90, "{token}: {ledger}");
    }
    for token in [BOLT, OTHER] {
        assert_eq!(
            figure(token),
            json!([]),
            "answers are not shared between readers who see different things: {token}"
        );
    }
    let who = ask(&analytics, "GET", "/api/v1/reader", Some(BOLT)).json();
    assert_eq!(
        who,
        json!({"name": "bolt", "role": "viewer", "organizations": ["bolt", "o'neill\\"], "environments": null})
    );
}

#[test]
fn nothing_is_answered_without_a_token() {
    let engine = Engine::start();
    let analytics = started(&engine);
    for operation in ANALYTICS {
        let path = operation.path.replace("{id}", "weir-fleet");
        let method = if operation.method == Method::Post { "POST" } else { "GET" };
        let status = ask(&analytics, method, &path, None).status;
        match operation.access {
            Access::Reader if operation.kind.is_page() => assert_eq!(status, 303, "{path}"),
            Access::Reader => assert_eq!(status, 401, "{path}"),
            Access::Administrator => assert!(matches!(status, 401 | 403), "{path}: {status}"),
            Access::Gateway => assert_eq!(status, 401, "{path}"),
            Access::Anybody | Access::Visitor => assert!(status != 401, "{path}: {status}"),
        }
    }
    let unknown = ask(&analytics, "GET", "/api/v1/overview", Some("a-token-that-nobody-has"));
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.header("www-authenticate"), Some("Bearer realm=\"weir-analytics\""));
    let gateway = ask(&analytics, "GET", "/api/v1/overview", Some(common::TOKEN));
    assert_eq!(gateway.status, 401, "a gateway's token is no reader's");
    let as_gateway = ask(&analytics, "POST", "/v1/chunks", Some(OPS));
    assert_eq!(as_gateway.status, 401, "a reader's token is no gateway's");
    let counted = ask(&analytics, "GET", "/metrics", None).text();
    assert!(counted.contains("weir_analytics_wrong_tokens_total 2"), "{counted}");
    let mut stranger = TcpStream::connect(analytics.address()).unwrap();
    stranger.write_all(b"GET /login HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stranger.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 421 "), "{said}");
}

#[test]
fn only_an_administrator_changes_anything() {
    let engine = Engine::start();
    let analytics = started(&engine);
    let administered: Vec<_> =
        ANALYTICS.iter().filter(|one| one.access == Access::Administrator || one.kind == Operation::Verify).collect();
    assert_eq!(administered.len(), 5);
    for operation in administered {
        let method = if operation.method == Method::Post { "POST" } else { "GET" };
        let denied = ask(&analytics, method, operation.path, Some(ANNA));
        assert_eq!(denied.status, 403, "{}: {}", operation.path, denied.text());
        assert!(denied.text().contains("`anna` is a viewer"), "{}", denied.text());
        let taken = ask(&analytics, method, operation.path, Some(OPS));
        assert!(!matches!(taken.status, 401 | 403 | 421), "{}: {} {}", operation.path, taken.status, taken.text());
    }
    let log = std::fs::read_to_string(analytics.state.path().join("audit.log")).unwrap();
    assert!(log.contains("\"who\":\"ops at 127.0.0.1\"") && !log.contains("anna"), "{log}");
}

/// The cookie that a reply sets, as a browser sends it back.
fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_browser_logs_in_and_out() {
    let engine = Engine::start();
    let analytics = started(&engine);
    let own = format!("http://{}", analytics.address());
    let post = |target: &str, fields: &[(&str, &str)], body: &str| {
        request(analytics.address(), "POST", target, fields, body.as_bytes())
    };
    let with = |cookie: &str, target: &str| request(analytics.address(), "GET", target, &[("cookie", cookie)], b"");
    let sent = ask(&analytics, "GET", "/d/weir-api?var-api=a", None);
    assert_eq!(sent.header("location"), Some("/login?next=%2Fd%2Fweir-api%3Fvar-api%3Da"));
    let form = ask(&analytics, "GET", "/login", None);
    let policy = form.header("content-security-policy").unwrap();
    assert!(form.status == 200 && policy.contains("form-action 'self'") && !policy.contains("unsafe"), "{policy}");
    let origin = ("origin", own.as_str());
    let wrong = post("/login", &[origin], "token=a-token-that-nobody-has");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(wrong.text().contains("nobody has this token"));
    let foreign = post("/login", &[("origin", "http://evil.example")], &format!("token={ANNA}"));
    assert_eq!((foreign.status, foreign.header("set-cookie")), (403, None));
    let done = post("/login?next=%2Fd%2Fweir-api%3Fvar-api%3Da", &[origin], &format!("token={ANNA}"));
    assert_eq!((done.status, done.header("location")), (303, Some("/d/weir-api?var-api=a")));
    let set = done.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"), "{set}");
    let session = cookie(&done);
    assert_eq!(with(&session, "/d/weir-api").status, 200);
    assert_eq!(with(&session, "/api/v1/reader").json()["name"], "anna");
    let ops = cookie(&post("/login", &[origin], &format!("token={OPS}")));
    let verify = |fields: &[(&str, &str)]| post("/api/v1/ledger/verify", fields, "").status;
    assert_eq!(verify(&[("cookie", &ops), origin]), 200);
    assert_eq!(verify(&[("cookie", &ops), ("origin", "http://evil.example")]), 403, "of another site");
    assert_eq!(verify(&[("cookie", &session), origin]), 403, "a viewer");
    let left = post("/logout", &[("cookie", &session), origin], "");
    assert!(left.status == 303 && left.header("set-cookie").unwrap().contains("weir_session=; "));
    assert_eq!(with(&session, "/api/v1/reader").status, 401);
    let readers = analytics.state.path().join("readers");
    std::fs::write(&readers, READERS.replace(OPS, "another-token-of-ops")).unwrap();
    until("the session ends with its token", || with(&ops, "/api/v1/reader").status == 401);
}

#[test]
fn without_a_file_only_this_machine_reads() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    assert_eq!(analytics.get("/api/v1/overview").status, 200);
    assert_eq!(analytics.get("/login").header("location"), Some("/"), "there is nothing to log in for");
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(request(analytics.address(), "POST", "/api/v1/ledger/verify", &foreign, b"").status, 403);

    let state = tempfile::tempdir().unwrap();
    let admin = state.path().join("admin");
    std::fs::write(&admin, "the-token-of-the-operator\n").unwrap();
    let args = ["--listen", "0.0.0.0:0", "--admin-token-file", admin.to_str().unwrap()];
    let open = Analytics::with_args(&engine, state, &[], &args);
    let address = open.address().replace("0.0.0.0", "127.0.0.1");
    let status = |target, fields: &[(&str, &str)]| request(&address, "GET", target, fields, b"").status;
    assert_eq!(status("/api/v1/overview", &[]), 401);
    assert_eq!(status("/", &[]), 303);
    assert_eq!((status("/healthz", &[]), status("/metrics", &[])), (200, 200));
    assert_eq!(status("/api/v1/overview", &[("authorization", "Bearer the-token-of-the-operator")]), 200);
}

#[test]
fn a_wrong_file_is_reported_with_its_line() {
    let engine = Engine::start();
    let state = tempfile::tempdir().unwrap();
    let readers = state.path().join("readers");
    std::fs::write(&readers, "\ntoken-of-anna-0001 anna viewer\n").unwrap();
    let mut command: Command = Analytics::command(&engine, state.path(), &[]);
    let ended = command.arg("--readers").arg(&readers).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("readers:2: expected `token name role"), "{said}");
}
