//! The JSON Schema of every resource: for editors, which tell a mistake while it is made.
//!
//! It is made by the readers themselves (see `read/describe.rs`). What only a load can know is not in it: references,
//! clashes, patterns, certificates.

use std::cell::{Cell, RefCell};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::files::ReferencedFiles;
use crate::model::GatewayConfig;
use crate::policy;
use crate::read::{Cursor, Custom, Errors, LoadContext, Recorder, Scope};
use crate::resources;

/// A schema (draft 2020-12) that each document of a file must meet: one definition a kind, and one a policy's `config`.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let policies = policy::catalogue().map(|entry| (entry.name(), described(|at| entry.describe(at))));
    let policies: Vec<_> = policies.collect();
    for (name, config) in &policies {
        definitions.insert(format!("policy:{name}"), config.clone());
    }
    let metadata = described(resources::describe_metadata);
    for kind in resources::Kind::all() {
        let mut spec = described(|at| kind.describe(at));
        match kind {
            resources::Kind::ApiInstance => bind(&mut spec["properties"]["policies"]["items"], &policies),
            resources::Kind::PolicyBinding => bind(&mut spec, &policies),
            _ => {}
        }
        let resource = json!({
            "type": "object",
            "properties": {
                "apiVersion": {"enum": resources::api_versions().collect::<Vec<_>>()},
                "kind": {"const": kind.name()},
                "metadata": metadata,
                "spec": spec,
                "status": {},
            },
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": false,
        });
        definitions.insert(kind.name().to_owned(), resource);
    }
    let kinds: Vec<_> =
        resources::Kind::all().map(|kind| json!({"$ref": format!("#/$defs/{}", kind.name())})).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A resource of Weir",
        "oneOf": kinds,
        "$defs": definitions,
    })
}

/// The `config` of a bound policy is what the policy of that name takes.
fn bind(bound: &mut Value, policies: &[(&'static str, Value)]) {
    let names: Vec<_> = policies.iter().map(|(name, _)| name).collect();
    bound["properties"]["policyRef"]["properties"]["name"] = json!({"enum": names, "description": "Its name"});
    let rule = |(name, _): &(&str, Value)| {
        json!({
            "if": {"properties": {"policyRef": {"properties": {"name": {"const": name}}}}},
            "then": {"properties": {"config": {"$ref": format!("#/$defs/policy:{name}")}}},
        })
    };
    bound["allOf"] = policies.iter().map(rule).collect();
}

/// The settings of `config`, under the keys that a `Configuration` has for them.
pub(crate) fn described_settings(config: &GatewayConfig) -> Value {
    let mut settings = resources::Settings::of(config);
    recorded(|at| resources::settings(at, &mut settings)).values("").unwrap_or_else(|| json!({}))
}

/// What a reader asks for.
fn described(read: impl FnOnce(&Cursor<'_>)) -> Value {
    recorded(read).schema("")
}

fn recorded(read: impl FnOnce(&Cursor<'_>)) -> Recorder {
    let (errors, warnings) = (Errors::default(), Errors::default());
    let (outside, recorder) = (ReferencedFiles::default(), Recorder::default());
    let custom = Custom::default();
    let world = LoadContext { env: &|_| None, outside: &outside, warnings: &warnings, custom: &custom };
    let scope = Scope {
        file: Path::new(""),
        resource: String::new(),
        world,
        errors: &errors,
        is_weir: Cell::new(true),
        recorder: Some(&recorder),
        keys: RefCell::default(),
    };
    read(&Cursor::any(&scope));
    recorder
}
