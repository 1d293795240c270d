//! Calls that change state: who may make them, and the line that each leaves.
//!
//! An administrator is in the file of readers, or has the token of `--admin-token-file`, which is not one of the gateways' tokens. A page in a browser cannot make these calls: it does not
//! know the token, a foreign `Origin` is refused, and so is a `Host` that is neither an address nor a name that was
//! configured (a name can be bound again to this machine by whoever owns it). The line is in the audit log, synced,
//! before the change begins.

use super::answer::{Answer, refused};
use super::entrance::{Caller, asking};
use super::origin::own_page;
use crate::ingest::now_us;
use crate::readers::{Reader, Role};
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use weir_program::operator::{Names, Token, TokenError};

/// Why there is no administrator.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the audit log {} cannot be opened: {source}; make its folder writable", path.display())]
    Log { path: PathBuf, source: io::Error },
}

/// Who may change state.
pub struct Admin {
    /// Without one nobody may.
    token: Option<Token>,
    names: Names,
    log: Mutex<File>,
}

/// Whoever made a call.
#[derive(Clone, Debug)]
pub struct Operator {
    /// `administrator` for the token of `--admin-token-file`.
    name: String,
    peer: Option<IpAddr>,
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{} at {peer}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Why a call is not taken.
#[derive(Debug)]
pub(super) struct Denied {
    status: StatusCode,
    why: String,
}

impl Denied {
    pub(super) fn new(status: StatusCode, why: &str) -> Self {
        Self { status, why: why.to_owned() }
    }

    pub(super) fn answer(self) -> Answer {
        let answer = refused(self.status, &self.why);
        if self.status == StatusCode::UNAUTHORIZED { asking(answer) } else { answer }
    }
}

/// The address that a connection came from, among the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Admin {
    /// `token` is a file with the token in its first line; the audit log is in the folder `state`.
    pub fn new(token: Option<&Path>, hosts: Vec<String>, state: &Path) -> Result<Self, AdminError> {
        let token = token.map(Token::read).transpose()?;
        let path = state.join("audit.log");
        match File::options().create(true).append(true).open(&path) {
            Ok(log) => Ok(Self { token, names: Names(hosts), log: Mutex::new(log) }),
            Err(source) => Err(AdminError::Log { path, source }),
        }
    }

    /// The token of `--admin-token-file`.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether the sender of `request` may change state: an administrator of the file of readers, whom the entrance has
    /// recognised, or whoever has the administrator's token.
    pub(super) fn check<T>(&self, request: &Request<T>) -> Result<Operator, Denied> {
        self.called(request)?;
        if own_page(request).is_err() {
            return Err(Denied::new(StatusCode::FORBIDDEN, "a page of another origin may not change anything here"));
        }
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        match request.extensions().get::<Caller>() {
            Some(Caller::Known(reader)) if reader.role == Role::Admin => {
                return Ok(Operator { name: reader.name.clone(), peer });
            }
            Some(Caller::Known(reader)) => {
                let why = format!("this needs an administrator's token; `{}` is a viewer", reader.name);
                return Err(Denied::new(StatusCode::FORBIDDEN, &why));
            }
            Some(Caller::Nobody) | None => {}
        }
        let Some(token) = &self.token else {
            let why = "nobody may change anything here: start weir-analytics with --admin-token-file FILE, or an \
                       administrator in --readers FILE";
            return Err(Denied::new(StatusCode::FORBIDDEN, why));
        };
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !token.is_in(authorization) {
            let why = "this needs the administrator's token: `Authorization: Bearer TOKEN`";
            return Err(Denied::new(StatusCode::UNAUTHORIZED, why));
        }
        Ok(Operator { name: Reader::administrator().name, peer })
    }

    /// Refuses a request that calls this program by a name which was not configured: a page in a browser could read what is
    /// answered, if its own name leads here (DNS rebinding).
    pub(super) fn called<T>(&self, request: &Request<T>) -> Result<(), Denied> {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.names.know(host) {
            return Ok(());
        }
        let why = format!("this program is not called `{host}`; start it with --host NAME if it is");
        Err(Denied::new(StatusCode::MISDIRECTED_REQUEST, &why))
    }

    /// [`Admin::check`], with a line in the audit log: of a call that has no details.
    pub(super) fn authorise<T>(&self, request: &Request<T>, action: &str) -> Result<(), Box<Answer>> {
        let operator = self.check(request).map_err(|denied| Box::new(denied.answer()))?;
        self.note(&operator, action, &Value::Null).map_err(|denied| Box::new(denied.answer()))
    }

    /// Leaves a line of what `operator` is about to do. Without the line it must not be done.
    pub(super) fn note(&self, operator: &Operator, what: &str, details: &Value) -> Result<(), Denied> {
        let line = json!({ "at_ms": now_us() / 1000, "who": operator.to_string(), "what": what, "details": details });
        tracing::info!(who = %operator, what, %details, "an administrator changes state");
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.write_all(format!("{line}\n").as_bytes()).and_then(|()| log.sync_data()).map_err(|error| {
            let why = format!("the audit log cannot be written: {error}; nothing was changed");
            Denied::new(StatusCode::SERVICE_UNAVAILABLE, &why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const TOKEN: &str = "a-token-of-the-administrator";

    fn admin(folder: &Path, with_token: bool) -> Admin {
        let path = folder.join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        Admin::new(with_token.then_some(path.as_path()), vec!["weir.example".to_owned()], folder).unwrap()
    }

    fn status(admin: &Admin, headers: &[(&str, &str)]) -> u16 {
        let request = headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        admin.check(&request.body(()).unwrap()).map_or_else(|denied| denied.status.as_u16(), |_| 200)
    }

    #[test]
    fn only_the_administrator_of_this_program_may() {
        let folder = tempfile::tempdir().unwrap();
        let admin = self::admin(folder.path(), true);
        let bearer = format!("Bearer {TOKEN}");
        let token = ("authorization", bearer.as_str());
        for host in ["127.0.0.1:8686", "[::1]:8686", "localhost", "localhost:1", "WEIR.example:8686"] {
            assert_eq!(status(&admin, &[("host", host), token]), 200, "{host}");
        }
        for host in ["attacker.example", "127.0.0.1.attacker.example", "", "localhost.attacker.example:8686"] {
            assert_eq!(status(&admin, &[("host", host), token]), 421, "{host}");
        }
        let here = ("host", "127.0.0.1:8686");
        assert_eq!(status(&admin, &[here, token, ("origin", "http://127.0.0.1:8686")]), 200);
        for origin in ["http://attacker.example", "null", "http://127.0.0.1:9"] {
            assert_eq!(status(&admin, &[here, token, ("origin", origin)]), 403, "{origin}");
        }
        let lower = bearer.replace("Bearer", "bearer");
        assert_eq!(status(&admin, &[here, ("authorization", &lower)]), 200);
        assert_eq!(status(&admin, &[here]), 401);
        assert_eq!(status(&admin, &[here, ("authorization", "Bearer a-token-of-somebody-else")]), 401);
        assert_eq!(status(&self::admin(folder.path(), false), &[here, token]), 403, "without a token nobody may");
    }

    #[test]
    fn an_administrator_of_the_readers_may_and_a_viewer_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let admin = self::admin(folder.path(), false);
        let status = |role, origin: &str| {
            let reader = Reader { name: "anna".to_owned(), role, ..Reader::administrator() };
            let request = Request::post("/").header("host", "127.0.0.1:8686").header("origin", origin);
            let request = request.extension(Caller::Known(Arc::new(reader))).body(()).unwrap();
            admin.check(&request).map_or_else(|denied| denied.status.as_u16(), |_| 200)
        };
        assert_eq!(status(Role::Admin, "http://127.0.0.1:8686"), 200);
        assert_eq!(status(Role::Admin, "http://evil.example"), 403, "a session does not help a page of another site");
        assert_eq!(status(Role::Viewer, "http://127.0.0.1:8686"), 403);
    }

    #[test]
    fn every_change_leaves_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let admin = admin(folder.path(), true);
        let operator = Operator { name: "administrator".to_owned(), peer: Some([127, 0, 0, 1].into()) };
        admin.note(&operator, "acknowledge", &json!({ "stream": "all" })).unwrap();
        let line: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("audit.log")).unwrap()).unwrap();
        assert_eq!((&line["who"], &line["what"]), (&json!("administrator at 127.0.0.1"), &json!("acknowledge")));
        assert_eq!(line["details"]["stream"], "all");
    }

    #[test]
    fn a_short_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        std::fs::write(&path, "secret\n").unwrap();
        let error = Admin::new(Some(&path), Vec::new(), folder.path()).map(drop).unwrap_err();
        assert!(matches!(error, AdminError::Token(TokenError::Short { found: 6, .. })), "{error}");
    }
}
