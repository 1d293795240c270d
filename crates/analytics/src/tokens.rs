//! Who may send: `token organization environment site gateway`, one a line; `*` stands for any in the last three.
//!
//! Only SHA-256 digests are kept, and a presented token is compared with all of them without stopping early, so
//! that neither memory nor time tells a token.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use weir_event::Identity;

/// Why the file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("cannot read the tokens in {path}: {source}; give a readable file by --tokens")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: expected `token organization environment site gateway`, found {found} words")]
    Words { path: PathBuf, line: usize, found: usize },
    #[error("{path}:{line}: the organization cannot be `*`; name it, so that a token serves one tenant")]
    Organization { path: PathBuf, line: usize },
    #[error("{path}:{line}: the token has {found} characters; use at least 8")]
    Short { path: PathBuf, line: usize, found: usize },
}

/// What a token allows to speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    organization: String,
    environment: String,
    site: String,
    gateway: String,
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", self.organization, self.environment, self.site, self.gateway)
    }
}

impl Grant {
    /// Whether it allows events of `identity`; the replica is free.
    pub fn covers(&self, identity: &Identity) -> bool {
        let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        self.organization == identity.organization
            && fits(&self.environment, &identity.environment)
            && fits(&self.site, &identity.site)
            && fits(&self.gateway, &identity.gateway)
    }
}

/// All tokens, by digest.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    entries: Vec<([u8; 32], Grant)>,
}

impl Tokens {
    /// Reads the file; every line is checked.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokensError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, TokensError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (path, line_number) = (path.to_owned(), index + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            let [token, organization, environment, site, gateway] = words[..] else {
                return Err(TokensError::Words { path, line: line_number, found: words.len() });
            };
            if organization == "*" {
                return Err(TokensError::Organization { path, line: line_number });
            }
            if token.len() < 8 {
                return Err(TokensError::Short { path, line: line_number, found: token.len() });
            }
            let grant = Grant {
                organization: organization.to_owned(),
                environment: environment.to_owned(),
                site: site.to_owned(),
                gateway: gateway.to_owned(),
            };
            entries.push((Sha256::digest(token).into(), grant));
        }
        Ok(Self { entries })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What `token` allows.
    pub fn grant(&self, token: &str) -> Option<&Grant> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = u32::MAX;
        for (index, (known, _)) in self.entries.iter().enumerate() {
            let same: Choice = known.ct_eq(&digest);
            found.conditional_assign(&(index as u32), same);
        }
        self.entries.get(found as usize).map(|(_, grant)| grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tokens, TokensError> {
        Tokens::parse(text, Path::new("tokens"))
    }

    fn identity(organization: &str, site: &str) -> Identity {
        Identity { organization: organization.into(), site: site.into(), ..Identity::default() }
    }

    #[test]
    fn a_token_speaks_for_its_own_and_for_nobody_else() {
        let tokens = parse("# gateways\n\nlongtoken-1 acme * on-prem *\n  longtoken-2 acme * * *\n").unwrap();
        let one = tokens.grant("longtoken-1").unwrap();
        assert!(one.covers(&identity("acme", "on-prem")));
        assert!(!one.covers(&identity("acme", "cloud")) && !one.covers(&identity("other", "on-prem")));
        assert!(tokens.grant("longtoken-2").unwrap().covers(&identity("acme", "cloud")));
        assert_eq!(tokens.grant("longtoken-"), None);
        assert_eq!(tokens.grant(""), None);
    }

    #[test]
    fn a_wrong_line_is_reported_with_its_place() {
        let said = |text| parse(text).unwrap_err().to_string();
        assert!(said("ok-token-1 a b c d\ntoken a b\n").starts_with("tokens:2: expected"));
        assert!(said("longtoken * b c d\n").contains("cannot be `*`"));
        assert!(said("short a b c d\n").contains("at least 8"));
    }
}
