//! Who may read: `token name role organizations environments`, one a line.
//!
//! A viewer sees the organizations and environments of its line and nothing else; an administrator sees everything, and
//! may call what changes state. A token stands in the file as it is, or as `sha256:` with the 64 hex digits of its
//! digest. Only digests are kept, and a presented token is compared with all of them without stopping early. What a scope
//! means for a query is decided in [`crate::scope`].

use crate::scope::Scope;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The fewest characters of a token that stands in the file.
const SHORTEST: usize = 16;
/// Organizations or environments of one line, at most: each is part of every query of that reader.
const MOST_NAMES: usize = 100;

/// Why the file of readers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadersError {
    #[error("cannot read the readers in {path}: {source}; give a readable file by --readers")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: expected `token name role organizations environments`, found {found} words")]
    Words { path: PathBuf, line: usize, found: usize },
    #[error("{path}:{line}: `{found}` is no role; write `viewer` or `admin`")]
    Role { path: PathBuf, line: usize, found: String },
    #[error("{path}:{line}: an administrator sees everything; write `*` for its organizations and environments")]
    Scoped { path: PathBuf, line: usize },
    #[error("{path}:{line}: write names as `acme,bolt`, at most {MOST_NAMES} of them, or `*` alone")]
    Names { path: PathBuf, line: usize },
    #[error("{path}:{line}: the token has {found} characters; use at least {SHORTEST}")]
    Short { path: PathBuf, line: usize, found: usize },
    #[error("{path}:{line}: after `sha256:` come the 64 hex digits of the token's digest")]
    Digest { path: PathBuf, line: usize },
    #[error("{path}:{line}: this token is on an earlier line too; give each reader a token of its own")]
    Twice { path: PathBuf, line: usize },
}

/// What a reader may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ask.
    Viewer,
    /// Ask, and call what changes state.
    Admin,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub name: String,
    pub role: Role,
    pub scope: Scope,
}

impl Reader {
    /// Who asks a server that only this machine reaches, and that has no file of readers.
    pub fn of_this_machine() -> Self {
        Self { name: String::new(), role: Role::Viewer, scope: Scope::default() }
    }

    /// Whoever has the token of `--admin-token-file`.
    pub fn administrator() -> Self {
        Self { name: "administrator".to_owned(), role: Role::Admin, scope: Scope::default() }
    }
}

/// All tokens, by digest.
#[derive(Clone, Debug, Default)]
pub struct ReaderTokens {
    entries: Vec<([u8; 32], Arc<Reader>)>,
}

/// What is kept of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl ReaderTokens {
    /// Reads the file; every line is checked.
    pub fn load(path: &Path) -> Result<Self, ReadersError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ReadersError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ReadersError> {
        let mut entries: Vec<([u8; 32], Arc<Reader>)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_text = line.trim();
            if line_text.is_empty() || line_text.starts_with('#') {
                continue;
            }
            let (digest, reader) = Line { path, number: index + 1 }.read(line_text)?;
            if entries.iter().any(|(known, _)| *known == digest) {
                return Err(ReadersError::Twice { path: path.to_owned(), line: index + 1 });
            }
            entries.push((digest, Arc::new(reader)));
        }
        Ok(Self { entries })
    }

    /// Whose token has this digest.
    pub fn find(&self, digest: &[u8; 32]) -> Option<&Arc<Reader>> {
        let mut found = u32::MAX;
        for (index, (known, _)) in self.entries.iter().enumerate() {
            let same: Choice = known.ct_eq(digest);
            found.conditional_assign(&(index as u32), same);
        }
        self.entries.get(found as usize).map(|(_, reader)| reader)
    }
}

/// A line and where it stands.
struct Line<'p> {
    path: &'p Path,
    number: usize,
}

impl Line<'_> {
    fn read(&self, text: &str) -> Result<([u8; 32], Reader), ReadersError> {
        let (path, line) = (|| self.path.to_owned(), self.number);
        let words: Vec<_> = text.split_whitespace().collect();
        let [token, name, role, organizations, environments] = words[..] else {
            return Err(ReadersError::Words { path: path(), line, found: words.len() });
        };
        let role = match role {
            "viewer" => Role::Viewer,
            "admin" => Role::Admin,
            _ => return Err(ReadersError::Role { path: path(), line, found: role.to_owned() }),
        };
        let scope = Scope { organizations: self.names(organizations)?, environments: self.names(environments)? };
        if role == Role::Admin && scope != Scope::default() {
            return Err(ReadersError::Scoped { path: path(), line });
        }
        Ok((self.token(token)?, Reader { name: name.to_owned(), role, scope }))
    }

    fn token(&self, word: &str) -> Result<[u8; 32], ReadersError> {
        let (path, line) = (|| self.path.to_owned(), self.number);
        if let Some(hex) = word.strip_prefix("sha256:") {
            return from_hex(hex).ok_or_else(|| ReadersError::Digest { path: path(), line });
        }
        match word.chars().count() {
            SHORTEST.. => Ok(digest(word)),
            found => Err(ReadersError::Short { path: path(), line, found }),
        }
    }

    /// `None` for all.
    fn names(&self, word: &str) -> Result<Option<Vec<String>>, ReadersError> {
        if word == "*" {
            return Ok(None);
        }
        let mut names: Vec<_> = word.split(',').map(str::to_owned).collect();
        if names.len() > MOST_NAMES || names.iter().any(|name| name.is_empty() || name == "*") {
            return Err(ReadersError::Names { path: self.path.to_owned(), line: self.number });
        }
        names.sort_unstable();
        names.dedup();
        Ok(Some(names))
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReaderTokens, ReadersError> {
        ReaderTokens::parse(text, Path::new("readers"))
    }

    #[test]
    fn a_token_is_of_one_reader() {
        let hex = digest("a-token-that-is-hashed").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = format!(
            "# people\n\ntoken-of-anna-0001 anna viewer bolt,acme,acme production\n  sha256:{hex} ops admin * *\n"
        );
        let readers = parse(&text).unwrap();
        let anna = readers.find(&digest("token-of-anna-0001")).unwrap();
        assert_eq!((anna.name.as_str(), anna.role), ("anna", Role::Viewer));
        assert_eq!(anna.scope.organizations, Some(vec!["acme".to_owned(), "bolt".to_owned()]));
        assert_eq!(anna.scope.environments, Some(vec!["production".to_owned()]));
        let ops = readers.find(&digest("a-token-that-is-hashed")).unwrap();
        assert_eq!((ops.role, &ops.scope), (Role::Admin, &Scope::default()));
        assert_eq!(readers.find(&digest("token-of-anna-0002")), None);
        assert_eq!(readers.find(&digest(&format!("sha256:{hex}"))), None, "a digest is no token");
        assert_eq!(ReaderTokens::default().find(&digest("")), None);
    }

    #[test]
    fn a_wrong_line_is_reported_with_its_place() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert!(said("\ntoken-of-anna-0001 anna viewer acme\n").starts_with("readers:2: expected `token name role"));
        assert!(said("token-of-anna-0001 anna owner acme *").contains("`owner` is no role"));
        assert!(said("token-of-anna-0001 anna admin acme *").contains("an administrator sees everything"));
        assert!(said("short anna viewer acme *").contains("5 characters; use at least 16"));
        assert!(said("sha256:abc anna viewer acme *").contains("64 hex digits"));
        for names in ["acme,", ",", "acme,*"] {
            assert!(said(&format!("token-of-anna-0001 anna viewer {names} *")).contains("`*` alone"), "{names}");
        }
        let line = "token-of-anna-0001 anna viewer acme *\n";
        assert!(said(&line.repeat(2)).starts_with("readers:2: this token is on an earlier line too"));
    }
}
