//! Readers as their own description: asked without a document, they say which fields they ask for.
//!
//! A reader is run on a [`Value::Any`](crate::tree::Value::Any), which has every field and no content; what it asks for is
//! written down here, and becomes a JSON Schema. So the schema and what is read cannot differ: they are one text.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What was asked for, by path.
#[derive(Debug, Default)]
pub(crate) struct Recorder(RefCell<BTreeMap<String, Shape>>);

/// What one value may be.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Of a single value: the words of JSON Schema.
    leaf: Map<String, Value>,
    /// The known fields, and where they are described.
    fields: BTreeMap<&'static str, String>,
    required: BTreeSet<&'static str>,
    /// Where the items of a list are described.
    items: Option<String>,
    /// Where the values of a mapping with free keys are described.
    values: Option<String>,
    is_object: bool,
    /// Whether it is a key of Weir's own `apiVersion` alone.
    is_weir: bool,
    meaning: Option<String>,
    default: Option<Value>,
}

impl Shape {
    pub fn leaf(&mut self, words: Value) {
        if let Value::Object(words) = words {
            self.leaf.extend(words);
        }
    }

    pub fn object(&mut self) {
        self.is_object = true;
    }

    pub fn field(&mut self, name: &'static str, path: String) {
        self.fields.insert(name, path);
    }

    pub fn require(&mut self, name: &'static str) {
        self.required.insert(name);
    }

    pub fn items(&mut self, path: String) {
        self.items = Some(path);
    }

    pub fn values(&mut self, path: String) {
        self.values = Some(path);
    }

    pub fn weir(&mut self) {
        self.is_weir = true;
    }

    pub fn means(&mut self, meaning: &str, default: Option<Value>) {
        (self.meaning, self.default) = (Some(meaning.to_owned()), default);
    }
}

impl Recorder {
    pub(super) fn at(&self, path: &str, write: impl FnOnce(&mut Shape)) {
        write(self.0.borrow_mut().entry(path.to_owned()).or_default());
    }

    /// The schema of what stands at `path`. Whatever was not looked into may be anything.
    pub fn schema(&self, path: &str) -> Value {
        let shapes = self.0.borrow();
        let Some(shape) = shapes.get(path) else { return json!({}) };
        let mut schema = if let Some(items) = &shape.items {
            json!({"type": "array", "items": self.schema(items)})
        } else if let Some(values) = &shape.values {
            json!({"type": "object", "additionalProperties": self.schema(values)})
        } else if shape.is_object {
            let fields: Map<_, _> =
                shape.fields.iter().map(|(name, path)| ((*name).to_owned(), self.schema(path))).collect();
            let object = json!({"type": "object", "properties": fields, "additionalProperties": false});
            // Short or in full.
            if shape.leaf.is_empty() { object } else { json!({"anyOf": [shape.leaf, object]}) }
        } else {
            Value::Object(shape.leaf.clone())
        };
        if !shape.required.is_empty() && shape.values.is_none() {
            schema["required"] = json!(shape.required);
        }
        if let Some(meaning) = &shape.meaning {
            // How it is written stands behind what it means.
            let written = schema["description"].as_str().map(|hint| format!(" ({hint})")).unwrap_or_default();
            schema["description"] = json!(format!("{meaning}{written}"));
        }
        if let Some(default) = shape.default.as_ref().filter(|default| !default.is_null() && **default != "") {
            schema["default"] = default.clone();
        }
        if shape.is_weir {
            let before = schema["description"].as_str().map(|text| format!("{text}. ")).unwrap_or_default();
            schema["description"] = json!(format!("{before}Under `apiVersion: gateway.weir.dev/v1` alone."));
        }
        schema
    }

    /// What the values below `path` are, of those that say it: a nested object by their names.
    pub fn values(&self, path: &str) -> Option<Value> {
        let shapes = self.0.borrow();
        let shape = shapes.get(path)?;
        if shape.default.is_some() {
            return shape.default.clone();
        }
        let within = shape.fields.iter().filter_map(|(name, path)| Some(((*name).to_owned(), self.values(path)?)));
        let within: Map<_, _> = within.collect();
        (!within.is_empty()).then_some(Value::Object(within))
    }
}

/// The words for a text. Numbers and `true` are text too.
pub(super) fn text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

/// The words for one of `names`; those that look like numbers may be written as such.
pub(super) fn choice<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    let mut all = Vec::new();
    for name in names {
        all.push(json!(name));
        all.extend(name.parse::<f64>().ok().map(|number| json!(number)));
    }
    json!({"enum": all})
}

/// The words for something that may come from the environment, too.
pub(super) fn or_variable(words: Value) -> Value {
    json!({"anyOf": [words, {"type": "string", "pattern": "^\\$[A-Za-z_][A-Za-z0-9_]*$"}]})
}
