//! The administrator's token: for calls that change state. From a file, or from the environment, never from the command
//! line, where other users of the machine can read it.

use std::io;
use std::path::{Path, PathBuf};

/// The variable of the environment.
const VARIABLE: &str = "WEIR_ADMIN_TOKEN";

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
    let token = std::env::var(VARIABLE).ok()?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The token of `file`, or else that of the environment.
pub fn token(file: Option<&Path>) -> Result<String, TokenError> {
    let Some(path) = file else { return of_environment().ok_or(TokenError::Absent) };
    let path = path.to_owned();
    match std::fs::read_to_string(&path) {
        Err(error) => Err(TokenError::File { path, error }),
        Ok(text) => match text.lines().next().map(str::trim) {
            Some(token) if !token.is_empty() => Ok(token.to_owned()),
            _ => Err(TokenError::Empty { path }),
        },
    }
}
