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
    let mut stream = connect(address)?;
    let text = String::from_utf8(request(path)).unwrap_or_default();
    stream.write_all(text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = head(&answer).ok_or_else(|| io::Error::other("the answer has no whole head"))?;
    Ok((head.status, String::from_utf8_lossy(&answer[head.bytes..]).into_owned()))
}

/// What a response's head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub bytes: usize,
    /// The length of its body, if told.
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
