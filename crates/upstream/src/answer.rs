//! What comes back for a request, whatever its protocol: a head, or why there is none, and why content breaks off.

use http::StatusCode;
use std::io;
use weir_http1::{BodyError, Fields, HeadError, ReasonPhrase, Response};

/// The head of a response.
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The words behind it, where they are not the usual ones.
    pub phrase: Option<ReasonPhrase>,
    /// The fields, as they came.
    pub fields: Fields,
}

impl Head {
    /// Whether another head follows: 1xx, except 101, which ends HTTP on this connection (RFC 9110 15.2).
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Takes the head out. The status has three digits.
    pub(crate) fn of(response: &mut Response) -> Option<Self> {
        let status = StatusCode::from_u16(response.status()).ok()?;
        Some(Self { status, phrase: response.phrase(), fields: std::mem::take(&mut response.fields) })
    }
}

/// Why there is no response head.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered<E> {
    /// The content of the request broke off.
    #[error("the content of the request broke off")]
    Content(E),
    /// What came is no head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The connection, or the stream, ended.
    #[error(transparent)]
    Closed(#[from] io::Error),
    /// The request cannot be said over HTTP/2: it was not sent.
    #[error("the request cannot be said in HTTP/2: {0}")]
    Unsaid(HeadError),
    /// The upstream says that it has not looked at the request: it may be sent again, whatever it is (RFC 9113 8.7).
    #[error("the upstream did not take the request")]
    Refused,
}

/// Why the content of a response ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// It breaks its own framing, or the connection ended.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The connection broke.
    #[error(transparent)]
    Closed(#[from] io::Error),
    /// The content of the request broke off, and with it the connection.
    #[error("the content of the request broke off")]
    Request,
}
