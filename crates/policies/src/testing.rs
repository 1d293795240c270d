//! A request for the tests of policies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::{Authenticated, RequestView};
use http::{HeaderMap, HeaderName, Method, Uri};
use std::time::Instant;

pub(crate) struct Request {
    target: Uri,
    pub headers: HeaderMap,
    pub now: Instant,
    consumer: Option<Authenticated>,
}

impl Request {
    pub fn get(target: &str) -> Self {
        Self { target: target.parse().unwrap(), headers: HeaderMap::new(), now: Instant::now(), consumer: None }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        self
    }

    pub fn from(self, who: Authenticated) -> Self {
        Self { consumer: Some(who), ..self }
    }

    pub fn view(&mut self) -> RequestView<'_> {
        RequestView {
            method: &Method::GET,
            path: self.target.path(),
            query: self.target.query(),
            headers: &mut self.headers,
            consumer: self.consumer.as_ref(),
            now: self.now,
        }
    }
}
