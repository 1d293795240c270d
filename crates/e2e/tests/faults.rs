//! Faults that operators have, in random order, with real programs and the witness: after every step nothing is lost,
//! doubled or reported wrongly.
//!
//! A few seeds in `make test`; `make soak` runs as many as `SEEDS` says, `WEIR_FAULT_MINUTES=N` as many as so many minutes
//! allow. A seed that fails is run again with fewer of its steps, until none can be left out: what is printed then is the
//! shortest sequence. `WEIR_FAULT_SEED=N` runs one; `WEIR_FAULT_ONLY=TEXT` leaves of
//! the single faults those whose name has it; `WEIR_FAULT_VERBOSE=1` tells how long each step took.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use weir_e2e::{Claim, Held, Part, Setup, TestStack, fail_power, now_ms};
use weir_testkit::compare::Report;
use weir_testkit::fault_proxy::Mode;
use weir_testkit::process::Process;
use weir_testkit::witness::{Line, Tally, Witness, read_log};

/// What happens to the stack while traffic goes on. Each step ends with everything well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something between gateway and weir-analytics.
    Network(Mode),
    Kill(Part),
    /// As an operator restarts it.
    Restart(Part),
    /// A part may open no more files for a while.
    Descriptors(Part),
    /// A worker of the gateway stands still for a while.
    StuckWorker,
    /// Clients that have a port's places, or its answers, and do nothing with them.
    Idle(Port),
    /// A second weir-analytics on the same tables, which goes again.
    SecondAnalytics,
    /// The first is killed while a second one stands by, and comes back.
    TakeOver,
    /// The day of the events is rebuilt while they come in.
    Repair,
    /// The disk of a part is full for a while.
    DiskFull(Part),
    /// The folders of the spool may not be written to for a while.
    NotWritable,
    /// The wall clock of a part is wrong for a while.
    Clock(Part, &'static str),
    /// The power of the gateway's machine fails: what nobody has synced is as it was before, in any mix.
    PowerFailure,
}

/// Where clients can be that do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Gateway,
    Admin,
    Analytics,
    Engine,
}

const STEPS: &[Step] = &[
    Step::Network(Mode::Answer(200, "<html>Sign in</html>")),
    Step::Network(Mode::Answer(204, "")),
    Step::Network(Mode::Answer(403, "no")),
    Step::Network(Mode::Answer(413, "too large")),
    Step::Network(Mode::Answer(502, "bad gateway")),
    Step::Network(Mode::Swallow),
    Step::Network(Mode::Refuse),
    Step::Network(Mode::HalfOpen),
    Step::Network(Mode::LoseAnswers),
    Step::Network(Mode::ChangeBodies),
    Step::Kill(Part::Gateway),
    Step::Kill(Part::Analytics),
    Step::Kill(Part::Engine),
    Step::Restart(Part::Gateway),
    Step::Restart(Part::Analytics),
    Step::Restart(Part::Engine),
    Step::Descriptors(Part::Gateway),
    Step::Descriptors(Part::Analytics),
    Step::StuckWorker,
    Step::Idle(Port::Gateway),
    Step::Idle(Port::Admin),
    Step::Idle(Port::Analytics),
    Step::Idle(Port::Engine),
    Step::SecondAnalytics,
    Step::TakeOver,
    Step::Repair,
    Step::DiskFull(Part::Gateway),
    Step::DiskFull(Part::Analytics),
    Step::DiskFull(Part::Engine),
    Step::NotWritable,
    Step::Clock(Part::Gateway, "+7h"),
    Step::Clock(Part::Gateway, "-2d"),
    Step::Clock(Part::Analytics, "-7h"),
    Step::Clock(Part::Analytics, "+40d"),
    Step::PowerFailure,
];

const REQUESTS: u64 = 400;
const RATE: f64 = 500.0;
/// Clients that do nothing.
const IDLE: usize = 200;

/// What all runs together came to.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    seeds: u64,
    steps: u64,
    requests: u64,
    answered: u64,
    rows: u64,
    /// Answered and not stored; of these, what the account named or said to be unknown.
    lost: u64,
    named: u64,
    doubled: u64,
    wrong_claims: u64,
}

impl Totals {
    fn add(&mut self, run: &Self) {
        self.steps += run.steps;
        self.requests += run.requests;
        self.answered += run.answered;
        self.rows += run.rows;
        self.lost += run.lost;
        self.named += run.named;
        self.doubled += run.doubled;
        self.wrong_claims += run.wrong_claims;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, steps, requests, answered, rows, lost, named, doubled, wrong_claims } = self;
        write!(
            f,
            "{seeds} seeds, {steps} steps, {requests} requests, {answered} answered, {rows} rows; {lost} lost, {named} of \
             them named or known to be unknown; {doubled} doubled, {wrong_claims} wrong claims"
        )
    }
}

struct Run {
    stack: TestStack,
    logs: Vec<String>,
    /// Lost, and named or said to be unknown: an operator has taken note of them.
    excused: HashSet<String>,
    totals: Totals,
}

impl Run {
    async fn start() -> Result<Self, String> {
        let setup = Setup {
            bad_network: true,
            disks: vec![(Part::Gateway, "64m"), (Part::Analytics, "16m"), (Part::Engine, "512m")],
            clocks: Some("+0"),
            unprivileged: true,
            ..Setup::default()
        };
        let stack = TestStack::with(&setup).await.map_err(|error| error.to_string())?;
        Ok(Self { stack, logs: Vec::new(), excused: HashSet::new(), totals: Totals::default() })
    }

    async fn step(&mut self, number: usize, step: Step) -> Result<(), String> {
        let name = format!("step-{number}");
        let mut plan = self.stack.traffic(REQUESTS, RATE);
        plan.log = self.stack.site.path(&format!("{name}.ndjson"));
        let witness = Witness::start(plan).map_err(|error| error.to_string())?;
        self.happen(step).await.map_err(|error| format!("{step:?}: {error}"))?;
        let Tally { sent, completed, .. } = witness.wait().await.map_err(|error| error.to_string())?;
        self.totals.steps += 1;
        self.totals.requests += sent;
        self.totals.answered += completed;
        let answered_ms = now_ms();
        self.logs.push(name);
        self.stack.settle().await;
        self.check(step, answered_ms).await.map_err(|error| format!("after {step:?}: {error}"))
    }

    async fn happen(&mut self, step: Step) -> std::io::Result<()> {
        let stack = &mut self.stack;
        match step {
            Step::Network(mode) => {
                stack.set_network(mode);
                // Long enough for some chunks to meet it.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(300..1500))).await;
                stack.set_network(Mode::Pass);
            }
            Step::Kill(part) => {
                stack.kill(part)?;
                stack.start_part(part, None)?;
            }
            Step::Restart(part) => {
                stack.stop(part)?;
                stack.start_part(part, None)?;
            }
            Step::Descriptors(part) => {
                stack.limit_files(part, 3)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                stack.limit_files(part, 1024)?;
            }
            Step::StuckWorker => {
                let gateway = stack.process_id(Part::Gateway).ok_or(std::io::ErrorKind::NotFound)?;
                let held = Held::worker(gateway, 0).await?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                drop(held);
            }
            Step::Idle(port) => {
                let (to, path) = match port {
                    // Of what is asked there the witness would have to know.
                    Port::Gateway => (stack.gateway_at, None),
                    Port::Admin => (stack.admin().ok_or(std::io::ErrorKind::NotFound)?, Some("/dump")),
                    Port::Analytics => (stack.analytics_at, Some("/healthz")),
                    Port::Engine => (stack.engine_at, Some("/ping")),
                };
                let clients: Vec<_> = (0..IDLE).map(|number| idle(to, path, number % 2 == 0)).collect();
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                drop(clients);
            }
            Step::SecondAnalytics => {
                let second = started(stack)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                second.kill()?;
            }
            Step::TakeOver => {
                let second = started(stack)?;
                stack.kill(Part::Analytics)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(100..800))).await;
                stack.start_part(Part::Analytics, None)?;
                second.kill()?;
            }
            Step::Repair => {
                for _ in 0..2 {
                    let output = stack.repair(&today())?;
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    // Refusing is an answer; nothing may be lost by either.
                    if !matches!(output.status.code(), Some(0 | 1)) {
                        return Err(std::io::Error::other(said));
                    }
                }
            }
            Step::DiskFull(part) => {
                let filler = stack.fill_disk(part)?;
                met(stack, |spool| match part {
                    Part::Gateway => spool["failures"]["write"].as_u64() > Some(0),
                    _ => !spool["blocked"].is_null(),
                })
                .await;
                fs::remove_file(filler)?;
            }
            Step::NotWritable => {
                let folders: Vec<_> = stack
                    .lives()?
                    .into_iter()
                    .flat_map(|life| [life.join("chunks"), life])
                    .chain([stack.spool()])
                    .collect();
                let permit =
                    |mode| folders.iter().try_for_each(|at| fs::set_permissions(at, Permissions::from_mode(mode)));
                permit(0o500)?;
                met(stack, |spool| spool["failures"]["write"].as_u64() > Some(0)).await;
                permit(0o700)?;
            }
            Step::Clock(part, offset) => {
                stack.set_clock(part, offset).await?;
                met(stack, |spool| spool["blocked"] == "clock").await;
                stack.set_clock(part, "+0").await?;
            }
            Step::PowerFailure => {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(100..700))).await;
                stack.kill(Part::Gateway)?;
                fail_power(&stack.spool(), fastrand::u8(0..10), &mut fastrand::Rng::new())?;
                stack.start_part(Part::Gateway, None)?;
            }
        }
        Ok(())
    }

    /// The witness's log against what is stored, the roll-ups against the rows, and the ledger's claim against both.
    async fn check(&mut self, step: Step, answered_ms: i64) -> Result<(), String> {
        let text = |error: std::io::Error| error.to_string();
        let claim = Claim::of(&self.stack).await.map_err(text)?;
        let mut log = Vec::new();
        for name in &self.logs {
            log.extend(read_log(&self.stack.site.path(&format!("{name}.ndjson"))).map_err(text)?);
        }
        log.retain(|line| !self.excused.contains(&line.trace));
        let (report, disagreement) = self.stack.verdict_of(&log).await.map_err(text)?;
        self.totals.rows = report.stored as u64;
        self.totals.lost += report.lost.len() as u64;
        self.totals.doubled += report.twice.len() as u64;
        if !report.invented.is_empty() || !report.twice.is_empty() || !report.different.is_empty() {
            return Err(format!("{report}; twice {:?}", report.twice.iter().take(3).collect::<Vec<_>>()));
        }
        if !disagreement.is_empty() {
            return Err(format!("the roll-ups differ: {disagreement:#?}"));
        }
        let wrong = claim.disagreement(&report, answered_ms);
        self.totals.wrong_claims += u64::from(!wrong.is_empty());
        if !wrong.is_empty() {
            return Err(format!("the ledger claims what is not so: {wrong:#?}"));
        }
        self.take_note(step, &claim, &report, &log).await
    }

    /// What is lost must be so for the reason that this step is; then an operator takes note of it.
    async fn take_note(&mut self, step: Step, claim: &Claim, report: &Report, log: &[Line]) -> Result<(), String> {
        let lost = report.lost.len() as u64;
        let reasons: &[&str] = match step {
            Step::PowerFailure => &["torn"],
            Step::DiskFull(Part::Gateway) => &["disk_full"],
            Step::NotWritable => &["write_failed"],
            _ => &[],
        };
        let named: u64 = reasons.iter().map(|reason| claim.named("lost", reason)).sum();
        if claim.count("missing") != named {
            return Err(format!("other losses than {reasons:?} can be: {report}: {}", claim.0));
        }
        let open = claim.doubts("open_end");
        let wanted = if step == Step::PowerFailure { vec!["torn".to_owned()] } else { Vec::new() };
        if open != wanted {
            return Err(format!("open ends {open:?} where {wanted:?} are: {}", claim.0));
        }
        // An open end is of what was in the ring alone when the power failed: of the last second, and what writing took.
        let of_a_ring = (RATE * 3.0) as u64;
        if lost > named && (open.is_empty() || lost - named > of_a_ring) {
            return Err(format!("{lost} are lost, {named} named: {report}: {}", claim.0));
        }
        self.totals.named += lost;
        if claim.count("missing") > 0 || !open.is_empty() {
            let token = self.stack.site.path("admin-token").to_string_lossy().into_owned();
            let note = ["ledger", "--acknowledge", "all", "--reason", "as the step says", "--token-file", &token];
            let (_, said) = self.stack.weirctl(&note).map_err(|error| error.to_string())?;
            let claim = Claim::of(&self.stack).await.map_err(|error| error.to_string())?;
            if claim.count("missing") > 0 || !claim.doubts("open_end").is_empty() {
                return Err(format!("acknowledged, and still open: {said}: {}", claim.0));
            }
        }
        let lost: HashSet<&String> = report.lost.iter().collect();
        self.excused.extend(log.iter().map(|line| &line.trace).filter(|trace| lost.contains(trace)).cloned());
        Ok(())
    }
}

/// Waits until the gateway's spool meets what goes wrong; not for ever, for it need not.
async fn met(stack: &TestStack, has_met: impl Fn(&serde_json::Value) -> bool) {
    let meets = async {
        while !stack.status().await.is_ok_and(|status| has_met(&status["spool"])) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(3), meets).await);
}

/// A client that asks and reads nothing, or that breaks off in its question; nothing where it is not let in.
fn idle(to: SocketAddr, path: Option<&str>, whole: bool) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    let Some(path) = path else { return Some(stream) };
    let end = if whole { "\r\n\r\n" } else { "" };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {to}{end}").as_bytes()).ok()?;
    Some(stream)
}

fn started(stack: &TestStack) -> std::io::Result<Process> {
    let mut second = stack.second_analytics()?;
    second.wait_until_listening(weir_e2e::DEADLINE)?;
    Ok(second)
}

/// UTC, as `repair` takes it.
fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%F"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn steps_of(seed: u64) -> Vec<Step> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..rng.usize(2..6)).map(|_| STEPS[rng.usize(..STEPS.len())]).collect()
}

async fn run(steps: &[Step], totals: &mut Totals) -> Result<(), String> {
    let mut run = Run::start().await?;
    let mut outcome = Ok(());
    for (number, step) in steps.iter().enumerate() {
        let began = Instant::now();
        outcome = run.step(number, *step).await;
        if std::env::var_os("WEIR_FAULT_VERBOSE").is_some() {
            println!("{step:?}: {:.1} s", began.elapsed().as_secs_f64());
        }
        if outcome.is_err() {
            break;
        }
    }
    totals.add(&run.totals);
    outcome
}

/// The shortest part of a failing sequence that still fails.
async fn shrink(mut steps: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let mut at = 0;
    while at < steps.len() && steps.len() > 1 {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match run(&fewer, &mut Totals::default()).await {
            Err(error) => (steps, why) = (fewer, error),
            Ok(()) => at += 1,
        }
    }
    (steps, why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reported_wrongly_under_any_sequence_of_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let minutes = number("WEIR_FAULT_MINUTES");
    let seeds = match (number("WEIR_FAULT_SEED"), number("WEIR_FAULT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, None) if minutes.is_some() => 0..u64::MAX,
        (None, count) => 0..count.unwrap_or(5),
    };
    let (mut totals, all_began) = (Totals::default(), Instant::now());
    for seed in seeds {
        if minutes.is_some_and(|minutes| all_began.elapsed() > Duration::from_secs(60 * minutes)) {
            break;
        }
        let (steps, began) = (steps_of(seed), Instant::now());
        let outcome = run(&steps, &mut totals).await;
        totals.seeds += 1;
        println!("seed {seed}: {steps:?}, {:.1} s", began.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            println!("{totals}");
            let (shortest, why) = shrink(steps, error).await;
            panic!("seed {seed}: {shortest:?}: {why}");
        }
    }
    println!("{totals}, in {:.1} minutes", all_began.elapsed().as_secs_f64() / 60.0);
}

/// Every kind of step once, so that none of them goes untried in a short run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_alone_is_survived() {
    let only = std::env::var("WEIR_FAULT_ONLY").unwrap_or_default();
    let steps: Vec<_> = STEPS.iter().copied().filter(|step| format!("{step:?}").contains(&only)).collect();
    let mut totals = Totals::default();
    let outcome = run(&steps, &mut totals).await;
    println!("{totals}");
    outcome.unwrap();
}
