//! How parts of a configuration are shown to operators: everything but secrets.

use serde_json::{Map, Value};

use crate::environment::VARIABLES;
use crate::logging::RequestLines;
use crate::model::GatewayConfig;
use crate::otel;
pub use crate::pem::{REDACTED, authorities_view as authorities, key_pair_view as key_pair};
use crate::resources::{access_log_view, api_tracing_view};
use crate::schema::described_settings;
use crate::tracing::ApiTracing;
pub use crate::units::time;

/// Every setting of `config` under the key that a `Configuration` has for it; and what only variables set, by their names.
pub fn settings(config: &GatewayConfig) -> Value {
    let mut settings = described_settings(config);
    let variables: Map<_, _> = VARIABLES.iter().map(|one| (one.name.to_owned(), one.value(config))).collect();
    settings["environment"] = Value::Object(variables);
    settings
}

/// Which requests of an API have a line in the access log.
pub fn access_log(lines: &RequestLines) -> Value {
    access_log_view(lines)
}

/// How requests of an API are traced.
pub fn tracing(tracing: &ApiTracing) -> Value {
    api_tracing_view(tracing)
}

/// The environment variables that set something, each with its meaning.
pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().map(|one| (one.name, one.meaning)).chain(otel::VARIABLES)
}
