//! `crates/analytics/page/api.d.ts`: the documents of the query API for the page. `UPDATE_EXPECT=1 cargo test -p weir-api`
//! writes it anew.

use crate::openapi::column;
use crate::{ErrorDocument, ledger, query};
use expect_test::expect_file;
use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt::Write;
use ts_rs::{Config, TS, TypeVisitor};
use weir_event::field::FIELDS;

/// Every type that a document needs, by its name.
struct Needed<'c> {
    config: &'c Config,
    seen: Vec<TypeId>,
    declared: BTreeMap<String, String>,
}

impl TypeVisitor for Needed<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if self.seen.contains(&TypeId::of::<T>()) {
            return;
        }
        self.seen.push(TypeId::of::<T>());
        // What the language has itself has no file of its own.
        if T::output_path().is_some() {
            let docs = T::docs().unwrap_or_default();
            self.declared.insert(T::name(self.config), format!("{docs}export {}\n", T::decl(self.config)));
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

/// What TypeScript has for a column of ClickHouse.
fn of_column(column: &str) -> String {
    let inner = |prefix: &str| column.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(item) = inner("Array(") {
        return format!("Array<{}>", of_column(item));
    }
    if let Some((_, value)) = inner("Map(").and_then(|of| of.split_once(", ")) {
        return format!("{{ [key in string]?: {} }}", of_column(value));
    }
    match inner("LowCardinality(") {
        Some(item) => of_column(item),
        None if column.starts_with("UInt") => "number".to_owned(),
        None => "string".to_owned(),
    }
}

#[test]
fn the_types_of_the_page_are_current() {
    let config = Config::new().with_large_int("number");
    let mut needed = Needed { config: &config, seen: Vec::new(), declared: BTreeMap::new() };
    needed.visit::<ErrorDocument>();
    needed.visit::<query::Overview>();
    needed.visit::<query::Series>();
    needed.visit::<query::Gateways>();
    needed.visit::<query::Requests>();
    needed.visit::<ledger::Ledger>();
    let mut text =
        "// The documents of the query API. Written by `UPDATE_EXPECT=1 cargo test -p weir-api`.\n\n".to_owned();
    for declared in needed.declared.values() {
        let _ = writeln!(text, "{declared}");
    }
    text +=
        "/**\n * `GET /api/v1/trace/{id}`.\n */\nexport type Trace = { trace_id: string, events: Array<Event>, };\n\n";
    text += "/**\n * One request at one gateway: docs/event-fields.md.\n */\nexport type Event = {\n";
    for field in FIELDS {
        let _ = writeln!(text, "/**\n * {}\n */\n{}: {},", field.meaning, field.name, of_column(column(field)));
    }
    text += "};\n";
    expect_file!["../../analytics/page/api.d.ts"].assert_eq(&text);
}
