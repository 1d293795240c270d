//! Heads out of a read buffer.
//!
//! A head that comes in many small pieces is not parsed for each of them: after the first try only what is new is
//! searched for an empty line. Otherwise a client could make a gateway parse 60 KiB for each byte that it sends.

use crate::error::HeadError;
use crate::fields::{Fields, mend_names};
use crate::framing::{Asked, Framing, of_request, of_response};
use crate::limits::Limits;
use crate::line::{request_line, status_line};
use crate::message::{Request, Response};
use crate::section::Section;
use crate::target::target;
use bytes::{Buf, BytesMut};

/// Empty lines in front of a request that are passed over. RFC 9112 2.2 asks for one; old clients send it behind a POST.
const MOST_EMPTY_LINES: u8 = 8;

/// Reads one head after the other from a connection's buffer.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    limits: Limits,
    section: Section,
    /// The first line was whole when the head was parsed the last time.
    has_line: bool,
    empty_lines: u8,
}

impl Reader {
    /// A reader for the heads of one direction of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the head of the next request from `buffer`, if it is there whole. Answers how its body is framed; the body
    /// begins with the next byte of `buffer`.
    ///
    /// # Errors
    /// The head is malformed, too large, or could be read in two ways; then the connection ends. Where the lines as such
    /// were good - the fault is one of `Host` or framing - `request` has them. Otherwise it is empty, the bytes are in
    /// `buffer` still, and [`legible`](crate::legible) finds what can be read of them.
    pub fn request(&mut self, buffer: &mut BytesMut, request: &mut Request) -> Result<Option<Framing>, HeadError> {
        request.clear();
        self.skip_empty_lines(buffer)?;
        if matches!(**buffer, [] | [b'\r']) || !self.is_worth_parsing(buffer) {
            return self.wait(buffer.len());
        }
        let Some(line) = request_line(buffer)? else { return self.wait_for_line(buffer.len()) };
        self.check_line(line.end)?;
        let parts = target(&buffer[..line.method], &buffer[line.method + 1..line.target_end])?;
        let Some(end) = self.fields(buffer, line.end, &mut request.fields)? else { return self.wait(buffer.len()) };
        self.begin_next();
        request.fill(line, parts, buffer.split_to(end).freeze());
        request.check_host()?;
        of_request(request.method(), request.version(), &request.fields).map(Some)
    }

    /// Takes the head of the next response from `buffer`, if it is there whole. Answers how its body is framed. After a
    /// [`Response::is_interim`] another head follows for the same request.
    ///
    /// Blanks between a field's name and its colon are removed (RFC 9112 5.1); folded lines are refused (RFC 9112 5.2
    /// leaves that open).
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn response(
        &mut self,
        buffer: &mut BytesMut,
        response: &mut Response,
        asked: Asked,
    ) -> Result<Option<Framing>, HeadError> {
        response.clear();
        if !self.is_worth_parsing(buffer) {
            return self.wait(buffer.len());
        }
        let Some(line) = status_line(buffer)? else { return self.wait_for_line(buffer.len()) };
        self.check_line(line.end)?;
        let mut end = self.fields(buffer, line.end, &mut response.fields);
        if end == Err(HeadError::FieldName) {
            end = match mend_names(buffer, line.end) {
                Some(true) => self.fields(buffer, line.end, &mut response.fields),
                Some(false) => end,
                None => Ok(None),
            };
        }
        let Some(end) = end? else { return self.wait(buffer.len()) };
        self.begin_next();
        response.fill(line, buffer.split_to(end).freeze());
        of_response(asked, line.status, line.version, &response.fields).map(Some)
    }

    /// Whether a part of a head is in `buffer`: more than the empty lines that may stand in front of it.
    pub fn has_begun(buffer: &[u8]) -> bool {
        !matches!(buffer.strip_prefix(b"\r\n").unwrap_or(buffer), b"" | b"\r" | b"\r\n")
    }

    fn fields(&self, buffer: &[u8], from: usize, fields: &mut Fields) -> Result<Option<usize>, HeadError> {
        let end = fields.read(buffer, from, self.limits.fields);
        match end {
            Ok(Some(end)) if end <= self.limits.head => Ok(Some(end)),
            Ok(None) => Ok(None),
            failed => {
                fields.clear();
                failed.and(Err(HeadError::TooLarge))
            }
        }
    }

    fn skip_empty_lines(&mut self, buffer: &mut BytesMut) -> Result<(), HeadError> {
        while buffer.starts_with(b"\r\n") {
            if self.empty_lines == MOST_EMPTY_LINES {
                return Err(HeadError::Line);
            }
            self.empty_lines += 1;
            buffer.advance(2);
        }
        match **buffer {
            [b'\r', other, ..] if other != b'\n' => Err(HeadError::LineEnd),
            [b'\n', ..] => Err(HeadError::LineEnd),
            _ => Ok(()),
        }
    }

    /// The first line is looked at when it is whole, and when it is longer than it may be; the fields when all are there.
    fn is_worth_parsing(&mut self, buffer: &[u8]) -> bool {
        let was = self.section;
        self.section.may_be_whole(buffer)
            || !self.has_line && (self.is_beyond_line(buffer.len()) || was.has_new_line(buffer))
    }

    fn is_beyond_line(&self, have: usize) -> bool {
        have > self.limits.line.saturating_add(2)
    }

    fn check_line(&mut self, end: usize) -> Result<(), HeadError> {
        self.has_line = true;
        if self.is_beyond_line(end) { Err(HeadError::LineTooLong) } else { Ok(()) }
    }

    fn wait_for_line(&self, have: usize) -> Result<Option<Framing>, HeadError> {
        if self.is_beyond_line(have) { Err(HeadError::LineTooLong) } else { self.wait(have) }
    }

    fn wait(&self, have: usize) -> Result<Option<Framing>, HeadError> {
        if have > self.limits.head { Err(HeadError::TooLarge) } else { Ok(None) }
    }

    fn begin_next(&mut self) {
        (self.section, self.has_line, self.empty_lines) = (Section::default(), false, 0);
    }
}
