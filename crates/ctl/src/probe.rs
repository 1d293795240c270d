//! `weirctl probe`: for the liveness and readiness commands of an orchestrator, and for a look at the whole pipeline.

use crate::args::Args;
use crate::pipeline::pipeline;
use crate::probe_args::{Check, ProbeOptions};
use crate::terminal::{say, say_json, tell};
use crate::{Failure, Outcome, fetch};
use http::StatusCode;
use serde_json::json;

/// Asks the first gateway.
pub async fn probe(args: &Args, options: &ProbeOptions) -> Result<Outcome, Failure> {
    match (options.check, options.allow_api_errors) {
        (Check::Liveness, _) => asked(args, options, "liveness", "/probes/liveness").await,
        (Check::Readiness, false) => asked(args, options, "readiness", "/probes/readiness").await,
        (Check::Readiness, true) => asked(args, options, "readiness", "/probes/readiness?allowAPIErrors=true").await,
        (Check::Pipeline, _) => {
            let gateways = args.administered(&options.pipeline.admin);
            pipeline(&gateways, &args.asked()?, options).await
        }
    }
}

/// What the gateway says of itself. Nobody there is a no as well.
async fn asked(args: &Args, options: &ProbeOptions, check: &str, path: &str) -> Result<Outcome, Failure> {
    let admin = args.gateways();
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
