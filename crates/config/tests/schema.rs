//! The JSON Schema: a golden file, and the same verdict as a load's on what both can know.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use expect_test::expect_file;
use std::path::Path;

use serde_json::{Value, json};
use weir_config::json_schema;

/// `UPDATE_EXPECT=1 cargo test -p weir-config` writes it anew; read the difference.
#[test]
fn is_the_one_that_users_have() {
    let now = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    expect_file!["../schema/weir.schema.json"].assert_eq(&now);
}

/// The words that the schema uses, and no others: a word that is not checked here fails.
fn meets(root: &Value, schema: &Value, value: &Value) -> bool {
    let words = schema.as_object().unwrap();
    words.iter().all(|(word, meaning)| match word.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "then" => true,
        "$ref" => meets(root, root.pointer(meaning.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => {
            let names = meaning.as_array().cloned().unwrap_or_else(|| vec![meaning.clone()]);
            names.iter().any(|name| is_a(value, name.as_str().unwrap()))
        }
        "properties" => value.as_object().is_none_or(|fields| {
            let known = meaning.as_object().unwrap();
            fields.iter().all(|(name, value)| known.get(name).is_none_or(|schema| meets(root, schema, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            let known = words.get("properties");
            let unknown = |name: &String| known.is_none_or(|known| known.get(name).is_none());
            fields.iter().filter(|(name, _)| unknown(name)).all(|(_, value)| match meaning {
                Value::Bool(allowed) => *allowed,
                schema => meets(root, schema, value),
            })
        }),
        "required" => value.as_object().is_none_or(|fields| {
            meaning.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
        }),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| meets(root, meaning, item))),
        "enum" => meaning.as_array().unwrap().contains(value),
        "const" => meaning == value,
        "minimum" => value.as_f64().is_none_or(|number| number >= meaning.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= meaning.as_f64().unwrap()),
        "pattern" => {
            value.as_str().is_none_or(|text| regex::Regex::new(meaning.as_str().unwrap()).unwrap().is_match(text))
        }
        "anyOf" => meaning.as_array().unwrap().iter().any(|schema| meets(root, schema, value)),
        "oneOf" => meaning.as_array().unwrap().iter().filter(|schema| meets(root, schema, value)).count() == 1,
        "allOf" => meaning.as_array().unwrap().iter().all(|schema| meets(root, schema, value)),
        "if" => !meets(root, meaning, value) || meets(root, &words["then"], value),
        other => panic!("the schema uses `{other}`, which this test does not know"),
    })
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{other}"),
    }
}

fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    documents.filter(|value| !value.is_null()).collect()
}

#[test]
fn what_loads_meets_it() {
    let schema = json_schema();
    for folder in ["tests/conf.d/flex", "../../examples/conf.d", "tests/conf.d/whole"] {
        for entry in Path::new(folder).read_dir().unwrap() {
            let path = entry.unwrap().path();
            for document in documents(&std::fs::read_to_string(&path).unwrap()) {
                assert!(meets(&schema, &schema, &document), "{}: {document}", path.display());
            }
        }
    }
}

#[test]
fn what_it_refuses_a_load_refuses_too() {
    let schema = json_schema();
    let well = json!({
        "apiVersion": "gateway.weir.dev/v1", "kind": "ApiInstance", "metadata": {"name": "a"},
        "spec": {
            "address": "http://0.0.0.0:1", "services": {"s": {"address": "http://b"}},
            "policies": [{"policyRef": {"name": "rate-limiting-flex"}, "config": {
                "rateLimits": [{"maximumRequests": 1, "timePeriodInMilliseconds": "$PERIOD"}]}}],
        },
    });
    let loads = |value: &Value| {
        let env = |name: &str| (name == "PERIOD").then(|| "1000".to_owned());
        weir_config::load_text("x.yaml".as_ref(), &value.to_string(), &env).is_ok()
    };
    assert!(loads(&well) && meets(&schema, &schema, &well));
    for (pointer, value) in [
        ("/kind", json!("Extensions")),
        ("/metadata/x", json!(1)),
        ("/spec/adress", json!("http://0.0.0.0:1")),
        ("/spec/services/s/address", json!(["http://b"])),
        ("/spec/services/s/routes", json!([{"rules": [{"path": "/a", "method": "GET"}]}])),
        ("/spec/policies/0/policyRef/name", json!("rate-limiting")),
        ("/spec/policies/0/config/rateLimits", json!([{"maximumRequests": 1}])),
        ("/spec/policies/0/config/rateLimits/0/maximumRequests", json!(0)),
        ("/spec/policies/0/config/clientIdExpression", json!("#[attributes.method]")),
        ("/spec/policies/0/config/exposeHeaders", json!("yes")),
        ("/spec/policies/0/config/keyBy", json!("address")),
    ] {
        let mut bad = well.clone();
        match bad.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                bad.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        assert!(!loads(&bad), "{pointer} loads");
        assert!(!meets(&schema, &schema, &bad), "{pointer} meets the schema");
    }
}
