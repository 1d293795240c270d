//! Fields out of bytes: `httparse` finds the names and values, and what it lets pass is refused here.
//!
//! It takes a line feed alone for the end of a line. That is one of the ways in which two readers see two messages
//! (RFC 9112 2.2), so each line's end is looked at again. It is never told to allow folded lines or blanks before a
//! colon (RFC 9112 5.1, 5.2).

use super::list::{Entry, Fields, Place, Span};
use crate::error::HeadError;
use crate::grammar::{is_blank, is_token_byte};
use crate::known::{Known, KnownSet};
use httparse::{EMPTY_HEADER, Header, Status};

/// Fields of nearly every message. More need memory for the time of parsing.
const FEW: usize = 32;

impl Fields {
    /// Reads the fields that begin at `from`, up to the empty line. Answers where it ends, or `None` if it has not come.
    /// The bytes in front of `from`, if any, are a line. The list is filled; `store.head` is up to the caller.
    pub(crate) fn read(&mut self, bytes: &[u8], from: usize, most: usize) -> Result<Option<usize>, HeadError> {
        let mut few = [EMPTY_HEADER; FEW];
        match httparse::parse_headers(&bytes[from..], &mut few[..most.min(FEW)]) {
            Err(httparse::Error::TooManyHeaders) if most > FEW => self.read_many(bytes, from, most),
            parsed => self.take_parsed(bytes, from, parsed),
        }
    }

    #[cold]
    fn read_many(&mut self, bytes: &[u8], from: usize, most: usize) -> Result<Option<usize>, HeadError> {
        // A line is three bytes at least, so that a large limit costs nothing for a small head.
        let mut many = vec![EMPTY_HEADER; most.min(bytes.len() / 3 + 1)];
        self.take_parsed(bytes, from, httparse::parse_headers(&bytes[from..], &mut many))
    }

    fn take_parsed(
        &mut self,
        bytes: &[u8],
        from: usize,
        parsed: httparse::Result<(usize, &[Header<'_>])>,
    ) -> Result<Option<usize>, HeadError> {
        let (len, headers) = match parsed {
            Ok(Status::Complete(complete)) => complete,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(reason(error)),
        };
        let end = from + len;
        self.furnish();
        self.entries.clear();
        self.entries.reserve(headers.len());
        self.present = KnownSet::default();
        let offset = |text: &[u8]| text.as_ptr() as usize - bytes.as_ptr() as usize;
        // Where the line in front of the next one has its last byte that counts.
        let mut before = from;
        for header in headers {
            let name = Span::new(offset(header.name.as_bytes()), header.name.len());
            let value = Span::new(offset(header.value), header.value.len());
            let known = Known::of_token(header.name.as_bytes());
            if let Some(known) = known {
                self.present.add(known);
            }
            self.end_line(bytes, before, name.at as usize)?;
            let gap = value.at.wrapping_sub(name.end());
            let is_plain = gap == 2 && bytes[value.at as usize - 1] == b' ';
            before = value.end() as usize;
            self.entries.push(Entry { name, value, place: Place::Head, known, is_plain });
        }
        let empty_line = bytes[..end].strip_suffix(b"\r\n").ok_or(HeadError::LineEnd)?.len();
        self.end_line(bytes, before, empty_line)?;
        Ok(Some(end))
    }

    /// The last line, whose value ends at `value`, ends in front of `next`: with CR LF.
    #[inline]
    fn end_line(&mut self, bytes: &[u8], value: usize, next: usize) -> Result<(), HeadError> {
        if value == next {
            // In front of the first line is none that is read here.
            return Ok(());
        }
        if !bytes[..next].ends_with(b"\r\n") {
            return Err(HeadError::LineEnd);
        }
        if value + 2 != next
            && let Some(last) = self.entries.last_mut()
        {
            last.is_plain = false;
        }
        Ok(())
    }
}

fn reason(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => HeadError::Line,
    }
}

/// Moves the blanks between a field's name and its colon behind the colon, in place: a gateway removes them from a
/// response (RFC 9112 5.1), and blanks before a value mean nothing. Answers whether the fields are worth another look;
/// `None`: a colon may be to come.
pub(crate) fn mend_names(bytes: &mut [u8], from: usize) -> Option<bool> {
    let mut mended = false;
    let is_whole = bytes.ends_with(b"\n");
    let mut lines = bytes[from..].split_mut(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let name = line.iter().take_while(|byte| is_token_byte(**byte)).count();
        let blanks = line[name..].iter().take_while(|byte| is_blank(**byte)).count();
        match line.get(name + blanks) {
            Some(b':') if name > 0 && blanks > 0 => {
                line[name..=name + blanks].rotate_right(1);
                mended = true;
            }
            None if name > 0 && !is_whole && lines.peek().is_none() => return None,
            Some(b'\r') if name == 0 => break,
            _ => {}
        }
    }
    Some(mended)
}
