//! Asking, and what it cost.

use super::questions::Question;
use super::sql;
use crate::load::http;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Of one page: `pane/server.ts`.
pub const CONNECTIONS: usize = 4;
/// Seconds in which answers are shared.
const KEPT_S: u64 = 5;

/// What an answer cost: medians.
#[derive(Clone, Copy)]
pub struct Figures {
    pub wall_ms: f64,
    pub cpu_ms: f64,
    pub rows: f64,
}

/// What the engine has used so far.
struct Used {
    cpu_us: f64,
    rows: f64,
}

pub struct Asker {
    pub engine: SocketAddr,
    pub analytics: SocketAddr,
    pub repeats: usize,
    /// From and to, in seconds.
    pub shown: (u64, u64),
}

impl Asker {
    /// The medians of `repeats`, after two that warm up.
    pub fn figures(&self, question: &Question) -> io::Result<Figures> {
        for turn in 0..2 {
            self.ask(question, turn)?;
        }
        let measured = |turn| self.measured(|| self.ask(question, turn));
        let all = (2..2 + self.repeats).map(measured).collect::<io::Result<Vec<_>>>()?;
        Ok(Figures {
            wall_ms: median(all.iter().map(|one| one.wall_ms)),
            cpu_ms: median(all.iter().map(|one| one.cpu_ms)),
            rows: median(all.iter().map(|one| one.rows)),
        })
    }

    /// All at once, as a browser asks them: so many connections, each with one question at a time. Medians again.
    pub fn together(&self, questions: &[&Question]) -> io::Result<Figures> {
        // Beyond the turns of single questions.
        let turns = (0..self.repeats).map(|turn| turn + 100);
        let all = turns.map(|turn| self.measured(|| self.all_of(questions, turn))).collect::<io::Result<Vec<_>>>()?;
        let of = |figure: fn(&Figures) -> f64| median(all.iter().map(figure));
        Ok(Figures { wall_ms: of(|one| one.wall_ms), cpu_ms: of(|one| one.cpu_ms), rows: of(|one| one.rows) })
    }

    fn all_of(&self, questions: &[&Question], turn: usize) -> io::Result<()> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(Ok(())));
        let work = || {
            while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.ask(question, turn)
                    && let Ok(mut failed) = failed.lock()
                {
                    *failed = Err(error);
                }
            }
        };
        std::thread::scope(|scope| (0..CONNECTIONS).for_each(|_| drop(scope.spawn(work))));
        failed.into_inner().unwrap_or(Ok(()))
    }

    fn measured(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<Figures> {
        let before = self.used()?;
        let began = Instant::now();
        work()?;
        let wall_ms = began.elapsed().as_secs_f64() * 1000.0;
        let after = self.used()?;
        Ok(Figures { wall_ms, cpu_ms: (after.cpu_us - before.cpu_us) / 1000.0, rows: after.rows - before.rows })
    }

    /// A time shown that nobody has asked for before, of the same length: from and to, in milliseconds.
    pub fn shown_ms(&self, turn: usize) -> (u64, u64) {
        let later_s = turn as u64 * KEPT_S;
        ((self.shown.0 + later_s) * 1000, (self.shown.1 + later_s) * 1000)
    }

    fn ask(&self, question: &Question, turn: usize) -> io::Result<()> {
        let (from, to) = self.shown_ms(turn);
        let target = format!("{}&from={from}&to={to}", question.target);
        match http::get(self.analytics, &target)? {
            (200, _) => Ok(()),
            (status, text) => Err(io::Error::other(format!("`{target}` was answered {status}: {text}"))),
        }
    }

    /// By the engine's own counters, of all queries that have ended.
    fn used(&self) -> io::Result<Used> {
        let query = "SELECT sumIf(value, event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')), sumIf(value, event = 'SelectedRows') FROM system.events";
        let answer = sql(self.engine, query)?;
        let figures: Vec<f64> = answer.split_whitespace().filter_map(|one| one.parse().ok()).collect();
        match figures[..] {
            [cpu_us, rows] => Ok(Used { cpu_us, rows }),
            _ => Err(io::Error::other(format!("the engine's counters are `{answer}`"))),
        }
    }
}

/// The middle one; 0 of none.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
