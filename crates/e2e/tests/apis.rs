//! What the servers answer is what `weir-api` says, for every operation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use weir_api::operations::{ADMIN, ANALYTICS, Access, Admin, Analytics, Dashboards, Method, Query};
use weir_api::{admin, ledger, query};
use weir_e2e::TestStack;
use weir_event::field::FIELDS;
use weir_testkit::get;
use weir_testkit::witness::Witness;

/// The dashboard that is asked for.
const DASHBOARD: &str = "weir-fleet";

/// What is asked of an operation: of a trace, or of a dashboard with what it needs.
fn asked_for(kind: Analytics, path: &str, trace: &str) -> String {
    match kind {
        Analytics::DashboardPage => path.replace("{id}", DASHBOARD),
        Analytics::Dashboards(of) => {
            let asks = match of {
                Dashboards::List | Dashboards::One => "",
                Dashboards::Panel => "?panel=1",
                Dashboards::Annotation => "?name=configuration+changes",
                Dashboards::Variable => "?name=site",
            };
            format!("{}{asks}", path.replace("{id}", DASHBOARD))
        }
        Analytics::Blame => format!("{path}?var=api:api-0"),
        _ => path.replace("{id}", trace),
    }
}

/// The document is of this type, and has no member more.
fn is<T: Serialize + DeserializeOwned>(path: &str, body: &str) -> T {
    let document: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    let read: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), document, "{path}");
    read
}

/// What is asked with `GET` and ends by itself, each with its body.
async fn answered(address: SocketAddr, path: &str) -> String {
    let (status, body) = get(&format!("http://{address}{path}")).await.unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_of_weir_analytics_is_of_its_type() {
    let stack = TestStack::start(None).await.unwrap();
    Witness::start(stack.traffic(200, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let ask = async |path: String| answered(stack.analytics_at, &path).await;
    let slow: query::Requests = is("slow", &ask("/api/v1/slow".to_owned()).await);
    assert_eq!(slow.rows.len(), 50);
    // Without readers there is no form: it leads on.
    let asked = |operation: &&weir_api::operations::Operation<Analytics>| {
        operation.method == Method::Get && operation.kind != Analytics::LoginPage
    };
    for operation in ANALYTICS.iter().filter(asked) {
        let path = asked_for(operation.kind, operation.path, &slow.rows[0].trace_id);
        if operation.access == Access::Administrator {
            // It needs the token; `weirctl deadletters` reads these in other tests.
            assert_eq!(get(&format!("http://{}{path}", stack.analytics_at)).await.unwrap().0, 401, "{path}");
            continue;
        }
        let body = ask(path.clone()).await;
        match operation.kind {
            Analytics::Query(Query::Overview) => {
                assert!(!is::<query::Overview>(&path, &body).rows.is_empty());
            }
            Analytics::Query(Query::Series) => assert!(!is::<query::Series>(&path, &body).rows.is_empty()),
            Analytics::Query(Query::Gateways) => assert!(!is::<query::Gateways>(&path, &body).rows.is_empty()),
            Analytics::Query(Query::Reader) => drop(is::<query::ReaderIs>(&path, &body)),
            Analytics::Query(Query::Errors | Query::Slow) => drop(is::<query::Requests>(&path, &body)),
            Analytics::Query(Query::Ledger) => {
                let ledger: ledger::Ledger = is(&path, &body);
                assert!(!ledger.streams.is_empty() && ledger.stored == 200, "{body}");
            }
            Analytics::Query(Query::Trace) => events(&is::<query::Trace<Value>>(&path, &body)),
            Analytics::Dashboards(Dashboards::List) => {
                assert!(!is::<weir_api::dashboards::Dashboards>(&path, &body).rows.is_empty());
            }
            // It is sent as its file has it, so that members may be left out; `weir-analytics` holds each file against the type.
            Analytics::Dashboards(Dashboards::One) => {
                let read: weir_api::dashboards::Dashboard = serde_json::from_str(&body).unwrap();
                assert_eq!(read.uid, DASHBOARD);
            }
            Analytics::Dashboards(Dashboards::Panel) => {
                let frame: weir_api::dashboards::Frame = is(&path, &body);
                let names: Vec<_> = frame.columns.iter().map(|column| column.name.as_str()).collect();
                let file = ask(format!("{path}&format=csv")).await;
                assert!(!frame.rows.is_empty() && file.starts_with(&format!("{}\r\n", names.join(","))), "{file}");
                assert_eq!(file.matches("\r\n").count(), frame.rows.len() + 1);
            }
            // No configuration has changed.
            Analytics::Dashboards(Dashboards::Annotation) => drop(is::<weir_api::dashboards::Frame>(&path, &body)),
            Analytics::Dashboards(Dashboards::Variable) => {
                assert!(!is::<weir_api::dashboards::VariableValues>(&path, &body).values.is_empty(), "{path}");
            }
            Analytics::Blame => assert!(is::<query::Blame>(&path, &body).changes.is_empty(), "nothing has changed"),
            Analytics::Events => assert!(!is::<query::Events>(&path, &body).rows.is_empty()),
            Analytics::Health
            | Analytics::Metrics
            | Analytics::Page
            | Analytics::DashboardPage
            | Analytics::LivePage
            | Analytics::TailPage => {}
            Analytics::OpenApi => describes(&body, ANALYTICS.iter().map(|operation| operation.path)),
            Analytics::Chunks
            | Analytics::Streams
            | Analytics::LoginPage
            | Analytics::Login
            | Analytics::Logout
            | Analytics::Verify
            | Analytics::Acknowledge
            | Analytics::DeadLetters
            | Analytics::DeadLetterEvents
            | Analytics::Replay => panic!("{path} is not asked here"),
        }
    }
}

/// The events of a trace have every field, and no other.
fn events(trace: &query::Trace<Value>) {
    assert_eq!(trace.events.len(), 1);
    let members = trace.events[0].as_object().unwrap();
    assert_eq!(members.len(), FIELDS.len());
    for field in FIELDS {
        let value = &members[field.name];
        let fits = match field.column {
            // Ids are hex.
            _ if field.name == "stream" => value.is_string(),
            column if column.starts_with("UInt") => value.is_u64(),
            column if column.starts_with("Array(") => value.is_array(),
            column if column.starts_with("Map(") => value.is_object(),
            _ => value.is_string(),
        };
        assert!(fits, "{} is {value}", field.name);
    }
}

fn describes<'p>(body: &str, paths: impl Iterator<Item = &'p str>) {
    let document: Value = serde_json::from_str(body).unwrap();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{body}");
    paths.for_each(|path| assert!(document["paths"].get(path).is_some(), "{path}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_document_of_a_gateway_is_of_its_type() {
    let stack = TestStack::start(None).await.unwrap();
    Witness::start(stack.traffic(100, 400.0)).unwrap().wait().await.unwrap();
    let admin_at = stack.admin().unwrap();
    let asked = ADMIN.iter().filter(|operation| operation.method == Method::Get && operation.kind != Admin::Tail);
    for operation in asked {
        let path = &operation.path.replace("{id}", &"0".repeat(32));
        let body = answered(admin_at, path).await;
        match operation.kind {
            Admin::Status => {
                let status: admin::Status = is(path, &body);
                assert!(status.serving.is_some_and(|serving| !serving.workers.is_empty()), "{body}");
            }
            Admin::Ledger => assert!(!is::<admin::GatewayLedger>(path, &body).streams.is_empty()),
            Admin::Dump => {
                let dump: admin::Dump = is(path, &body);
                assert!(!dump.listeners.is_empty() && dump.configuration["apis"].is_array(), "{body}");
            }
            Admin::Index => ADMIN.iter().for_each(|operation| assert!(body.contains(operation.path), "{body}")),
            Admin::OpenApi => describes(&body, ADMIN.iter().map(|operation| operation.path)),
            Admin::Liveness | Admin::Readiness | Admin::Metrics => {}
            Admin::DebugRules => assert!(is::<admin::DebugRules>(path, &body).rules.is_empty()),
            Admin::PipelineSpans => {
                let spans: admin::PipelineSpans = is(path, &body);
                assert_eq!(spans.state, admin::SpansState::NotConfigured);
            }
            Admin::PipelineMark
            | Admin::Tail
            | Admin::Reload
            | Admin::Rollback
            | Admin::AddDebugRule
            | Admin::EndDebugRule => panic!("{path} is not asked here"),
        }
    }
}
