//! Calls that change state: who may make them, and the line that each leaves.
//!
//! Where the gateway was started with an administrator's token, whoever has it; without one, whoever is on this machine.
//! A page in a browser cannot make these calls: a foreign `Origin` is refused, and so is a `Host` that is neither an
//! address nor a name that was configured (a name can be bound again to this machine by whoever owns it). The line is in
//! the audit log, synced, before the change begins.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use weir_program::operator::{Names, Token, TokenError, is_same_origin};

/// Who may change state.
pub struct Operators {
    token: Option<Token>,
    names: Names,
    state: PathBuf,
}

/// Why a call is not taken.
#[derive(Debug)]
pub struct Denied {
    pub status: StatusCode,
    pub why: String,
}

/// The address that a connection came from, among the extensions of its requests.
#[derive(Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Operators {
    /// `token` is a file with the token in its first line; the audit log is in the folder `state`.
    pub fn new(token: Option<&Path>, hosts: Vec<String>, state: PathBuf) -> Result<Self, TokenError> {
        Ok(Self { token: token.map(Token::read).transpose()?, names: Names(hosts), state })
    }

    /// Lets the sender of `request` do `what`, with a line in the audit log; or says why not.
    pub fn authorise<T>(&self, request: &Request<T>, what: &str, details: &Value) -> Result<(), Denied> {
        let denied = |status, why: &str| Err(Denied { status, why: why.to_owned() });
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = header(HOST).unwrap_or_default();
        self.called(request)?;
        let origin = request.headers().get(ORIGIN);
        if origin.is_some_and(|origin| !origin.to_str().is_ok_and(|origin| is_same_origin(origin, host))) {
            return denied(StatusCode::FORBIDDEN, "a page of another origin may not change anything here");
        }
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        match &self.token {
            Some(token) if token.is_in(header(AUTHORIZATION)) => {}
            Some(_) => {
                let why = "this needs the administrator's token: `Authorization: Bearer TOKEN`";
                return denied(StatusCode::UNAUTHORIZED, why);
            }
            None if peer.is_some_and(|peer| peer.is_loopback()) => {}
            None => {
                let why = "only this machine may change anything here: start weir with --admin-token-file FILE";
                return denied(StatusCode::FORBIDDEN, why);
            }
        }
        let who = peer.map_or_else(|| "administrator".to_owned(), |peer| format!("administrator at {peer}"));
        self.note(&who, what, details).map_err(|error| {
            let why = format!(
                "the audit log in `{}` cannot be written: {error}; nothing was changed: let the gateway's user write \
                 there, or start it with --state DIR",
                self.state.display()
            );
            Denied { status: StatusCode::SERVICE_UNAVAILABLE, why }
        })
    }

    /// Refuses a request that calls this gateway by a name which was not configured: a page in a browser could read what
    /// is answered, if its own name leads here (DNS rebinding).
    pub fn called<T>(&self, request: &Request<T>) -> Result<(), Denied> {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.names.know(host) {
            return Ok(());
        }
        let why = format!("this gateway is not called `{host}`; start it with --host NAME if it is");
        Err(Denied { status: StatusCode::MISDIRECTED_REQUEST, why })
    }

    fn note(&self, who: &str, what: &str, details: &Value) -> io::Result<()> {
        tracing::info!(who, what, %details, "an administrator changes state");
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = json!({"at_ms": at.as_millis(), "who": who, "what": what, "details": details});
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state)?;
        let mut log = File::options().create(true).append(true).mode(0o600).open(self.state.join("audit.log"))?;
        log.write_all(format!("{line}\n").as_bytes())?;
        log.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-the-administrator";

    fn status(operators: &Operators, peer: [u8; 4], headers: &[(&str, &str)]) -> u16 {
        let request = headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(Peer((peer, 1).into()));
        operators.authorise(&request, "reload", &json!({})).map_or_else(|denied| denied.status.as_u16(), |()| 200)
    }

    const HERE: [u8; 4] = [127, 0, 0, 1];
    const ELSEWHERE: [u8; 4] = [192, 0, 2, 1];

    #[test]
    fn with_a_token_only_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, format!("{TOKEN}\n")).unwrap();
        let state = dir.path().join("state");
        let operators = Operators::new(Some(&path), vec!["weir.example".to_owned()], state.clone()).unwrap();
        let host = ("host", "127.0.0.1:9901");
        let bearer = format!("bearer {TOKEN}");
        let token = ("authorization", bearer.as_str());
        assert_eq!(status(&operators, ELSEWHERE, &[host, token]), 200);
        assert_eq!(status(&operators, HERE, &[host]), 401, "this machine needs it too");
        assert_eq!(status(&operators, HERE, &[host, ("authorization", "Bearer another-token-of-16")]), 401);
        let line: Value = serde_json::from_str(&fs::read_to_string(state.join("audit.log")).unwrap()).unwrap();
        assert_eq!((&line["who"], &line["what"]), (&json!("administrator at 192.0.2.1"), &json!("reload")));
        fs::write(&path, "short").unwrap();
        assert!(matches!(Operators::new(Some(&path), Vec::new(), state), Err(TokenError::Short { found: 5, .. })));
    }

    #[test]
    fn without_a_token_only_this_machine_and_no_page_of_a_browser() {
        let dir = tempfile::tempdir().unwrap();
        let operators = Operators::new(None, vec!["weir.example".to_owned()], dir.path().to_owned()).unwrap();
        let host = ("host", "127.0.0.1:9901");
        assert_eq!(status(&operators, HERE, &[host]), 200);
        assert_eq!(status(&operators, ELSEWHERE, &[host]), 403);
        for host in ["[::1]:9901", "localhost:9901", "WEIR.example"] {
            assert_eq!(status(&operators, HERE, &[("host", host)]), 200, "{host}");
        }
        for host in ["attacker.example", "", "127.0.0.1.attacker.example:9901"] {
            assert_eq!(status(&operators, HERE, &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&operators, HERE, &[host, ("origin", "http://127.0.0.1:9901")]), 200);
        for origin in ["http://attacker.example", "null"] {
            assert_eq!(status(&operators, HERE, &[host, ("origin", origin)]), 403, "{origin}");
        }
    }
}
