//! Calls that change the account: an administrator's token, no foreign page behind them, a line in the audit log.
//!
//! The token is in a file of its own (`--admin-token-file`): a gateway's token never opens these. A request that a
//! browser was made to send shows itself by an `Origin`, or by a `Host` that is not this server's (DNS rebinding).

use super::answer::{Answer, refused};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{Request, StatusCode};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Why the administrator's token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("cannot read the administrator's token in {path}: {source}; give a readable file by --admin-token-file")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: the administrator's token has {found} characters; use at least 16")]
    Short { path: PathBuf, found: usize },
}

/// Who may change the account, and where it is noted.
pub struct Admin {
    token: Option<[u8; 32]>,
    /// Names besides loopback under which this server is reached.
    hosts: Vec<String>,
    log: PathBuf,
}

impl Admin {
    /// Without a token file nobody may. The log is `audit.log` in the state folder.
    pub fn new(token: Option<&Path>, hosts: Vec<String>, state: &Path) -> Result<Self, AdminError> {
        let token = token.map(digest_of).transpose()?;
        Ok(Self { token, hosts, log: state.join("audit.log") })
    }

    /// Lets a request through that an administrator sent, and notes what it is about to do; the answer to any other.
    pub fn authorise<B>(&self, request: &Request<B>, action: &str) -> Result<(), Box<Answer>> {
        let Some(token) = &self.token else {
            return Err(no(StatusCode::FORBIDDEN, "no administrator is configured; give --admin-token-file"));
        };
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = header(HOST).or_else(|| request.uri().host()).unwrap_or_default();
        if !self.is_own(host) {
            let why = "this server is not known under that `Host`; add it by --host";
            return Err(no(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let foreign = |origin: &str| origin.split_once("://").is_none_or(|(_, host)| !self.is_own(host));
        if request.headers().contains_key(ORIGIN) && header(ORIGIN).is_none_or(foreign) {
            return Err(no(StatusCode::FORBIDDEN, "a page from elsewhere may not do this"));
        }
        let presented = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(presented.trim()).into();
        if !bool::from(token.ct_eq(&digest)) {
            let why = "the administrator's token is needed: `Authorization: Bearer TOKEN`";
            return Err(no(StatusCode::UNAUTHORIZED, why));
        }
        self.note(action).map_err(|error| {
            let why = format!("{} cannot be written: {error}; nothing was done", self.log.display());
            no(StatusCode::SERVICE_UNAVAILABLE, &why)
        })
    }

    /// Whether `host`, with or without a port, is a name of this server.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        matches!(name, "localhost" | "127.0.0.1" | "::1") || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// One line, on disk before the action.
    fn note(&self, action: &str) -> io::Result<()> {
        let line = serde_json::json!({ "at_us": crate::ingest::now_us(), "action": action });
        let mut file = File::options().create(true).append(true).open(&self.log)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }
}

fn no(status: StatusCode, why: &str) -> Box<Answer> {
    Box::new(refused(status, why))
}

fn digest_of(path: &Path) -> Result<[u8; 32], AdminError> {
    let text = std::fs::read_to_string(path).map_err(|source| AdminError::Read { path: path.to_owned(), source })?;
    let token = text.trim();
    match token.len() {
        found @ ..16 => Err(AdminError::Short { path: path.to_owned(), found }),
        _ => Ok(Sha256::digest(token).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_administrator_from_nowhere_else_passes_and_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "short\n").unwrap();
        assert!(matches!(Admin::new(Some(&file), vec![], folder.path()), Err(AdminError::Short { found: 5, .. })));
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let admin = Admin::new(Some(&file), vec!["weir.example".to_owned()], folder.path()).unwrap();
        let status = |host: &str, origin: Option<&str>, token: &str| {
            let mut request = Request::builder().header(HOST, host).header(AUTHORIZATION, format!("Bearer {token}"));
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            admin.authorise(&request.body(()).unwrap(), "test").map_or_else(|answer| answer.status().as_u16(), |()| 200)
        };
        let token = "0123456789abcdef";
        assert_eq!(status("127.0.0.1:8686", None, token), 200);
        assert_eq!(status("[::1]:8686", Some("http://localhost:8686"), token), 200);
        assert_eq!(status("WEIR.example", None, token), 200);
        assert_eq!(status("attacker.example", None, token), 421);
        assert_eq!(status("127.0.0.1", Some("http://attacker.example"), token), 403);
        assert_eq!(status("127.0.0.1", Some("null"), token), 403);
        assert_eq!(status("127.0.0.1", None, "0123456789abcdeF"), 401);
        assert_eq!(std::fs::read_to_string(folder.path().join("audit.log")).unwrap().lines().count(), 3);
        let none = Admin::new(None, vec![], folder.path()).unwrap();
        let request = Request::builder().header(HOST, "localhost").body(()).unwrap();
        assert_eq!(none.authorise(&request, "test").unwrap_err().status(), 403);
    }
}
