//! One run of `wrk` on core 1, and what it counted.

use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

/// What the load generator saw.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load {
    pub requests: u64,
    pub per_second: f64,
    /// Not 2xx or 3xx, or broken off.
    pub errors: u64,
}

/// `witness:demo`, which Weir's policy asks for.
const AUTHORIZATION: &str = "Authorization: Basic d2l0bmVzczpkZW1v";

/// Loads `target` for `seconds`.
pub fn run(target: SocketAddr, seconds: u64, connections: usize) -> io::Result<Load> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c", &connections.to_string(), "-d", &format!("{seconds}s")])
        .args(["-H", AUTHORIZATION, &format!("http://{target}/bench/1k")])
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("wrk: {error}; install it: apt-get install wrk")))?;
    parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        io::Error::other(format!("wrk said nothing usable: {}", String::from_utf8_lossy(&output.stderr)))
    })
}

fn parse(text: &str) -> Option<Load> {
    let number = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
    let requests = number(text.lines().find(|line| line.contains(" requests in "))?)?;
    let per_second = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    let counted = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)?.trim().parse::<u64>().ok());
    let sockets = text.lines().find(|line| line.contains("Socket errors:")).map_or(0, |line| {
        line.split(|byte: char| !byte.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok()).sum()
    });
    Some(Load { requests, per_second, errors: counted("Non-2xx or 3xx responses:").unwrap_or(0) + sockets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_words_are_read() {
        let text = "Running 5s test @ http://x\n  64 connections\n  301422 requests in 5.00s, 350.11MB read\n  \
            Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 7\nRequests/sec:  60271.12\n";
        let load = parse(text).unwrap();
        assert_eq!((load.requests, load.errors), (301_422, 11));
        assert!(parse("nothing").is_none());
    }
}
