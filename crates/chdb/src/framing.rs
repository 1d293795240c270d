//! Where the head of each request begins and ends in what a client sends, and whether the engine may see it (RFC 9112).

use httparse::{EMPTY_HEADER, Status};

/// Of a head, in bytes: ClickHouse takes a query of a mebibyte in the URL.
const MOST_BYTES: usize = (1 << 20) + (64 << 10);
const MOST_HEADERS: usize = 256;
/// Of a chunk's size line with its extensions, and of trailers.
const MOST_LINE: usize = 16 << 10;

/// What comes next in the bytes of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    #[default]
    Head,
    /// So many bytes of a body.
    Length(u64),
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk, with the line end after it.
    Chunk(u64),
    /// Lines until an empty one.
    Trailers,
    /// All until the connection ends: a POST that says neither length nor coding.
    Rest,
}

/// A head, or the framing of a body, that the engine must not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    TooLarge,
}

impl Refused {
    /// Status line and text.
    pub fn answer(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("400 Bad Request", "this is not a request of HTTP/1.1 (RFC 9112)"),
            Self::TooLarge => {
                ("431 Request Header Fields Too Large", "line and fields of a request may have 1.06 MiB and 256 fields")
            }
        }
    }
}

impl Framing {
    pub fn expects_head(self) -> bool {
        self == Self::Head
    }

    /// How many of `bytes`, which begin where the last call ended, may pass now. 0: more are needed.
    pub fn passable(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut passed = 0;
        while let Some(more) = self.step(&bytes[passed..])? {
            passed += more;
        }
        Ok(passed)
    }

    /// One element, or as much of it as there is; none when it is not there.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refused> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match *self {
            Self::Head => {
                let Some((length, next)) = head(bytes)? else { return Ok(None) };
                *self = next;
                Ok(Some(length))
            }
            Self::Length(left) => Ok(Some(self.take(left, bytes, Self::Length, Self::Head))),
            Self::Chunk(left) => Ok(Some(self.take(left, bytes, Self::Chunk, Self::Size))),
            Self::Size => {
                let Some(line) = line(bytes)? else { return Ok(None) };
                let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
                let size =
                    std::str::from_utf8(&line[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
                let size = size.filter(|size| *size <= u64::MAX / 2 && matches!(line.get(digits), None | Some(b';')));
                *self = match size.ok_or(Refused::Malformed)? {
                    0 => Self::Trailers,
                    size => Self::Chunk(size + 2),
                };
                Ok(Some(line.len() + 2))
            }
            Self::Trailers => {
                let Some(line) = line(bytes)? else { return Ok(None) };
                if line.is_empty() {
                    *self = Self::Head;
                }
                Ok(Some(line.len() + 2))
            }
            Self::Rest => Ok(Some(bytes.len())),
        }
    }

    fn take(&mut self, left: u64, bytes: &[u8], more: fn(u64) -> Self, after: Self) -> usize {
        let taken = left.min(bytes.len() as u64);
        *self = if taken == left { after } else { more(left - taken) };
        usize::try_from(taken).unwrap_or(bytes.len())
    }
}

/// A line without its end; none when it is not whole.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Refused> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some(&bytes[..end - 1])),
        Some(_) => Err(Refused::Malformed),
        None if bytes.len() > MOST_LINE => Err(Refused::TooLarge),
        None => Ok(None),
    }
}

/// The length of a whole head, and what comes after it. Stricter than a server would be: whatever two readers could
/// take differently is refused.
fn head(bytes: &[u8]) -> Result<Option<(usize, Framing)>, Refused> {
    // httparse takes empty lines before a request, and lines that end without a carriage return.
    if !bytes.first().is_some_and(u8::is_ascii_uppercase) {
        return Err(Refused::Malformed);
    }
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) if length <= MOST_BYTES => length,
        Ok(Status::Partial) if bytes.len() <= MOST_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        Err(_) => return Err(Refused::Malformed),
    };
    let ends = bytes[..length].windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r');
    let method = request.method.filter(|name| name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_uppercase()));
    let target = request.path.is_some_and(|path| path.starts_with('/') || path == "*");
    let (Some(method), true, true) = (method, target, ends) else { return Err(Refused::Malformed) };
    let values = |name: &'static str| {
        let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect::<Vec<_>>()
    };
    let next = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) if ["GET", "HEAD", "DELETE", "OPTIONS"].contains(&method) => Framing::Head,
        ([], []) => Framing::Rest,
        ([length], []) => match number(length).ok_or(Refused::Malformed)? {
            0 => Framing::Head,
            length => Framing::Length(length),
        },
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Size,
        _ => return Err(Refused::Malformed),
    };
    Ok(Some((length, next)))
}

fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|number| *number <= u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&[u8]]) -> Result<Vec<usize>, Refused> {
        let (mut framing, mut waiting) = (Framing::default(), Vec::new());
        let mut of = |piece: &&[u8]| {
            waiting.extend_from_slice(piece);
            let passed = framing.passable(&waiting)?;
            waiting.drain(..passed);
            Ok(passed)
        };
        pieces.iter().map(&mut of).collect()
    }

    #[test]
    fn a_head_passes_when_it_is_whole() {
        assert_eq!(passed(&[b"GET /ping HTTP/1.1\r\nHo", b"st: x\r\n", b"\r\nGET /p"]), Ok(vec![0, 0, 31]));
        assert_eq!(passed(&[b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n"]), Ok(vec![36]));
        let long = format!("GET /?query={} HTTP/1.1\r\n\r\n", "x".repeat(70 << 10));
        assert_eq!(passed(&[long.as_bytes()]), Ok(vec![long.len()]));
    }

    #[test]
    fn a_body_passes_as_it_comes() {
        let head: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
        assert_eq!(passed(&[head, b"1234", b"567890GET"]), Ok(vec![head.len(), 4, 6]));
        let head: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(passed(&[head, b"5;a=b\r\n123", b"45\r\n0\r", b"\nT: v\r\n\r\nG"]), Ok(vec![head.len(), 10, 4, 11]));
        let head: &[u8] = b"POST / HTTP/1.1\r\n\r\n";
        assert_eq!(passed(&[head, b"GET", b"\r\n\r\n"]), Ok(vec![head.len(), 3, 4]));
    }

    #[test]
    fn however_bytes_are_split_no_head_passes_in_parts() {
        let requests: [(&[u8], &[u8]); 4] = [
            (b"POST /?a=b HTTP/1.1\r\nContent-Length: 12\r\n\r\n", b"GET / HTTP/\r"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", b"b\r\nGET / HTTP/\r\n0;x\r\nT: v\r\n\r\n"),
            (b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n", b""),
            (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b""),
        ];
        let (mut all, mut heads) = (Vec::new(), Vec::new());
        for (head, body) in requests.iter().cycle().take(8) {
            heads.push(all.len() + 1..all.len() + head.len());
            all.extend_from_slice(head);
            all.extend_from_slice(body);
        }
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut framing, mut passed, mut read) = (Framing::default(), 0, 0);
            while read < all.len() {
                read = (read + rng.usize(1..60)).min(all.len());
                passed += framing.passable(&all[passed..read]).expect("well formed");
                assert!(!heads.iter().any(|head| head.contains(&passed)), "seed {seed}: {passed} of {read}");
            }
            assert_eq!((passed, framing), (all.len(), Framing::Head), "seed {seed}");
        }
    }

    #[test]
    fn what_could_be_taken_differently_is_refused() {
        for bytes in [
            &b"GARBAGE\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET  HTTP/1.1\r\n\r\n",
            b"GET ping HTTP/1.1\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\n12345",
            b"\x16\x03\x01\x02\x00\x01",
        ] {
            assert_eq!(passed(&[bytes]), Err(Refused::Malformed), "{}", bytes.escape_ascii());
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(passed(&[many.as_bytes()]), Err(Refused::TooLarge));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_BYTES));
        assert_eq!(passed(&[long.as_bytes()]), Err(Refused::TooLarge));
    }
}
