//! Whether a request that changes something comes from a page of this server, or from no page at all.
//!
//! A browser says of which origin a page is that posts (`Origin`, `Sec-Fetch-Site`), and no script can say otherwise.
//! Clients that are no browsers say nothing.

use super::answer::{Answer, refused};
use http::header::{HOST, HeaderName, ORIGIN};
use http::{Request, StatusCode};
use weir_program::operator::is_same_origin;

/// Refuses what a page of another site has a browser send.
pub(super) fn own_page<T>(request: &Request<T>) -> Result<(), Box<Answer>> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = header(HOST).unwrap_or_default();
    let site = header(HeaderName::from_static("sec-fetch-site"));
    let is_ours = header(ORIGIN).is_none_or(|origin| is_same_origin(origin, host))
        && site.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if is_ours {
        return Ok(());
    }
    Err(Box::new(refused(StatusCode::FORBIDDEN, "a page of another origin may not change anything here")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let judged = |fields: &[(&str, &str)]| {
            let request =
                fields.iter().fold(Request::post("/login"), |request, (name, value)| request.header(*name, *value));
            own_page(&request.header("host", "127.0.0.1:8686").body(()).unwrap()).is_ok()
        };
        assert!(judged(&[]) && judged(&[("origin", "http://127.0.0.1:8686"), ("sec-fetch-site", "same-origin")]));
        for origin in ["null", "http://127.0.0.1:9", "https://evil.example"] {
            assert!(!judged(&[("origin", origin)]), "{origin}");
        }
        assert!(!judged(&[("sec-fetch-site", "cross-site")]) && !judged(&[("sec-fetch-site", "same-site")]));
    }
}
