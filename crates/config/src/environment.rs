//! Flex's environment variables: what they set, unless the YAML does.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::read::{Env, Errors, read_bool, show};
use crate::units::parse_duration;

/// Reads variables; a bad value is told and counts as absent.
pub(crate) struct Variables<'a> {
    pub env: Env<'a>,
    pub errors: &'a Errors,
}

impl Variables<'_> {
    /// Seconds as a whole number from 1, or a time with its unit such as `25s`.
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        self.read(name, "write a number of seconds from 1", |text| {
            let time = text.parse().map(Duration::from_secs).ok().or_else(|| parse_duration(text).ok())?;
            (Duration::from_secs(1)..=Duration::from_secs(31_536_000)).contains(&time).then_some(time)
        })
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.read(name, "write true or false", |text| read_bool(text).ok())
    }

    fn read<T>(&self, name: &str, cure: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = (self.env)(name)?;
        let value = read(text.trim());
        if value.is_none() {
            self.errors.borrow_mut().push(ConfigError {
                file: PathBuf::from("environment"),
                line: 0,
                column: 0,
                resource: String::new(),
                path: name.to_owned(),
                message: format!("`{}` cannot be used; {cure}", show(&text)),
            });
        }
        value
    }
}
