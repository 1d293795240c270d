//! The schema: its two renderings as they are kept in `golden/`, and what migrating does.

mod common;

use common::Engine;
use expect_test::expect_file;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use weir_analytics::schema::{Layout, MigrateError, ROLLUPS, Retention, Schema, migrate};
use weir_analytics::store::Store;
use weir_api::gauges::Resource;
use weir_event::field::FIELDS;

fn cluster() -> Schema {
    Schema { layout: Layout::Cluster("main".to_owned()), ..Schema::single("weir") }
}

/// `UPDATE_EXPECT=1 cargo test -p weir-analytics --test schema` writes them anew.
#[test]
fn the_renderings_are_the_golden_files() {
    for (name, schema) in [("single", Schema::single("weir")), ("cluster", cluster())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.sql"));
        expect_file![path].assert_eq(&schema.render());
    }
}

/// What the first release noted in the databases that it made. These sums never change: a database that has them must
/// be brought forward by every later version.
const FIRST_SINGLE: [&str; 12] = [
    "43a44b4f508c242cfb3c3167cda2b300fb3807157f715d431f55a69853d6c03b",
    "26ad267ecd3aa302c21e5aa011ec280a309389aa46f779f77dca6413b074d818",
    "26c5768b88ec14e2e86e5132b887398d7feadfd8a0b72db0a7694e41af5e11ca",
    "10406ad8a984a320173fd541cf178924949a92f8b0fc917c65c73144d014f35e",
    "99e4ef3b218264c8e4a8389a70b820dde1247c7aa1c879370747bc311d64d1ee",
    "fb7c40542c1d9cf3868c15c23569d71e74fcf28c8feee1d3e61dbd32956549d7",
    "0e26bdb9c25a342854eb63e3b540da0f23f80d79d9e8e87ba73c8846c7c58e3c",
    "a14be4e6136a5f543be7771c5ee2a924950ac3c74883c851e5a70c9d54832d05",
    "87baebfdc402aa48a151a3c444c96979f16e981cd5af4f4b597cc91d78212662",
    "57da83e25c0bbd2ec8c9265ee64a4a0240c643b62e298a167d9e65e95cafc214",
    "216afffd18c02a7e73a020f75c87ed55b916538879212bc2878db6ab98f09432",
    "1cb4097dd7ac2b91d9daf9d47b8b44df979415c183ebe17ca348cfd6ed3a4dc5",
];
const FIRST_CLUSTER: [&str; 19] = [
    "302f266aea2a767c38d980443c06f58aadfbddcbefcc87619944f5289a254d8a",
    "4eb3f4098e6ea397cc3b7d6fb5ff7252ae5074db11f3bddb0881366d9086b6f6",
    "dc8228d9302c97af9e634bbd3ee2cac5c17629443f0db45f119b60d215abced6",
    "bd7f9042ab7544b4e397d3d12f4d9ccbf1b2b0993e3f7eb199d15f820d57cfca",
    "1b5258b51634e90095da6840f79ddff0155f2bffca8cf5278b638ecfb7ed6cbd",
    "7c82695193b26bcb2cff17ebf971e6f973432978d000335c1b104dd5ef441d98",
    "f5b13661a50bcc21d93de636bfd6c7f99f4d8bbb72ba4a15f082cb3221108663",
    "e6e9114e124be0073b0a5607379114050e6c3ef456156f4bbe59ba1d38e9b0c9",
    "84c8bfb0e57963368fd530fea3bf3b446441d75ee106a8a901dee2f46e507329",
    "cd845fe371c8f4895cd8fd91d96704d45c84d09ad762c0f8dffb08664f3f3702",
    "167d562ab24fc9d11bcceb0b83cdc3b46bd9645295d49d75c85fe902d48b6edb",
    "2182705e92ed60589681ba2c23259ca208a1e7f7d3ae11fbe76c9e9cd8f689c5",
    "41a85168106045eb8b398535f8c8a2446abebd66da346b8c031a765cfebac23e",
    "c96dc77f5ec474033f58752ec23795aff3fea40cdff88df8b8044f6d03dd494c",
    "08ccd87f334b64c4e7278f6d503cc9c96518ef65f2fa426e49f74a3b73d1ae3a",
    "2428e7fba61d799c47b16e8aa439d589cb2113d10c7782716cff5eae1cdb558f",
    "2efb9374bbc2a480546561cc0701e83b45c53bab7ab6c57ec400c31ae3d1d72d",
    "14ee5d78df6ae90b3786a9d1ca5abcea390fb5f2ac8c8ca6d19845da694d91c5",
    "be69bb3cc7460ec6e49c516b208295ca9d3286498e867fef06906d5caf755b59",
];

#[test]
fn the_checksums_of_the_first_release_are_frozen() {
    for (schema, sums) in [(Schema::single("weir"), &FIRST_SINGLE[..]), (cluster(), &FIRST_CLUSTER[..])] {
        let steps = schema.migrations();
        for (number, sum) in (1..).zip(sums) {
            let step = steps.iter().find(|step| step.number == number).expect("the step");
            let digest: String = Sha256::digest(&step.sql).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, *sum, "step {number} `{}` has changed", step.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_a_column_of_the_migrated_table() {
    let engine = Engine::start();
    migrate(&store(&engine, Retention::default())).await.expect("migrated");
    let columns = engine.sql(
        "SELECT name, type FROM system.columns WHERE database = 'weir' AND table = 'access_events' AND name != 'lease' \
         ORDER BY position \
         FORMAT TSVRaw",
    );
    let fields: Vec<_> = FIELDS.iter().map(|field| format!("{}\t{}", field.name, field.column)).collect();
    assert_eq!(columns, fields.join("\n"), "a new field needs a step `ALTER TABLE … ADD COLUMN IF NOT EXISTS`");
}

/// Set once; a start that finds them set changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_into_raw_are_made_cheap() {
    let engine = Engine::start();
    let store = store(&engine, Retention::default());
    migrate(&store).await.expect("migrated");
    let table = "SELECT create_table_query FROM system.tables WHERE database = 'weir' AND name = 'access_events'";
    let query = engine.sql(table);
    assert!(query.contains("min_level_for_wide_part = 1") && query.contains("merge_selector_base = 10"), "{query}");
    let altered = "SELECT max(metadata_modification_time) FROM system.tables WHERE database = 'weir'";
    let before = engine.sql(altered);
    migrate(&store).await.expect("migrated");
    assert_eq!((engine.sql(table), engine.sql(altered)), (query, before));
}

/// Before there was `entry`, no request was known to come from a peer: in raw and in what was rolled up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_entry_has_entered_where_it_was_seen() {
    let engine = Engine::start();
    let schema = Schema::single("weir");
    engine.sql(&schema.create_database());
    schema.migrations().iter().filter(|step| step.number < 60).for_each(|step| drop(engine.sql(&step.sql)));
    let insert = |columns: &str, values: &str| {
        engine.sql(&format!(
            "INSERT INTO weir.access_events (ts, sample_interval{columns}) VALUES ('2026-11-26 10:00:00', 1{values})"
        ))
    };
    insert("", "");
    migrate(&store(&engine, Retention { raw: Duration::from_secs(3650 * 86_400), ..Retention::default() }))
        .await
        .expect("migrated");
    insert(", entry", ", 0");
    for table in ["access_events", "requests_1m", "requests_1h"] {
        let rows = format!("SELECT entry, count() FROM weir.{table} GROUP BY entry ORDER BY entry");
        assert_eq!(engine.sql(&rows), "0\t1\n1\t1", "{table}");
        engine.sql(&format!("OPTIMIZE TABLE weir.{table} FINAL"));
        assert_eq!(engine.sql(&rows), "0\t1\n1\t1", "{table}, merged");
    }
}

/// A tunnel is counted, over HTTP/1.1 and HTTP/2, and its handshake is not among the durations of requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_is_counted_and_has_no_duration() {
    let engine = Engine::start();
    let retention = Retention { raw: Duration::from_secs(3650 * 86_400), ..Retention::default() };
    migrate(&store(&engine, retention)).await.expect("migrated");
    engine.sql(
        "INSERT INTO weir.access_events (ts, sample_interval, status, total_us, attrs) VALUES \
         ('2026-11-26 10:00:00', 1, 200, 7000, map()), \
         ('2026-11-26 10:00:00', 1, 200, 9000000, map('tunnel.duration_us', '1')), \
         ('2026-11-26 10:00:00', 1, 101, 9000000, map('tunnel.duration_us', '1'))",
    );
    for table in ["requests_1m", "requests_1h"] {
        let sums = format!("SELECT sum(n), sum(arraySum(mapValues(hist))) FROM weir.{table}");
        assert_eq!(engine.sql(&sums), "3\t1", "{table}");
    }
}

/// Its columns are those of the tables, and its example is a query that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_the_tables_is_true() {
    let engine = Engine::start();
    migrate(&store(&engine, Retention::default())).await.expect("migrated");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tables.md");
    let page = std::fs::read_to_string(page).expect("docs/tables.md");
    let (head, sections) = page.split_once("\n## ").expect("a section");
    for rollup in &ROLLUPS {
        let name = format!("`{}`", rollup.table);
        let section = sections.split("\n## ").find(|section| section.lines().any(|line| line.contains(&name)));
        let section = section.unwrap_or_else(|| panic!("docs/tables.md has no section of {name}"));
        let reported = section.split_once("Keys: ").expect("its columns").1;
        let mut reported: Vec<_> =
            reported.split('`').skip(1).step_by(2).filter(|word| !word.starts_with("--")).map(str::to_owned).collect();
        reported.sort();
        reported.dedup();
        let sql = format!("SELECT name FROM system.columns WHERE database = 'weir' AND table = '{}'", rollup.table);
        let columns = engine.sql(&sql);
        let mut columns: Vec<_> = columns.lines().map(str::to_owned).collect();
        columns.sort();
        assert_eq!(reported, columns, "{name}");
    }
    let section = sections.split("\n## ").find(|section| section.starts_with("`gateway_gauges`"));
    the_part_of_the_gauges_is_true(&engine, section.expect("its section"));
    let example: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(engine.sql(&example.join("\n")), "nan", "no event, no quantile");
}

/// Its columns, its resources, and its queries.
fn the_part_of_the_gauges_is_true(engine: &Engine, section: &str) {
    let (of_columns, of_saturation) = section.split_once("\n**Saturation**").expect("what saturation is");
    let names = of_columns.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('|')?.0));
    let names = names.flat_map(|names| names.split(['`', ',', ' ']).filter(|name| !name.is_empty()));
    let mut reported: Vec<_> = names.collect();
    reported.sort();
    let sql = "SELECT name FROM system.columns WHERE database = 'weir' AND table = 'gateway_gauges' ORDER BY name";
    assert_eq!(reported, engine.sql(sql).lines().collect::<Vec<_>>(), "gateway_gauges");
    for resource in Resource::ALL.map(Resource::as_str) {
        let row = format!("\n| `{resource}` |");
        assert!(of_saturation.contains(&row), "docs/tables.md does not say what `{resource}` is");
    }
    let examples: Vec<_> = of_columns.split("\n\n").filter(|part| part.starts_with("    SELECT")).collect();
    assert_eq!(examples.len(), 2, "{examples:?}");
    examples.iter().for_each(|example| assert_eq!(engine.sql(example), "", "no sample, no row"));
}

#[test]
fn every_statement_of_a_cluster_parses() {
    let engine = Engine::start();
    for migration in cluster().migrations() {
        let tree = engine.sql(&format!("EXPLAIN AST {}", migration.sql));
        let known = ["CreateQuery", "AlterQuery", "InsertQuery"];
        assert!(known.iter().any(|kind| tree.starts_with(kind)), "{}: {tree}", migration.name);
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
    assert_eq!(ttl("gateway_gauges"), (35 * 86_400).to_string());
    let day = Retention { gauges: Duration::from_secs(86_400), ..week };
    migrate(&store(&engine, day)).await.expect("migrated");
    assert_eq!((ttl("gateway_gauges"), ttl("access_events")), ("86400".to_owned(), "604800".to_owned()));
}
