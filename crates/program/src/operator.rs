//! Who may change state in a program: whoever has the administrator's token, calls the program by a name that is its own,
//! and is no page of another origin. What each program makes of the answers is its own.

use sha2::{Digest, Sha256};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// The fewest characters of a token.
const SHORTEST: usize = 16;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read the administrator's token in `{}`: {source}; give a readable file by --admin-token-file", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the administrator's token in `{}` has {found} characters; use at least {SHORTEST} in the first line", path.display())]
    Short { path: PathBuf, found: usize },
}

/// The administrator's token: its SHA-256.
pub struct Token([u8; 32]);

impl Token {
    /// The first line of a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        let token = text.lines().next().unwrap_or_default().trim();
        match token.chars().count() {
            SHORTEST.. => Ok(Self::of(token)),
            found => Err(TokenError::Short { path: path.to_owned(), found }),
        }
    }

    /// A token that is at hand.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether this is the SHA-256 of it, in a time that tells nothing of it.
    pub fn has_digest(&self, digest: &[u8; 32]) -> bool {
        self.0.ct_eq(digest).into()
    }

    /// Whether an `Authorization` field has it, in a time that tells nothing of it.
    pub fn is_in(&self, authorization: Option<&str>) -> bool {
        let given = authorization.and_then(bearer).unwrap_or_default();
        Sha256::digest(given.trim()).as_slice().ct_eq(&self.0).into()
    }
}

/// The token of `Bearer TOKEN`; the scheme is written in any case (RFC 9110 11.1).
pub fn bearer(authorization: &str) -> Option<&str> {
    authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token)
}

/// Who has begun this command: the user, or the one that `sudo` was called by. For a record, not for a decision: whoever
/// begins a command can say otherwise.
pub fn user() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "?".to_owned())
}

/// Whether a page of `origin` is one of the program that is called by `host`.
pub fn is_same_origin(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
}

/// The names by which a program is called, besides addresses and `localhost`: any other name can be bound to this machine
/// by whoever owns it.
pub struct Names(pub Vec<String>);

impl Names {
    /// Whether the `Host` of a request is one of them.
    pub fn know(&self, host: &str) -> bool {
        let (name, rest) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some(split) => split,
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let is_port = |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
        (rest.is_empty() || is_port(rest))
            && (name.parse::<IpAddr>().is_ok()
                || name.eq_ignore_ascii_case("localhost")
                || self.0.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_that_were_given_are_known() {
        let names = Names(vec!["weir.example".to_owned()]);
        for host in
            ["127.0.0.1", "127.0.0.1:8686", "[::1]:8686", "[::1]", "LocalHost:1", "WEIR.example", "weir.example:1"]
        {
            assert!(names.know(host), "{host}");
        }
        for host in [
            "",
            "attacker.example",
            "127.0.0.1.attacker.example",
            "localhost.a:1",
            "[::1",
            "[::1]a",
            "::1",
            "localhost:x",
            "u@localhost",
            ":1",
        ] {
            assert!(!names.know(host), "{host}");
        }
    }
}
