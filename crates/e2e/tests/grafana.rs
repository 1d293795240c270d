//! The dashboards in `dashboards/`: each is well made, and every query of every panel runs on the real engine, filled by a
//! real gateway. What Grafana's own packages say of them is a kit (`make test-dashboards`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use weir_e2e::grafana::Choice;
use weir_e2e::{TestStack, eventually, now_ms};
use weir_testkit::witness::Witness;

const CLICKHOUSE: &str = "grafana-clickhouse-datasource";
const KINDS: [&str; 8] = ["timeseries", "stat", "table", "bargauge", "heatmap", "nodeGraph", "traces", "text"];
/// Those of which each panel has rows here.
const OF_GAUGES: [&str; 2] = ["gateways", "pipeline"];
/// Dashboards that may be linked to.
const ALL: [&str; 9] = ["fleet", "api", "consumers", "chain", "events", "gateways", "pipeline", "slo", "prometheus"];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards"))
}

/// Each dashboard with the name of its file.
fn dashboards() -> Vec<(String, Value)> {
    let mut all: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The address of each dashboard that is there, by the name of its file.
fn addresses() -> BTreeMap<String, String> {
    dashboards().into_iter().map(|(name, dashboard)| (name, text(&dashboard, "/uid").to_owned())).collect()
}

/// What is wrong with the making of a dashboard, and not with its queries.
fn faults(dashboard: &Value, addresses: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut say = |fault: String| faults.push(fault);
    if !list(dashboard, "/tags").contains(&json!("weir")) {
        say("it has no tag `weir`".to_owned());
    }
    let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in list(dashboard, "/panels") {
        let title = text(panel, "/title");
        if !ids.insert(panel["id"].as_u64()) || !titles.insert(title) {
            say(format!("`{title}`: its title or its id is there twice"));
        }
        if !KINDS.contains(&text(panel, "/type")) {
            say(format!("`{title}`: no panel of the kind `{}`", text(panel, "/type")));
        }
        for path in ["/title", "/description", "/fieldConfig/defaults/unit"] {
            if text(panel, path).is_empty() {
                say(format!("`{title}`: nothing at {path}"));
            }
        }
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap_or(99);
        let cells = (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)));
        if at("x") + at("w") > 24 || cells.fold(false, |overlaps, cell| overlaps | !taken.insert(cell)) {
            say(format!("`{title}`: it overlaps with another panel, or with the edge"));
        }
        if list(panel, "/targets").is_empty() && text(panel, "/type") != "text" {
            say(format!("`{title}`: no query"));
        }
    }
    for link in links(dashboard) {
        let uid = link.strip_prefix("/d/").and_then(|rest| rest.split('?').next()).unwrap_or_default();
        let name = uid.trim_start_matches("weir-");
        if !ALL.contains(&name) || addresses.get(name).is_some_and(|address| address != uid) {
            say(format!("`{link}` leads to no dashboard"));
        }
        if !link.contains("${__url_time_range}") {
            say(format!("`{link}` loses the time shown"));
        }
    }
    for source in sources(dashboard) {
        if ![
            json!({"type": CLICKHOUSE, "uid": "${datasource}"}),
            json!({"type": "prometheus", "uid": "weir-prometheus"}),
        ]
        .contains(source)
        {
            say(format!("there is no data source {source}"));
        }
    }
    faults
}

/// Every value of a key, wherever it is.
fn find<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                find(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find(item, key, found)),
        _ => {}
    }
}

fn links(dashboard: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    find(dashboard, "url", &mut found);
    found.into_iter().filter_map(Value::as_str).collect()
}

fn sources(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    find(dashboard, "datasource", &mut found);
    found
}

#[test]
fn every_dashboard_is_well_made() {
    let all = dashboards();
    assert!(all.len() >= 3, "{}", all.len());
    for (name, dashboard) in &all {
        assert_eq!(faults(dashboard, &addresses()), Vec::<String>::new(), "{name}");
        assert_eq!(text(dashboard, "/uid"), format!("weir-{name}"), "its address is its file's name");
    }
    for name in OF_GAUGES.iter().chain(&["prometheus"]) {
        let (_, dashboard) = all.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(text(dashboard, "/uid"), format!("weir-{name}"));
    }
}

/// A check that cannot fail is none: each fault by itself is found.
#[test]
fn a_broken_dashboard_is_found() {
    let (_, whole) = dashboards().into_iter().find(|(name, _)| name == "gateways").unwrap();
    let breaks: [(&str, Value, &str); 9] = [
        ("/tags", json!([]), "no tag"),
        ("/panels/3/title", json!("Gateways"), "is there twice"),
        ("/panels/3/type", json!("piechart"), "of the kind `piechart`"),
        ("/panels/3/description", json!(""), "nothing at /description"),
        ("/panels/3/fieldConfig/defaults/unit", json!(""), "nothing at /fieldConfig"),
        ("/panels/3/gridPos/x", json!(11), "overlaps"),
        ("/panels/0/links/0/url", json!("/d/nowhere"), "leads to no dashboard"),
        ("/panels/0/links/0/url", json!("/d/pipeline?${__url_time_range}"), "leads to no dashboard"),
        ("/panels/3/datasource/uid", json!("default"), "no data source"),
    ];
    for (place, value, said) in breaks {
        let mut broken = whole.clone();
        *broken.pointer_mut(place).unwrap() = value;
        let found = faults(&broken, &addresses());
        assert!(found.iter().any(|fault| fault.contains(said)), "{place}: {found:?}");
    }
}

/// A query, and where it stands.
struct Query {
    place: String,
    sql: String,
    is_panel: bool,
}

/// Of ClickHouse: those of panels, annotations and variables.
fn queries(name: &str, dashboard: &Value) -> Vec<Query> {
    let mut all = Vec::new();
    let mut add = |place: &str, sql: &str, is_panel| {
        if !sql.is_empty() {
            all.push(Query { place: format!("{name}: {place}"), sql: sql.to_owned(), is_panel });
        }
    };
    for panel in list(dashboard, "/panels") {
        for target in list(panel, "/targets").iter().filter(|target| text(target, "/datasource/type") == CLICKHOUSE) {
            add(text(panel, "/title"), text(target, "/rawSql"), true);
        }
    }
    for annotation in list(dashboard, "/annotations/list") {
        add(text(annotation, "/name"), text(annotation, "/target/rawSql"), false);
    }
    for variable in list(dashboard, "/templating/list") {
        add(text(variable, "/name"), text(variable, "/query/rawSql"), false);
    }
    all
}

/// The variables of a dashboard: of queries `chosen`, of others what they have at first.
fn variables(dashboard: &Value, chosen: Option<&str>) -> BTreeMap<String, Option<Vec<String>>> {
    let value = |variable: &Value| match text(variable, "/type") {
        "query" => chosen.map(|chosen| vec![chosen.to_owned()]),
        _ => Some(vec![text(variable, "/current/value").to_owned()]),
    };
    list(dashboard, "/templating/list").iter().map(|one| (text(one, "/name").to_owned(), value(one))).collect()
}

async fn run(stack: &TestStack, sql: &str) -> Result<Value, String> {
    let (client, quote) = (stack.client(), "output_format_json_quote_64bit_integers");
    let bytes = async { client.query_raw(sql).with_setting(quote, "0").fetch_bytes("JSON")?.collect().await };
    let bytes = bytes.await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn last_hour(variables: BTreeMap<String, Option<Vec<String>>>) -> Choice {
    let to_s = now_ms() / 1000 + 1;
    Choice { from_s: to_s - 3600, to_s, interval_s: 30, variables }
}

/// The rows of the panel of `pipeline` with this title.
async fn of_pipeline(stack: &TestStack, title: &str) -> Vec<Value> {
    let (name, dashboard) = dashboards().into_iter().find(|(name, _)| name == "pipeline").unwrap();
    let query = queries(&name, &dashboard).into_iter().find(|query| query.place.ends_with(&format!(": {title}")));
    let sql = last_hour(variables(&dashboard, None)).expand(&query.unwrap().sql).unwrap();
    run(stack, &sql).await.unwrap()["data"].as_array().unwrap().clone()
}

/// What a calm gateway has none of: losses, dead letters, a certificate. That is another process's, whose next sample does
/// not take its place.
async fn add_what_is_rare(stack: &TestStack) {
    for sql in [
        "INSERT INTO gateway_gauges SELECT * REPLACE (now64(3) AS t, toDateTime('2027-01-01 00:00:00') AS tls_expires, \
         '127.0.0.1:8443' AS tls_listener, toFixedString(repeat('b', 16), 16) AS boot) \
         FROM gateway_gauges ORDER BY t DESC LIMIT 1",
        "INSERT INTO gaps SELECT stream, 1000000, 1000009, 'ring_full', now64(3) FROM stream_reports LIMIT 1",
        "INSERT INTO dead_letters (stream, seq, reason, ts, received, event, lease) \
         SELECT stream, 1000010, 'too_old', now64(6), now64(3), '{}', lease FROM access_events LIMIT 1",
    ] {
        stack.client().query_raw(sql).execute().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_runs_and_the_panels_of_gauges_have_rows() {
    let stack = TestStack::start(None).await.unwrap();
    let tally = Witness::start(stack.traffic(200, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let accepted = "SELECT max(events_accepted) FROM gateway_gauges";
    eventually("a sample of after the traffic", async || {
        let accepted: u64 = stack.client().query(accepted).fetch_one().await.ok()?;
        (accepted == tally.sent).then_some(())
    })
    .await;
    let ledger = eventually("the ledger adds up", async || {
        let rows = of_pipeline(&stack, "Ledger").await;
        (rows.first()?["stored"] == tally.sent).then(|| rows[0].clone())
    })
    .await;
    assert_eq!((&ledger["accepted"], &ledger["without_place"]), (&json!(tally.sent), &json!(0)));
    add_what_is_rare(&stack).await;
    let mut seen = BTreeMap::new();
    for (name, dashboard) in dashboards() {
        for chosen in [None, Some("edge"), Some("it's \\' OR 1=1 --")] {
            let choice = last_hour(variables(&dashboard, chosen));
            for query in queries(&name, &dashboard) {
                let sql = choice.expand(&query.sql).unwrap_or_else(|error| panic!("{}: {error}", query.place));
                let answer = run(&stack, &sql).await;
                let answer = answer.unwrap_or_else(|error| panic!("{}: {error}\n{sql}", query.place));
                let rows = answer["data"].as_array().unwrap();
                let has_rows = rows.iter().any(|row| row.as_object().unwrap().values().any(|value| !value.is_null()));
                let must = chosen.is_none() && query.is_panel && OF_GAUGES.contains(&name.as_str());
                assert!(has_rows || !must, "{}: no rows\n{sql}", query.place);
                *seen.entry(name.clone()).or_insert(0) += 1;
            }
        }
    }
    assert!(seen["gateways"] > 60 && seen["pipeline"] > 60, "{seen:?}");
    // An event that is lost without a word is seen.
    let lose = "ALTER TABLE stored_seqs DELETE WHERE first = 0 SETTINGS mutations_sync = 2";
    stack.client().query_raw(lose).execute().await.unwrap();
    let row = &of_pipeline(&stack, "Ledger").await[0];
    assert_ne!(row["without_place"], 0, "{row}");
}

/// No step is finer than the samples.
#[test]
fn no_step_is_finer_than_what_is_stored() {
    for (name, dashboard) in dashboards().into_iter().filter(|(name, _)| OF_GAUGES.contains(&name.as_str())) {
        for query in queries(&name, &dashboard) {
            let steps = query.sql.matches("$__interval_s").count();
            assert_eq!(steps, query.sql.matches("greatest($__interval_s, 30)").count(), "{}", query.place);
            assert!(!query.sql.contains("avg(quantile"), "{}: percentiles are not averaged", query.place);
        }
    }
}

/// Metrics of the PromQL are in the catalogues, or are made by the recording rules.
#[test]
fn every_metric_of_the_dashboards_is_exported() {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let catalogues = read("metrics.md") + &read("metrics-analytics.md");
    let rules = read("prometheus/rules/recording.yml");
    let (_, dashboard) = dashboards().into_iter().find(|(name, _)| name == "prometheus").unwrap();
    let mut expressions = Vec::new();
    find(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20);
    for expression in expressions.into_iter().filter_map(Value::as_str) {
        let words = expression.split(|char: char| !(char.is_ascii_alphanumeric() || "_:".contains(char)));
        for word in
            words.filter(|word| ["weir_", "http_", "process_", "api:"].iter().any(|kind| word.starts_with(kind)))
        {
            let metric = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            let known = catalogues.contains(&format!("| `{metric}` |")) || rules.contains(&format!("record: {word}\n"));
            assert!(known || word == "http_route", "{word} in {expression}");
        }
    }
}
