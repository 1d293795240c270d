//! `weirctl probe`: for the liveness and readiness commands of an orchestrator.

use crate::args::{Check, ProbeOptions};
use crate::fetch;
use http::StatusCode;
use std::process::ExitCode;

/// Asks the first admin address. 0 for yes; 1 for no, and for no answer.
pub async fn probe(admin: &[String], options: &ProbeOptions) -> ExitCode {
    let path = match (options.check, options.allow_api_errors) {
        (Check::Liveness, _) => "/probes/liveness",
        (Check::Readiness, false) => "/probes/readiness",
        (Check::Readiness, true) => "/probes/readiness?allowAPIErrors=true",
    };
    let base = admin.first().map_or("", String::as_str);
    match fetch::get(base, path).await {
        Ok((_, status, body)) => {
            print!("{body}");
            if status == StatusCode::OK { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
