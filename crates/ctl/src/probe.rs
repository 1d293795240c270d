//! `weirctl probe`: for the liveness and readiness commands of an orchestrator.

use crate::args::{Check, ProbeOptions};
use crate::fetch;
use http::StatusCode;
use serde_json::json;
use std::process::ExitCode;

/// Asks the first admin address. 0 for yes; 1 for no, and for no answer.
pub async fn probe(admin: &[String], options: &ProbeOptions) -> ExitCode {
    let (check, path) = match (options.check, options.allow_api_errors) {
        (Check::Liveness, _) => ("liveness", "/probes/liveness"),
        (Check::Readiness, false) => ("readiness", "/probes/readiness"),
        (Check::Readiness, true) => ("readiness", "/probes/readiness?allowAPIErrors=true"),
    };
    let base = admin.first().map_or("", String::as_str);
    let asked = fetch::get(base, path).await;
    let (ok, message) = match &asked {
        Ok((_, status, body)) => (*status == StatusCode::OK, body.trim_end().to_owned()),
        Err(error) => (false, error.to_string()),
    };
    if options.json {
        println!("{}", json!({"check": check, "ok": ok, "message": message}));
    } else if asked.is_ok() {
        println!("{message}");
    } else {
        eprintln!("{message}");
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
