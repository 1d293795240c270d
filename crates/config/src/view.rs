//! How parts of a configuration are shown to operators: everything but secrets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::environment::VARIABLES;
use crate::model::GatewayConfig;
use crate::pem::{Authorities, KeyPair};
use crate::schema::described_settings;

/// What stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// A duration as a configuration writes it: `15s`, `250ms`.
pub fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

/// Every setting of `config` under the key that a `Configuration` has for it; and what only variables set, by their names.
pub fn settings(config: &GatewayConfig) -> Value {
    let mut settings = described_settings(config);
    let variables: Map<_, _> = VARIABLES.iter().map(|one| (one.name.to_owned(), one.value(config))).collect();
    settings["environment"] = Value::Object(variables);
    settings
}

/// The environment variables that set something, each with its meaning.
pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().map(|one| (one.name, one.meaning))
}

/// Certificates that vouch for others.
pub fn authorities(Authorities { certificates, place }: &Authorities) -> Value {
    json!({"certificates": certificates.len(), "written_at": place.to_string()})
}

/// A certificate with its key.
pub fn key_pair(KeyPair { chain, key: _, validity: _, place }: &KeyPair) -> Value {
    json!({"certificates": chain.len(), "key": REDACTED, "written_at": place.to_string()})
}
