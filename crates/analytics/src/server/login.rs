//! `/login` and `/logout`: a reader's token in, a session out.
//!
//! The session is a cookie that no script reads (`HttpOnly`) and that no page of another site can have sent
//! (`SameSite=Strict`). A link from elsewhere comes without it, so that the form asks once whether there is a session and
//! goes on by itself. What is posted must come from a page of this server.

use super::Server;
use super::answer::{Answer, refused, text};
use super::entrance::{COOKIE_NAME, Failed, later, session_of};
use super::origin::own_page;
use super::page;
use super::places::Client;
use super::queries::Params;
use super::sessions::LIFE;
use crate::readers::digest;
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::time::Duration;

/// A token is short.
const MAX_BODY: usize = 16 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);

/// That a request came over TLS, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverTls;

impl Server {
    /// `GET /login`.
    pub(super) fn login_form(&self, params: &str) -> Answer {
        if self.entrance.is_open() {
            return redirected(&next(params));
        }
        page::login()
    }

    /// `POST /login`, with `token=…`.
    pub(super) async fn login(&self, request: Request<Incoming>, client: Client) -> Answer {
        if let Err(foreign) = own_page(&request) {
            return *foreign;
        }
        let (next, secure) = (next(request.uri().query().unwrap_or_default()), request.extensions().get::<OverTls>());
        let secure = secure.is_some();
        let wrong = |why: &str| refused(StatusCode::BAD_REQUEST, why);
        let body = Limited::new(request.into_body(), MAX_BODY).collect();
        let body = match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return wrong(&error.to_string()),
            Err(_) => return wrong("the body did not come in time"),
        };
        let form = Params::parse(&String::from_utf8_lossy(&body));
        let Some(token) = form.get("token") else { return wrong("`token` is needed") };
        let token = token.trim();
        match self.entrance.of_token(token, client, self.admin.token()).await {
            Ok(reader) => {
                let Some(id) = self.entrance.sessions.open(digest(token)) else {
                    return refused(StatusCode::SERVICE_UNAVAILABLE, "the system has no random numbers");
                };
                tracing::info!(reader = reader.name, %client, "logged in");
                with_cookie(redirected(&next), &id, LIFE, secure)
            }
            Err(failed) => {
                let mut answer = page::login_failed(failed.why());
                *answer.status_mut() = failed.status();
                if failed == Failed::Crowded { later(answer) } else { answer }
            }
        }
    }

    /// `POST /logout`.
    pub(super) fn logout<T>(&self, request: &Request<T>) -> Answer {
        if let Err(foreign) = own_page(request) {
            return *foreign;
        }
        if let Some(id) = session_of(request.headers()) {
            self.entrance.sessions.end(id);
        }
        let secure = request.extensions().get::<OverTls>().is_some();
        with_cookie(redirected("/login"), "", Duration::ZERO, secure)
    }
}

/// 303: the page that was asked for is there by GET (RFC 9110 15.4.4).
pub(super) fn redirected(to: &str) -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, "see the address in `Location`");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}

/// To the form, and from there back to `target`: a path of this server with its query.
pub(super) fn to_login(target: &str) -> Answer {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", target).finish();
    redirected(&format!("/login?{query}"))
}

fn with_cookie(mut answer: Answer, id: &str, life: Duration, secure: bool) -> Answer {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", life.as_secs());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

/// Where to go after the login: `next`, if it is a path of this server.
fn next(params: &str) -> String {
    let params = Params::parse(params);
    let next = params.get("next").unwrap_or("/");
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain && !next.starts_with("/login") { next.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_comes_a_page_of_this_server() {
        assert_eq!(next("next=%2Fd%2Fweir-api%3Fvar-api%3Da%26from%3D1"), "/d/weir-api?var-api=a&from=1");
        for elsewhere in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a\r\nset-cookie:x",
            "/login?next=x",
            "",
            "a",
        ] {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", elsewhere).finish();
            assert_eq!(next(&query), "/", "{elsewhere}");
        }
        assert_eq!(next(""), "/");
        let to = to_login("/d/weir-api?a=b&c=d");
        assert_eq!(to.headers()[LOCATION], "/login?next=%2Fd%2Fweir-api%3Fa%3Db%26c%3Dd");
    }

    #[test]
    fn a_cookie_is_for_this_server_and_no_script() {
        let cookie = |secure| with_cookie(redirected("/"), "ab", LIFE, secure).headers()[SET_COOKIE].clone();
        assert_eq!(cookie(false), "weir_session=ab; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
        assert_eq!(cookie(true), "weir_session=ab; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200; Secure");
    }
}
