//! Where the head of each request begins and ends in what a client sends, and whether the engine may see it: by the
//! codec of [`weir_http1`], with what a gateway would take and the engine would not refused beside.

use bytes::BytesMut;
use weir_http1::{BodyError, Decoder, Form, Framing, HeadError, Limits, Piece, Reader, Request, Version};

/// Of a head, in bytes: ClickHouse takes a query of a mebibyte in the URL.
const MOST_BYTES: usize = (1 << 20) + (64 << 10);
const LIMITS: Limits = Limits {
    line: MOST_BYTES,
    head: MOST_BYTES,
    fields: 256,
    chunk_line: 16 << 10,
    extensions: usize::MAX,
    trailers: 16 << 10,
};
/// The engine's reader gives up at a longer one.
const LONGEST_METHOD: usize = 32;

/// What of a client's bytes may pass.
#[derive(Debug)]
pub struct Passage {
    reader: Reader,
    head: Request,
    /// Within a body.
    body: Option<Decoder>,
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

impl From<HeadError> for Refused {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::LineTooLong | HeadError::TooLarge | HeadError::TooManyFields => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        if error == BodyError::TrailersTooLarge { Self::TooLarge } else { Self::Malformed }
    }
}

impl Default for Passage {
    fn default() -> Self {
        Self { reader: Reader::new(LIMITS), head: Request::default(), body: None }
    }
}

impl Passage {
    pub fn expects_head(&self) -> bool {
        self.body.is_none()
    }

    /// Takes out of `read` what may pass now: a whole head, or what there is of a body. None: more is needed.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Option<BytesMut>, Refused> {
        loop {
            let passed = match &mut self.body {
                None => return self.next_head(read),
                Some(body) => {
                    let (bytes, ended) = passable(body, read)?;
                    if ended {
                        self.body = None;
                    }
                    read.split_to(bytes)
                }
            };
            // A body that had nothing left: what follows is a head.
            if !passed.is_empty() || self.body.is_some() {
                return Ok(Some(passed).filter(|passed| !passed.is_empty()));
            }
        }
    }

    fn next_head(&mut self, read: &mut BytesMut) -> Result<Option<BytesMut>, Refused> {
        // The codec passes over empty lines, which the engine does not.
        if read.starts_with(b"\r") {
            return Err(Refused::Malformed);
        }
        let Some(framing) = self.reader.request(read, &mut self.head)? else { return Ok(None) };
        let method = self.head.method();
        let is_target = matches!(self.head.form(), Form::Origin | Form::Asterisk);
        if !is_target || method.len() > LONGEST_METHOD || !method.iter().all(u8::is_ascii_uppercase) {
            return Err(Refused::Malformed);
        }
        self.body = match framing {
            Framing::None if [&b"GET"[..], b"HEAD", b"DELETE", b"OPTIONS"].contains(&method) => None,
            // The engine reads what other methods send until the connection ends.
            Framing::None => Some(Decoder::new(Framing::UntilClose, LIMITS)),
            framing => Some(Decoder::new(framing, LIMITS)),
        };
        let (mut passed, version) = (BytesMut::new(), method.len() + 1 + self.head.target().len() + 1);
        self.head.write(&mut passed);
        if self.head.version() == Version::Http10 {
            passed[version..][..8].copy_from_slice(b"HTTP/1.0");
        }
        Ok(Some(passed))
    }
}

/// How many of `bytes` are whole elements of the body, and whether it ends with them.
fn passable(body: &mut Decoder, bytes: &[u8]) -> Result<(usize, bool), BodyError> {
    let mut passed = 0;
    loop {
        let step = body.step(&bytes[passed..])?;
        passed += step.skip;
        match step.piece {
            Piece::Data(length) => passed += length,
            Piece::More => return Ok((passed, false)),
            Piece::Trailers(_) | Piece::End => return Ok((passed, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass after each piece; they are the bytes that came.
    fn passed(pieces: &[&[u8]]) -> Result<Vec<usize>, Refused> {
        let (mut passage, mut waiting, mut all) = (Passage::default(), BytesMut::new(), Vec::new());
        let mut of = |piece: &&[u8]| {
            waiting.extend_from_slice(piece);
            let before = all.len();
            while let Some(passed) = passage.next(&mut waiting)? {
                all.extend_from_slice(&passed);
            }
            Ok(all.len() - before)
        };
        let counts = pieces.iter().map(&mut of).collect();
        assert!(pieces.concat().starts_with(&all), "{}", all.escape_ascii());
        counts
    }

    #[test]
    fn a_head_passes_when_it_is_whole() {
        assert_eq!(passed(&[b"GET /ping HTTP/1.1\r\nHo", b"st: x\r\n", b"\r\nGET /p"]), Ok(vec![0, 0, 31]));
        let two = b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(passed(&[two]), Ok(vec![two.len()]));
        let long = format!("GET /?query={} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70 << 10));
        assert_eq!(passed(&[long.as_bytes()]), Ok(vec![long.len()]));
    }

    #[test]
    fn a_body_passes_as_it_comes() {
        let head: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
        assert_eq!(passed(&[head, b"1234", b"567890GET"]), Ok(vec![head.len(), 4, 6]));
        let head: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(passed(&[head, b"5;a=b\r\n123", b"45\r\n0\r", b"\nT: v\r\n\r\nG"]), Ok(vec![head.len(), 10, 4, 11]));
        let head: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(passed(&[head, b"GET", b"\r\n\r\n"]), Ok(vec![head.len(), 3, 4]));
    }

    #[test]
    fn however_bytes_are_split_no_head_passes_in_parts() {
        let requests: [(&[u8], &[u8]); 4] = [
            (b"POST /?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n", b"GET / HTTP/\r"),
            (
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n",
                b"b\r\nGET / HTTP/\r\n0;x\r\nT: v\r\n\r\n",
            ),
            (b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n", b""),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b""),
        ];
        let (mut all, mut heads) = (Vec::new(), Vec::new());
        for (head, body) in requests.iter().cycle().take(8) {
            heads.push(all.len() + 1..all.len() + head.len());
            all.extend_from_slice(head);
            all.extend_from_slice(body);
        }
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut passage, mut waiting) = (Passage::default(), BytesMut::new());
            let (mut passed, mut read) = (Vec::new(), 0);
            while read < all.len() {
                let more = rng.usize(1..60).min(all.len() - read);
                waiting.extend_from_slice(&all[read..read + more]);
                read += more;
                while let Some(piece) = passage.next(&mut waiting).expect("well formed") {
                    passed.extend_from_slice(&piece);
                    let at = passed.len();
                    assert!(!heads.iter().any(|head| head.contains(&at)), "seed {seed}: {at} of {read}");
                }
            }
            assert!(passed == all && passage.expects_head(), "seed {seed}");
        }
    }

    #[test]
    fn what_could_be_taken_differently_is_refused() {
        for bytes in [
            &b"GARBAGE\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET ping HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"AMETHODOFTHIRTYTHREECHARACTERSXXX / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\n12345",
            b"\x16\x03\x01\x02\x00\x01",
        ] {
            assert_eq!(passed(&[bytes]), Err(Refused::Malformed), "{}", bytes.escape_ascii());
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(LIMITS.fields + 1));
        assert_eq!(passed(&[many.as_bytes()]), Err(Refused::TooLarge));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_BYTES));
        assert_eq!(passed(&[long.as_bytes()]), Err(Refused::TooLarge));
    }
}
