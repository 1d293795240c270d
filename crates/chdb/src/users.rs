//! Who may ask, and what: a file of names with the SHA-256 of their passwords.
//!
//! One line a user: `name:sha256-of-the-password-in-hex:full` or `...:readonly`; blank lines and lines
//! that start with `#` are skipped. Make a hash with `printf %s 'the password' | sha256sum`. These are
//! machine credentials (long and random): SHA-256 is right for them, and wrong for what people type.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::exception::Exception;
use crate::request::Credentials;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Full,
    ReadOnly,
}

/// Everyone who may ask.
#[derive(Debug)]
pub enum Users {
    /// No file: the user `default` with an empty password may do all, from this machine only.
    Open,
    Named(HashMap<String, ([u8; 32], Right)>),
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
    /// One sentence with the cure.
    pub fn load(file: Option<&Path>, listen: IpAddr) -> Result<Users, UsersError> {
        let Some(path) = file else {
            return if listen.is_loopback() { Ok(Users::Open) } else { Err(UsersError::Exposed(listen)) };
        };
        let text =
            std::fs::read_to_string(path).map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        let mut users = HashMap::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| UsersError::Line { path: path.to_owned(), line: at + 1, problem };
            let (name, secret, right) = parse(line).map_err(wrong)?;
            if users.insert(name.to_owned(), (secret, right)).is_some() {
                return Err(wrong("this name has a line already"));
            }
        }
        if users.is_empty() {
            return Err(UsersError::Nobody { path: path.to_owned() });
        }
        Ok(Users::Named(users))
    }

    /// Where nobody needs a password, a web page that the operator looks at must not ask in his name:
    /// neither across sites (`Origin`) nor under a name that was made to point here (`Host`).
    ///
    /// # Errors
    /// 497 (403).
    pub fn check_origin(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Exception> {
        let name = host.map(|host| {
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name })
        });
        let is_local = |name: &str| {
            name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        match self {
            Users::Named(_) => Ok(()),
            Users::Open if origin.is_none() && name.is_none_or(is_local) => Ok(()),
            Users::Open => Err(Exception::new(
                497,
                "ACCESS_DENIED",
                "without --users only programs of this machine may ask: no `Origin`, and a `Host` of 127.0.0.1, [::1] or localhost",
            )),
        }
    }

    /// Finds out who asks. A name that does not exist takes as long as a wrong password.
    ///
    /// # Errors
    /// 194 (401) if nothing was said, 516 (403) if it is wrong; neither tells names from passwords.
    pub fn authenticate(&self, credentials: &Credentials) -> Result<Right, Exception> {
        let user = credentials.user.as_deref().unwrap_or("default");
        let password = credentials.password.as_deref().unwrap_or("");
        let failed = || {
            Exception::new(
                516,
                "AUTHENTICATION_FAILED",
                format!(
                    "{}: Authentication failed: password is incorrect, or there is no user with such name",
                    user.escape_default()
                ),
            )
        };
        let Users::Named(users) = self else {
            return if user == "default" && password.is_empty() { Ok(Right::Full) } else { Err(failed()) };
        };
        let given: [u8; 32] = Sha256::digest(password).into();
        let (secret, right) = users.get(user).copied().unwrap_or(([0; 32], Right::ReadOnly));
        let equal = bool::from(given.ct_eq(&secret));
        match equal && users.contains_key(user) {
            true => Ok(right),
            // Nothing was said, and `default` is not there or has a password.
            false if credentials.user.is_none() && credentials.password.is_none() => Err(Exception::new(
                194,
                "REQUIRED_PASSWORD",
                "give a user and a password: Basic, X-ClickHouse-User and X-ClickHouse-Key, or user and password in the URL",
            )),
            false => Err(failed()),
        }
    }
}

fn parse(line: &str) -> Result<(&str, [u8; 32], Right), &'static str> {
    let mut parts = line.splitn(3, ':');
    let (Some(name), Some(hash), Some(right)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("a line has three parts with colons between");
    };
    if name.is_empty() {
        return Err("the name is empty");
    }
    let right = match right {
        "full" => Right::Full,
        "readonly" => Right::ReadOnly,
        _ => return Err("the right is neither `full` nor `readonly`"),
    };
    Ok((name, hex(hash).ok_or("the hash is not 64 hexadecimal digits")?, right))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // "secret"

    fn load(text: &str) -> Result<Users, UsersError> {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("write");
        Users::load(Some(file.path()), [0, 0, 0, 0].into())
    }

    fn ask(users: &Users, user: &str, password: &str) -> Result<Right, u32> {
        let credentials = Credentials { user: Some(user.to_owned()), password: Some(password.to_owned()) };
        users.authenticate(&credentials).map_err(|error| error.code)
    }

    #[test]
    fn rights_follow_the_file() {
        let users = load(&format!("# who\n\na:{SECRET}:full\nb:{SECRET}:readonly\n")).expect("users");
        assert_eq!(ask(&users, "a", "secret"), Ok(Right::Full));
        assert_eq!(ask(&users, "b", "secret"), Ok(Right::ReadOnly));
        assert_eq!(ask(&users, "a", "Secret"), Err(516));
        assert_eq!(ask(&users, "nobody", ""), Err(516));
        assert_eq!(users.authenticate(&Credentials::default()).map_err(|error| error.code), Err(194));
    }

    #[test]
    fn who_says_nothing_is_default_if_that_has_no_password() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let users = load(&format!("default:{empty}:readonly\n")).expect("users");
        assert_eq!(users.authenticate(&Credentials::default()).map_err(|error| error.code), Ok(Right::ReadOnly));
        let users = load(&format!("default:{SECRET}:readonly\n")).expect("users");
        assert_eq!(users.authenticate(&Credentials::default()).map_err(|error| error.code), Err(194));
    }

    #[test]
    fn without_users_only_this_machine_asks() {
        for host in
            [None, Some("localhost"), Some("localhost:1"), Some("127.0.0.1:8123"), Some("[::1]:8123"), Some("[::1]")]
        {
            assert!(Users::Open.check_origin(host, None).is_ok(), "{host:?}");
        }
        for host in ["a.example", "10.0.0.1:8123", "127.0.0.1.a.example:80", ""] {
            assert!(Users::Open.check_origin(Some(host), None).is_err(), "{host}");
        }
        assert!(Users::Open.check_origin(None, Some("null")).is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for text in ["a:b", "a:12:full", &format!("a:{SECRET}:admin"), &format!(":{SECRET}:full")] {
            assert!(load(text).expect_err("refused").to_string().contains(":1: "), "{text}");
        }
        assert!(matches!(load("# only"), Err(UsersError::Nobody { .. })));
        assert!(matches!(Users::load(None, [10, 0, 0, 1].into()), Err(UsersError::Exposed(_))));
    }
}
