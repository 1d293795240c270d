//! The schema: its two renderings as they are kept in `golden/`, and what migrating does.

mod common;

use common::Engine;
use std::path::Path;
use std::time::Duration;
use weir_analytics::schema::{Layout, MigrateError, Retention, Schema, migrate};
use weir_analytics::store::Store;

fn cluster() -> Schema {
    Schema { layout: Layout::Cluster("main".to_owned()), ..Schema::single("weir") }
}

/// `WEIR_GOLDEN=write cargo test -p weir-analytics --test schema` writes them anew.
#[test]
fn the_renderings_are_the_golden_files() {
    for (name, schema) in [("single", Schema::single("weir")), ("cluster", cluster())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.sql"));
        if std::env::var_os("WEIR_GOLDEN").is_some_and(|mode| mode == "write") {
            std::fs::write(&path, schema.render()).expect("written");
        }
        let golden = std::fs::read_to_string(&path).expect("the golden file");
        assert_eq!(schema.render(), golden, "{name}.sql differs from the code");
    }
}

#[test]
fn every_statement_of_a_cluster_parses() {
    let engine = Engine::start();
    for migration in cluster().migrations() {
        let tree = engine.sql(&format!("EXPLAIN AST {}", migration.sql));
        assert!(tree.starts_with("CreateQuery") || tree.starts_with("InsertQuery"), "{}: {tree}", migration.name);
    }
}

fn store(engine: &Engine, retention: Retention) -> Store {
    Store::new(&engine.url(), "", "", Schema { retention, ..Schema::single("weir") }).expect("a store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_twice_changes_nothing_and_a_changed_past_is_refused() {
    let engine = Engine::start();
    let store = store(&engine, Retention::default());
    let all = Schema::single("weir").migrations().len();
    assert_eq!(migrate(&store).await.expect("migrated"), all);
    assert_eq!(migrate(&store).await.expect("migrated"), 0);
    // A step that was noted twice by two that started together is one step.
    engine.sql("INSERT INTO weir.schema_migrations SELECT * FROM weir.schema_migrations WHERE number = 1");
    assert_eq!(migrate(&store).await.expect("migrated"), 0);
    engine.sql(
        "ALTER TABLE weir.schema_migrations UPDATE checksum = 'x' WHERE name = 'gaps' SETTINGS mutations_sync = 2",
    );
    let error = migrate(&store).await.expect_err("refused");
    assert!(matches!(&error, MigrateError::Changed { number: 8, .. }), "{error}");
    engine.sql("INSERT INTO weir.schema_migrations VALUES (999, 'of tomorrow', 'x', now())");
    let error = migrate(&store).await.expect_err("refused");
    assert!(matches!(&error, MigrateError::Newer { found: 999, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_is_configuration() {
    let engine = Engine::start();
    migrate(&store(&engine, Retention::default())).await.expect("migrated");
    let week = Retention { raw: Duration::from_secs(7 * 86_400), ..Retention::default() };
    migrate(&store(&engine, week)).await.expect("migrated");
    let ttl = |table: &str| {
        engine.sql(&format!(
            "SELECT extract(create_table_query, 'toIntervalSecond.([0-9]+)') FROM system.tables WHERE name = '{table}'"
        ))
    };
    assert_eq!((ttl("access_events"), ttl("stored_seqs")), ("604800".to_owned(), "1209600".to_owned()));
    assert_eq!(ttl("requests_1h"), (400 * 86_400).to_string());
}
