//! Who asks: by a token (`Authorization: Bearer`), by a session, or from this machine alone.
//!
//! Where there is a file of readers, or the port is open to other machines, nobody reads without one of the two. Without
//! the file, a port on loopback is read by whoever is on this machine. A token that nobody has is answered after
//! [`PENALTY`], and one client has few such answers waiting: beyond them its tokens are not looked at, so that trying
//! tokens out is slow however many connections it is done over. Sessions cannot be tried out, and are always looked at.

use super::answer::{Answer, refused};
use super::places::Client;
use super::sessions::Sessions;
use crate::readers::{Reader, ReaderTokens, digest};
use http::header::{AUTHORIZATION, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use weir_program::operator::{Token, bearer};

/// The cookie of a session.
pub(super) const COOKIE_NAME: &str = "weir_session";
/// How long a wrong token waits for its answer.
const PENALTY: Duration = Duration::from_secs(1);
/// Wrong tokens of one client that wait at once.
const WAITING: usize = 4;

/// Who may read, as it is now.
pub type ReaderFile = watch::Receiver<Arc<ReaderTokens>>;

pub(super) struct Entrance {
    /// Without a file nobody has a reader's token.
    readers: Option<ReaderFile>,
    /// Whether whoever is on this machine reads without a token.
    is_open: bool,
    pub(super) sessions: Sessions,
    waiting: Mutex<HashMap<Client, usize>>,
    failed: AtomicU64,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Known(Arc<Reader>),
    /// Somebody without a token, or with one that does not matter.
    Nobody,
}

/// A presented token that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Wrong,
    /// Not looked at: others of this client wait.
    Crowded,
}

impl Failed {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Wrong => "nobody has this token; ask whoever keeps the file of readers (--readers)",
            Self::Crowded => "wrong tokens came from this address; try again in a few seconds",
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(super) fn answer(self) -> Answer {
        let answer = refused(self.status(), self.why());
        match self {
            Self::Wrong => asking(answer),
            Self::Crowded => later(answer),
        }
    }
}

/// With the field that says what is needed (RFC 9110 11.6.1).
pub(super) fn asking(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir-analytics\""));
    answer
}

pub(super) fn later(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

impl Entrance {
    /// `is_local`: the port is on loopback.
    pub(super) fn new(readers: Option<ReaderFile>, is_local: bool) -> Self {
        Self {
            is_open: is_local && readers.is_none(),
            readers,
            sessions: Sessions::default(),
            waiting: Mutex::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether no token is asked for.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Why nobody without a token reads here.
    pub(super) fn closed(&self, has_admin: bool) -> Answer {
        let why = if self.readers.is_some() || has_admin {
            "this needs a reader's token: `Authorization: Bearer TOKEN`, or a session (/login)"
        } else {
            "nobody may read here: start weir-analytics with --readers FILE"
        };
        asking(refused(StatusCode::UNAUTHORIZED, why))
    }

    /// Wrong tokens since the start.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Who sent a request with these fields. `admin` is the token of the administrator.
    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        client: Client,
        admin: Option<&Token>,
    ) -> Result<Caller, Failed> {
        if let Some(reader) = self.of_session(headers, admin) {
            return Ok(Caller::Known(reader));
        }
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = authorization.and_then(bearer) else { return Ok(Caller::Nobody) };
        if self.readers.is_none() && admin.is_none() {
            return Ok(Caller::Nobody);
        }
        self.of_token(token.trim(), client, admin).await.map(Caller::Known)
    }

    /// Whose token this is.
    pub(super) async fn of_token(
        &self,
        token: &str,
        client: Client,
        admin: Option<&Token>,
    ) -> Result<Arc<Reader>, Failed> {
        if self.waiting(client) >= WAITING {
            return Err(Failed::Crowded);
        }
        match self.of_digest(&digest(token), admin) {
            Some(reader) => Ok(reader),
            None => Err(self.penalised(client).await),
        }
    }

    fn of_session(&self, headers: &HeaderMap, admin: Option<&Token>) -> Option<Arc<Reader>> {
        let token = self.sessions.token_of(session_of(headers)?)?;
        self.of_digest(&token, admin)
    }

    fn of_digest(&self, digest: &[u8; 32], admin: Option<&Token>) -> Option<Arc<Reader>> {
        if admin.is_some_and(|admin| admin.has_digest(digest)) {
            return Some(Arc::new(Reader::administrator()));
        }
        self.readers.as_ref()?.borrow().find(digest).cloned()
    }

    async fn penalised(&self, client: Client) -> Failed {
        let Some(_waits) = Waits::begin(self, client) else { return Failed::Crowded };
        self.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%client, "a token that nobody has was presented");
        tokio::time::sleep(PENALTY).await;
        Failed::Wrong
    }

    fn waiting(&self, client: Client) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get(&client).copied().unwrap_or_default()
    }
}

/// A wrong token that waits for its answer, for as long as its client does.
struct Waits<'e> {
    entrance: &'e Entrance,
    client: Client,
}

impl<'e> Waits<'e> {
    fn begin(entrance: &'e Entrance, client: Client) -> Option<Self> {
        let mut waiting = entrance.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let here = waiting.entry(client).or_default();
        if *here >= WAITING {
            return None;
        }
        *here += 1;
        Some(Self { entrance, client })
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.entrance.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = waiting.get_mut(&self.client) {
            *here -= 1;
            if *here == 0 {
                waiting.remove(&self.client);
            }
        }
    }
}

/// The session among the cookies of a request (RFC 6265 4.2.1).
pub(super) fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|list| list.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::IpAddr;
    use tokio::time::Instant;

    const TOKEN: &str = "token-of-anna-0001";

    fn client(last: u8) -> Client {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn entrance() -> (watch::Sender<Arc<ReaderTokens>>, Entrance) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{TOKEN} anna viewer acme *").unwrap();
        let sender = watch::Sender::new(Arc::new(ReaderTokens::load(file.path()).unwrap()));
        let entrance = Entrance::new(Some(sender.subscribe()), true);
        (sender, entrance)
    }

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_has_a_token_or_a_session() {
        let (file, entrance) = entrance();
        let name = |caller| match caller {
            Ok(Caller::Known(reader)) => Reader::clone(&reader).name,
            other => format!("{other:?}"),
        };
        let bearer = fields("authorization", &format!("Bearer {TOKEN}"));
        assert_eq!(name(entrance.caller(&bearer, client(1), None).await), "anna");
        assert_eq!(name(entrance.caller(&HeaderMap::new(), client(1), None).await), "Ok(Nobody)");
        let admin = Token::of("token-of-the-admin");
        let bearer = fields("authorization", "bearer token-of-the-admin");
        assert_eq!(name(entrance.caller(&bearer, client(1), Some(&admin)).await), "administrator");
        assert_eq!(name(entrance.caller(&bearer, client(1), None).await), "Err(Wrong)");
        let id = entrance.sessions.open(digest(TOKEN)).unwrap();
        let cookie = fields("cookie", &format!("a=b; {COOKIE_NAME}={id};c"));
        assert_eq!(name(entrance.caller(&cookie, client(1), None).await), "anna");
        assert_eq!(name(entrance.caller(&fields("cookie", &id), client(1), None).await), "Ok(Nobody)");
        file.send_replace(Arc::default());
        assert_eq!(
            name(entrance.caller(&cookie, client(1), None).await),
            "Ok(Nobody)",
            "the token has been taken away"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_cannot_be_tried_out_fast() {
        let (_file, entrance) = entrance();
        let entrance = Arc::new(entrance);
        let began = Instant::now();
        let tries: Vec<_> = (0..40)
            .map(|number| {
                let entrance = Arc::clone(&entrance);
                tokio::spawn(async move { entrance.of_token(&format!("a-guess-{number}"), client(1), None).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(entrance.of_token(TOKEN, client(1), None).await, Err(Failed::Crowded), "not even looked at");
        assert!(entrance.of_token(TOKEN, client(2), None).await.is_ok(), "others are not concerned");
        let mut wrong = 0;
        for one in tries {
            wrong += usize::from(one.await.unwrap() == Err(Failed::Wrong));
        }
        assert_eq!((wrong, entrance.failed()), (WAITING, WAITING as u64));
        assert_eq!(began.elapsed(), PENALTY);
        assert!(entrance.of_token(TOKEN, client(1), None).await.is_ok());
        assert!(entrance.waiting.lock().unwrap().is_empty(), "nothing is remembered");
    }

    #[test]
    fn a_port_is_open_on_loopback_without_a_file_alone() {
        assert!(Entrance::new(None, true).is_open());
        assert!(!Entrance::new(None, false).is_open());
        assert!(!entrance().1.is_open());
    }
}
