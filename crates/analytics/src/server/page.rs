//! The pages, each one document with nothing from elsewhere: `/` and `/d/…`, which draw the dashboards, `/live`, and the
//! form of `/login`.
//!
//! Their styles and scripts are inline and allowed by their digests alone, so that no text of an event that found its
//! way into a document could run. What draws the dashboards is built from `page/pane` into `page/built`.

use super::answer::{Answer, html};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A document and its policy.
struct Page {
    document: String,
    policy: HeaderValue,
}

impl Page {
    fn new(document: &str, style: &str, script: &str, form_action: &str) -> Self {
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             base-uri 'none'; form-action {form_action}; frame-ancestors 'none'",
            digest(style),
            digest(script)
        );
        Self {
            document: document.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script),
            policy: HeaderValue::try_from(policy).expect("the policy is ASCII"),
        }
    }

    fn answer(&'static self) -> Answer {
        let mut answer = html(self.document.as_str());
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        answer.headers_mut().insert("referrer-policy", HeaderValue::from_static("no-referrer"));
        answer
    }
}

static PANE: LazyLock<Page> = LazyLock::new(|| {
    Page::new(
        include_str!("../../page/pane.html"),
        include_str!("../../page/built/pane.css"),
        include_str!("../../page/built/pane.js"),
        "'none'",
    )
});

static LIVE: LazyLock<Page> = LazyLock::new(|| {
    Page::new(
        include_str!("../../page/index.html"),
        include_str!("../../page/style.css"),
        include_str!("../../page/page.js"),
        "'none'",
    )
});

static LOGIN: LazyLock<Page> = LazyLock::new(|| {
    Page::new(
        include_str!("../../page/login.html"),
        include_str!("../../page/login.css"),
        include_str!("../../page/login.js"),
        "'self'",
    )
});

/// The form that asks for a token.
pub(super) fn login() -> Answer {
    login_failed("")
}

/// The form, with why the token was not taken: a sentence of ours.
pub(super) fn login_failed(why: &'static str) -> Answer {
    let mut answer = html(LOGIN.document.replace("<!--SAID-->", why));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, LOGIN.policy.clone());
    // With `no-referrer` a browser would not say of which origin the form is.
    headers.insert("referrer-policy", HeaderValue::from_static("same-origin"));
    answer
}

/// The dashboards.
pub(super) fn page() -> Answer {
    PANE.answer()
}

/// The last hour, as it goes on.
pub(super) fn live() -> Answer {
    LIVE.answer()
}
