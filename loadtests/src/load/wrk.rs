//! One run of `wrk`, and what it counted.

use super::Load;
use super::http::AUTHORIZATION;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Loads `path` of `target` for `seconds`, by a script if there is one.
pub fn run(target: SocketAddr, path: &str, seconds: u64, connections: u64, script: Option<&Path>) -> io::Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "wrk", "-t1", "-c", &connections.to_string(), "-d", &format!("{seconds}s")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    command.args(["-H", AUTHORIZATION, &format!("http://{target}{path}")]);
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("wrk: {error}; `make tools` installs it")))?;
    let load = parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        io::Error::other(format!("wrk said nothing usable: {}", String::from_utf8_lossy(&output.stderr)))
    })?;
    Ok(Load { abandoned: connections, ..load })
}

fn parse(text: &str) -> Option<Load> {
    let number = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
    let requests = number(text.lines().find(|line| line.contains(" requests in "))?)?;
    let per_second = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()?;
    let counted = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)?.trim().parse::<u64>().ok());
    let sockets = text.lines().find(|line| line.contains("Socket errors:")).map_or(0, |line| {
        line.split(|byte: char| !byte.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok()).sum()
    });
    let errors = counted("Non-2xx or 3xx responses:").unwrap_or(0) + sockets;
    Some(Load { requests, per_second, errors, abandoned: 0 })
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
