//! What the pane costs: every query of every shipped dashboard on twenty million events of a day, asked through the same
//! API as the page, each held against its limit.
//!
//! The events are made by SQL inside the engine (`events.sql`), so that the views that fill the roll-ups do their work; no
//! ingest is measured here. Each question is asked anew: its time shown begins and ends one step of the shared answers
//! later than before, so that no answer is one that was kept. Beside the wall-clock time stands what the engine's threads
//! ran, by its own counters: on a shared machine that is the figure to compare.

mod ask;
mod fill;
mod page;
mod questions;

use crate::analytics::{analytics, ask as sql, engine, settle};
use crate::machine::Machine;
use crate::options::Pane;
use ask::{Asker, CONNECTIONS, Figures};
use questions::Question;
use std::io;
use std::net::SocketAddr;
use weir_testkit::ports::reserve;

/// Cores that a query of a reader may use.
const CORES: f64 = 2.0;
/// All of Fleet.
const FLEET: &str = "weir-fleet";
const FLEET_MS: f64 = 2000.0;

/// Fills an engine, asks, and prints the table. False when a panel is slower than it may be.
pub fn run(options: &Pane) -> io::Result<bool> {
    let temporary = match &options.keep {
        Some(_) => None,
        None => {
            std::fs::create_dir_all(&options.dir)?;
            Some(tempfile::Builder::new().prefix("pane-").tempdir_in(&options.dir)?)
        }
    };
    let folder = options.keep.as_deref().or(temporary.as_ref().map(tempfile::TempDir::path)).unwrap_or(&options.dir);
    std::fs::create_dir_all(folder)?;
    let (engine_at, analytics_at) = (reserve()?, reserve()?);
    let _engine = engine(folder, engine_at)?;
    let _analytics = analytics(folder, engine_at, analytics_at)?;
    println!("{}", Machine::look().line());
    let shown = fill::filled(engine_at, options.events)?;
    let merges = || number(engine_at, "SELECT count() FROM system.merges WHERE database = 'weir'");
    println!("merges ended {:.0} s after the last event", settle(merges)?.as_secs_f64());
    println!("{}", sizes(engine_at)?);
    let asker = Asker { engine: engine_at, analytics: analytics_at, repeats: options.repeats.into(), shown };
    let questions = questions::all(analytics_at, &a_trace(engine_at)?)?;
    println!("{HEAD}");
    let (mut asked, mut slow, mut costly) = (0, 0, 0);
    for question in &questions {
        let figures = asker.figures(question)?;
        let is_within = figures.wall_ms < question.limit_ms();
        println!("{}", line(question, figures));
        asked += 1;
        slow += usize::from(!is_within);
        costly += usize::from(figures.cpu_ms / CORES >= question.limit_ms());
    }
    let fleet: Vec<_> = questions.iter().filter(|one| one.dashboard == FLEET).collect();
    let whole = asker.together(&fleet)?;
    println!(
        "Fleet complete, {} questions over {CONNECTIONS} connections: {:.0} ms ({:.0} ms of the engine's processor time), limit {FLEET_MS:.0} ms: {}",
        fleet.len(),
        whole.wall_ms,
        whole.cpu_ms,
        verdict(whole, FLEET_MS),
    );
    let (first_ms, page_ms) = page::drawn(&asker, FLEET)?;
    let is_fast = page_ms < FLEET_MS;
    println!(
        "Fleet in Chromium, from the navigation to the last panel: {page_ms:.0} ms ({first_ms:.0} ms the first time), limit {FLEET_MS:.0} ms: {}",
        if is_fast { "ok" } else { "SLOW" },
    );
    println!(
        "{slow} of {asked} questions are answered slower than they may be, {costly} of them would be on two free cores"
    );
    Ok(slow == 0 && whole.wall_ms < FLEET_MS && is_fast)
}

const HEAD: &str = "| dashboard | what | reads | median ms | engine CPU ms | rows read | limit ms | |\n|---|---|---|---|---|---|---|---|";

fn line(question: &Question, figures: Figures) -> String {
    format!(
        "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} |",
        question.dashboard,
        question.what,
        question.reads,
        figures.wall_ms,
        figures.cpu_ms,
        figures.rows,
        question.limit_ms(),
        verdict(figures, question.limit_ms()),
    )
}

/// On a machine that others use, the time may be over a limit that the query would keep on two free cores.
fn verdict(figures: Figures, limit_ms: f64) -> &'static str {
    match (figures.wall_ms < limit_ms, figures.cpu_ms / CORES < limit_ms) {
        (true, _) => "ok",
        (false, true) => "slow; not by CPU",
        (false, false) => "SLOW",
    }
}

fn number(engine: SocketAddr, query: &str) -> io::Result<f64> {
    sql(engine, query)?.trim().parse().map_err(|_| io::Error::other(format!("`{query}` gave no number")))
}

/// Of a request that failed on its way through two gateways.
fn a_trace(engine: SocketAddr) -> io::Result<String> {
    let query =
        "SELECT lower(hex(trace_id)) FROM weir.access_events WHERE entry = 0 AND status = 503 ORDER BY ts DESC LIMIT 1";
    Ok(sql(engine, query)?.trim().to_owned())
}

/// Rows and bytes of each table.
fn sizes(engine: SocketAddr) -> io::Result<String> {
    let query = "SELECT concat(table, ' ', toString(sum(rows)), ' rows in ', toString(count()), ' parts, ', formatReadableSize(sum(bytes_on_disk))) \
                 FROM system.parts WHERE active AND database = 'weir' GROUP BY table HAVING sum(rows) > 1000 ORDER BY sum(bytes_on_disk) DESC";
    Ok(sql(engine, query)?.trim().replace('\n', "; "))
}
