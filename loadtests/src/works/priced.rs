//! Closed loops: CPU a request.

use super::{Sample, Take};
use crate::contenders::Proxy;
use crate::cpu;
use crate::load::{Load, handshakes, wrk as load_wrk};
use crate::tls::Terms;
use std::io;
use std::time::Instant;

/// Below this share of its core, the proxy was not what limited the rate.
const BUSY: f64 = 0.85;
/// Above this share of its core, others disturbed it.
const OTHERS: f64 = 0.10;

/// A closed loop of `wrk`, by a script of `loadtests/configs/wrk`.
pub fn wrk(
    proxy: &Proxy,
    take: &Take,
    path: &str,
    connections: u64,
    script: Option<(&str, &str)>,
) -> io::Result<Sample> {
    let file = script.map(|(name, _)| take.dir.join(name));
    if let (Some(file), Some((_, text))) = (&file, script) {
        std::fs::write(file, text)?;
    }
    priced(proxy, take, |seconds| load_wrk::run(proxy.http, path, seconds, connections, file.as_deref()))
}

/// Handshakes carry no request, so that nothing is to be accounted for.
pub fn handshakes(proxy: &Proxy, take: &Take, terms: Terms, resumed: bool) -> io::Result<Sample> {
    let sample = priced(proxy, take, |seconds| handshakes::run(proxy.https, seconds, terms, resumed))?;
    Ok(Sample { completed: 0, abandoned: 0, ..sample })
}

/// A second to warm up, then the load with the CPU time that it costs.
pub fn priced(proxy: &Proxy, take: &Take, load: impl Fn(u64) -> io::Result<Load>) -> io::Result<Sample> {
    let warm = load(1)?;
    let (before, core, begun) = (proxy.cpu()?, cpu::core_busy_us()?, Instant::now());
    let measured = load(take.seconds)?;
    let (spent, wall) = (proxy.cpu()? - before, begun.elapsed().as_micros() as f64);
    let others = (cpu::core_busy_us()? - core) as f64 - spent.process_us as f64;
    let mut sample = Sample {
        completed: warm.requests + measured.requests,
        abandoned: warm.abandoned + measured.abandoned,
        requests: measured.requests,
        errors: warm.errors + measured.errors,
        ..Sample::default()
    };
    let requests = measured.requests.max(1) as f64;
    sample.figure("worker_us", spent.workers_us as f64 / requests);
    sample.figure("process_us", spent.process_us as f64 / requests);
    sample.figure("per_second", measured.per_second);
    sample.figure("anonymous_mib", proxy.anonymous_bytes()? as f64 / 1048576.0);
    sample.notes = notes(spent.process_us as f64 / wall, others / wall);
    Ok(sample)
}

/// Whether the rate is the proxy's, and whether it was alone.
fn notes(busy: f64, others: f64) -> Vec<String> {
    let mut notes = Vec::new();
    if busy < BUSY {
        notes.push(format!(
            "the proxy had {:.0} % of its core: load or upstream limited the rate, which is not the proxy's",
            busy * 100.0
        ));
    }
    if others > OTHERS {
        notes.push(format!("others had {:.0} % of the proxy's core", others * 100.0));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::notes;

    #[test]
    fn a_proxy_that_was_not_the_busy_one_is_reported() {
        assert!(notes(0.97, 0.02).is_empty());
        assert!(notes(0.60, 0.02)[0].contains("60 %"));
        assert!(notes(0.97, 0.30)[0].contains("others had 30 %"));
    }
}
