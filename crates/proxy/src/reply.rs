//! A response on its way to the client: its head, and where its bytes come from.

use http::StatusCode;
use weir_http1::{Fields, ReasonPhrase};

/// A response. `B` is what its content is.
pub(crate) struct Reply<B> {
    pub(crate) status: StatusCode,
    /// Where the upstream has words of its own behind the status.
    pub(crate) phrase: Option<ReasonPhrase>,
    pub(crate) fields: Fields,
    pub(crate) content: B,
}

impl<B> Reply<B> {
    /// Without fields.
    pub(crate) fn new(status: StatusCode, content: B) -> Self {
        Self { status, phrase: None, fields: Fields::new(), content }
    }

    /// The same head with other content.
    pub(crate) fn map<C>(self, make: impl FnOnce(B) -> C) -> Reply<C> {
        let Self { status, phrase, fields, content } = self;
        Reply { status, phrase, fields, content: make(content) }
    }
}
