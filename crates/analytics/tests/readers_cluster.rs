//! Readers on a cluster: what a viewer of one organization is answered does not depend on what others have stored, on any
//! shard, and no name of theirs is in it.
//!
//! Two engines are the shards, and each of them has the tables over both, by the native protocol. The embedded
//! engine has no replication, so the tables of a shard are made for one server and renamed to what they are called on a
//! cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Analytics, Engine, filled, now_us};
use std::collections::BTreeMap;
use std::time::Duration;
use weir_analytics::query::dashboards::{Asked, answer, by_hours, expand, shipped};
use weir_analytics::schema::{Layout, Schema};
use weir_analytics::scope::Scope;
use weir_analytics::store::{Costs, Store};
use weir_testkit::ports::reserve;

fn cluster() -> Schema {
    Schema { layout: Layout::Cluster("main".to_owned()), ..Schema::single("weir") }
}

/// The tables that a cluster has on all shards.
fn tables() -> Vec<String> {
    let steps = cluster().migrations();
    let over_all =
        steps.iter().filter(|step| step.sql.starts_with("CREATE TABLE") && step.sql.contains("Distributed("));
    let mut names: Vec<_> = over_all.map(|step| step.name.to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// A shard with what `acme` has stored, and the port of its native protocol.
fn shard() -> (Engine, u16) {
    let port = reserve().unwrap().port();
    let engine = Engine::with_args(&["--tcp-port", &port.to_string()]);
    let analytics = Analytics::start(&engine);
    filled(&analytics, &engine);
    let (_code, _state) = analytics.terminate();
    let views = engine.sql("SELECT name FROM system.tables WHERE database = 'weir' AND engine = 'MaterializedView'");
    views.lines().for_each(|view| drop(engine.sql(&format!("DROP VIEW weir.{view} SYNC"))));
    for table in tables() {
        engine.sql(&format!("RENAME TABLE weir.{table} TO weir.{table}_local"));
    }
    (engine, port)
}

/// What `bolt` has stored: the same, by other gateways, in streams of their own.
fn fill_other(engine: &Engine) {
    for table in tables() {
        let has = |column: &str| {
            let sql = format!(
                "SELECT count() FROM system.columns WHERE database = 'weir' AND table = '{table}_local' AND name = '{column}'"
            );
            engine.number(&sql) > 0
        };
        let others = [
            ("organization", "'bolt'"),
            ("environment", "'production'"),
            ("site", "'their-site'"),
            ("gateway", "'their-gateway'"),
            ("api", "'their-api'"),
            ("stream", "stream + 1"),
            ("lease", "generateUUIDv4()"),
        ];
        let replaced: Vec<_> = others
            .iter()
            .filter(|(column, _)| has(column))
            .map(|(column, value)| format!("{value} AS {column}"))
            .collect();
        let replaced = replaced.join(", ");
        engine.sql(&format!("INSERT INTO weir.{table}_local SELECT * REPLACE ({replaced}) FROM weir.{table}_local"));
    }
}

fn scope(organizations: Option<&str>, environments: Option<&str>) -> Scope {
    let owned = |name: Option<&str>| name.map(|name| vec![name.to_owned()]);
    Scope { organizations: owned(organizations), environments: owned(environments) }
}

/// What every panel and annotation answers to whoever may see `scope`.
async fn answers(store: &Store, scope: &Scope, asked: &Asked) -> Vec<(String, String)> {
    let (store, now_s) = (store.seen_by(scope), now_us() / 1_000_000);
    let mut all = Vec::new();
    for dashboard in shipped() {
        let panels =
            dashboard.panels.iter().flat_map(|panel| panel.targets.iter().map(move |one| (&panel.title, &one.raw_sql)));
        let annotations = dashboard.annotations.list.iter().map(|one| (&one.name, &one.target.raw_sql));
        for (what, sql) in panels.chain(annotations) {
            // How long ago something was, and the tables of the engine.
            if sql.contains("now") || sql.contains("system.") {
                continue;
            }
            let (sql, asked) = by_hours(sql, asked, now_s);
            let statement = expand(dashboard, &sql, &asked).unwrap();
            let frame = answer(&store, &statement, &asked).await;
            let frame = frame.unwrap_or_else(|error| panic!("{what} of {}: {error}", dashboard.uid));
            all.push((format!("{what} of {}", dashboard.uid), serde_json::to_string(&frame.rows).unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn a_reader_sees_nothing_of_others_on_any_shard() {
    let ((first, first_port), (second, second_port)) = (shard(), shard());
    let shards = format!("127.0.0.1:{first_port},127.0.0.1:{second_port}");
    for (engine, table) in
        [&first, &second].into_iter().flat_map(|engine| tables().into_iter().map(move |table| (engine, table)))
    {
        engine.sql(&format!("CREATE TABLE weir.{table} AS remote('{shards}', 'weir', '{table}_local')"));
    }
    let costs = Costs::of_dashboards(Duration::from_secs(60));
    let store = Store::new(&first.url(), "", "", cluster()).unwrap().for_dashboards(costs).unwrap();
    let to_s = now_us() / 1_000_000 + 60;
    let asked = Asked { from_s: to_s - 3 * 3600, to_s, step_s: 60, values: BTreeMap::new() };
    let scopes = [scope(Some("acme"), None), scope(None, Some("demo"))];
    let nobodys = [scope(Some("acme"), Some("production")), scope(Some("bolt"), Some("demo"))];
    let mut before = Vec::new();
    for scope in scopes.iter().chain(&nobodys) {
        before.push(answers(&store, scope, &asked).await);
    }
    fill_other(&first);
    fill_other(&second);
    for (scope, before) in scopes.iter().chain(&nobodys).zip(&before) {
        let now = answers(&store, scope, &asked).await;
        let changed: Vec<_> = before.iter().zip(&now).filter(|(before, now)| before != now).collect();
        assert!(changed.is_empty(), "{scope:?} sees what others have stored: {changed:#?}");
        assert!(!now.iter().any(|(_, rows)| ["bolt", "their-"].iter().any(|name| rows.contains(name))), "{scope:?}");
    }
    let (acme, nobody, all) = (&before[0], &before[2], answers(&store, &Scope::default(), &asked).await);
    let bolt = answers(&store, &scope(Some("bolt"), None), &asked).await;
    let named =
        |what: &str, answers: &[(String, String)]| answers.iter().find(|(name, _)| name == what).unwrap().1.clone();
    let requests = "Gateway requests of weir-fleet";
    assert_eq!([acme, &bolt, &all].map(|answers| named(requests, answers)), ["[[180]]", "[[180]]", "[[360]]"]);
    assert_eq!(named(requests, nobody), "[]");
    let differ = |one: &[(String, String)]| one.iter().zip(nobody).filter(|(one, nobody)| one != nobody).count();
    assert!(differ(acme) > 60 && differ(&bolt) > 60, "they see their own: {} {}", differ(acme), differ(&bolt));
    let names = ["acme", "on-prem", "\"edge"];
    let leaks: Vec<_> = bolt.iter().filter(|(_, rows)| names.iter().any(|name| rows.contains(name))).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
