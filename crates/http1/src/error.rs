//! What can be wrong with a message, one kind each, and the status that a server answers with.
//!
//! Of a response the answer is always 502 (RFC 9110 15.6.3): the kind is for the event alone.

use thiserror::Error;

/// A head that is refused. What follows on its connection cannot be read: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The first line is neither a request line (RFC 9112 3) nor a status line (RFC 9112 4).
    #[error("the first line is malformed")]
    Line,
    /// A request line without a version: HTTP/0.9.
    #[error("the request line has no version, as in HTTP/0.9")]
    Http09,
    /// The connection preface of HTTP/2 (RFC 9113 3.4), where HTTP/1 is spoken.
    #[error("this is HTTP/2")]
    Http2Preface,
    /// A version of HTTP whose major number is not 1.
    #[error("the version is not HTTP/1")]
    Version,
    /// A control character, or a form that the method does not allow (RFC 9112 3.2).
    #[error("the request target is malformed")]
    Target,
    /// The first line is longer than [`Limits::line`](crate::Limits::line).
    #[error("the first line is too long")]
    LineTooLong,
    /// The head is longer than [`Limits::head`](crate::Limits::head).
    #[error("the head is too large")]
    TooLarge,
    /// More fields than [`Limits::fields`](crate::Limits::fields).
    #[error("the head has too many fields")]
    TooManyFields,
    /// A line ends with a line feed alone, or has a carriage return that ends no line (RFC 9112 2.2).
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// A name that is no token, a blank before the colon, a line without a colon, or one that continues the line before
    /// it (RFC 9112 5.1, 5.2).
    #[error("a field name is malformed")]
    FieldName,
    /// A control character in a value (RFC 9110 5.5).
    #[error("a field value has a control character")]
    FieldValue,
    /// HTTP/1.1 without `Host` (RFC 9112 3.2).
    #[error("the request has no Host")]
    HostMissing,
    /// More than one `Host` (RFC 9112 3.2).
    #[error("the request has more than one Host")]
    HostRepeated,
    /// A `Host` or an authority that is none: empty, with user information, or with a port that is no number.
    #[error("the host of the request is malformed")]
    Host,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 6.1, 6.3).
    #[error("the message has both a Content-Length and a Transfer-Encoding")]
    LengthAndCoding,
    /// Not one number in plain digits: a list, a sign, more than 64 bits, lines that differ (RFC 9110 8.6).
    #[error("the Content-Length is not one number")]
    Length,
    /// `chunked` is not the last coding, not the only one, or there are several lines (RFC 9112 6.1).
    #[error("the Transfer-Encoding does not say where the message ends")]
    Coding,
    /// Other codings before `chunked`; none is implemented (RFC 9112 7.2).
    #[error("the only transfer coding is chunked")]
    CodingNotImplemented,
    /// HTTP/1.0 has no transfer codings (RFC 9112 6.1).
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    CodingInHttp10,
    /// The line of `Content-Length` or `Transfer-Encoding` is padded to more than any sender needs.
    #[error("a line that says where the message ends is too long")]
    Padded,
    /// A CONNECT with content: where the tunnel begins is not known (RFC 9110 9.3.6).
    #[error("CONNECT has no content")]
    ConnectContent,
}

impl HeadError {
    /// The status of the answer to a request with this fault.
    pub const fn status(self) -> u16 {
        match self {
            Self::LineTooLong => 414,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::CodingNotImplemented => 501,
            Self::Version | Self::Http2Preface => 505,
            Self::Line
            | Self::Http09
            | Self::Target
            | Self::LineEnd
            | Self::FieldName
            | Self::FieldValue
            | Self::HostMissing
            | Self::HostRepeated
            | Self::Host
            | Self::LengthAndCoding
            | Self::Length
            | Self::Coding
            | Self::CodingInHttp10
            | Self::Padded
            | Self::ConnectContent => 400,
        }
    }
}

/// A body that breaks its own framing, or ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// No hexadecimal number, or more than 16 digits.
    #[error("a chunk's size is malformed")]
    ChunkSize,
    /// Extensions that are none (RFC 9112 7.1.1), or a line that does not end with CR LF.
    #[error("a chunk's line is malformed")]
    ChunkLine,
    /// Longer than [`Limits::chunk_line`](crate::Limits::chunk_line), or all extensions together longer than
    /// [`Limits::extensions`](crate::Limits::extensions).
    #[error("a chunk's extensions are too long")]
    Extensions,
    /// No CR LF behind a chunk's data.
    #[error("a chunk is longer than its size")]
    ChunkEnd,
    /// A trailer field is malformed, or there are too many.
    #[error("the trailer section is malformed: {0}")]
    Trailer(HeadError),
    /// A trailer field that frames or routes a message (RFC 9110 6.5.1).
    #[error("a field cannot be in a trailer section")]
    TrailerForbidden,
    /// Longer than [`Limits::trailers`](crate::Limits::trailers).
    #[error("the trailer section is too large")]
    TrailersTooLarge,
    /// The connection ended before the body did (RFC 9112 8).
    #[error("the body is incomplete")]
    Incomplete,
}

impl BodyError {
    /// The status of the answer to a request with this fault, where none was sent yet.
    pub const fn status(self) -> u16 {
        match self {
            Self::TrailersTooLarge | Self::Trailer(HeadError::TooManyFields) => 431,
            Self::ChunkSize
            | Self::ChunkLine
            | Self::Extensions
            | Self::ChunkEnd
            | Self::Trailer(_)
            | Self::TrailerForbidden
            | Self::Incomplete => 400,
        }
    }
}

/// What an editor gave cannot be written: it would make another message of it (response splitting).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// The name is no token.
    #[error("the field name is not a token")]
    Name,
    /// The value has a control character: CR, LF, NUL and the like.
    #[error("the value has a control character")]
    Value,
    /// The method is no token.
    #[error("the method is not a token")]
    Method,
    /// The target has a blank or a control character, or no form of RFC 9112 3.2.
    #[error("the request target is malformed")]
    Target,
    /// The status is not a number of three digits from 100.
    #[error("the status is not a number from 100 to 999")]
    Status,
    /// The message would be larger than 4 GiB.
    #[error("the head is too large")]
    TooLarge,
}

/// More or less content was written than the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// More than `Content-Length`, or any where there is none.
    #[error("there is more content than the head says")]
    TooMuch,
    /// The end came before `Content-Length` bytes.
    #[error("there is less content than the head says")]
    TooLittle,
    /// A trailer field that frames or routes a message (RFC 9110 6.5.1).
    #[error("a field cannot be in a trailer section")]
    TrailerForbidden,
}
