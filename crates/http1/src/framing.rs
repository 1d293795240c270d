//! Where a message ends (RFC 9112 6.1 to 6.3): decided here, and nowhere else.
//!
//! What two readers could read in two ways is refused, also where RFC 9112 lets a server repair it: the next server may
//! repair it otherwise (RFC 9112 11.2).

use crate::error::{EditError, HeadError};
use crate::fields::Fields;
use crate::grammar::{is_token, trimmed};
use crate::known::{Known, KnownSet};
use crate::line::Version;

/// Bytes of a line of framing, from the first of its name to the last of its value: more than any sender needs.
const LONGEST_LINE: usize = 64;
/// Digits of a length: 64 bits.
const MOST_DIGITS: usize = 20;
const FRAMING: KnownSet = KnownSet::new(&[Known::ContentLength, Known::TransferEncoding]);

/// How the end of a message is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The message ends with its head. A request says so by saying nothing.
    None,
    /// So many bytes of content, as `Content-Length` says. 0 is another thing than nothing: it is written.
    Length(u64),
    /// Chunks (RFC 9112 7.1).
    Chunked,
    /// The content of a response goes on until its connection is closed (RFC 9112 6.3, rule 8).
    UntilClose,
    /// No message follows: the connection is a tunnel from here on (RFC 9110 9.3.6, 15.2.2). A 101 that nobody asked for
    /// is one, too: whether it was asked for is the caller's to know.
    Tunnel,
}

/// What of a request its response's framing depends on (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// HEAD: no content.
    Head,
    /// CONNECT: a tunnel behind 2xx.
    Connect,
    /// Every other method.
    #[default]
    Other,
}

impl Asked {
    /// What the response to a request with this method depends on.
    pub fn by(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// What the fields say by themselves.
enum Said {
    Nothing,
    Length(u64),
    Chunked,
}

/// The framing of a request.
pub(crate) fn of_request(method: &[u8], version: Version, fields: &Fields) -> Result<Framing, HeadError> {
    let framing = match said(version, fields, false)? {
        Said::Nothing => Framing::None,
        Said::Length(length) => Framing::Length(length),
        Said::Chunked => Framing::Chunked,
    };
    match framing {
        Framing::None | Framing::Length(0) => Ok(framing),
        _ if method == b"CONNECT" => Err(HeadError::ConnectContent),
        _ => Ok(framing),
    }
}

/// The framing of a response to a request of which `asked` is known.
pub(crate) fn of_response(asked: Asked, status: u16, version: Version, fields: &Fields) -> Result<Framing, HeadError> {
    match (asked, status) {
        (_, 101) | (Asked::Connect, 200..300) => return Ok(Framing::Tunnel),
        // Their fields, if there are any, say nothing of this message.
        (_, 100..200 | 204) => return Ok(Framing::None),
        _ => {}
    }
    let said = said(version, fields, true)?;
    match (asked, status, said) {
        // What the fields say is true of another message: the answer to GET.
        (Asked::Head, ..) | (_, 304, _) => Ok(Framing::None),
        (_, _, Said::Nothing) => Ok(Framing::UntilClose),
        (_, _, Said::Length(length)) => Ok(Framing::Length(length)),
        (_, _, Said::Chunked) => Ok(Framing::Chunked),
    }
}

fn said(version: Version, fields: &Fields, may_repeat: bool) -> Result<Said, HeadError> {
    if !fields.present().meets(FRAMING) {
        return Ok(Said::Nothing);
    }
    match (fields.has(Known::ContentLength), fields.has(Known::TransferEncoding)) {
        (_, true) if version == Version::Http10 => Err(HeadError::CodingInHttp10),
        (true, true) => Err(HeadError::LengthAndCoding),
        (_, true) => chunked(fields).map(|()| Said::Chunked),
        _ => length(fields, may_repeat).map(Said::Length),
    }
}

/// The values of the lines with this name.
fn lines(fields: &Fields, name: Known) -> impl Iterator<Item = Result<&[u8], HeadError>> {
    fields.entries.iter().filter(move |entry| entry.known == Some(name)).map(|entry| {
        let len = (entry.value.end() - entry.name.at) as usize;
        if len > LONGEST_LINE { Err(HeadError::Padded) } else { Ok(fields.value(entry)) }
    })
}

/// One line that says `chunked` and nothing else.
fn chunked(fields: &Fields) -> Result<(), HeadError> {
    let mut lines = lines(fields, Known::TransferEncoding);
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(HeadError::Coding) };
    let line = line?;
    if line.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = line.rsplit(|byte| *byte == b',').map(trimmed);
    let last = codings.next().is_some_and(is_chunked);
    let others = codings.all(|coding| !is_chunked(coding) && is_token(coding));
    Err(if last && others { HeadError::CodingNotImplemented } else { HeadError::Coding })
}

/// One number. A response may say it twice, if it says the same (RFC 9112 6.3, rule 5): some servers do.
fn length(fields: &Fields, may_repeat: bool) -> Result<u64, HeadError> {
    let mut lines = lines(fields, Known::ContentLength);
    let first = lines.next().ok_or(HeadError::Length)??;
    let second = lines.next();
    let number_of_first = number(first);
    if second.is_none() && (!may_repeat || number_of_first.is_ok()) {
        return number_of_first;
    }
    let mut found = None;
    for line in std::iter::once(Ok(first)).chain(second).chain(lines) {
        for text in line?.split(|byte| *byte == b',') {
            let length = number(trimmed(text))?;
            if !may_repeat || found.is_some_and(|other| other != length) {
                return Err(HeadError::Length);
            }
            found = Some(length);
        }
    }
    found.ok_or(HeadError::Length)
}

/// `1*DIGIT` of RFC 9110 8.6, in 64 bits.
fn number(digits: &[u8]) -> Result<u64, HeadError> {
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return Err(HeadError::Length);
    }
    let add = |number: u64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(u64::from(digit)) }
    };
    digits.iter().try_fold(0, add).ok_or(HeadError::Length)
}

impl Fields {
    /// Makes the fields say `framing` and nothing else: one `Content-Length` in plain digits, or one
    /// `Transfer-Encoding: chunked`, or neither. A length that says it already stays as it is.
    ///
    /// Not for the responses to HEAD and for 304, whose length is true of another message.
    ///
    /// # Errors
    /// The head is larger than 4 GiB.
    pub fn set_framing(&mut self, framing: Framing) -> Result<(), EditError> {
        match framing {
            Framing::None | Framing::UntilClose | Framing::Tunnel => self.remove_all(FRAMING),
            Framing::Chunked => {
                self.remove(Known::ContentLength);
                if self.only(Known::TransferEncoding) != Some(b"chunked") {
                    self.set(Known::TransferEncoding, b"chunked")?;
                }
            }
            Framing::Length(length) => {
                self.remove(Known::TransferEncoding);
                let mut digits = [0; MOST_DIGITS];
                let digits = decimal(length, &mut digits);
                if self.only(Known::ContentLength) != Some(digits) {
                    self.set(Known::ContentLength, digits)?;
                }
            }
        }
        Ok(())
    }
}

/// `number` in decimal digits.
fn decimal(mut number: u64, digits: &mut [u8; MOST_DIGITS]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
