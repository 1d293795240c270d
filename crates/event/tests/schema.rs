//! A chunk of an earlier schema, as the gateway of that time wrote it, read by this version.

#![allow(clippy::unwrap_used, reason = "tests")]

use weir_event::chunk::{Chunk, ChunkHeader};
use weir_event::json::to_json;
use weir_event::{NameId, Schema};

/// Four requests to a gateway of commit a23da7b, none of which it could ask where it came from.
const SCHEMA_1: &[u8] = include_bytes!("fixtures/schema-1.chunk");

/// Four requests of the version before starts were in the record, the last of a peer gateway.
const SCHEMA_2: &[u8] = include_bytes!("fixtures/schema-2.chunk");

fn rows(chunk: &Chunk) -> Vec<serde_json::Value> {
    let name = |id: NameId| chunk.header.name(id).map(str::to_owned);
    chunk.events().map(|event| to_json(&event, &chunk.header.stream, name)).collect()
}

/// What stands before and behind the fixed part is where it was, and every request entered the fleet.
#[test]
fn records_of_schema_1_read_as_they_were_written() {
    let chunk = Chunk::decode(SCHEMA_1).unwrap();
    assert_eq!((chunk.header.schema, chunk.header.count), (Schema::V1, 4));
    let rows = rows(&chunk);
    assert!(rows.iter().all(|row| row["entry"] == 1), "{rows:?}");
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/orders/1/28", "/orders/1/35", "/orders/1/36", "/orders/1/38"]);
    let row = &rows[0];
    for (field, expected) in [
        ("seq", "17"),
        ("ts", "\"2026-11-26T01:33:30.389438Z\""),
        ("trace_id", "\"7f519a06bfe79f9511406cca3a2c8f42\""),
        ("api", "\"orders\""),
        ("status", "200"),
        ("gateway_us", "111"),
        ("bytes_out", "2"),
        ("sample_interval", "1"),
        ("attempt_upstreams", "[\"127.0.0.1:18999\"]"),
        ("host", "\"127.0.0.1:18900\""),
        ("query", "\"page=*\""),
        ("user_agent", "\"curl/7.88.1\""),
    ] {
        assert_eq!(row[field].to_string(), expected, "{field}");
    }
}

/// Nothing is known of starts, and what stands behind the entries is where it was.
#[test]
fn records_of_schema_2_read_as_they_were_written() {
    let chunk = Chunk::decode(SCHEMA_2).unwrap();
    assert_eq!((chunk.header.schema, chunk.header.count), (Schema::V2, 4));
    let rows = rows(&chunk);
    let of = |field: &str| rows.iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("path"), ["/orders/1", "/orders/2", "/orders/3", "/orders/4"]);
    assert_eq!(of("entry"), [1, 1, 1, 0]);
    assert_eq!(of("waited_us"), [0, 0, 0, 0]);
    for row in &rows {
        assert_eq!(row["policy_names"], serde_json::json!(["rate-limiting-flex"]));
        assert_eq!(row["attempt_upstreams"], serde_json::json!(["127.0.0.1:19000"]));
        assert!(row["policy_us"][0].as_u64().is_some() && row["attempt_us"][0].as_u64() > Some(0), "{row}");
        for unknown in ["policy_start_us", "policy_waited_us", "attempt_start_us"] {
            assert_eq!(row[unknown], serde_json::json!([]), "{unknown}");
        }
        assert_eq!(row["user_agent"], "curl/7.88.1");
    }
}

/// Halves of a chunk say the schema of its records, which are the same bytes.
#[test]
fn a_chunk_of_schema_1_is_halved_into_chunks_of_schema_1() {
    let chunk = Chunk::decode(SCHEMA_1).unwrap();
    let halves = chunk.split().unwrap().unwrap().map(|half| Chunk::decode(&half).unwrap());
    assert!(halves.iter().all(|half| half.header.schema == Schema::V1));
    assert_eq!([rows(&halves[0]), rows(&halves[1])].concat(), rows(&chunk));
}

/// The number in the header decides how records are read, and nothing about their bytes.
#[test]
fn records_under_the_number_of_another_schema_are_refused() {
    let mut bytes = SCHEMA_1.to_vec();
    bytes[16] = 2;
    let header_len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c(&bytes[16..16 + header_len]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(ChunkHeader::decode(&bytes).unwrap().schema, Schema::V2);
    assert!(Chunk::decode(&bytes).is_err());
}
