//! `docs/configuration.md`, made of the JSON Schema. `UPDATE_EXPECT=1 cargo test -p weir-config --test page` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use expect_test::expect_file;
use std::fmt::Write;

use serde_json::Value;
use weir_config::{json_schema, view};

/// Kinds in the order in which one meets them, and what each is.
const KINDS: [(&str, &str); 5] = [
    ("ApiInstance", "An address, the services behind it, routes and policies."),
    ("Service", "An upstream that several APIs may use."),
    ("PolicyBinding", "A policy for an API, for a service, or for every API that a selector finds."),
    ("Contract", "A client of an API: its id and secret."),
    (
        "Configuration",
        "The gateway itself. Several resources may each set a part; each setting may be set once. `identity`, `admin`, `probe`, \
         `metrics.address`, `metrics.otlp`, `metrics.exportInterval`, `analytics`, `spool`, `tracing.provider`, and of `logging` the `outputs`, \
         `runtimeLogs` and `accessLogs.outputs` are read at the start only; everything else takes effect with the next load.",
    ),
];

#[test]
fn the_page_of_the_configuration_is_current() {
    let schema = json_schema();
    let definitions = &schema["$defs"];
    let mut page = String::from(
        "# Configuration\n\n\
         Every kind of resource with every key. Policies have a page of their own: [policies.md](policies.md). When files are \
         loaded: [configuration-loading.md](configuration-loading.md). `weirctl schema` prints the same as JSON Schema, for editors.\n\n\
         A resource has `apiVersion` (`gateway.mulesoft.com/v1alpha1`, `gateway.mulesoft.com/v1beta1`, or `gateway.weir.dev/v1`), \
         `kind`, `metadata` and `spec`. Keys marked *weir* need `apiVersion: gateway.weir.dev/v1`; in them, and in the `config` of a \
         policy, `$NAME` is an environment variable and `$$` a dollar sign. Sizes are `64MiB`, `1GB` or a number of bytes; times `24h`, \
         `30m`, `90s` or `250ms`. Unknown keys are refused.\n\n\
         Made of the readers in `crates/config/src/resources`.\n\n## Metadata\n",
    );
    table(&mut page, &definitions["Service"]["properties"]["metadata"], &|key| {
        !["Timestamp", "finalizers", "generation", "managedFields", "ownerReferences", "resourceVersion", "uid"]
            .iter()
            .any(|of_the_cluster| key.ends_with(of_the_cluster))
    });
    page.push_str("\nWhat a Kubernetes cluster adds (`uid`, `generation`, `status`, …) is taken and has no effect.\n");
    for (kind, what) in KINDS {
        write!(page, "\n## {kind}\n{what}\n\n").unwrap();
        table(&mut page, &definitions[kind]["properties"]["spec"], &|_| true);
    }
    assert_eq!(KINDS.len(), schema["oneOf"].as_array().unwrap().len(), "a kind that the page does not have");
    page.push_str("\n## Environment variables\nThose of Flex and of OpenTelemetry. A resource takes precedence over them.\n\n| variable | what it sets |\n|---|---|\n");
    for (name, meaning) in view::variables() {
        writeln!(page, "| `{name}` | {meaning} |").unwrap();
    }
    expect_file!["../../../docs/configuration.md"].assert_eq(&page);
}

fn table(page: &mut String, shape: &Value, shown: &dyn Fn(&str) -> bool) {
    page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    rows(page, shape, "", shown);
}

/// A row for each key, and those of what stands in it.
fn rows(page: &mut String, shape: &Value, path: &str, shown: &dyn Fn(&str) -> bool) {
    let required: Vec<_> = shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in shape["properties"].as_object().into_iter().flatten() {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // Of a resource that is not read: what it is for has a warning.
        if !shown(&key) || key == "platformConnection" {
            continue;
        }
        let described = field["description"].as_str().unwrap_or_default();
        let (meaning, of_weir) = match described.strip_suffix("Under `apiVersion: gateway.weir.dev/v1` alone.") {
            Some(meaning) => (meaning.trim().trim_end_matches('.'), "*weir* "),
            None => (described, ""),
        };
        let is_group = field["type"] == "object" && field.get("properties").is_some();
        assert!(!meaning.is_empty() || is_group, "{key} says nothing of what it means");
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::Array(items) if items.is_empty() => "none".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        writeln!(page, "| `{key}` | {of_weir}{} | {default} | {} |", value(field), meaning.replace('|', "\\|"))
            .unwrap();
        rows(page, field, &key, shown);
        let items = &field["items"];
        rows(page, items, &format!("{key}[]"), shown);
        // Short or in full.
        for full in items["anyOf"].as_array().into_iter().flatten() {
            rows(page, full, &format!("{key}[]"), shown);
        }
        rows(page, &field["additionalProperties"], &format!("{key}.NAME"), shown);
    }
}

/// What may be written.
fn value(field: &Value) -> String {
    if let Some(first) = field["anyOf"].as_array().and_then(|either| either.first()) {
        return value(first);
    }
    if let Some(names) = field["enum"].as_array() {
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        return if names.len() > 6 { "a name".to_owned() } else { format!("`{}`", names.join("`, `")) };
    }
    match &field["type"] {
        Value::String(kind) if kind == "object" => "mapping".to_owned(),
        Value::String(kind) if kind == "array" => "list".to_owned(),
        Value::String(kind) if kind == "integer" => match (&field["minimum"], &field["maximum"]) {
            (Value::Null, _) | (_, Value::Null) => "number".to_owned(),
            (least, most) => format!("{least} to {most}"),
        },
        Value::String(kind) => kind.clone(),
        Value::Array(_) => "text".to_owned(),
        _ => String::new(),
    }
}
