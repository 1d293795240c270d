//! An answer as a file of comma-separated values (RFC 4180), for spreadsheets and scripts.
//!
//! A text that a spreadsheet would take for a formula has an apostrophe in front: paths, user agents and names come from
//! strangers.

use serde_json::Value;
use std::fmt::Write;
use weir_api::dashboards::{ColumnKind, Frame};

/// The names of the columns, and a line for each row. Lines end with CR LF.
pub fn csv(frame: &Frame) -> String {
    let mut out = String::new();
    let names: Vec<_> = frame.columns.iter().map(|column| Value::String(column.name.clone())).collect();
    line(&mut out, names.iter().map(|name| (name, ColumnKind::Text)));
    for row in &frame.rows {
        line(&mut out, row.iter().zip(frame.columns.iter().map(|column| column.kind)));
    }
    out
}

/// One line, with its end.
pub fn line<'v>(out: &mut String, cells: impl Iterator<Item = (&'v Value, ColumnKind)>) {
    let cells: Vec<_> = cells.map(|(value, kind)| cell(value, kind)).collect();
    let _ = write!(out, "{}\r\n", cells.join(","));
}

fn cell(value: &Value, kind: ColumnKind) -> String {
    match value {
        Value::Null => String::new(),
        // ClickHouse writes whole numbers of 64 bits as texts.
        Value::String(text) if kind == ColumnKind::Number => quoted(text),
        Value::String(text) => quoted(&harmless(text)),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => quoted(&harmless(&value.to_string())),
    }
}

/// What a spreadsheet does not take for a formula.
fn harmless(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn quoted(text: &str) -> String {
    let must = text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ');
    if must { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_api::dashboards::Column;

    #[test]
    fn cells_are_what_they_were_and_no_formula() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let frame = Frame {
            from_ms: 0,
            to_ms: 1,
            step_s: 1,
            columns: vec![
                column("path, as sent", ColumnKind::Text),
                column("count", ColumnKind::Number),
                column("more", ColumnKind::Other),
            ],
            rows: vec![
                vec![json!("=HYPERLINK(\"http://evil\")"), json!(-1.5), json!(["a", 1])],
                vec![json!("+1"), json!("-18446744073709551615"), json!({"a": "b"})],
                vec![json!("@x"), json!(null), json!([])],
                vec![json!("a \"quoted\"\r\nline"), json!(0), json!(null)],
                vec![json!("\t=1"), json!(true), json!("plain")],
            ],
        };
        let expected = [
            "\"path, as sent\",count,more",
            "\"'=HYPERLINK(\"\"http://evil\"\")\",-1.5,\"[\"\"a\"\",1]\"",
            "'+1,-18446744073709551615,\"{\"\"a\"\":\"\"b\"\"}\"",
            "'@x,,[]",
            "\"a \"\"quoted\"\"\r\nline\",0,",
            "'\t=1,true,plain",
            "",
        ];
        assert_eq!(csv(&frame), expected.join("\r\n"));
    }
}
