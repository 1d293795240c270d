//! The marked tree reads the same text as `serde-saphyr` does, the library that everybody else would use.
//!
//! Seen from outside: labels of an `ApiInstance` are read from YAML in all its styles, once by us, once by serde.

use std::collections::BTreeMap;

use weir_config::load_text;

const LABELS: [&str; 9] = [
    "plain: some text",
    "single: 'it''s'",
    "double: \"tab\\tline\\nunicode \\u00e9\"",
    "literal: |\n      two\n      lines\n",
    "folded: >-\n      one\n      line\n\n      another",
    "number: 0x1F",
    "colon: a:b # and a comment",
    "multi: several\n      lines of\n      plain text",
    "\"quoted key\": &anchor x\n    alias: *anchor",
];

#[test]
fn scalars_of_every_style() {
    let labels = LABELS.map(|label| format!("    {label}\n")).concat();
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata:\n  name: a\n  labels:\n{labels}\
         spec: {{address: \"http://0.0.0.0:1\", services: {{s: {{address: http://b}}}}}}\n"
    );
    let ours = load_text("x.yaml".as_ref(), &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let ours = &ours.apis[0].labels;
    assert_eq!(ours.len(), LABELS.len() + 1);
    assert_eq!(*ours, by_serde(&text));
}

#[derive(serde::Deserialize)]
struct Resource {
    metadata: Metadata,
}

#[derive(serde::Deserialize)]
struct Metadata {
    labels: BTreeMap<String, String>,
}

fn by_serde(text: &str) -> BTreeMap<String, String> {
    serde_saphyr::from_str::<Resource>(text).map(|resource| resource.metadata.labels).unwrap_or_default()
}
