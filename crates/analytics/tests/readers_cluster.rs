//! Readers on a cluster: what a viewer of one organization is answered does not depend on what others have stored, on any
//! shard, and no name of theirs is in it.
//!
//! Two engines are the shards, and each of them has the tables over both, by the native protocol. The embedded
//! engine has no replication, so the tables of a shard are made for one server and renamed to what they are called on a
//! cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Analytics, Engine, filled, now_us};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use weir_analytics::query::dashboards::{Asked, answer, by_hours, expand, shipped, values};
use weir_analytics::query::events::{self, File, FileKind, Wanted};
use weir_analytics::query::{blame, ledger, overview, streams, trace, wording};
use weir_analytics::schema::{Layout, Schema};
use weir_analytics::scope::Scope;
use weir_analytics::store::{Costs, Store};
use weir_api::dashboards::VariableQuery;
use weir_event::TraceId;
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

/// The stores of a server, as one reader has them.
struct Reader {
    typed: Store,
    dashboards: Store,
    exports: Store,
}

impl Reader {
    fn new(store: &Store, scope: &Scope) -> Self {
        let time = Duration::from_secs(60);
        Self {
            typed: store.for_readers(Costs::of_reader(time)).unwrap().seen_by(scope),
            dashboards: store.for_dashboards(Costs::of_dashboards(time)).unwrap().seen_by(scope),
            exports: store.for_exports(Costs::of_export(time)).unwrap().seen_by(scope),
        }
    }

    /// What it is answered to everything that can be asked, with names. `asked` ends now: what says how long ago something
    /// was says it of that time.
    async fn answers(&self, asked: &Asked) -> Vec<(String, String)> {
        let mut all = self.drawn(asked).await;
        all.extend(self.of_events(asked).await);
        all.extend(self.typed().await);
        all
    }

    /// Panels, annotations and the values of variables; what several dashboards ask is asked once.
    async fn drawn(&self, asked: &Asked) -> Vec<(String, String)> {
        let now = format!("toDateTime64({}, 3)", asked.to_s);
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for dashboard in shipped() {
            let panels = dashboard
                .panels
                .iter()
                .flat_map(|panel| panel.targets.iter().map(move |one| (&panel.title, &one.raw_sql)));
            let annotations = dashboard.annotations.list.iter().map(|one| (&one.name, &one.target.raw_sql));
            for (what, sql) in panels.chain(annotations) {
                // The sizes of the engine's own tables are an administrator's.
                if sql.contains("system.") || !seen.insert(sql) {
                    continue;
                }
                let sql = sql.replace("now64(3)", &now).replace("now()", &now);
                let (sql, asked) = by_hours(&sql, asked, asked.to_s);
                let statement = expand(dashboard, &sql, &asked).unwrap();
                let frame = answer(&self.dashboards, &statement, &asked).await;
                let frame = frame.unwrap_or_else(|error| panic!("{what} of {}: {error}", dashboard.uid));
                all.push((format!("{what} of {}", dashboard.uid), text(&frame.rows)));
            }
            for variable in &dashboard.templating.list {
                let VariableQuery::Sql(query) = &variable.query else { continue };
                if !seen.insert(&query.raw_sql) {
                    continue;
                }
                let statement = expand(dashboard, &query.raw_sql, asked).unwrap();
                let values = values(&self.dashboards, &statement).await.unwrap();
                all.push((format!("${} of {}", variable.name, dashboard.uid), text(&values)));
            }
        }
        all
    }

    /// The list of events, what came after a time (as the live tail asks), both kinds of file, and blame.
    async fn of_events(&self, asked: &Asked) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for after_ms in [None, Some(1)] {
            let wanted = Wanted { asked, after_ms };
            let list = events::list(&self.dashboards, &wanted.newest(1000).unwrap()).await.unwrap();
            let count = events::count(&self.dashboards, &wanted.counted().unwrap()).await.unwrap();
            assert_eq!(list.rows.len() as u64, count);
            all.push((format!("events after {after_ms:?}"), text(&list)));
        }
        let whole = Wanted { asked, after_ms: None }.whole(1000).unwrap();
        for kind in [FileKind::Csv, FileKind::Lines] {
            let mut file = File::begin(&self.exports, &whole, kind).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(piece) = file.next().await.unwrap() {
                bytes.extend(piece);
            }
            all.push((format!("{kind:?}"), String::from_utf8(bytes).unwrap()));
        }
        let statement = blame::statement(asked).unwrap();
        all.push(("blame".to_owned(), text(&blame::blame(&self.dashboards, &statement, "orders").await.unwrap())));
        all
    }

    /// The endpoints with types of their own, without what changes as time passes.
    async fn typed(&self) -> Vec<(String, String)> {
        let store = &self.typed;
        let id = TraceId::from_hex(format!("{:016x}{:016x}", 1, 0).as_bytes()).unwrap();
        let accounts = ledger::accounts(store).await.unwrap();
        let accounts: Vec<_> = accounts.iter().map(|one| (one.id, wording::name(one))).collect();
        let mut overview = text(&overview::overview(store, 180).await.unwrap());
        let mut gateways = text(&streams::gateways(store).await.unwrap());
        for (answer, passing) in [(&mut overview, "requests_per_second"), (&mut gateways, "silent_s")] {
            let mut document: Value = serde_json::from_str(answer).unwrap();
            let rows = document["rows"].as_array_mut().unwrap();
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove(passing).unwrap()));
            *answer = document.to_string();
        }
        let all = [
            ("overview", overview),
            ("gateways", gateways),
            ("series", text(&overview::series(store, 180, &Default::default()).await.unwrap())),
            ("trace", text(&trace::trace(store, id, (None, None)).await.unwrap())),
            ("errors", text(&trace::errors(store, 180, 1000).await.unwrap())),
            ("slow", text(&trace::slow(store, 180, 1000).await.unwrap())),
            ("ledger", text(&accounts)),
        ];
        all.map(|(name, answer)| (name.to_owned(), answer)).into()
    }
}

fn text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap()
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
    let store = Store::new(&first.url(), "", "", cluster()).unwrap();
    let to_s = now_us() / 1_000_000 + 60;
    let asked = Asked { from_s: to_s - 3 * 3600, to_s, step_s: 60, values: BTreeMap::new() };
    let scopes = [scope(Some("acme"), None), scope(None, Some("demo"))];
    let nobodys = [scope(Some("acme"), Some("production")), scope(Some("bolt"), Some("demo"))];
    let mut before = Vec::new();
    for scope in scopes.iter().chain(&nobodys) {
        before.push(Reader::new(&store, scope).answers(&asked).await);
    }
    fill_other(&first);
    fill_other(&second);
    for (scope, before) in scopes.iter().chain(&nobodys).zip(&before) {
        let now = Reader::new(&store, scope).answers(&asked).await;
        let changed: Vec<_> = before.iter().zip(&now).filter(|(before, now)| before != now).collect();
        assert!(changed.is_empty(), "{scope:?} sees what others have stored: {changed:#?}");
        assert!(!now.iter().any(|(_, rows)| ["bolt", "their-"].iter().any(|name| rows.contains(name))), "{scope:?}");
    }
    let (acme, nobody, all) = (&before[0], &before[2], Reader::new(&store, &Scope::default()).answers(&asked).await);
    let bolt = Reader::new(&store, &scope(Some("bolt"), None)).answers(&asked).await;
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
