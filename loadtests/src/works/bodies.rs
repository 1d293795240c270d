//! Bodies of a gibibyte, whose readers pause near the beginning, so that every buffer on the way fills: what each holds of
//! the proxy's memory at the most.

use super::Sample;
use crate::child::pause;
use crate::contenders::Proxy;
use crate::load::http;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;
const PAUSE_AT: u64 = 64 << 20;
const PAUSE: Duration = Duration::from_millis(500);

pub fn run(proxy: &Proxy, connections: usize) -> io::Result<Sample> {
    let (resting, before, begun) = (proxy.anonymous_bytes()?, proxy.cpu()?, Instant::now());
    let over = AtomicBool::new(false);
    let (bodies, peak) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| peak(proxy, &over));
        let readers: Vec<_> = (0..connections).map(|_| scope.spawn(|| read(proxy))).collect();
        let gone = |_| Err(io::Error::other("a reader panicked"));
        let bodies: io::Result<Vec<u64>> =
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(gone)).collect();
        over.store(true, Relaxed);
        (bodies, watcher.join().unwrap_or(Ok(0)))
    });
    let (bodies, peak, spent) = (bodies?, peak?, proxy.cpu()? - before);
    let seconds = begun.elapsed().as_secs_f64() - PAUSE.as_secs_f64();
    let count = bodies.len() as u64;
    let errors = bodies.iter().filter(|bytes| **bytes != GIB).count() as u64;
    let mebibytes = bodies.iter().sum::<u64>() as f64 / 1048576.0;
    let mut sample =
        Sample { completed: count - errors, abandoned: errors, requests: count, errors, ..Sample::default() };
    sample.figure("kib_each", peak.saturating_sub(resting) as f64 / 1024.0 / connections as f64);
    sample.figure("us_per_mib", spent.workers_us as f64 / mebibytes);
    sample.figure("mib_per_second", mebibytes / seconds);
    Ok(sample)
}

fn peak(proxy: &Proxy, over: &AtomicBool) -> io::Result<u64> {
    let mut peak = 0;
    while !over.load(Relaxed) {
        peak = peak.max(proxy.anonymous_bytes()?);
        pause(Duration::from_millis(10));
    }
    Ok(peak)
}

/// The bytes of one body.
fn read(proxy: &Proxy) -> io::Result<u64> {
    let mut stream = http::connect(proxy.http)?;
    stream.write_all(&http::request("/bench/files/1g"))?;
    let (mut buffer, mut held, mut bytes, mut paused) = (vec![0; 256 * 1024], Vec::new(), None::<u64>, false);
    while bytes.is_none_or(|bytes| bytes < GIB) {
        let read = stream.read(&mut buffer)?;
        match &mut bytes {
            _ if read == 0 => break,
            Some(bytes) => *bytes += read as u64,
            None => {
                held.extend_from_slice(&buffer[..read]);
                bytes = http::head(&held).map(|head| (held.len() - head.bytes) as u64);
            }
        }
        if !paused && bytes.is_some_and(|bytes| bytes > PAUSE_AT) {
            paused = true;
            pause(PAUSE);
        }
    }
    Ok(bytes.unwrap_or(0))
}
