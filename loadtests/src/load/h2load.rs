//! One run of `h2load` (HTTP/2 over TLS), and what it counted.

use super::Load;
use super::http::AUTHORIZATION;
use std::io;
use std::net::SocketAddr;
use std::process::Command;

pub const CONNECTIONS: u64 = 16;
pub const STREAMS: u64 = 10;

/// Loads `path` of `target` for `seconds`.
pub fn run(target: SocketAddr, path: &str, seconds: u64) -> io::Result<Load> {
    let (connections, streams, seconds) = (CONNECTIONS.to_string(), STREAMS.to_string(), seconds.to_string());
    let output = Command::new("taskset")
        .args(["-c", "1", "h2load", "-t1", "-c", &connections, "-m", &streams, "-D", &seconds, "-H", AUTHORIZATION])
        .arg(format!("https://{target}{path}"))
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("h2load: {error}; `make tools` installs it")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("Application protocol: h2") {
        return Err(io::Error::other(format!("h2load did not speak HTTP/2: {text}")));
    }
    parse(&text).ok_or_else(|| io::Error::other(format!("h2load said nothing usable: {text}")))
}

fn parse(text: &str) -> Option<Load> {
    let line = |mark: &str| text.lines().find(|line| line.starts_with(mark));
    let before = |line: &str, word: &str| -> Option<u64> {
        line.split([',', ':']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    let (requests, codes) = (line("requests:")?, line("status codes:")?);
    let per_second =
        line("finished in")?.split(',').find_map(|part| part.trim().strip_suffix("req/s")?.trim().parse().ok())?;
    let done = before(codes, "2xx")? + before(codes, "3xx")?;
    let errors = before(requests, "failed")? + before(codes, "4xx")? + before(codes, "5xx")?;
    Some(Load { requests: done, per_second, errors, abandoned: CONNECTIONS * STREAMS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2loads_words_are_read() {
        let text = "finished in 5.01s, 30411.20 req/s, 32.10MB/s\n\
            requests: 152056 total, 152216 started, 152056 done, 152054 succeeded, 2 failed, 0 errored, 0 timeout\n\
            status codes: 152054 2xx, 0 3xx, 1 4xx, 1 5xx\n";
        let load = parse(text).unwrap();
        assert_eq!((load.requests, load.errors), (152_054, 4));
        assert!((load.per_second - 30411.2).abs() < 0.01);
    }
}
