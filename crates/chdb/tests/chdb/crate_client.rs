//! The official `clickhouse` crate, with its default LZ4, as Weir uses it.

use crate::engine::Engine;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Event {
    id: u64,
    name: String,
    tags: Vec<(String, String)>,
}

fn client(engine: &Engine) -> Client {
    Client::default().with_url(engine.url()).with_database("weir")
}

async fn table(engine: &Engine) -> Client {
    engine.sql("CREATE DATABASE weir");
    let client = client(engine);
    client
        .query("CREATE TABLE events (id UInt64, name LowCardinality(String), tags Map(String, String)) ENGINE = MergeTree ORDER BY id")
        .execute()
        .await
        .expect("created");
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_in_and_come_out() {
    let engine = Engine::start();
    let client = table(&engine).await;
    let rows: Vec<Event> = (0..5000)
        .map(|id| Event { id, name: format!("n{}", id % 7), tags: vec![("k".to_owned(), id.to_string())] })
        .collect();
    let mut insert = client.insert::<Event>("events").await.expect("insert").with_setting("async_insert", "0");
    for row in &rows {
        insert.write(row).await.expect("written");
    }
    insert.end().await.expect("committed");

    let all = client.query("SELECT ?fields FROM events ORDER BY id").fetch_all::<Event>().await.expect("fetched");
    assert!(all == rows);
    let one: u64 =
        client.query("SELECT count() FROM events WHERE name = ?").bind("n3").fetch_one().await.expect("bound");
    assert_eq!(one, 714);
    let parameter = client.query("SELECT id FROM events WHERE tags['k'] = {tag:String} AND id > {least:UInt64}");
    let found: Vec<u64> = parameter.param("tag", "4321").param("least", 7).fetch_all().await.expect("parameters");
    assert_eq!(found, [4321]);
    // Many blocks: streamed, packed, in order.
    let mut cursor = client.query("SELECT number FROM system.numbers LIMIT 1000000").fetch::<u64>().expect("cursor");
    let mut next = 0;
    while let Some(number) = cursor.next().await.expect("fetched") {
        assert_eq!(number, next);
        next += 1;
    }
    assert_eq!(next, 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_blocks_go_in() {
    let engine = Engine::start();
    engine.sql(
        "CREATE TABLE n (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100",
    );
    let native = engine.post("/", "SELECT number AS a FROM numbers(100000) FORMAT Native").body;
    let client = Client::default().with_url(engine.url());
    for _ in 0..2 {
        let mut insert = client
            .insert_formatted_with("INSERT INTO n (a) FORMAT Native")
            .with_setting("insert_deduplication_token", "block-1")
            .with_setting("async_insert", "0")
            .with_setting("wait_end_of_query", "1");
        for piece in native.chunks(100_000) {
            insert.send(bytes::Bytes::copy_from_slice(piece)).await.expect("sent");
        }
        insert.end().await.expect("committed");
    }
    assert_eq!(engine.sql("SELECT count(), sum(a) FROM n"), "100000\t4999950000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_reach_the_caller_with_their_code() {
    let engine = Engine::start();
    let client = table(&engine).await;
    let text = |error: clickhouse::error::Error| error.to_string();
    let unknown = client.query("SELECT * FROM nosuch").fetch_all::<u64>().await.expect_err("refused");
    assert!(text(unknown).contains("Code: 60. DB::Exception"));
    let mut insert = client.insert_formatted_with("INSERT INTO nosuch FORMAT TSV");
    // The refusal may meet any of the pieces.
    let sent = insert.send(bytes::Bytes::from(vec![b'1'; 1 << 20])).await;
    let refused = match sent {
        Err(error) => error,
        Ok(()) => insert.end().await.expect_err("refused"),
    };
    assert!(text(refused).contains("Code: 60. DB::Exception"));
    let late = client.query("SELECT throwIf(number = 3000000, 'late') FROM numbers(4000000)").fetch_all::<u8>().await;
    assert!(text(late.expect_err("fails late")).contains("Code: 395. DB::Exception: late"));
    let usual: u64 = client.query("SELECT count() FROM events").fetch_one().await.expect("still well");
    assert_eq!(usual, 0);
}
