//! What the bench is asked for.

use crate::contenders::{self, Contender};
use crate::gateways::Fleet;
use crate::guard::{Profile, With};
use crate::works::{self, Work};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Weir beside what would be picked instead: the same work for each in turn, one worker pinned to core 0, load and
/// upstream on core 1.
///
/// Exit codes: 0 well; 1 a run failed or lost events, or more instructions than the guard allows; 2 usage.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  weir-bench --list
  weir-bench --work h1,h2 --contender nginx,weir --rounds 5
  weir-bench --quick --compare target/bench/runs.json
  weir-bench guard
  weir-bench guard --with traces-1,traces"
)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Works, by name; all unless said.
    #[arg(long, value_delimiter = ',', value_parser = work)]
    work: Vec<&'static str>,
    /// Contenders, by name; all unless said.
    #[arg(long, value_delimiter = ',', value_parser = contender)]
    contender: Vec<&'static str>,
    /// Rounds of the rotation [default: 3; 1 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Seconds of each run, after a warm-up of one [default: 5; 1 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// A few works by a few contenders, briefly: under three minutes.
    #[arg(long)]
    quick: bool,
    /// The folder for `bench.md`, `ratios.svg` and `runs.json`.
    #[arg(long, default_value = "target/bench")]
    pub out: PathBuf,
    /// The runs as JSON, here instead.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// An earlier `runs.json` to set the ratios beside.
    #[arg(long)]
    pub compare: Option<PathBuf>,
    /// Keeps the contenders' folders (configurations, logs) and says where.
    #[arg(long)]
    pub keep: bool,
    /// Lists works and contenders, and who is missing.
    #[arg(long)]
    pub list: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Counts instructions a request under valgrind and holds them against the recorded figure.
    Guard {
        /// Records the figure instead.
        #[arg(long)]
        record: bool,
        /// What the program is built by: each profile has its recorded figure.
        #[arg(long, value_enum, default_value_t = Profile::Demo)]
        profile: Profile,
        /// The program to count; `weir` beside this one unless said.
        #[arg(long)]
        program: Option<PathBuf>,
        /// Keeps callgrind's profiles in this folder, for `callgrind_annotate`.
        #[arg(long)]
        keep: Option<PathBuf>,
        /// Says instead what these cost the worker's thread and the whole process, beside a run without them.
        #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "record")]
        with: Vec<With>,
    },
    /// Stores events through weir-analytics in weir-chdb and asks for them: events a second,
    /// CPU an event, blocks, memory, bytes an event, query times.
    Analytics {
        #[command(flatten)]
        fleet: Fleet,
        /// Keeps what the programs stored and said, in this folder.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Asks every query of every dashboard on a day of events, through weir-analytics as the page does, and holds each
    /// against its limit: 100 ms on roll-ups, 400 ms on raw events, 2 s for all of Fleet.
    Pane(Pane),
}

#[derive(Args)]
pub struct Pane {
    /// Events of the day that is shown.
    #[arg(long, default_value_t = 20_000_000)]
    pub events: u64,
    /// How often each is asked, after two that warm up; the median counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub repeats: u8,
    /// The folder for the data, 2 GB, which is deleted at the end.
    #[arg(long, default_value = "target/pane")]
    pub dir: PathBuf,
    /// Keeps the data in this folder instead, and asks what is there already.
    #[arg(long)]
    pub keep: Option<PathBuf>,
}

impl Options {
    pub fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 1 } else { 3 }, usize::from)
    }

    pub fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    pub fn works(&self) -> Vec<&'static Work> {
        const WORKS: &[Work] = &works::ALL;
        let wanted = |work: &&Work| match self.work.is_empty() {
            true => !self.quick || work.quick,
            false => self.work.contains(&work.name),
        };
        WORKS.iter().filter(wanted).collect()
    }

    pub fn contenders(&self) -> Vec<&'static Contender> {
        const CONTENDERS: &[Contender] = &contenders::ALL;
        let wanted = |contender: &&Contender| match self.contender.is_empty() {
            true => !self.quick || contender.quick,
            false => self.contender.contains(&contender.name),
        };
        CONTENDERS.iter().filter(wanted).collect()
    }
}

fn work(name: &str) -> Result<&'static str, String> {
    known(name, works::ALL.iter().map(|work| work.name))
}

fn contender(name: &str) -> Result<&'static str, String> {
    known(name, contenders::ALL.iter().map(|contender| contender.name))
}

fn known(name: &str, mut names: impl Iterator<Item = &'static str> + Clone) -> Result<&'static str, String> {
    let all = names.clone().collect::<Vec<_>>().join(", ");
    names.find(|known| *known == name).ok_or_else(|| format!("write one of {all}"))
}
