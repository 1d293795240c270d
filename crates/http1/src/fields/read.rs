//! Fields out of bytes.
//!
//! Nearly all heads are plain: each line is `name: value` with one blank and ends with CR LF. Those are read here, in a
//! third of the instructions, and by rules that leave nothing to interpretation. Every other head is `httparse`'s, and
//! what that lets pass is refused here. It takes a line feed alone for the end of a line. That is one of the ways in which
//! two readers see two messages (RFC 9112 2.2), so each line's end is looked at again. It is never told to allow folded
//! lines or blanks before a colon (RFC 9112 5.1, 5.2).

use super::list::{Entry, Fields, Names, Place, Span};
use crate::error::HeadError;
use crate::grammar::{first_control, is_blank, is_token, is_token_byte, until_colon};
use crate::known::Known;
use httparse::{EMPTY_HEADER, Header, Status};

/// Fields of nearly every message. More need memory for the time of parsing.
const FEW: usize = 32;

impl Fields {
    /// Reads the fields that begin at `from`, up to the empty line. Answers where it ends, or `None` if it has not come.
    /// The bytes in front of `from`, if any, are a line. The list is filled; `store.head` is up to the caller.
    pub(crate) fn read(&mut self, bytes: &[u8], from: usize, most: usize) -> Result<Option<usize>, HeadError> {
        match self.read_plain(bytes, from, most) {
            Some(end) => Ok(Some(end)),
            None => self.read_any(bytes, from, most),
        }
    }

    /// The same of plain lines; `None` where there is another one, too many of them, or no end.
    fn read_plain(&mut self, bytes: &[u8], from: usize, most: usize) -> Option<usize> {
        self.furnish();
        self.entries.clear();
        self.names = Names::default();
        let mut at = from;
        loop {
            let line = &bytes[at..];
            if line.starts_with(b"\r\n") {
                return Some(at + 2);
            }
            let (name, is_strange) = until_colon(line)?;
            let text = &line[..name];
            let known = if is_strange { None } else { Known::of_token(text) };
            if known.is_none() && !is_token(text) {
                return None;
            }
            let value = line[name + 1..].strip_prefix(b" ")?;
            let end = first_control(value)?;
            let is_trimmed = end > 0 && value[0] != b' ' && value[end - 1] != b' ';
            if !is_trimmed || !value[end..].starts_with(b"\r\n") || self.entries.len() == most {
                return None;
            }
            if let Some(known) = known {
                self.names.note(known);
            }
            let (name, value) = (Span::new(at, name), Span::new(at + name + 2, end));
            self.entries.push(Entry { name, value, place: Place::Head, known, is_plain: true });
            at = value.end() as usize + 2;
        }
    }

    #[cold]
    fn read_any(&mut self, bytes: &[u8], from: usize, most: usize) -> Result<Option<usize>, HeadError> {
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
        self.names = Names::default();
        let offset = |text: &[u8]| text.as_ptr() as usize - bytes.as_ptr() as usize;
        // Where the line in front of the next one has its last byte that counts.
        let mut before = from;
        for header in headers {
            let name = Span::new(offset(header.name.as_bytes()), header.name.len());
            let value = Span::new(offset(header.value), header.value.len());
            let known = Known::of_token(header.name.as_bytes());
            if let Some(known) = known {
                self.names.note(known);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What heads are made of, right and wrong.
    const PIECES: [&[u8]; 28] = [
        b"Host",
        b"host",
        b"content-length",
        b"Content\rLength",
        b"transfer-encoding",
        b"x-other",
        b"X_Other!",
        b"",
        b"a b",
        b":",
        b": ",
        b":  ",
        b":\t",
        b" : ",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\r\n ",
        b"a",
        b"value of some length, 1",
        b"\xc3\xa9",
        b"a\tb",
        b"1 ",
        b"\0",
        b"\x7f",
        b"http2-settings",
        b"te",
    ];

    fn listed(fields: &Fields) -> String {
        format!("{:?} {:?}", fields.entries, fields.names)
    }

    /// What the plain way reads, the other reads in the same way.
    #[test]
    fn plain_lines_are_read_as_all_others_are() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut plain, mut any) = (Fields::new(), Fields::new());
        let mut both = 0;
        for _ in 0..200_000 {
            let mut head = b"GET / HTTP/1.1\r\n".to_vec();
            let from = head.len();
            for _ in 0..random.usize(0..5) {
                let parts: [&[u8]; 4] =
                    [PIECES[random.usize(0..8)], b": ", PIECES[random.usize(18..PIECES.len())], b"\r\n"];
                let wrong = random.usize(0..24);
                for (at, part) in parts.iter().enumerate() {
                    head.extend_from_slice(if at == wrong { PIECES[random.usize(0..PIECES.len())] } else { part });
                }
            }
            head.extend_from_slice([&b"\r\n"[..], b"\r\nrest", b"\n", b""][random.usize(0..4)]);
            let most = random.usize(2..6);
            let read = plain.read_plain(&head, from, most);
            if let Some(end) = read {
                assert_eq!(any.read_any(&head, from, most), Ok(Some(end)), "{}", head.escape_ascii());
                assert_eq!(listed(&plain), listed(&any), "{}", head.escape_ascii());
                both += usize::from(plain.len() > 1);
            }
        }
        assert!(both > 2_000, "{both}");
    }
}
