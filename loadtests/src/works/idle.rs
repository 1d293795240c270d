//! Kept connections that have had one request each and do nothing: what each holds of the proxy's memory.

use super::Sample;
use crate::child::pause;
use crate::contenders::Proxy;
use crate::load::http;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// File descriptors that a proxy and the bench need besides.
const BESIDES: u64 = 500;

pub fn run(proxy: &Proxy, connections: usize) -> io::Result<Sample> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    // A gateway keeps one back for the upstream of each client.
    let needed = 2 * connections as u64 + BESIDES;
    if limit < needed {
        return Err(io::Error::other(format!("`ulimit -n` is {limit}; raise it to {needed}")));
    }
    let before = proxy.anonymous_bytes()?;
    let request = http::request("/bench/1k");
    let open: Vec<TcpStream> = (0..connections).map(|_| asked_once(proxy, &request)).collect::<io::Result<_>>()?;
    pause(Duration::from_millis(500));
    let after = proxy.anonymous_bytes()?;
    let count = open.len() as u64;
    let mut sample = Sample { completed: count, requests: count, ..Sample::default() };
    sample.figure("kib_each", after.saturating_sub(before) as f64 / 1024.0 / connections as f64);
    sample.figure("anonymous_mib", after as f64 / 1048576.0);
    Ok(sample)
}

fn asked_once(proxy: &Proxy, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream = http::connect(proxy.http)?;
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other("closed before its answer was whole")),
            read => answer.extend_from_slice(&buffer[..read]),
        }
        let Some(head) = http::head(&answer) else { continue };
        if head.status != 200 {
            return Err(io::Error::other(format!("answered {}", head.status)));
        }
        if answer.len() as u64 >= head.bytes as u64 + head.body.unwrap_or(0) {
            return Ok(stream);
        }
    }
}
