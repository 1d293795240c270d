//! `GET /`: the page, one document with nothing from elsewhere.
//!
//! Its style and script are inline and allowed by their digests alone, so that no text of an event that found its
//! way into the document could run.

use super::answer::{Answer, html};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::CONTENT_SECURITY_POLICY;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const DOCUMENT: &str = include_str!("../../page/index.html");
const STYLE: &str = include_str!("../../page/style.css");
const SCRIPT: &str = include_str!("../../page/page.js");

static PAGE: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let page = DOCUMENT.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    (page, HeaderValue::try_from(policy).expect("the policy is ASCII"))
});

pub(super) fn page() -> Answer {
    let (page, policy) = &*PAGE;
    let mut answer = html(page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
    answer.headers_mut().insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    answer
}
