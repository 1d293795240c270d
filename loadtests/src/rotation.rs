//! The rotation: for each work, contenders take turns (A B C A B C …), each started for its turn and ended after it.

use crate::contenders::{self, Contender, Presence, Setup};
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{Absent, Report, Run};
use crate::sink::Sink;
use crate::tls::{Certificates, Key};
use crate::works::{Sample, Take, Work};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The single request by which a contender's start is seen, and those that it may have answered with an error before.
const FIRST: u64 = 1;
const BEFORE_FIRST: u64 = 20;

/// What all runs share.
pub struct Bench {
    dir: PathBuf,
    upstream: SocketAddr,
    p256: Certificates,
    rsa: Certificates,
    sink: Sink,
}

impl Bench {
    pub fn new(dir: &Path, upstream: SocketAddr) -> io::Result<Self> {
        let p256 = Certificates::make(&dir.join("p256"), Key::P256)?;
        let rsa = Certificates::make(&dir.join("rsa"), Key::Rsa2048)?;
        Ok(Self { dir: dir.to_owned(), upstream, p256, rsa, sink: Sink::start()? })
    }

    /// Every work by every contender, as often as asked for.
    pub fn run(&self, options: &Options, works: &[&Work], chosen: &[&Contender]) -> Report {
        let (rounds, seconds) = (options.rounds(), options.seconds());
        let mut report = Report { machine: Machine::look(), seconds, rounds, runs: Vec::new(), absent: Vec::new() };
        let here: Vec<_> = chosen.iter().filter_map(|contender| found(contender)).collect();
        let price = |work: &&&Work| (rounds * here.len()) as u64 * work.about_seconds(seconds);
        for (number, work) in works.iter().enumerate() {
            absent(&mut report, work, chosen);
            let after: u64 = works[number + 1..].iter().map(|work| price(&work)).sum();
            for round in 0..rounds {
                for (turn, (contender, program)) in here.iter().enumerate() {
                    let turns = (rounds - round) * here.len() - turn;
                    let left = after + turns as u64 * work.about_seconds(seconds);
                    eprintln!(
                        "{}: round {} of {rounds}: {} (about {} left)",
                        work.name,
                        round + 1,
                        contender.name,
                        clock(left)
                    );
                    self.turn(&mut report, work, round, contender, program);
                }
            }
        }
        report
    }

    fn turn(&self, report: &mut Report, work: &Work, round: usize, contender: &Contender, program: &Path) {
        let mut run = Run { work: work.name.into(), contender: contender.name.into(), round, ..Run::default() };
        match self.take(&mut run, work, contender, program, report.seconds) {
            Ok(true) => {}
            Ok(false) => return bar(report, run),
            Err(error) => run.failures.push(error.to_string()),
        }
        run.failures.iter().for_each(|failure| eprintln!("  failed: {failure}"));
        run.notes.iter().for_each(|note| eprintln!("  note: {note}"));
        report.runs.push(run);
    }

    /// One turn; false when the contender has no part in this work, which the run's notes say.
    fn take(
        &self,
        run: &mut Run,
        work: &Work,
        contender: &Contender,
        program: &Path,
        seconds: u64,
    ) -> io::Result<bool> {
        let dir = self.dir.join(format!("{}-{}-{}", work.name, contender.name, run.round));
        let certificates = match work.key() {
            Key::P256 => &self.p256,
            Key::Rsa2048 => &self.rsa,
        };
        let (upstream, sink) = (self.upstream, &self.sink);
        let proxy =
            contender.start(program, &Setup { dir: &dir, upstream, routes: work.routes, certificates, sink })?;
        if let Some(why) = work.bars(&proxy) {
            run.notes.push(why.to_owned());
            return Ok(false);
        }
        let sample = work.run(&proxy, &Take { seconds, dir: &dir })?;
        account(run, &proxy, &sample)?;
        (run.requests, run.errors) = (sample.requests, sample.errors);
        if sample.errors > 0 {
            run.failures.push(format!("{} requests failed", sample.errors));
        }
        run.figures = sample.figures;
        run.notes.extend(sample.notes);
        drop(proxy);
        // Spools and logs of a run are of no use after it, and large.
        if run.failures.is_empty() {
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(true)
    }
}

/// Completed ⊆ accounted for ⊆ sent.
fn account(run: &mut Run, proxy: &contenders::Proxy, sample: &Sample) -> io::Result<()> {
    let completed = sample.completed + FIRST;
    let Some(accounted) = proxy.accounts.settled(completed)? else { return Ok(()) };
    run.accounted = Some(accounted.records);
    run.spans = accounted.spans.as_ref().map(|spans| spans.received);
    let most = completed + sample.abandoned + sample.errors + BEFORE_FIRST;
    // Handshakes may be accounted for, or not.
    if accounted.records < completed || (sample.completed > 0 && accounted.records > most) {
        run.failures.push(format!("{completed} requests completed, {} accounted for", accounted.records));
    }
    run.failures.extend(accounted.faults(completed));
    run.notes.extend(accounted.notes());
    Ok(())
}

fn found<'a>(contender: &&'a Contender) -> Option<(&'a Contender, PathBuf)> {
    match (contender.presence)() {
        Presence::Here(path) => Some((contender, path)),
        Presence::Missing(_) => None,
    }
}

fn absent(report: &mut Report, work: &Work, chosen: &[&Contender]) {
    for contender in chosen {
        if let Presence::Missing(why) = (contender.presence)() {
            report.absent.push(Absent { work: work.name.into(), contender: contender.name.into(), why });
        }
    }
}

fn bar(report: &mut Report, run: Run) {
    let why = run.notes.join("; ");
    if !report.absent.iter().any(|absent| absent.work == run.work && absent.contender == run.contender) {
        report.absent.push(Absent { work: run.work, contender: run.contender, why });
    }
}

fn clock(seconds: u64) -> String {
    if seconds < 100 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}
