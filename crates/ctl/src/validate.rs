//! `weirctl validate`: the mistakes that a load would tell, offline.

use crate::args::ValidateOptions;
use crate::terminal::{say, say_json, tell};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use weir_config::{ConfigError, ConfigErrors, GatewayConfig};

/// Loads as a gateway would, and says what it found.
pub fn validate(options: &ValidateOptions) -> Result<Outcome, Failure> {
    let outcome = weir_config::load(&options.config, &|name| std::env::var(name).ok());
    match (&outcome, options.json) {
        (_, true) => say_json(format_args!("{:#}", document(&outcome)))?,
        (Ok(config), _) => {
            let (apis, routes) = (config.apis.len(), routes(config));
            config.warnings.iter().for_each(|warning| tell(format_args!("warning: {warning}")));
            say(format_args!("the configuration is valid: {apis} APIs with {routes} routes"))?;
        }
        (Err(errors), _) => tell(errors),
    }
    Ok(if outcome.is_ok() { Outcome::Well } else { Outcome::No })
}

fn document(outcome: &Result<GatewayConfig, ConfigErrors>) -> Value {
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
