//! What the page asks for each dashboard: the values of variables, annotations, and the queries of panels.

use crate::load::http;
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What a query reads, which decides how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    RollUp,
    Raw,
    /// Samples of gateways, reports of streams, the engine's own tables.
    Others,
}

impl Reads {
    fn of(query: &str) -> Self {
        match (query.contains("access_events"), query.contains("_1m")) {
            (true, _) => Self::Raw,
            (false, true) => Self::RollUp,
            (false, false) => Self::Others,
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RollUp => "roll-up",
            Self::Raw => "raw",
            Self::Others => "other",
        })
    }
}

/// One query, asked as the page asks it.
pub struct Question {
    pub dashboard: String,
    pub what: String,
    pub reads: Reads,
    /// All but the time.
    pub target: String,
}

impl Question {
    pub fn limit_ms(&self) -> f64 {
        if self.reads == Reads::Raw { 400.0 } else { 100.0 }
    }
}

/// Every question of every dashboard that the server has. Those that a trace can be chosen for are asked with one too.
pub fn all(analytics: SocketAddr, trace: &str) -> io::Result<Vec<Question>> {
    let mut all = Vec::new();
    for line in list(&document(analytics, "/api/v1/dashboards")?["rows"]) {
        let uid = text(&line["uid"]);
        all.extend(of(&document(analytics, &format!("/api/v1/dashboards/{uid}"))?, trace));
    }
    if all.is_empty() {
        return Err(io::Error::other("there are no dashboards"));
    }
    Ok(all)
}

fn document(analytics: SocketAddr, path: &str) -> io::Result<Value> {
    match http::get(analytics, path)? {
        (200, text) => Ok(serde_json::from_str(&text)?),
        (status, text) => Err(io::Error::other(format!("`{path}` was answered {status}: {text}"))),
    }
}

fn of(dashboard: &Value, trace: &str) -> Vec<Question> {
    let uid = text(&dashboard["uid"]);
    let question = |what: String, query: &Value, rest: String| {
        let (reads, target) = (Reads::of(text(query)), format!("/api/v1/dashboards/{uid}/{rest}"));
        Question { dashboard: uid.to_owned(), what, reads, target }
    };
    let variables = list(&dashboard["templating"]["list"]);
    let mut all = Vec::new();
    for variable in variables.iter().filter(|one| one["query"]["rawSql"].is_string()) {
        let name = text(&variable["name"]);
        all.push(question(format!("values of {name}"), &variable["query"]["rawSql"], format!("variable?name={name}")));
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        let name = text(&annotation["name"]);
        let rest = format!("annotation?name={}", name.replace(' ', "+"));
        all.push(question(name.to_owned(), &annotation["target"]["rawSql"], rest));
    }
    let has_trace = variables.iter().any(|one| one["name"] == "trace");
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let name = format!("{} {} {}", panel["id"], text(&panel["title"]), text(&target["refId"]));
            let (id, ref_id, step) = (&panel["id"], text(&target["refId"]), step_s(&panel["gridPos"]["w"]));
            let rest = format!("panel?panel={id}&target={ref_id}&step={step}");
            if has_trace && text(&target["rawSql"]).contains("${trace") {
                let name = format!("{name}, of one trace");
                all.push(question(name, &target["rawSql"], format!("{rest}&var=trace:{trace}")));
            }
            all.push(question(name, &target["rawSql"], rest));
        }
    }
    all
}

/// The step of a chart of a day on a page of 1280 pixels: the page's own rule (`pane/time.ts`), four pixels a step.
fn step_s(width: &Value) -> u64 {
    let pixels = width.as_u64().unwrap_or(24) * 1280 / 24;
    let wanted = 86_400 / (pixels / 4).max(50);
    [60, 120, 300, 600, 900, 1800].into_iter().find(|one| *one >= wanted).unwrap_or(3600)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
