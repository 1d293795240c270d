//! Mistakes in a configuration, all of them, each with its place and its fix.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One mistake. Prints as `file:line:column: Kind "name": path: message`, leaving out what is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub struct ConfigError {
    /// The file as it was reached from the folder that was given; `environment` for an environment variable.
    pub file: PathBuf,
    /// From 1; 0 when the mistake has no line.
    pub line: usize,
    /// From 1, in characters; 0 when the mistake has no column.
    pub column: usize,
    /// `ApiInstance "orders"`, or empty.
    pub resource: String,
    /// The field within the spec (within the resource for `metadata` and the like), or empty: `services.a.routes[3]`.
    pub path: String,
    /// What is wrong and how to fix it. One line, whatever the file contained.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        for number in [self.line, self.column].into_iter().take_while(|number| *number > 0) {
            write!(f, ":{number}")?;
        }
        for part in [&self.resource, &self.path].into_iter().filter(|part| !part.is_empty()) {
            write!(f, ": {part}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every mistake of a load, sorted by file and line. Never empty. Prints one a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes, or `None` if there are none.
    pub(crate) fn new(mut errors: Vec<ConfigError>) -> Option<Self> {
        errors.sort();
        errors.dedup();
        (!errors.is_empty()).then_some(Self(errors))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// How many mistakes; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What is taken, and yet worth a word: it has no effect, or another one than it seems. Sorted by file and line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Warnings(Vec<ConfigError>);

impl Warnings {
    pub(crate) fn new(mut warnings: Vec<ConfigError>) -> Self {
        warnings.sort();
        warnings.dedup();
        Self(warnings)
    }

    /// Each prints as a mistake does.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Warnings {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
