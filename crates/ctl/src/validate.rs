//! `weirctl validate`: the mistakes that a load would tell, offline.

use crate::args::ValidateOptions;
use serde_json::{Value, json};
use std::process::ExitCode;
use weir_config::{ConfigError, ConfigErrors, GatewayConfig};

/// Loads as a gateway would, and says what it found.
pub fn validate(options: &ValidateOptions) -> ExitCode {
    let outcome = weir_config::load(&options.config, &|name| std::env::var(name).ok());
    match (&outcome, options.json) {
        (_, true) => println!("{:#}", document(&outcome)),
        (Ok(config), _) => {
            println!("the configuration is right: {} APIs with {} routes", config.apis.len(), routes(config));
        }
        (Err(errors), _) => eprintln!("{errors}"),
    }
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn document(outcome: &Result<GatewayConfig, ConfigErrors>) -> Value {
    match outcome {
        Ok(config) => json!({"valid": true, "apis": config.apis.len(), "routes": routes(config), "errors": []}),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(mistake).collect();
            json!({"valid": false, "apis": null, "routes": null, "errors": errors})
        }
    }
}

/// As `weir validate --json` writes it: a test holds the two together.
fn mistake(error: &ConfigError) -> Value {
    json!({
        "file": error.file.to_string_lossy(),
        "line": error.line,
        "column": error.column,
        "resource": error.resource,
        "path": error.path,
        "message": error.message,
    })
}

fn routes(config: &GatewayConfig) -> usize {
    config.apis.iter().map(|api| api.routes.len()).sum()
}
