//! Calls that change state: who may make them, and the line that each leaves.
//!
//! At the port, whoever has the administrator's token; without `--admin-token-file` nobody, for any program of the machine
//! can call there, and a proxy on it makes strangers look like one. At the Unix socket, who may open it.
//! A page in a browser cannot make these calls: a foreign `Origin` is refused, and so is a `Host` that is neither an
//! address nor a name that was configured (a name can be bound again to this machine by whoever owns it). The line is in
//! the audit log, synced, before the change begins.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter};
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
    /// Where the socket is, for whoever is refused at the port.
    socket: PathBuf,
}

/// Whoever made a call, in words.
pub struct Operator(String);

/// Why a call is not taken.
#[derive(Debug)]
pub struct Denied {
    pub status: StatusCode,
    pub why: String,
}

/// Who called: what a connection came from, among the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// An address, at a port.
    At(SocketAddr),
    /// A user of this machine, by number, at the socket.
    User(u32),
}

impl Peer {
    /// Whether it is who the gateway runs as, or root.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::User(user) if *user == 0 || *user == rustix::process::geteuid().as_raw())
    }
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => write!(f, "administrator at {}", address.ip().to_canonical()),
            Self::User(user) => write!(f, "user {user} of this machine"),
        }
    }
}

impl Operators {
    /// `token` is a file with the token in its first line; the audit log is in the folder `state`.
    pub fn new(token: Option<&Path>, hosts: Vec<String>, state: PathBuf, socket: PathBuf) -> Result<Self, TokenError> {
        Ok(Self { token: token.map(Token::read).transpose()?, names: Names(hosts), state, socket })
    }

    /// Whether the sender of `request` may change state.
    pub fn check<T>(&self, request: &Request<T>) -> Result<Operator, Denied> {
        let denied = |status, why: &str| Err(Denied { status, why: why.to_owned() });
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let host = header(HOST).unwrap_or_default();
        self.called(request)?;
        let origin = request.headers().get(ORIGIN);
        if origin.is_some_and(|origin| !origin.to_str().is_ok_and(|origin| is_same_origin(origin, host))) {
            return denied(StatusCode::FORBIDDEN, "a page of another origin may not change anything here");
        }
        let peer = request.extensions().get::<Peer>();
        match &self.token {
            _ if peer.is_some_and(Peer::is_own) => {}
            Some(token) if token.is_in(header(AUTHORIZATION)) => {}
            Some(_) => {
                let why = "this needs the administrator's token: `Authorization: Bearer TOKEN`";
                return denied(StatusCode::UNAUTHORIZED, why);
            }
            None => {
                let why = format!(
                    "nobody may change anything at this port: call as the user of the gateway by `weirctl --admin \
                     unix:{}`, or start weir with --admin-token-file FILE",
                    self.socket.display()
                );
                return denied(StatusCode::FORBIDDEN, &why);
            }
        }
        Ok(Operator(peer.map_or_else(|| "administrator".to_owned(), Peer::to_string)))
    }

    /// Leaves a line of what `operator` is about to do. Without the line it must not be done.
    pub fn note(&self, operator: &Operator, what: &str, details: &Value) -> Result<(), Denied> {
        self.write(&operator.0, what, details).map_err(|error| {
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

    fn write(&self, who: &str, what: &str, details: &Value) -> io::Result<()> {
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
    use std::net::{IpAddr, Ipv4Addr};

    const TOKEN: &str = "a-token-of-the-administrator";

    fn status(operators: &Operators, peer: Peer, headers: &[(&str, &str)]) -> u16 {
        let request = headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(peer);
        let done = operators.check(&request).and_then(|operator| operators.note(&operator, "reload", &json!({})));
        done.map_or_else(|denied| denied.status.as_u16(), |()| 200)
    }

    const HERE: Peer = Peer::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1));
    const ELSEWHERE: Peer = Peer::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1));

    fn user() -> Peer {
        Peer::User(rustix::process::geteuid().as_raw())
    }

    fn operators(token: Option<&Path>, state: &Path) -> Operators {
        Operators::new(token, vec!["weir.example".to_owned()], state.to_owned(), state.join("admin.sock")).unwrap()
    }

    #[test]
    fn with_a_token_only_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, format!("{TOKEN}\n")).unwrap();
        let state = dir.path().join("state");
        let operators = operators(Some(&path), &state);
        let host = ("host", "127.0.0.1:9901");
        let bearer = format!("bearer {TOKEN}");
        let token = ("authorization", bearer.as_str());
        assert_eq!(status(&operators, ELSEWHERE, &[host, token]), 200);
        assert_eq!(status(&operators, HERE, &[host]), 401, "this machine needs it too");
        assert_eq!(status(&operators, HERE, &[host, ("authorization", "Bearer another-token-of-16")]), 401);
        let line: Value = serde_json::from_str(&fs::read_to_string(state.join("audit.log")).unwrap()).unwrap();
        assert_eq!((&line["who"], &line["what"]), (&json!("administrator at 192.0.2.1"), &json!("reload")));
        fs::write(&path, "short").unwrap();
        let short = Operators::new(Some(&path), Vec::new(), state, PathBuf::new());
        assert!(matches!(short, Err(TokenError::Short { found: 5, .. })));
    }

    #[test]
    fn without_a_token_only_who_calls_at_the_socket_and_no_page_of_a_browser() {
        let dir = tempfile::tempdir().unwrap();
        let operators = operators(None, dir.path());
        let host = ("host", "127.0.0.1:9901");
        for own in [user(), Peer::User(0)] {
            assert_eq!(status(&operators, own, &[host]), 200, "{own}");
        }
        for other in [HERE, ELSEWHERE, Peer::User(u32::MAX - 1)] {
            assert_eq!(status(&operators, other, &[host]), 403, "{other}");
        }
        for host in ["[::1]:9901", "localhost:9901", "WEIR.example"] {
            assert_eq!(status(&operators, user(), &[("host", host)]), 200, "{host}");
        }
        for host in ["attacker.example", "", "127.0.0.1.attacker.example:9901"] {
            assert_eq!(status(&operators, user(), &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status(&operators, user(), &[host, ("origin", "http://127.0.0.1:9901")]), 200);
        for origin in ["http://attacker.example", "null"] {
            assert_eq!(status(&operators, user(), &[host, ("origin", origin)]), 403, "{origin}");
        }
    }
}
