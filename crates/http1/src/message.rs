//! A request's and a response's head: first line and fields, read, changed and written.

use crate::error::{EditError, HeadError};
use crate::fields::{Fields, Place, Span};
use crate::grammar::{end_of_target, is_token, is_value};
use crate::known::Known;
use crate::line::{RequestLine, StatusLine, Version};
use crate::target::{Form, Target, target};
use bytes::{Bytes, BytesMut};

/// The head of a request. One is used for all requests of a connection.
#[derive(Clone, Debug, Default)]
pub struct Request {
    method: (Place, Span),
    target: (Place, Span),
    parts: Target,
    version: Version,
    /// The fields.
    pub fields: Fields,
}

/// The head of a response. One is used for all responses of a connection.
#[derive(Clone, Debug, Default)]
pub struct Response {
    status: u16,
    reason: (Place, Span),
    version: Version,
    /// The fields.
    pub fields: Fields,
}

impl Request {
    /// A request that did not come in this form, without fields.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn new(method: &[u8], target: &[u8]) -> Result<Self, EditError> {
        let mut request = Self::default();
        request.begin(method, target)?;
        Ok(request)
    }

    /// Makes it another request, without fields.
    ///
    /// # Errors
    /// The method is no token, or the target none that the method may have.
    pub fn begin(&mut self, method: &[u8], target: &[u8]) -> Result<(), EditError> {
        self.clear();
        if !is_token(method) {
            return Err(EditError::Method);
        }
        self.method = (Place::Added, self.fields.keep(method)?);
        self.set_target(target)
    }

    /// The method, as it was sent: methods have capital and small letters (RFC 9110 9.1). Empty where there is no request.
    pub fn method(&self) -> &[u8] {
        self.fields.store.get(self.method.0, self.method.1)
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as it was sent, without a fragment.
    pub fn target(&self) -> &[u8] {
        self.fields.store.get(self.target.0, self.target.1)
    }

    /// The same as bytes of their own; no copy of a target that came from the wire.
    pub fn target_shared(&self) -> Bytes {
        self.fields.store.share(self.target.0, self.target.1)
    }

    /// The form of the target.
    pub fn form(&self) -> Form {
        self.parts.form
    }

    /// Whether the target says `https` itself: an absolute one.
    pub fn is_https(&self) -> bool {
        self.parts.is_https
    }

    /// The path, as it was sent: `*` of the asterisk form, and empty where an absolute target has none.
    pub fn path(&self) -> &[u8] {
        &self.target()[self.parts.path.0..self.parts.path.1]
    }

    /// What stands behind the question mark, if there is one.
    pub fn query(&self) -> Option<&[u8]> {
        self.parts.query.map(|(from, end)| &self.target()[from..end])
    }

    /// Whom the request is for: the target's authority, and otherwise `Host` (RFC 9112 3.2.2, 3.3).
    pub fn authority(&self) -> Option<&[u8]> {
        let (from, end) = self.parts.authority;
        if end > from { Some(&self.target()[from..end]) } else { self.fields.get(Known::Host) }
    }

    /// Writes another target in place of the one that came.
    ///
    /// # Errors
    /// It has a blank or a control character, or a form that the method may not have.
    pub fn set_target(&mut self, text: &[u8]) -> Result<(), EditError> {
        if end_of_target(text) != text.len() {
            return Err(EditError::Target);
        }
        let parts = target(self.method(), text).map_err(|_| EditError::Target)?;
        self.target = (Place::Added, self.fields.keep(&text[..parts.end])?);
        self.parts = parts;
        Ok(())
    }

    /// Appends the whole head to `out`, as HTTP/1.1, which is the gateway's own version (RFC 9112 2.3).
    pub fn write(&self, out: &mut BytesMut) {
        let (method, target) = (self.method(), self.target());
        out.reserve(method.len() + target.len() + 14 + self.fields.room());
        out.extend_from_slice(method);
        out.extend_from_slice(b" ");
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.fields.write(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Forgets the message. Memory for the next one is kept.
    pub fn clear(&mut self) {
        self.fields.clear();
        (self.method, self.target, self.parts, self.version) = Default::default();
    }

    /// Fills it from `head`, whose fields were read already.
    pub(crate) fn fill(&mut self, line: RequestLine, parts: Target, head: Bytes) {
        self.fields.store.head = head;
        self.method = (Place::Head, Span::new(0, line.method));
        self.target = (Place::Head, Span::new(line.method + 1, parts.end));
        (self.parts, self.version) = (parts, line.version);
    }

    /// One host, and a valid one (RFC 9112 3.2). An empty one is refused as well: http and https have none (RFC 9110 4.2.1).
    pub(crate) fn check_host(&self) -> Result<(), HeadError> {
        match self.fields.only(Known::Host) {
            Some(host) if crate::host::is_authority(host) => Ok(()),
            Some(_) => Err(HeadError::Host),
            None if self.fields.has(Known::Host) => Err(HeadError::HostRepeated),
            None if self.version == Version::Http10 => Ok(()),
            None => Err(HeadError::HostMissing),
        }
    }
}

impl Response {
    /// A response that did not come in this form, without fields.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn new(status: u16, reason: &[u8]) -> Result<Self, EditError> {
        let mut response = Self::default();
        response.begin(status, reason)?;
        Ok(response)
    }

    /// Makes it another response, without fields.
    ///
    /// # Errors
    /// As [`Self::set_status`].
    pub fn begin(&mut self, status: u16, reason: &[u8]) -> Result<(), EditError> {
        self.clear();
        self.set_status(status, reason)
    }

    /// The status, 100 to 999; 0 where there is no response.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words behind the status, which mean nothing to a program.
    pub fn reason(&self) -> &[u8] {
        self.fields.store.get(self.reason.0, self.reason.1)
    }

    /// The version that the server speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether another head follows for the same request: 1xx, except 101, which ends HTTP on this connection
    /// (RFC 9110 15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Writes another status in place of the one that came.
    ///
    /// # Errors
    /// The status has not three digits, or the reason has a control character.
    pub fn set_status(&mut self, status: u16, reason: &[u8]) -> Result<(), EditError> {
        if !(100..1000).contains(&status) {
            return Err(EditError::Status);
        }
        if !is_value(reason) {
            return Err(EditError::Value);
        }
        self.reason = (Place::Added, self.fields.keep(reason)?);
        self.status = status;
        Ok(())
    }

    /// Appends the whole head to `out`, as HTTP/1.1, which is the gateway's own version (RFC 9112 2.3).
    pub fn write(&self, out: &mut BytesMut) {
        let digit = |number: u16| b'0' + (number % 10) as u8;
        let reason = self.reason();
        out.reserve(17 + reason.len() + self.fields.room());
        let [hundreds, tens, ones] = [self.status / 100, self.status / 10, self.status].map(digit);
        out.extend_from_slice(&[b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', hundreds, tens, ones, b' ']);
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        self.fields.write(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Forgets the message. Memory for the next one is kept.
    pub fn clear(&mut self) {
        self.fields.clear();
        (self.status, self.reason, self.version) = Default::default();
    }

    /// Fills it from `head`, whose fields were read already.
    pub(crate) fn fill(&mut self, line: StatusLine, head: Bytes) {
        self.fields.store.head = head;
        let (from, end) = line.reason;
        self.reason = (Place::Head, Span::new(from, end - from));
        (self.status, self.version) = (line.status, line.version);
    }
}
