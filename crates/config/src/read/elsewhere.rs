//! Where a key belongs that is known, but not where it was written: found in the schema, which is what readers ask for.

use std::sync::OnceLock;

use serde_json::Value;

use crate::schema::json_schema;

/// Of more places than this, none is likely to be the one that was meant.
const MOST: usize = 2;

/// Where a resource of `kind` has `key`, or which policies have it in their `config`; `None` where nobody has it, or many.
pub(super) fn belongs(kind: &str, key: &str) -> Option<String> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let definitions = SCHEMA.get_or_init(json_schema).get("$defs")?.as_object()?;
    let mut places = Vec::new();
    if let Some(resource) = definitions.get(kind) {
        walk(resource, "", key, &mut places);
    }
    for (name, policy) in definitions {
        if let Some(name) = name.strip_prefix("policy:") {
            walk(policy, &format!("config of `{name}`: "), key, &mut places);
        }
    }
    (!places.is_empty() && places.len() <= MOST).then(|| format!("it belongs under {}", places.join(", or under ")))
}

/// Every mapping below `shape` that has `key`. `path` is how one gets there.
fn walk(shape: &Value, path: &str, key: &str, found: &mut Vec<String>) {
    if found.len() > MOST {
        return;
    }
    if let Some(fields) = shape.get("properties").and_then(Value::as_object) {
        if fields.contains_key(key) {
            let shown = match path.rsplit_once(": ") {
                Some((policy, "")) => format!("the {policy}"),
                Some((policy, rest)) => format!("`{rest}` in the {policy}"),
                None if path.is_empty() => "the resource itself".to_owned(),
                None => format!("`{path}`"),
            };
            found.push(shown);
        }
        for (name, field) in fields {
            let separator = if path.is_empty() || path.ends_with(": ") { "" } else { "." };
            walk(field, &format!("{path}{separator}{name}"), key, found);
        }
    }
    if let Some(items) = shape.get("items") {
        walk(items, &format!("{path}[]"), key, found);
    }
    if let Some(named) = shape.get("additionalProperties").filter(|shape| shape.is_object()) {
        walk(named, &format!("{path}.<name>"), key, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_readers_ask_for_it() {
        let of = |kind, key| belongs(kind, key).unwrap_or_default();
        assert_eq!(
            of("ApiInstance", "exposedHeaders"),
            "it belongs under `originGroups[]` in the config of `cors-flex`"
        );
        assert_eq!(of("PolicyBinding", "password"), "it belongs under the config of `http-basic-authentication-flex`");
        assert_eq!(of("ApiInstance", "routes"), "it belongs under `spec.services.<name>`");
        assert_eq!(of("Configuration", "ringBytes"), "it belongs under `spec.spool`");
        assert_eq!(belongs("ApiInstance", "nothing-like-it"), None);
        assert_eq!(belongs("ApiInstance", "name"), None, "in too many places");
    }
}
