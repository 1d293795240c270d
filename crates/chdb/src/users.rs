//! Who may ask, and what: a file of names with the SHA-256 of their passwords.
//!
//! One line a user: `name:sha256-of-the-password-in-hex:full` or `...:readonly`; blank lines and lines
//! that start with `#` are skipped. Make a hash with `printf %s 'the password' | sha256sum`. These are
//! machine credentials (long and random): SHA-256 is right for them, and wrong for what people type.
//! The server checks passwords and rights itself; [`crate::config`] tells it of them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The name under which the engine logs in to itself to open its listeners, always without a password.
pub const OWN: &str = "default";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Full,
    ReadOnly,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// SHA-256 of the password, in hexadecimal digits.
    pub hash: String,
    pub right: Right,
}

/// Everyone who may ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Users {
    /// No file: the user `default` with an empty password may do all, from this machine only.
    Open,
    Named(Vec<User>),
}

/// Why the users are not usable.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read the users file `{path}`: {source}; check --users and its permissions")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {problem}; write `name:sha256-of-the-password-in-hex:readonly` or `...:full`")]
    Line { path: PathBuf, line: usize, problem: &'static str },
    #[error(
        "`{0}` is not an address of this machine alone and no --users are given; give --users FILE, or listen on 127.0.0.1"
    )]
    Exposed(IpAddr),
    #[error("the users file `{path}` names nobody; add a line `name:sha256-of-the-password-in-hex:full`")]
    Nobody { path: PathBuf },
}

impl Users {
    /// Reads the file, if one is given; without one only loopback addresses may be listened on.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn load(file: Option<&Path>, listen: IpAddr) -> Result<Self, UsersError> {
        let Some(path) = file else {
            return if listen.is_loopback() { Ok(Self::Open) } else { Err(UsersError::Exposed(listen)) };
        };
        let text =
            std::fs::read_to_string(path).map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        let mut users: Vec<User> = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| UsersError::Line { path: path.to_owned(), line: at + 1, problem };
            let user = parse(line).map_err(wrong)?;
            if users.iter().any(|known| known.name == user.name) {
                return Err(wrong("this name has a line already"));
            }
            users.push(user);
        }
        if users.is_empty() {
            return Err(UsersError::Nobody { path: path.to_owned() });
        }
        Ok(Self::Named(users))
    }

    /// Whether somebody may only read.
    pub fn has_readers(&self) -> bool {
        matches!(self, Self::Named(users) if users.iter().any(|user| user.right == Right::ReadOnly))
    }
}

fn parse(line: &str) -> Result<User, &'static str> {
    let mut parts = line.splitn(3, ':');
    let (Some(name), Some(hash), Some(right)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a line has three parts with colons between");
    };
    // The name becomes the name of an element of XML.
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !begins_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Err("a name begins with a letter and goes on with letters, digits, `_`, `-` or `.`");
    }
    if name == OWN {
        return Err("`default` is the engine's own name towards itself: give this user another");
    }
    let right = match right {
        "full" => Right::Full,
        "readonly" => Right::ReadOnly,
        _ => return Err("the right is neither `full` nor `readonly`"),
    };
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("the hash is not 64 hexadecimal digits");
    }
    Ok(User { name: name.to_owned(), hash: hash.to_ascii_lowercase(), right })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of `secret`

    fn load(text: &str) -> Result<Users, UsersError> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("write");
        Users::load(Some(file.path()), [0, 0, 0, 0].into())
    }

    #[test]
    fn rights_follow_the_file() {
        let users = load(&format!("# who\n\na:{SECRET}:full\nb.c-d_1:{}:readonly\n", SECRET.to_uppercase()));
        let user = |name: &str, right| User { name: name.to_owned(), hash: SECRET.to_owned(), right };
        let users = users.expect("users");
        assert_eq!(users, Users::Named(vec![user("a", Right::Full), user("b.c-d_1", Right::ReadOnly)]));
        assert!(users.has_readers() && !Users::Open.has_readers());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, problem) in [
            ("a:b".to_owned(), "three parts"),
            ("a:12:full".to_owned(), "64 hexadecimal"),
            (format!("a:{SECRET}:admin"), "neither"),
            (format!(":{SECRET}:full"), "begins with a letter"),
            (format!("a<b:{SECRET}:full"), "begins with a letter"),
            (format!("default:{SECRET}:full"), "engine's own name"),
            (format!("a:{SECRET}:full\na:{SECRET}:full"), ":2: this name has a line"),
        ] {
            let said = load(&text).expect_err("refused").to_string();
            assert!(said.contains(problem), "{text}: {said}");
        }
        assert!(matches!(load("# only"), Err(UsersError::Nobody { .. })));
        assert!(matches!(Users::load(None, [10, 0, 0, 1].into()), Err(UsersError::Exposed(_))));
        assert_eq!(Users::load(None, [127, 0, 0, 1].into()).ok(), Some(Users::Open));
    }
}
