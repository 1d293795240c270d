//! Open loops at a fixed rate: latency below saturation, calm and while something else goes on.

use super::{Sample, Take};
use crate::contenders::Proxy;
use crate::load::http;
use crate::load::open_loop::{Pace, Paced, run};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
/// The generator may be so late (p99) before its figures are doubted.
const LATE: u64 = 500_000;

fn pace(proxy: &Proxy, per_second: u64, seconds: u64, paths: &[String]) -> io::Result<Paced> {
    let time = Duration::from_secs(seconds);
    run(&Pace { target: proxy.http, paths, per_second, connections: CONNECTIONS, time })
}

/// Nothing else goes on.
pub fn calm(proxy: &Proxy, take: &Take, per_second: u64) -> io::Result<Sample> {
    let paths = ["/bench/1k".to_owned()];
    let warm = pace(proxy, per_second, 1, &paths)?;
    let before = proxy.cpu()?;
    let paced = pace(proxy, per_second, take.seconds, &paths)?;
    let spent = proxy.cpu()? - before;
    let mut sample = sample(&[&warm, &paced]);
    sample.figure("worker_us", spent.workers_us as f64 / paced.sent.max(1) as f64);
    sample.figure("process_us", spent.process_us as f64 / paced.sent.max(1) as f64);
    Ok(sample)
}

/// Twice a second the configuration is taken up anew.
pub fn reloaded(proxy: &Proxy, take: &Take, per_second: u64) -> io::Result<Sample> {
    let paths = paths(1_000);
    let warm = pace(proxy, per_second, 1, &paths)?;
    let (paced, reloads) = beside(
        Duration::from_millis(500),
        |turn| proxy.reload(turn),
        || pace(proxy, per_second, take.seconds, &paths),
    )?;
    let mut sample = sample(&[&warm, &paced]);
    sample.figure("reloads", reloads.len() as f64);
    sample.figure("closed", paced.closed as f64);
    Ok(sample)
}

/// Once a second the metrics are read, after a time without.
pub fn scraped(proxy: &Proxy, take: &Take, per_second: u64) -> io::Result<Sample> {
    let Some(admin) = proxy.admin else { return Err(io::Error::other("it has no metrics")) };
    let paths = paths(5_000);
    let calm = pace(proxy, per_second, take.seconds.max(3), &paths)?;
    let scrape = |_| {
        let begun = Instant::now();
        let (status, text) = http::get(admin, "/metrics")?;
        if status != 200 {
            return Err(io::Error::other(format!("`/metrics` answered {status}")));
        }
        Ok((begun.elapsed(), text))
    };
    let (paced, scrapes) =
        beside(Duration::from_secs(1), scrape, || pace(proxy, per_second, take.seconds.max(3), &paths))?;
    let mut sample = sample(&[&calm, &paced]);
    sample.figure("calm_p99_us", calm.latencies.value_at_quantile(0.99) as f64 / 1000.0);
    if let Some((took, text)) = scrapes.last() {
        sample.figure("series", text.lines().filter(|line| !line.starts_with('#')).count() as f64);
        sample.figure("scrape_ms", took.as_secs_f64() * 1000.0);
        sample.figure("scrape_mib", text.len() as f64 / 1048576.0);
    }
    Ok(sample)
}

fn paths(routes: usize) -> Vec<String> {
    (0..routes).map(|route| format!("/bench/r{route:04}/x")).collect()
}

/// Does `work`, and beside it `other` at intervals; what either came to.
fn beside<T: Send, W>(
    every: Duration,
    other: impl Fn(u32) -> io::Result<T> + Sync,
    work: impl FnOnce() -> io::Result<W>,
) -> io::Result<(W, Vec<T>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let (begun, mut done) = (Instant::now(), Vec::new());
            for turn in 1.. {
                let next = begun + every * turn;
                while Instant::now() < next && !over.load(Relaxed) {
                    crate::child::pause(Duration::from_millis(5));
                }
                if over.load(Relaxed) {
                    break;
                }
                done.push(other(turn)?);
            }
            Ok(done)
        });
        let worked = work();
        over.store(true, Relaxed);
        let done = beside.join().unwrap_or_else(|_| Err(io::Error::other("what went on beside panicked")));
        Ok((worked?, done?))
    })
}

/// The figures of the last; the accounts of all.
fn sample(all: &[&Paced]) -> Sample {
    let mut sample = Sample {
        completed: all.iter().map(|paced| paced.latencies.len()).sum(),
        errors: all.iter().map(|paced| paced.errors).sum(),
        ..Sample::default()
    };
    // A request that was broken off, or sent once more, may be accounted for once more, or not.
    sample.abandoned = sample.errors + all.iter().map(|paced| paced.closed).sum::<u64>();
    let Some(paced) = all.last() else { return sample };
    sample.requests = paced.latencies.len();
    for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        sample.figure(name, paced.latencies.value_at_quantile(quantile) as f64 / 1000.0);
    }
    let late = paced.late.value_at_quantile(0.99);
    if late > LATE {
        sample
            .notes
            .push(format!("the generator itself was late (p99 {} µs): the latencies hold that, too", late / 1000));
    }
    if paced.queued > paced.sent / 100 {
        sample.notes.push(format!("{} of {} requests waited for a connection", paced.queued, paced.sent));
    }
    sample
}
