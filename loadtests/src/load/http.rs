//! HTTP/1.1 by hand: single requests, and the bytes of those that are sent over and over.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// `witness:demo`, which Weir's policy asks for; all are sent it.
pub const AUTHORIZATION: &str = "Authorization: Basic d2l0bmVzczpkZW1v";

const PATIENCE: Duration = Duration::from_secs(30);

/// A request for `path`, kept alive.
pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{AUTHORIZATION}\r\n\r\n").into_bytes()
}

/// A connection whose reads and writes do not hang for ever.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Status and body of one request.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    once(address, &format!("GET {path}"), AUTHORIZATION, b"")
}

/// Status and body of one `POST`.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> io::Result<(u16, String)> {
    once(address, &format!("POST {path}"), &format!("Content-Length: {}", body.len()), body)
}

/// On a connection that ends with the answer.
fn once(address: SocketAddr, what: &str, header: &str, body: &[u8]) -> io::Result<(u16, String)> {
    let mut stream = connect(address)?;
    // 1.0: no answer in chunks, and the connection ends with it.
    stream.write_all(format!("{what} HTTP/1.0\r\nHost: localhost\r\n{header}\r\n\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = head(&answer).ok_or_else(|| io::Error::other("the answer has no whole head"))?;
    Ok((head.status, String::from_utf8_lossy(&answer[head.bytes..]).into_owned()))
}

/// A connection that is kept for the next request, and made anew when the other side has closed it.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Status and body of one `POST`; `headers` are whole lines. The answer must say its length.
    pub fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<(u16, String)> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let kept = self.stream.take();
        let is_new = kept.is_none();
        let mut stream = kept.map_or_else(|| connect(self.address), Ok)?;
        let answered =
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| answer(&mut stream));
        match answered {
            Ok((status, body)) => {
                self.stream = Some(stream);
                Ok((status, body))
            }
            Err(_) if !is_new => self.post(path, headers, body),
            Err(error) => Err(error),
        }
    }
}

fn answer(stream: &mut TcpStream) -> io::Result<(u16, String)> {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(Head { status, bytes, body: Some(length) }) = head(&answer)
            && answer.len() as u64 >= bytes as u64 + length
        {
            return Ok((status, String::from_utf8_lossy(&answer[bytes..]).into_owned()));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// What a response's head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub bytes: usize,
    /// The length of its body, if reported.
    pub body: Option<u64>,
}

/// Reads a head, if it is whole.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some(Head { status, bytes: end, body: length })
}

/// The sum of a metric's samples.
pub fn metric(text: &str, name: &str) -> u64 {
    let samples = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-length: 12\r\n\r\nhello";
        assert_eq!(head(text), Some(Head { status: 200, bytes: text.len() - 5, body: Some(12) }));
        assert_eq!(head(&text[..30]), None);
    }

    #[test]
    fn samples_of_one_metric_are_summed() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!(metric(text, "a"), 5);
    }
}
