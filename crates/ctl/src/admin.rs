//! Tokens: the administrator's, for calls that change state, and a reader's, for questions to weir-analytics. From a file,
//! or from the environment, never from the command line, where other users of the machine can read it.

use std::io;
use std::path::{Path, PathBuf};

/// The variable of the environment.
const VARIABLE: &str = "WEIR_ADMIN_TOKEN";

/// That of a reader.
const READER_VARIABLE: &str = "WEIR_READER_TOKEN";

/// Who asks weir-analytics.
#[derive(clap::Args)]
pub struct ReaderOptions {
    /// File with a reader's token of weir-analytics in its first line; without it, the variable WEIR_READER_TOKEN.
    #[arg(long, value_name = "FILE", global = true)]
    pub reader_token_file: Option<PathBuf>,
}

/// weir-analytics, and the token that it is asked with, where there is one.
pub struct Analytics {
    pub address: String,
    pub token: Option<String>,
}

impl ReaderOptions {
    /// The token of the file, or else that of the environment.
    pub fn token(&self) -> Result<Option<String>, TokenError> {
        match &self.reader_token_file {
            Some(path) => of_file(path).map(Some),
            None => Ok(of_variable(READER_VARIABLE)),
        }
    }
}

/// Who may change state.
#[derive(clap::Args)]
pub struct AdminOptions {
    /// File with the administrator's token in its first line; without it, the variable WEIR_ADMIN_TOKEN.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("this needs the administrator's token: give --token-file FILE, or set {VARIABLE}")]
    Absent,
    #[error("cannot read the token in `{}`: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("`{}` has no token in its first line", path.display())]
    Empty { path: PathBuf },
}

/// As [`token`]; none where nobody gave one.
pub fn token_if_any(file: Option<&Path>) -> Result<Option<String>, TokenError> {
    match token(file) {
        Ok(token) => Ok(Some(token)),
        Err(TokenError::Absent) => Ok(None),
        Err(error) => Err(error),
    }
}

/// That of the environment, if it has one.
pub fn of_environment() -> Option<String> {
    of_variable(VARIABLE)
}

fn of_variable(name: &str) -> Option<String> {
    let token = std::env::var(name).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The token of `file`, or else that of the environment.
pub fn token(file: Option<&Path>) -> Result<String, TokenError> {
    match file {
        Some(path) => of_file(path),
        None => of_environment().ok_or(TokenError::Absent),
    }
}

fn of_file(path: &Path) -> Result<String, TokenError> {
    let path = path.to_owned();
    match std::fs::read_to_string(&path) {
        Err(error) => Err(TokenError::File { path, error }),
        Ok(text) => match text.lines().next().map(str::trim) {
            Some(token) if !token.is_empty() => Ok(token.to_owned()),
            _ => Err(TokenError::Empty { path }),
        },
    }
}
