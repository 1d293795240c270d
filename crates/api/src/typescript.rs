//! `crates/analytics/page/api.d.ts`: the queries of the query API and their documents, which the page is checked against.
//! `UPDATE_EXPECT=1 cargo test -p weir-api` writes it anew.

use crate::openapi::column;
use crate::operations::{self, ANALYTICS, Analytics, Operation, Parameter, Query, Value};
use crate::{ErrorDocument, dashboards, ledger, query};
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

/// What TypeScript has for a parameter.
fn of_parameter(parameter: &Parameter) -> &'static str {
    match parameter.value {
        Value::Whole(_) => "number",
        Value::WholeOrAll(_) => "number | \"all\"",
        Value::Text => "string",
        Value::Texts => "Array<string>",
        Value::Flag => "boolean",
    }
}

/// The type of a query's document.
fn of_document(query: Query, config: &Config) -> String {
    match query {
        Query::Overview => query::Overview::name(config),
        Query::Series => query::Series::name(config),
        Query::Gateways => query::Gateways::name(config),
        Query::Errors | Query::Slow => query::Requests::name(config),
        Query::Trace => "Trace".to_owned(),
        Query::Ledger => ledger::Ledger::name(config),
        Query::Reader => query::ReaderIs::name(config),
    }
}

/// The type of the document of a query of dashboards.
fn of_dashboards(query: operations::Dashboards, config: &Config) -> String {
    match query {
        operations::Dashboards::List => dashboards::Dashboards::name(config),
        operations::Dashboards::One => dashboards::Dashboard::name(config),
        operations::Dashboards::Panel | operations::Dashboards::Annotation => dashboards::Frame::name(config),
        operations::Dashboards::Variable => dashboards::VariableValues::name(config),
    }
}

/// Each query by its path: its parameters, that of the path among them, and its document.
fn queries(config: &Config) -> String {
    let query = |operation: &Operation<Analytics>| {
        let document = match operation.kind {
            Analytics::Query(kind) => of_document(kind, config),
            Analytics::Dashboards(kind) => of_dashboards(kind, config),
            Analytics::Blame => query::Blame::name(config),
            Analytics::Events => query::Events::name(config),
            _ => return None,
        };
        let of_path = operation.path.contains("{id}").then(|| "id: string, ".to_owned());
        let of_query = operation.parameters.iter().map(|one| format!("{}?: {}, ", one.name, of_parameter(one)));
        let parameters: String = of_path.into_iter().chain(of_query).collect();
        Some(format!("\"{}\": {{ parameters: {{ {parameters}}}, document: {document}, }},\n", operation.path))
    };
    let queries: String = ANALYTICS.iter().filter_map(query).collect();
    format!(
        "/**\n * Each query by its path: its parameters and its document.\n */\nexport type Queries = {{\n{queries}}};\n\n"
    )
}

#[test]
fn the_types_of_the_page_are_current() {
    let config = Config::new().with_large_int("number");
    let mut needed = Needed { config: &config, seen: Vec::new(), declared: BTreeMap::new() };
    needed.visit::<ErrorDocument>();
    needed.visit::<query::ReaderIs>();
    needed.visit::<query::Overview>();
    needed.visit::<query::Series>();
    needed.visit::<query::Gateways>();
    needed.visit::<query::Requests>();
    needed.visit::<query::Events>();
    needed.visit::<query::Blame>();
    needed.visit::<ledger::Ledger>();
    needed.visit::<dashboards::Dashboards>();
    needed.visit::<dashboards::Dashboard>();
    needed.visit::<dashboards::Frame>();
    needed.visit::<dashboards::VariableValues>();
    let mut text =
        "// The queries of the query API and their documents. Written by `UPDATE_EXPECT=1 cargo test -p weir-api`.\n\n\
         // Scripts, which import nothing, have the types as `api.…`.\nexport as namespace api;\n\n"
            .to_owned();
    for declared in needed.declared.values() {
        let _ = writeln!(text, "{declared}");
    }
    text += &queries(&config);
    text +=
        "/**\n * `GET /api/v1/trace/{id}`.\n */\nexport type Trace = { trace_id: string, events: Array<Event>, };\n\n";
    text += "/**\n * One request at one gateway: docs/event-fields.md.\n */\nexport type Event = {\n";
    for field in FIELDS {
        let _ = writeln!(text, "/**\n * {}\n */\n{}: {},", field.meaning, field.name, of_column(column(field)));
    }
    text += "};\n";
    expect_file!["../../analytics/page/api.d.ts"].assert_eq(&text);
}
