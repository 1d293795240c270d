//! Flex's environment variables: what they set, unless the YAML does.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::ConfigError;
use crate::model::{GatewayConfig, UpstreamHost};
use crate::read::{Env, Errors, read_bool, show};
use crate::units::{parse_duration, time};

/// A variable, and the field that it sets.
pub(crate) struct Variable {
    pub name: &'static str,
    pub meaning: &'static str,
    sets: Sets,
}

enum Sets {
    /// Seconds as a whole number from 1, or a time with its unit such as `25s`.
    Seconds(fn(&mut GatewayConfig) -> &mut Duration),
    Boolean(fn(&mut GatewayConfig) -> &mut bool),
    /// `authority` or `original`.
    UpstreamHost,
}

/// Every variable.
pub(crate) const VARIABLES: [Variable; 7] = [
    Variable {
        name: "FLEX_STREAM_IDLE_TIMEOUT_SECONDS",
        meaning: "`timeouts.streamIdleSeconds`",
        sets: Sets::Seconds(|config| &mut config.timeouts.stream_idle),
    },
    Variable {
        name: "FLEX_UPSTREAM_RESPONSE_TIMEOUT_SECONDS",
        meaning: "`timeouts.upstreamResponseSeconds`",
        sets: Sets::Seconds(|config| &mut config.timeouts.upstream_response),
    },
    Variable {
        name: "FLEX_UPSTREAM_CONNECTION_IDLE_TIMEOUT_SECONDS",
        meaning: "`timeouts.upstreamConnectionIdleSeconds`",
        sets: Sets::Seconds(|config| &mut config.timeouts.upstream_connection_idle),
    },
    Variable {
        name: "FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS",
        meaning: "a client's connection without a request is closed",
        sets: Sets::Seconds(|config| &mut config.timeouts.downstream_connection_idle),
    },
    Variable {
        name: "FLEX_SERVICE_ENVOY_DRAIN_TIME",
        meaning: "how long open requests may take after SIGTERM",
        sets: Sets::Seconds(|config| &mut config.drain),
    },
    Variable {
        name: "FLEX_REWRITE_HOST_HEADER",
        meaning: "`upstreamHost`: `authority` where true, `original` where false",
        sets: Sets::UpstreamHost,
    },
    Variable {
        name: "FLEX_PRESERVE_EXTERNAL_REQUEST_ID",
        meaning: "whether an `X-Request-ID` that came in is kept",
        sets: Sets::Boolean(|config| &mut config.preserve_request_id),
    },
];

impl Variable {
    /// What its field holds, as the variable writes it.
    pub fn value(&self, config: &GatewayConfig) -> Value {
        let mut config = config.settings();
        match self.sets {
            Sets::Seconds(field) => json!(time(*field(&mut config))),
            Sets::Boolean(field) => json!(*field(&mut config)),
            Sets::UpstreamHost => json!(config.upstream_host != UpstreamHost::Original),
        }
    }
}

/// Reads variables; a bad value is reported and counts as absent.
pub(crate) struct Variables<'a> {
    pub env: Env<'a>,
    pub errors: &'a Errors,
}

impl Variables<'_> {
    /// Sets every field whose variable is there.
    pub fn apply(&self, config: &mut GatewayConfig) {
        for Variable { name, sets, .. } in &VARIABLES {
            match sets {
                Sets::Seconds(field) => self.seconds(name).into_iter().for_each(|time| *field(config) = time),
                Sets::Boolean(field) => self.boolean(name).into_iter().for_each(|is| *field(config) = is),
                Sets::UpstreamHost => {
                    if let Some(rewritten) = self.boolean(name) {
                        config.upstream_host = if rewritten { UpstreamHost::Authority } else { UpstreamHost::Original };
                    }
                }
            }
        }
    }

    /// The text of a variable; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The first of two names if it is there, and otherwise the other.
    pub fn either(&self, first: &'static str, other: &'static str) -> &'static str {
        if self.text(first).is_some() { first } else { other }
    }

    pub fn milliseconds(&self, name: &str) -> Option<Duration> {
        self.read(name, "write a number of milliseconds from 1", |text| {
            text.parse().ok().filter(|time| (1..=86_400_000).contains(time)).map(Duration::from_millis)
        })
    }

    pub fn count(&self, name: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let cure = format!("write a whole number from {} to {}", range.start(), range.end());
        self.read(name, &cure, |text| text.parse().ok().filter(|count| range.contains(count)))
    }

    fn seconds(&self, name: &str) -> Option<Duration> {
        self.read(name, "write a number of seconds from 1", |text| {
            let time = text.parse().map(Duration::from_secs).ok().or_else(|| parse_duration(text).ok())?;
            (Duration::from_secs(1)..=Duration::from_secs(31_536_000)).contains(&time).then_some(time)
        })
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        self.read(name, "write true or false", |text| read_bool(text).ok())
    }

    /// An empty one counts as absent, as OpenTelemetry asks of its own.
    pub fn read<T>(&self, name: &str, fix: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        // What is read for several signals is wrong once.
        let is_new = || self.errors.borrow().iter().all(|error| error.path != name);
        if value.is_none() && is_new() {
            self.errors.borrow_mut().push(ConfigError {
                file: PathBuf::from("environment"),
                line: 0,
                column: 0,
                resource: String::new(),
                path: name.to_owned(),
                message: format!("`{}` cannot be used; {fix}", show(&text)),
            });
        }
        value
    }
}
