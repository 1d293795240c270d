//! `weirctl probe`: for the liveness and readiness commands of an orchestrator.

use crate::args::{Check, ProbeOptions};
use crate::terminal::{say, say_json, tell};
use crate::{Failure, Outcome, fetch};
use http::StatusCode;
use serde_json::json;

/// Asks the first admin address. Nobody there is a no as well.
pub async fn probe(admin: &[String], options: &ProbeOptions) -> Result<Outcome, Failure> {
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
        say_json(json!({"check": check, "ok": ok, "message": message}))?;
    } else if asked.is_ok() {
        say(message)?;
    } else {
        tell(message);
    }
    Ok(if ok { Outcome::Well } else { Outcome::No })
}
