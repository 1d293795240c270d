//! The dashboards that are shipped: what holds of each of them, and that one of which it does not hold is found out.
//!
//! Their figures beside those of real gateways, and how the page draws them, are in `crates/e2e/tests/dashboards.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Analytics, Engine, chunk, chunk_of, exchange, now_us, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use weir_analytics::query::dashboards::{Asked, FILES, answer, by_hours, expand, find, read, shipped, values};
use weir_analytics::schema::Schema;
use weir_analytics::store::{Costs, Store};
use weir_api::dashboards::{Dashboard, Frame, Link, Matcher, Panel, PanelKind, Property, VariableKind, VariableQuery};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards")
}

/// The units that the page writes: those of `units.ts`, and those that it knows by name.
fn units() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("page/pane/units.ts")).unwrap();
    let (_, rest) = text.split_once("const SCALES").unwrap();
    let (scales, _) = rest.split_once("\n};").unwrap();
    let named =
        scales.lines().filter_map(|line| line.split_once(": [[")).map(|(name, _)| name.trim().trim_matches('"'));
    named.chain(["percentunit", "dateTimeAsIso", "string"]).map(str::to_owned).collect()
}

/// Every query of a dashboard with what it is.
fn queries(dashboard: &Dashboard) -> Vec<(String, &str)> {
    let of_panel = |panel: &Panel| format!("panel {} `{}`", panel.id, panel.title);
    let panels = dashboard.panels.iter().flat_map(|panel| {
        panel
            .targets
            .iter()
            .map(move |target| (format!("{} {}", of_panel(panel), target.ref_id), target.raw_sql.as_str()))
    });
    let variables = dashboard.templating.list.iter().filter_map(|variable| match &variable.query {
        VariableQuery::Sql(query) => Some((format!("variable `{}`", variable.name), query.raw_sql.as_str())),
        VariableQuery::Text(_) => None,
    });
    let annotations = dashboard.annotations.list.iter();
    let annotations = annotations.map(|one| (format!("annotation `{}`", one.name), one.target.raw_sql.as_str()));
    panels.chain(variables).chain(annotations).collect()
}

/// The last hour, with those values of variables.
fn asked(values: &[(&str, &[&str])]) -> Asked {
    let now_s = now_us() / 1_000_000;
    let owned = |list: &[&str]| list.iter().map(|&value| value.to_owned()).collect();
    let values = values.iter().map(|(name, list)| ((*name).to_owned(), owned(list))).collect();
    Asked { from_s: now_s - 3600, to_s: now_s + 5, step_s: 15, values }
}

/// One value of every variable that may have any.
fn every_variable<'v>(dashboard: &'v Dashboard, value: &'v [&'v str]) -> Vec<(&'v str, &'v [&'v str])> {
    let free = |kind| matches!(kind, VariableKind::Query | VariableKind::Textbox);
    let variables = dashboard.templating.list.iter().filter(|variable| free(variable.kind));
    variables.map(|variable| (variable.name.as_str(), value)).collect()
}

fn links(panel: &Panel) -> Vec<&Link> {
    let properties = panel.field_config.overrides.iter().flat_map(|one| &one.properties);
    let of_columns = properties.filter_map(|property| match property {
        Property::Links(links) => Some(links),
        _ => None,
    });
    of_columns.flatten().chain(&panel.links).collect()
}

/// Where a link leads, if that is wrong.
fn wrong_link(link: &Link, all: &[Dashboard]) -> Option<String> {
    let (path, query) = link.url.split_once('?').unwrap_or((&link.url, ""));
    let target = all.iter().find(|one| path == format!("/d/{}", one.uid));
    let Some(target) = target else { return Some(format!("`{}` leads to no dashboard", link.url)) };
    let variables: Vec<_> = target.templating.list.iter().map(|variable| variable.name.as_str()).collect();
    let named = query.split('&').filter_map(|pair| pair.strip_prefix("var-")?.split('=').next());
    let unknown: Vec<_> = named.filter(|name| !variables.contains(name)).collect();
    (!unknown.is_empty()).then(|| format!("`{}` has no variable {unknown:?}", target.uid))
}

fn overlap(a: &Panel, b: &Panel) -> bool {
    let (a, b) = (a.grid_pos, b.grid_pos);
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

fn of_panel(panel: &Panel, all: &[Dashboard]) -> Vec<String> {
    let mut found = Vec::new();
    let known = units();
    let column_units = panel.field_config.overrides.iter().flat_map(|one| &one.properties);
    let column_units = column_units.filter_map(|property| match property {
        Property::Unit(unit) => Some(unit),
        _ => None,
    });
    for unit in column_units.chain([&panel.field_config.defaults.unit]) {
        if !known.contains(unit) {
            found.push(format!("the page does not write the unit `{unit}`"));
        }
    }
    for (what, text) in [("title", &panel.title), ("description", &panel.description)] {
        if text.trim().is_empty() {
            found.push(format!("it has no {what}"));
        }
    }
    if panel.grid_pos.x + panel.grid_pos.w > 24 || panel.grid_pos.w == 0 || panel.grid_pos.h < 2 {
        found.push("it lies outside of the 24 columns, or is too small".to_owned());
    }
    let wanted = match panel.kind {
        PanelKind::Text => 0,
        PanelKind::NodeGraph => 2,
        _ => 1,
    };
    if panel.targets.len() != wanted {
        found.push(format!("it has {} queries instead of {wanted}", panel.targets.len()));
    }
    for target in &panel.targets {
        let sql = &target.raw_sql;
        let over_time = matches!(panel.kind, PanelKind::TimeSeries | PanelKind::HeatMap);
        // What is no roll-up has samples, or what came with a report: three of either in a step.
        let is_sampled = SAMPLED.iter().any(|table| sql.contains(table));
        let finest = if is_sampled { "greatest($__interval_s, 30)" } else { "greatest($__interval_s, 60)" };
        if over_time && !sql.contains(finest) {
            found.push("its step may be finer than the roll-up".to_owned());
        }
        if sql.to_lowercase().contains("avg(") {
            found.push("it averages: divide sums, merge histograms".to_owned());
        }
        if target.datasource.uid != "${datasource}" {
            found.push("its data source is not the variable".to_owned());
        }
        let format = match panel.kind {
            PanelKind::TimeSeries | PanelKind::HeatMap => 0,
            PanelKind::Traces => 3,
            _ => 1,
        };
        if target.format != format {
            found.push(format!("its format is {} instead of {format}", target.format));
        }
    }
    found.extend(links(panel).into_iter().filter_map(|link| wrong_link(link, all)));
    found.into_iter().map(|what| format!("panel {} `{}`: {what}", panel.id, panel.title)).collect()
}

/// What is wrong with a dashboard, without running it.
fn mistakes(dashboard: &Dashboard, all: &[Dashboard]) -> Vec<String> {
    let mut found: Vec<_> = dashboard.panels.iter().flat_map(|panel| of_panel(panel, all)).collect();
    for (index, a) in dashboard.panels.iter().enumerate() {
        for b in &dashboard.panels[index + 1..] {
            if overlap(a, b) {
                found.push(format!("`{}` and `{}` overlap", a.title, b.title));
            }
            if a.id == b.id || a.title == b.title {
                found.push(format!("there are two panels {} `{}`", a.id, a.title));
            }
        }
    }
    for values in [asked(&[]), asked(&every_variable(dashboard, &["a"]))] {
        for (what, sql) in queries(dashboard) {
            found.extend(expand(dashboard, sql, &values).err().map(|error| format!("{what}: {error}")));
        }
    }
    found
}

#[test]
fn every_file_is_shipped_and_nothing_is_wrong_with_it() {
    let on_disk: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"))
        // One that asks Prometheus is Grafana's alone.
        .filter(|name| fs::read_to_string(folder().join(name)).unwrap().contains("grafana-clickhouse-datasource"))
        .collect();
    let embedded: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(on_disk, embedded, "`FILES` of query/dashboards/shipped.rs names each file of dashboards/");
    for (name, text) in FILES {
        let dashboard = read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("weir-{}", name.trim_end_matches(".json")), dashboard.uid);
        // Nothing is lost between the file and what the page is given.
        let given = serde_json::to_value(&dashboard).unwrap();
        let file: Value = serde_json::from_str(text).unwrap();
        assert_eq!(numbers_as_float(&without_defaults(&given)), numbers_as_float(&without_defaults(&file)), "{name}");
    }
    let found: Vec<_> = shipped().iter().map(|one| (one.uid.as_str(), mistakes(one, shipped()))).collect();
    let found: Vec<_> = found.into_iter().filter(|(_, mistakes)| !mistakes.is_empty()).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Without what a member that is left out means anyway.
fn without_defaults(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(without_defaults).collect(),
        Value::Object(members) => {
            let is_default = |name: &str, value: &Value| {
                matches!((name, value), ("multi" | "includeAll", Value::Bool(false)) | ("hide", Value::Number(_)))
                    || name == "targets" && *value == json!([])
            };
            let members = members.iter().filter(|(name, value)| !is_default(name, value));
            members.map(|(name, value)| (name.clone(), without_defaults(value))).collect()
        }
        other => other.clone(),
    }
}

fn numbers_as_float(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(numbers_as_float).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), numbers_as_float(value))).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

#[test]
fn the_files_are_what_their_parts_make() {
    let made = tempfile::tempdir().unwrap();
    let ran = Command::new("node").arg(folder().join("make/make.mjs")).arg(made.path()).status().unwrap();
    assert!(ran.success());
    for entry in fs::read_dir(made.path()).unwrap() {
        let entry = entry.unwrap();
        let kept = fs::read_to_string(folder().join(entry.file_name())).unwrap();
        let is_current = kept == fs::read_to_string(entry.path()).unwrap();
        assert!(is_current, "{:?} is not current: node dashboards/make/make.mjs", entry.file_name());
    }
}

/// The fleet's dashboard, one thing of it changed.
fn broken(change: impl FnOnce(&mut Value)) -> Result<Vec<String>, String> {
    let (_, text) = FILES.iter().find(|(name, _)| *name == "fleet.json").unwrap();
    let mut file: Value = serde_json::from_str(text).unwrap();
    change(&mut file);
    let dashboard = read(&file.to_string()).map_err(|error| error.to_string())?;
    Ok(mistakes(&dashboard, shipped()))
}

#[test]
fn a_dashboard_that_the_page_cannot_draw_is_not_read() {
    let refused = |change: fn(&mut Value)| broken(change).expect_err("it is refused");
    let said = refused(|file| file["panels"][0]["type"] = json!("gauge"));
    assert!(said.contains("unknown variant `gauge`"), "{said}");
    let said = refused(|file| file["panels"][0]["options"]["percentChange"] = json!(true));
    assert!(said.contains("unknown field `percentChange`"), "{said}");
    let said = refused(|file| file["panels"][0]["fieldConfig"]["defaults"]["mappings"] = json!([]));
    assert!(said.contains("unknown field `mappings`"), "{said}");
    let said =
        refused(|file| file["panels"][2]["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = json!("pink"));
    assert!(said.contains("unknown variant `pink`"), "{said}");
    let said = refused(|file| file["panels"][0]["transformations"] = json!([]));
    assert!(said.contains("unknown field `transformations`"), "{said}");
}

type Change = fn(&mut Value);

#[test]
fn a_dashboard_that_is_wrong_is_found_out() {
    let found = |change: Change| broken(change).expect("it is a dashboard").join("; ");
    assert_eq!(found(|_| {}), "");
    let expected: [(Change, &str); 12] = [
        (|file| file["panels"][1]["gridPos"]["x"] = json!(2), "`User requests` and `Gateway requests` overlap"),
        (|file| file["panels"][1]["gridPos"]["x"] = json!(22), "outside of the 24 columns"),
        (|file| file["panels"][1]["id"] = json!(1), "there are two panels 1"),
        (|file| file["panels"][1]["title"] = json!(" "), "it has no title"),
        (|file| file["panels"][1]["description"] = json!(""), "it has no description"),
        (|file| file["panels"][1]["fieldConfig"]["defaults"]["unit"] = json!("furlong"), "the unit `furlong`"),
        (|file| file["panels"][2]["links"][0]["url"] = json!("/d/weir-nowhere"), "leads to no dashboard"),
        (|file| file["panels"][2]["links"][0]["url"] = json!("/d/weir-slo?var-route=a"), "has no variable [\"route\"]"),
        (|file| file["panels"][0]["targets"][0]["rawSql"] = json!("SELECT avg(p99) FROM t"), "it averages"),
        (
            |file| file["panels"][6]["targets"][0]["rawSql"] = json!("SELECT $__timeInterval(t)"),
            "finer than the roll-up",
        ),
        (
            |file| file["panels"][0]["targets"][0]["rawSql"] = json!("SELECT '$site'"),
            "not written `${name:singlequote}`",
        ),
        (
            |file| file["panels"][0]["targets"][0]["rawSql"] = json!("SELECT $__nosuch(t)"),
            "`$__nosuch` with 1 arguments",
        ),
    ];
    for (change, message) in expected {
        let found = found(change);
        assert!(found.contains(message), "{message}: {found}");
    }
}

/// Columns that a panel's links and ways of showing name, and that its answer does not have.
fn missing_columns(panel: &Panel, frame: &Frame) -> Vec<String> {
    let has = |name: &str| frame.columns.iter().any(|column| column.name == name);
    let overrides = panel.field_config.overrides.iter();
    let shown = overrides.map(|one| match &one.matcher {
        Matcher::ByName(name) => name.clone(),
    });
    let in_links = links(panel).into_iter().flat_map(|link| link.url.split("${__data.fields.").skip(1));
    let in_links = in_links.filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()));
    let missing = shown.chain(in_links).filter(|name| !has(name));
    missing.map(|name| format!("panel {} `{}` has no column `{name}`", panel.id, panel.title)).collect()
}

/// What the engine says against the queries of a dashboard.
async fn complaints(store: &Store, dashboard: &Dashboard, asked: &Asked) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sql) in queries(dashboard) {
        let statement = expand(dashboard, sql, asked).unwrap();
        if let Err(error) = values(store, &statement).await {
            found.push(format!("{what}: {error}"));
        }
    }
    for panel in &dashboard.panels {
        for target in panel.targets.iter().take(1) {
            let statement = expand(dashboard, &target.raw_sql, asked).unwrap();
            match answer(store, &statement, asked).await {
                Ok(frame) => found.extend(missing_columns(panel, &frame)),
                Err(error) => found.push(format!("panel {}: {error}", panel.id)),
            }
        }
    }
    found
}

/// Texts that would be something else, were they put into the statement.
/// Tables that are no roll-ups.
const SAMPLED: [&str; 3] = ["FROM gateway_gauges", "FROM gaps", "FROM dead_letters"];
const HOSTILE: [&str; 8] = [
    "'); DROP TABLE weir.access_events; --",
    "\\'; SELECT 1; --",
    "\\",
    "{site:String}",
    "${site:singlequote} $__timeFilter(t) $__all'",
    "a\tb\nc\r\u{1}",
    "<script>alert(1)</script>",
    "🦀 \u{202e}",
];

#[tokio::test]
async fn the_engine_takes_every_query_whatever_is_chosen() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..90, now_us() - 1_000_000, 100));
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).unwrap();
    let store = store.for_dashboards(Costs::of_dashboards(Duration::from_secs(30))).unwrap();
    for dashboard in shipped() {
        for values in [&["on-prem"][..], &["on-prem", "cloud", "", "a"], &HOSTILE] {
            let mut chosen = every_variable(dashboard, values);
            for variable in &dashboard.templating.list {
                if !variable.multi
                    && let Some(one) = chosen.iter_mut().find(|(name, _)| *name == variable.name)
                {
                    one.1 = &values[..1];
                }
            }
            let found = complaints(&store, dashboard, &asked(&chosen)).await;
            assert!(found.is_empty(), "{} with {values:?}: {found:#?}", dashboard.uid);
        }
        let found = complaints(&store, dashboard, &asked(&[])).await;
        assert!(found.is_empty(), "{}: {found:#?}", dashboard.uid);
    }
    assert_eq!(engine.number("SELECT count() FROM weir.access_events"), 90);

    let (_, text) = FILES.iter().find(|(name, _)| *name == "fleet.json").unwrap();
    let renamed = read(&text.replace("sum(gateway_us)", "sum(gateway_ns)")).unwrap();
    let found = complaints(&store, &renamed, &asked(&[])).await.join("\n");
    assert!(found.contains("`Gateway overhead, mean`") && found.contains("gateway_ns"), "{found}");
    let renamed = read(&text.replace("AS took", "AS lasted")).unwrap();
    let found = complaints(&store, &renamed, &asked(&[])).await.join("\n");
    assert!(found.contains("`Failed user requests, the last ones` has no column `took`"), "{found}");
}

#[tokio::test]
async fn a_value_is_compared_as_it_is() {
    let engine = Engine::start();
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).unwrap();
    let store = store.for_dashboards(Costs::of_dashboards(Duration::from_secs(30))).unwrap();
    engine.sql("CREATE DATABASE IF NOT EXISTS weir");
    let dashboard = &shipped()[0];
    for text in HOSTILE {
        let one = [text];
        let statement = expand(dashboard, "SELECT ${site:singlequote}", &asked(&[("site", &one)])).unwrap();
        assert_eq!(values(&store, &statement).await.unwrap().values, [text]);
    }
    let written = expand(dashboard, "CREATE TABLE weir.mine (a UInt8) ENGINE = Memory", &asked(&[])).unwrap();
    let refused = values(&store, &written).await.unwrap_err().to_string();
    assert!(refused.contains("readonly"), "{refused}");
}

/// The sum of a column of an answer.
fn summed(answer: &Value, column: &str) -> f64 {
    let columns = answer["columns"].as_array().unwrap();
    let at = columns.iter().position(|one| one["name"] == column).unwrap_or_else(|| panic!("{column}: {answer}"));
    answer["rows"].as_array().unwrap().iter().filter_map(|row| row[at].as_f64()).sum()
}

#[test]
fn a_long_time_is_read_by_hours_and_its_figures_are_the_same() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let now_s = now_us() / 1_000_000;
    let of = stream("on-prem", "edge", 0);
    for day in 0..4 {
        // In the middle of an hour that is over.
        let begin_us = (now_s / 3600 * 3600 - day * 86_400 - 1800) * 1_000_000;
        let first = day as u64 * 90;
        analytics.store(&chunk(&of, first..first + 90, begin_us - first as i64 * 1000, 1000));
    }
    let ask = |panel: u32, days: i64| {
        let (from, to) = ((now_s - days * 86_400) * 1000, now_s * 1000);
        analytics.api(&format!("dashboards/weir-fleet/panel?panel={panel}&from={from}&to={to}&step=3600"))
    };
    assert_eq!((summed(&ask(2, 4), "requests"), summed(&ask(2, 6), "requests")), (360.0, 360.0));
    let lines = ask(7, 6);
    assert_eq!(lines["step_s"], 3600);
    let whole_hours = summed(&lines, "requests") * 3600.0;
    assert!((whole_hours - 360.0).abs() < 1e-6, "each line is a rate of a whole hour: {whole_hours}");
    engine.sql("TRUNCATE TABLE weir.requests_1m");
    // Another end: answers are shared for some seconds.
    let (from, to) = ((now_s - 7 * 86_400) * 1000, now_s * 1000);
    let old = analytics.api(&format!("dashboards/weir-fleet/panel?panel=2&from={from}&to={to}"));
    assert_eq!(summed(&old, "requests"), 360.0, "what minutes are not kept for any more is there");
}

/// Of every query that reads whole hours within a time that neither begins nor ends with one.
#[tokio::test]
async fn hours_within_a_time_change_no_figure() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let now_s = now_us() / 1_000_000;
    let of = stream("on-prem", "edge", 0);
    // A request every minute for eight hours.
    let begin_us = (now_s - 8 * 3600) * 1_000_000;
    analytics.store(&chunk(&of, 0..480, begin_us, 60_000_000));
    let costs = Costs::of_dashboards(Duration::from_secs(30));
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).unwrap().for_dashboards(costs).unwrap();
    let asked = Asked {
        from_s: now_s - 7 * 3600 + 61,
        to_s: now_s - 2600,
        step_s: 60,
        values: std::collections::BTreeMap::new(),
    };
    let mut changed = 0;
    for dashboard in shipped() {
        for (what, sql) in queries(dashboard) {
            let (hours, same) = by_hours(sql, &asked, now_s);
            if hours == sql {
                continue;
            }
            let rows =
                async |sql: &str| answer(&store, &expand(dashboard, sql, &asked).unwrap(), &same).await.unwrap().rows;
            let of_minutes = rows(sql).await;
            assert!(!of_minutes.is_empty(), "{what} of {}", dashboard.uid);
            assert_eq!(rows(&hours).await, of_minutes, "{what} of {}", dashboard.uid);
            changed += 1;
        }
    }
    assert!(changed > 15, "{changed}");
}

/// A request a minute; in the middle of an hour another generation begins, which is slower and fails.
#[test]
fn before_and_after_a_change_each_minute_counts_once() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let (hour_us, minute_us) = (3_600_000_000, 60_000_000);
    let first_hour_us = (now_us() / hour_us - 8) * hour_us;
    let minute = |number: i64| first_hour_us + number * minute_us;
    let changed = 4 * 60 + 23;
    let events = (0..480).map(|number| {
        let is_new = number as i64 >= changed;
        // Which of the common exchanges it is decides its time: 1450 µs and 9250 µs.
        let which = if is_new { 700 } else { 100 };
        let mut event = exchange(which, minute(number as i64) + 5_000_000);
        (event.generation, event.status) = if is_new { (2, 500) } else { (1, 200) };
        (number, event)
    });
    analytics.store(&chunk_of(&stream("on-prem", "edge", 0), events, &[]));
    let panel = find("weir-api").unwrap().panels.iter().find(|panel| panel.title.starts_with("Before and after"));
    let compared = |from: i64, to: i64| {
        let panel = panel.unwrap().id;
        let (from, to) = (minute(from) / 1000, minute(to) / 1000);
        let frame = analytics.api(&format!("dashboards/weir-api/panel?panel={panel}&from={from}&to={to}"));
        let rows = frame["rows"].as_array().unwrap();
        let column =
            |name: &str| frame["columns"].as_array().unwrap().iter().position(|one| one["name"] == name).unwrap();
        let of = |row: &Value, name: &str| row[column(name)].clone();
        rows.iter()
            .map(|row| {
                // What fails is the new generation's.
                let failed = of(row, "errors").as_f64().unwrap();
                let expected = if failed == 1.0 { 9250.0 } else { 1450.0 };
                assert!((of(row, "p50").as_f64().unwrap() / expected - 1.0).abs() < 0.1, "{row}");
                let begins = of(row, "begins").as_str().unwrap().replace(['T', 'Z'], " ").trim().to_owned();
                (of(row, "period").as_str().unwrap().to_owned(), of(row, "requests").as_i64().unwrap(), failed, begins)
            })
            .collect::<Vec<_>>()
    };
    let at = |number: i64| {
        engine.sql(&format!("SELECT fromUnixTimestamp({}, '%Y-%m-%d %H:%i:%S', 'UTC')", minute(number) / 1_000_000))
    };
    // Ends within hours, at their bounds, in one hour with the change, and a time without one.
    for (from, to) in [(0, 479), (31, 441), (60, 420), (61, 359), (240, 299), (250, 270), (262, 263), (263, 300)] {
        let before = (from < changed).then(|| ("before".to_owned(), changed - from, 0.0, at(from)));
        let since = ("since".to_owned(), to + 1 - changed, 1.0, at(changed));
        let expected: Vec<_> = before.into_iter().chain([since]).collect();
        assert_eq!(compared(from, to), expected, "{from} to {to}");
    }
    assert_eq!(compared(60, 200), [("since".to_owned(), 141, 0.0, at(60))], "all of one generation");
}

#[test]
fn the_api_runs_what_is_shipped_and_nothing_else() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let panel = "/api/v1/dashboards/weir-fleet/panel";
    assert_eq!(analytics.api("dashboards/weir-fleet/panel?panel=1")["rows"], json!([]), "no data is no row, and not 0");
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..90, now_us() - 1_000_000, 100));
    let listed = analytics.api("dashboards");
    assert_eq!(listed["rows"].as_array().map(Vec::len), Some(FILES.len()));
    assert_eq!(analytics.api("dashboards/weir-fleet")["panels"][0]["title"], "User requests");
    for (target, status, message) in [
        ("/api/v1/dashboards/weir-nosuch", 404, "there are `weir-fleet`"),
        (&format!("{panel}?panel=99"), 404, "`weir-fleet` has no panel 99"),
        (&format!("{panel}?panel=1&target=Z"), 404, "with a query `Z`"),
        (panel, 400, "`panel` is needed"),
        (&format!("{panel}?panel=x"), 400, "`panel` is a whole number"),
        (&format!("{panel}?panel=1&var=nosuch:a"), 400, "`weir-fleet` has no variable `nosuch`"),
        (&format!("{panel}?panel=1&from=0&to=9999999999000"), 400, "at most 400 days"),
        ("/api/v1/dashboards/weir-fleet/variable?name=nosuch", 404, "no variable `nosuch`"),
        ("/api/v1/dashboards/weir-fleet/variable", 400, "`name` is needed"),
        ("/api/v1/dashboards/weir-fleet/annotation?name=nosuch", 404, "no annotation `nosuch`"),
        ("/api/v1/dashboards/weir-events/panel?panel=1&var=result:nosuch", 400, "`result` has no such value"),
    ] {
        let reply = analytics.get(target);
        let said = reply.json()["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(reply.status, status, "{target}: {said}");
        assert!(said.contains(message), "{target}: {said}");
    }
    assert_eq!(analytics.api("dashboards/weir-fleet/variable?name=site")["values"], json!(["on-prem"]));
}
