//! Where a key belongs that is known, but not where it was written: found in the schema, which is what readers ask for.

use std::sync::OnceLock;

use serde_json::Value;

use crate::schema::json_schema;

/// Of more places than this, none is likely to be the one that was meant.
const MOST: usize = 2;

/// Where a resource of `kind` has `key`, or which policies have it in their `config`: the place nearest to `path`, where
/// it was written. `None` where nobody has it, or many.
pub(super) fn belongs(kind: &str, path: &str, key: &str) -> Option<String> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let definitions = SCHEMA.get_or_init(json_schema).get("$defs")?.as_object()?;
    let mut found = Vec::new();
    if let Some(resource) = definitions.get(kind) {
        walk(resource, String::new(), key, &mut |place| {
            let shown = if place.is_empty() { "the resource itself".to_owned() } else { format!("`{place}`") };
            found.push((shared_steps(path, place), shown));
        });
    }
    for (name, policy) in definitions {
        let Some(name) = name.strip_prefix("policy:") else { continue };
        walk(policy, String::new(), key, &mut |place| {
            let within = if place.is_empty() { "the".to_owned() } else { format!("`{place}` in the") };
            found.push((0, format!("{within} config of `{name}`")));
        });
    }
    let nearest = found.iter().map(|(shared, _)| *shared).max()?;
    let places: Vec<_> = found.into_iter().filter(|(shared, _)| *shared == nearest).map(|(_, shown)| shown).collect();
    (places.len() <= MOST).then(|| format!("it belongs under {}", places.join(", or under ")))
}

/// Calls `found` with the path of every mapping below `shape` that has `key`. `path` is that of `shape`.
fn walk(shape: &Value, path: String, key: &str, found: &mut impl FnMut(&str)) {
    if let Some(fields) = shape.get("properties").and_then(Value::as_object) {
        if fields.contains_key(key) {
            found(&path);
        }
        for (name, field) in fields {
            let separator = if path.is_empty() { "" } else { "." };
            walk(field, format!("{path}{separator}{name}"), key, found);
        }
    }
    if let Some(items) = shape.get("items") {
        walk(items, format!("{path}[]"), key, found);
    }
    if let Some(named) = shape.get("additionalProperties").filter(|shape| shape.is_object()) {
        walk(named, format!("{path}.<name>"), key, found);
    }
}

/// How many steps from the spec on a path and that of a place in the schema have in common.
fn shared_steps(path: &str, place: &str) -> usize {
    let name = |step: &str| step.split('[').next().unwrap_or_default().to_owned();
    let place = place.strip_prefix("spec.").unwrap_or(place);
    path.split('.')
        .zip(place.split('.'))
        .take_while(|(one, other)| *other == "<name>" || name(one) == name(other))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_readers_ask_for_it() {
        let of = |kind, key| belongs(kind, "", key).unwrap_or_default();
        assert_eq!(
            of("ApiInstance", "exposedHeaders"),
            "it belongs under `originGroups[]` in the config of `cors-flex`"
        );
        assert_eq!(
            of("PolicyBinding", "password"),
            "it belongs under the config of `credential-injection-basic-auth-flex`, or under the config of \
             `http-basic-authentication-flex`"
        );
        assert_eq!(of("ApiInstance", "routes"), "it belongs under `spec.services.<name>`");
        assert_eq!(of("Configuration", "ringBytes"), "it belongs under `spec.spool`");
        assert_eq!(belongs("ApiInstance", "", "nothing-like-it"), None);
        assert_eq!(belongs("ApiInstance", "", "name"), None, "in too many places");
    }

    #[test]
    fn the_nearest_of_several_places_is_named() {
        let of = |path, key| belongs("ApiInstance", path, key).unwrap_or_default();
        assert_eq!(of("policies[0].policyRef", "config"), "it belongs under `spec.policies[]`");
        assert_eq!(
            of("services.a.routes[3]", "destinationPath"),
            "it belongs under `spec.services.<name>.routes[].config`"
        );
    }
}
