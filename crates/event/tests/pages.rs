//! The pages of `docs/` that are made of this crate's lists. `UPDATE_EXPECT=1 cargo test -p weir-event` writes them anew.

#![allow(clippy::unwrap_used, reason = "tests")]

use expect_test::expect_file;
use std::fmt::Write;
use std::path::Path;
use weir_event::field::{FIELDS, Rollup};
use weir_event::{Reason, Side};

fn held(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    expect_file![path].assert_eq(text);
}

#[test]
fn the_page_of_reasons_is_current() {
    let mut page = String::from(
        "# Reasons\n\n\
         Why a request did not simply pass: `reason` of the event, the label `reason` of metrics, the member `reason` of a problem \
         document. *Side* is who was at fault. *Status* is what the gateway answers where it is the gateway that answers; \
         - : the connection or the stream is closed without an answer. Then the status of the event is 0 unless a response had begun, \
         or 499 of `client_closed`. \
         *Proxy-Status* is the word of RFC 9209 2.3. A number never changes its meaning.\n\n\
         Made of `crates/event/src/reason.rs`.\n",
    );
    let sides =
        [(Side::Downstream, "The client's side"), (Side::Gateway, "The gateway"), (Side::Upstream, "The upstream")];
    for (side, title) in sides {
        write!(page, "\n## {title}\n| reason | number | status | Proxy-Status | meaning |\n|---|---|---|---|---|\n")
            .unwrap();
        for reason in Reason::ALL.iter().filter(|reason| reason.side() == side) {
            let (word, number) = (reason.as_str(), *reason as u8);
            let answered = |text: String| if reason.is_answered() { text } else { "-".to_owned() };
            let status = answered(reason.status().as_u16().to_string());
            let proxy_status = answered(reason.proxy_status().map_or("-".to_owned(), |word| format!("`{word}`")));
            let meaning = reason.meaning().trim();
            assert!(!meaning.is_empty(), "{word} says nothing");
            writeln!(page, "| `{word}` | {number} | {status} | {proxy_status} | {meaning} |").unwrap();
        }
    }
    held("reasons.md", &page);
}

#[test]
fn the_page_of_event_fields_is_current() {
    let mut page = String::from(
        "# Fields of the event\n\n\
         Each is a column of `access_events` in ClickHouse and a member of an event in JSON (`weirctl tail`, `weirctl trace --json`). \
         *Unit* is UCUM (`us` microseconds, `By` bytes). *Roll-up*: a key or a sum of `requests_1m` and `requests_1h`. \
         *Since*: the schema of the record since which gateways say it ([ingest-protocol.md](ingest-protocol.md#versions)); \
         rows of earlier gateways have the default of the column.\n\n\
         Made of `crates/event/src/field.rs`.\n\n\
         | field | type | unit | roll-up | OpenTelemetry | since | meaning |\n|---|---|---|---|---|---|---|\n",
    );
    for field in FIELDS {
        let rollup = match field.rollup {
            Rollup::Key => "key",
            Rollup::Sum => "sum",
            Rollup::None => "",
        };
        let otel = if field.otel.is_empty() { String::new() } else { format!("`{}`", field.otel) };
        let (name, column, unit, since, meaning) = (field.name, field.column, field.unit, field.since, field.meaning);
        writeln!(page, "| `{name}` | `{column}` | {unit} | {rollup} | {otel} | {since} | {meaning} |").unwrap();
    }
    held("event-fields.md", &page);
}
