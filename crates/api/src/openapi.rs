//! `openapi/*.json`: the operations and their documents as OpenAPI 3.1. `UPDATE_EXPECT=1 cargo test -p weir-api`
//! writes them anew.

use crate::operations::{self, Access, Admin, Analytics, Method, Operation, Parameter, Query, Value as Kind, Whole};
use crate::{ErrorDocument, admin, dashboards, ingest, ledger, query};
use expect_test::expect_file;
use schemars::generate::SchemaSettings;
use schemars::transform::RestrictFormats;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use weir_event::field::FIELDS;

/// An event, as a trace has it: one member for each field.
struct Event;

impl JsonSchema for Event {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let member = |field: &weir_event::field::Field| {
            let mut schema = of_column(column(field));
            schema["description"] = field.meaning.into();
            (field.name.to_owned(), schema)
        };
        let members: Map<_, _> = FIELDS.iter().map(member).collect();
        let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        json_schema!({
            "description": "One request at one gateway: docs/event-fields.md.",
            "type": "object",
            "properties": members,
            "required": names,
        })
    }
}

/// As JSON has it: ids are hex.
pub(crate) fn column(field: &weir_event::field::Field) -> &'static str {
    if field.name == "stream" { "String" } else { field.column }
}

/// What JSON has for a column of ClickHouse.
fn of_column(column: &str) -> Value {
    let inner = |prefix: &str| column.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(item) = inner("Array(") {
        return json!({ "type": "array", "items": of_column(item) });
    }
    if let Some(item) = inner("LowCardinality(") {
        return of_column(item);
    }
    if let Some((_, value)) = inner("Map(").and_then(|of| of.split_once(", ")) {
        return json!({ "type": "object", "additionalProperties": of_column(value) });
    }
    let kind = match column.split(['(', ' ']).next().unwrap_or_default() {
        "String" | "FixedString" | "DateTime64" | "IPv6" | "UUID" => "string",
        "UInt8" | "UInt16" | "UInt32" | "UInt64" => "integer",
        other => panic!("{other}: what is it in JSON?"),
    };
    json!({ "type": kind })
}

/// What a body is.
enum Body {
    /// A document of this schema.
    Json(Schema),
    Text,
    /// An event a line.
    Lines,
    Html,
    /// A list of this schema, or a file.
    Events(Schema),
    /// Of a form, with a token.
    Form,
    Bytes,
}

impl Body {
    fn content(self) -> Value {
        let text = json!({ "schema": { "type": "string" } });
        match self {
            Self::Json(schema) => json!({ "application/json": { "schema": schema } }),
            Self::Text => json!({ "text/plain": text }),
            Self::Lines => json!({ "application/x-ndjson": text }),
            Self::Html => json!({ "text/html": text }),
            Self::Events(schema) => json!({
                "application/json": { "schema": schema }, "text/csv": text, "application/x-ndjson": text }),
            Self::Form => json!({ "application/x-www-form-urlencoded": { "schema": {
                "type": "object", "properties": { "token": { "type": "string" } }, "required": ["token"] } } }),
            Self::Bytes => json!({ "application/octet-stream": {} }),
        }
    }
}

/// The body that a call has, if it has one, and its answers.
type Bodies = (Option<Body>, Vec<(u16, &'static str, Body)>);

/// Refused calls of an operation with parameters that costs ClickHouse something.
fn answered(document: Schema, made: &mut SchemaGenerator) -> Bodies {
    let mut error = || Body::Json(made.subschema_for::<ErrorDocument>());
    let answers = vec![
        (200, "the answer", Body::Json(document)),
        (400, "a parameter is wrong", error()),
        (422, "it costs more than a query may; ask for less", error()),
        (503, "ClickHouse is away, or as many queries run as may; with `Retry-After`", error()),
    ];
    (None, answers)
}

/// Calls of the administrator.
fn administered(document: Schema, made: &mut SchemaGenerator) -> Vec<(u16, &'static str, Body)> {
    let mut error = || Body::Json(made.subschema_for::<ErrorDocument>());
    vec![
        (200, "it is done", Body::Json(document)),
        (400, "what was sent is wrong", error()),
        (401, "the administrator's token is needed", error()),
        (403, "the token is wrong, or the call comes from a page of another site", error()),
        (503, "ClickHouse is away, or another weir-analytics writes; with `Retry-After`", error()),
    ]
}

fn of_ingest(verdicts: &[ingest::Verdict], document: &Schema) -> Vec<(u16, &'static str, Body)> {
    let status = |verdict: &ingest::Verdict| verdict.status();
    let mut statuses: Vec<_> = verdicts.iter().map(status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let said = |status| if status == 200 { "stored" } else { "not stored; `result` says why and what to do" };
    statuses.into_iter().map(|status| (status, said(status), Body::Json(document.clone()))).collect()
}

fn of_analytics(kind: Analytics, made: &mut SchemaGenerator) -> Bodies {
    let text = |meaning| (None, vec![(200, meaning, Body::Text)]);
    match kind {
        Analytics::Chunks => {
            let document = made.subschema_for::<ingest::ChunkAnswer>();
            (Some(Body::Bytes), of_ingest(&ingest::Verdict::ALL, &document))
        }
        Analytics::Streams => {
            let reports = made.subschema_for::<Vec<ingest::Report>>();
            let document = made.subschema_for::<ingest::StreamsAnswer>();
            (Some(Body::Json(reports)), of_ingest(&ingest::Verdict::ALL, &document))
        }
        Analytics::Health => {
            (None, vec![(200, "ClickHouse answers", Body::Text), (503, "it does not answer within 2 s", Body::Text)])
        }
        Analytics::Metrics => text(
            "text format 0.0.4, or OpenMetrics 1.0.0 where the client likes it better: dashboards/metrics-analytics.md",
        ),
        Analytics::Page | Analytics::DashboardPage | Analytics::LivePage | Analytics::TailPage => {
            (None, vec![(200, "the page", Body::Html)])
        }
        Analytics::LoginPage => {
            (None, vec![(200, "the form", Body::Html), (303, "no token is asked for: to the page", Body::Text)])
        }
        Analytics::Login => (
            Some(Body::Form),
            vec![
                (303, "the session has begun: a cookie, and where to go on", Body::Text),
                (400, "there is no token", Body::Json(made.subschema_for::<ErrorDocument>())),
                (401, "nobody has this token: the form again", Body::Html),
                (403, "the form is of another site", Body::Json(made.subschema_for::<ErrorDocument>())),
                (429, "wrong tokens came from this address; with `Retry-After`: the form again", Body::Html),
            ],
        ),
        Analytics::Logout => (
            None,
            vec![
                (303, "the session has ended", Body::Text),
                (403, "the call is of another site", Body::Json(made.subschema_for::<ErrorDocument>())),
            ],
        ),
        Analytics::OpenApi => (None, vec![(200, "OpenAPI 3.1", Body::Json(json_schema!({ "type": "object" })))]),
        Analytics::Blame => answered(made.subschema_for::<query::Blame>(), made),
        Analytics::Query(Query::Reader) => answered(made.subschema_for::<query::ReaderIs>(), made),
        Analytics::Query(Query::Overview) => answered(made.subschema_for::<query::Overview>(), made),
        Analytics::Query(Query::Series) => answered(made.subschema_for::<query::Series>(), made),
        Analytics::Query(Query::Gateways) => answered(made.subschema_for::<query::Gateways>(), made),
        Analytics::Query(Query::Errors) | Analytics::Query(Query::Slow) => {
            answered(made.subschema_for::<query::Requests>(), made)
        }
        Analytics::Query(Query::Trace) => {
            let event = made.subschema_for::<Event>();
            let document = json_schema!({
                "type": "object",
                "properties": { "trace_id": { "type": "string" }, "events": { "type": "array", "items": event } },
                "required": ["trace_id", "events"],
            });
            answered(document, made)
        }
        Analytics::Query(Query::Ledger) => answered(made.subschema_for::<ledger::Ledger>(), made),
        Analytics::Events => {
            let document = made.subschema_for::<query::Events>();
            let (body, mut answers) = answered(document.clone(), made);
            answers[0].2 = Body::Events(document);
            (body, answers)
        }
        Analytics::Dashboards(query) => of_dashboards(query, made),
        Analytics::Verify => {
            let (body, mut answers) = answered(made.subschema_for::<ledger::Audited>(), made);
            let why = "readers have tokens, and this is not an administrator's, or the call comes from a page of another site";
            answers.push((403, why, Body::Json(made.subschema_for::<ErrorDocument>())));
            (body, answers)
        }
        Analytics::Acknowledge => {
            let request = made.subschema_for::<ledger::Acknowledge>();
            let document = made.subschema_for::<ledger::Acknowledged>();
            let mut answers = administered(document, made);
            answers.push((404, "no such stream", Body::Json(made.subschema_for::<ErrorDocument>())));
            (Some(Body::Json(request)), answers)
        }
        Analytics::DeadLetters => (None, administered(made.subschema_for::<query::DeadLetters>(), made)),
        Analytics::DeadLetterEvents => (None, administered(made.subschema_for::<query::DeadLetterEvents>(), made)),
        Analytics::Replay => (None, administered(made.subschema_for::<query::Replayed>(), made)),
    }
}

/// Of the queries of dashboards.
fn of_dashboards(query: operations::Dashboards, made: &mut SchemaGenerator) -> Bodies {
    let document = match query {
        operations::Dashboards::List => return answered(made.subschema_for::<dashboards::Dashboards>(), made),
        operations::Dashboards::One => made.subschema_for::<dashboards::Dashboard>(),
        operations::Dashboards::Variable => made.subschema_for::<dashboards::VariableValues>(),
        operations::Dashboards::Panel | operations::Dashboards::Annotation => made.subschema_for::<dashboards::Frame>(),
    };
    let (body, mut answers) = answered(document, made);
    answers.push((
        404,
        "there is no such dashboard, panel or variable",
        Body::Json(made.subschema_for::<ErrorDocument>()),
    ));
    (body, answers)
}

fn of_admin(kind: Admin, made: &mut SchemaGenerator) -> Bodies {
    let text = |meaning| (None, vec![(200, meaning, Body::Text)]);
    let json = |schema| (None, vec![(200, "the document", Body::Json(schema))]);
    match kind {
        Admin::Index => text("which paths there are"),
        Admin::OpenApi => json(json_schema!({ "type": "object" })),
        Admin::Liveness => (
            None,
            vec![(200, "`alive`", Body::Text), (503, "a worker stands still: its name and for how long", Body::Text)],
        ),
        Admin::Readiness => (None, vec![(200, "`ready`", Body::Text), (503, "why it is not", Body::Text)]),
        Admin::Metrics => {
            text("text format 0.0.4, or OpenMetrics 1.0.0 where the client likes it better: dashboards/metrics.md")
        }
        Admin::Status => json(made.subschema_for::<admin::Status>()),
        Admin::Ledger => json(made.subschema_for::<admin::GatewayLedger>()),
        Admin::Dump => json(made.subschema_for::<admin::Dump>()),
        Admin::Tail => (
            None,
            vec![(
                200,
                "an event a line: docs/event-fields.md; `{\"missed\": N}` where it reads too slowly",
                Body::Lines,
            )],
        ),
        Admin::PipelineSpans => {
            let document = Body::Json(made.subschema_for::<admin::PipelineSpans>());
            let error = Body::Json(made.subschema_for::<ErrorDocument>());
            (None, vec![(200, "the answer", document), (400, "this is no trace", error)])
        }
        Admin::PipelineMark => {
            let mut error = || Body::Json(made.subschema_for::<ErrorDocument>());
            let refused = vec![
                (401, "the administrator's token is needed", error()),
                (403, "only the administrator may, and no page of another site", error()),
                (503, "no mark can be made: the gateway drains, or its system has no random numbers", error()),
            ];
            let made = (200, "the mark", Body::Json(made.subschema_for::<admin::PipelineMark>()));
            (None, [vec![made], refused].into_iter().flatten().collect())
        }
        Admin::Reload => (None, changed(made)),
        Admin::DebugRules => json(made.subschema_for::<admin::DebugRules>()),
        Admin::AddDebugRule => {
            (None, debug_rule((201, "the rule"), (409, "no spans are made here, or there are too many rules"), made))
        }
        Admin::EndDebugRule => (None, debug_rule((200, "the rule"), (404, "there is no such rule"), made)),
        Admin::Rollback => {
            let mut answers = changed(made);
            let unconfirmed = Body::Json(made.subschema_for::<admin::Unconfirmed>());
            answers.push((404, "no such generation is kept", Body::Json(made.subschema_for::<ErrorDocument>())));
            answers.push((409, "it opens what is closed now: `confirm=true`", unconfirmed));
            (None, answers)
        }
    }
}

fn debug_rule(
    (done, what): (u16, &'static str),
    (other, why): (u16, &'static str),
    made: &mut SchemaGenerator,
) -> Vec<(u16, &'static str, Body)> {
    let mut answers = vec![(done, what, Body::Json(made.subschema_for::<admin::DebugRule>()))];
    for (status, why) in [
        (400, "a parameter is wrong"),
        (401, "the administrator's token is needed"),
        (403, "only the administrator may, and no page of another site"),
        (other, why),
    ] {
        answers.push((status, why, Body::Json(made.subschema_for::<ErrorDocument>())));
    }
    answers
}

fn changed(made: &mut SchemaGenerator) -> Vec<(u16, &'static str, Body)> {
    vec![
        (200, "it is loaded", Body::Json(made.subschema_for::<admin::Changed>())),
        (400, "a parameter is wrong", Body::Json(made.subschema_for::<ErrorDocument>())),
        (401, "the administrator's token is needed", Body::Json(made.subschema_for::<ErrorDocument>())),
        (
            403,
            "only the administrator may, and no page of another site",
            Body::Json(made.subschema_for::<ErrorDocument>()),
        ),
        (422, "the configuration is wrong", Body::Json(made.subschema_for::<admin::Refused>())),
        (503, "the gateway drains", Body::Json(made.subschema_for::<ErrorDocument>())),
        (504, "not every worker serves it yet", Body::Json(made.subschema_for::<admin::Changed>())),
    ]
}

fn parameter(parameter: &Parameter) -> Value {
    let whole = |whole: Whole| {
        let mut schema = json!({ "type": "integer", "minimum": whole.least, "maximum": whole.most });
        if let Some(default) = whole.default {
            schema["default"] = default.into();
        }
        schema
    };
    let schema = match parameter.value {
        Kind::Whole(bounds) => whole(bounds),
        Kind::WholeOrAll(bounds) => json!({ "oneOf": [whole(bounds), { "const": "all" }] }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Flag => json!({ "type": "boolean", "default": false }),
    };
    json!({ "name": parameter.name, "in": "query", "description": parameter.meaning, "schema": schema })
}

/// Why a reader is not answered.
const UNKNOWN: &str = "a reader's token or a session is needed, where the port is open to others or has readers";

/// The document of one server.
fn document<K: Copy + std::fmt::Debug>(
    title: &str,
    has_readers: bool,
    operations: &[Operation<K>],
    bodies: impl Fn(K, &mut SchemaGenerator) -> Bodies,
) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RestrictFormats::default());
    settings.definitions_path = "/components/schemas".into();
    let mut made = settings.into_generator();
    let mut paths = Map::new();
    for operation in operations {
        let (body, answers) = bodies(operation.kind, &mut made);
        let mut parameters: Vec<_> = operation.parameters.iter().map(parameter).collect();
        if operation.path.contains("{id}") {
            let is_dashboard = operation.path.starts_with("/d/") || operation.path.contains("/dashboards/");
            let pattern = if is_dashboard { "^[a-z0-9-]{1,40}$" } else { "^[0-9a-f]{32}$" };
            let schema = json!({ "type": "string", "pattern": pattern });
            parameters.insert(0, json!({ "name": "id", "in": "path", "required": true, "schema": schema }));
        }
        let answer = |(status, meaning, body): (u16, &str, Body)| {
            (status.to_string(), json!({ "description": meaning, "content": body.content() }))
        };
        let mut answers: Map<_, _> = answers.into_iter().map(answer).collect();
        if has_readers && matches!(operation.access, Access::Reader | Access::Administrator) {
            let error = made.subschema_for::<ErrorDocument>();
            for (status, why) in [(401, UNKNOWN), (429, "wrong tokens came from this address; with `Retry-After`")] {
                let described = json!({ "description": why, "content": Body::Json(error.clone()).content() });
                answers.entry(status.to_string()).or_insert(described);
            }
            if format!("{:?}", operation.kind).ends_with("Page") {
                answers.insert("303".to_owned(), json!({ "description": "to the form, where a session is needed" }));
            }
        }
        let mut described = json!({
            "operationId": format!("{:?}", operation.kind).replace("Query(", "").replace(['(', ')'], ""),
            "summary": operation.summary,
            "parameters": parameters,
            "responses": answers,
        });
        if let Some(body) = body {
            described["requestBody"] = json!({ "required": true, "content": body.content() });
        }
        let scheme = match operation.access {
            Access::Anybody | Access::Visitor => None,
            Access::Reader => has_readers.then(|| json!([{}, { "reader": [] }, { "session": [] }])),
            Access::Gateway => Some(json!([{ "gateway": [] }])),
            Access::Administrator if has_readers => {
                Some(json!([{ "administrator": [] }, { "reader": [] }, { "session": [] }]))
            }
            Access::Administrator => Some(json!([{ "administrator": [] }])),
        };
        if let Some(scheme) = scheme {
            described["security"] = scheme;
        }
        let method = match operation.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        assert!(path.get(method).is_none(), "{} has two", operation.path);
        path[method] = described;
    }
    let bearer = |what: &str| json!({ "type": "http", "scheme": "bearer", "description": what });
    let mut schemes = json!({
        "gateway": bearer("a token of --tokens"),
        "administrator": bearer("the token of --admin-token-file"),
    });
    if has_readers {
        schemes["reader"] = bearer("a token of --readers, or the administrator's");
        schemes["session"] = json!({ "type": "apiKey", "in": "cookie", "name": "weir_session" });
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": made.take_definitions(true),
            "securitySchemes": schemes,
        },
    })
}

fn written(document: &Value) -> String {
    format!("{document:#}\n")
}

#[test]
fn the_description_of_weir_analytics_is_current() {
    let made = document("weir-analytics", true, operations::ANALYTICS, of_analytics);
    expect_file!["../openapi/analytics.json"].assert_eq(&written(&made));
}

#[test]
fn the_description_of_the_gateway_is_current() {
    let made = document("weir: the admin port", false, operations::ADMIN, of_admin);
    expect_file!["../openapi/gateway.json"].assert_eq(&written(&made));
}
