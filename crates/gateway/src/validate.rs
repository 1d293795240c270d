//! `weir validate`: the checks of a load, offline.

use crate::args::ValidateOptions;
use crate::exit;
use serde_json::{Value, json};
use std::process::ExitCode;
use weir_config::{ConfigError, GatewayConfig};
use weir_program::say;
use weir_proxy::{Registry, Snapshot, SnapshotError};

/// Loads and compiles as `weir run` would, and says what it found.
pub fn validate(options: &ValidateOptions) -> ExitCode {
    let outcome = check(options);
    let said = match (&outcome, options.json) {
        (_, true) => say(format_args!("{:#}", document(&outcome))),
        (Ok(config), _) => {
            let (apis, routes) = (config.apis.len(), routes(config));
            config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            say(format_args!("the configuration is valid: {apis} APIs with {routes} routes"))
        }
        (Err(errors), _) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            Ok(())
        }
    };
    if outcome.is_ok() { exit::printed(said) } else { exit::WRONG }
}

fn check(options: &ValidateOptions) -> Result<GatewayConfig, Vec<ConfigError>> {
    let config = weir_config::load(&options.config, &|name| std::env::var(name).ok());
    let config = config.map_err(|errors| errors.iter().cloned().collect::<Vec<_>>())?;
    Snapshot::compile(&config, 1, &Registry::new(1)).map_err(|error| vec![placed(error)])?;
    Ok(config)
}

/// What shows only when it is compiled, with the place where it was written if that is known.
fn placed(error: SnapshotError) -> ConfigError {
    match error {
        SnapshotError::Tls(error) => *error,
        other => ConfigError {
            file: "configuration".into(),
            line: 0,
            column: 0,
            resource: String::new(),
            path: String::new(),
            message: other.to_string(),
        },
    }
}

fn document(outcome: &Result<GatewayConfig, Vec<ConfigError>>) -> Value {
    match outcome {
        Ok(config) => {
            let warnings: Vec<_> = config.warnings.iter().map(mistake).collect();
            let (apis, routes) = (config.apis.len(), routes(config));
            json!({"valid": true, "apis": apis, "routes": routes, "errors": [], "warnings": warnings})
        }
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(mistake).collect();
            json!({"valid": false, "apis": null, "routes": null, "errors": errors, "warnings": []})
        }
    }
}

/// As `weirctl validate --json` writes it: a test holds the two together.
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
