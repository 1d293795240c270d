//! Faults that operators have, in random order, with real programs and the witness: after every step nothing is lost,
//! doubled or told wrongly.
//!
//! A few seeds in `make test`; `make soak` runs as many as `SEEDS` says. A seed that fails is run again with fewer of
//! its steps, until none can be left out: what is printed then is the shortest sequence. `WEIR_FAULT_SEED=N` runs one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::time::{Duration, Instant};
use weir_e2e::{Part, Plant};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::process::Process;
use weir_testkit::witness::{Witness, read_log};

/// What happens to the plant while traffic goes on. Each step ends with everything well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something between gateway and weir-analytics.
    Network(Mode),
    Kill(Part),
    /// As an operator restarts it.
    Restart(Part),
    /// The gateway may open no more files for a while.
    Descriptors,
    /// A second weir-analytics on the same tables, which goes again.
    SecondAnalytics,
    /// The first is killed while a second one stands by, and comes back.
    TakeOver,
    /// The day of the events is rebuilt while they come in.
    Repair,
}

const STEPS: &[Step] = &[
    Step::Network(Mode::Answer(200, "<html>Sign in</html>")),
    Step::Network(Mode::Answer(204, "")),
    Step::Network(Mode::Answer(403, "no")),
    Step::Network(Mode::Answer(413, "too large")),
    Step::Network(Mode::Answer(502, "bad gateway")),
    Step::Network(Mode::Swallow),
    Step::Network(Mode::Refuse),
    Step::Network(Mode::LoseAnswers),
    Step::Network(Mode::ChangeBodies),
    Step::Kill(Part::Gateway),
    Step::Kill(Part::Analytics),
    Step::Kill(Part::Engine),
    Step::Restart(Part::Gateway),
    Step::Restart(Part::Analytics),
    Step::Restart(Part::Engine),
    Step::Descriptors,
    Step::SecondAnalytics,
    Step::TakeOver,
    Step::Repair,
];

const REQUESTS: u64 = 400;
const RATE: f64 = 500.0;

struct Run {
    plant: Plant,
    logs: Vec<String>,
}

impl Run {
    async fn step(&mut self, number: usize, step: Step) -> Result<(), String> {
        let name = format!("step-{number}");
        let mut plan = self.plant.traffic(REQUESTS, RATE);
        plan.log = self.plant.site.path(&format!("{name}.ndjson"));
        let witness = Witness::start(plan).map_err(|error| error.to_string())?;
        self.happen(step).await.map_err(|error| format!("{step:?}: {error}"))?;
        witness.wait().await.map_err(|error| error.to_string())?;
        self.logs.push(name);
        self.plant.settle().await;
        self.check().await.map_err(|error| format!("after {step:?}: {error}"))
    }

    async fn happen(&mut self, step: Step) -> std::io::Result<()> {
        let plant = &mut self.plant;
        match step {
            Step::Network(mode) => {
                plant.set_network(mode);
                // Long enough for some chunks to meet it.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(300..1500))).await;
                plant.set_network(Mode::Pass);
            }
            Step::Kill(part) => {
                plant.kill(part)?;
                plant.start_part(part, None)?;
            }
            Step::Restart(part) => {
                plant.stop(part)?;
                plant.start_part(part, None)?;
            }
            Step::Descriptors => {
                plant.limit_files(Part::Gateway, 3)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                plant.limit_files(Part::Gateway, 1024)?;
            }
            Step::SecondAnalytics => {
                let second = started(plant)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
                second.kill()?;
            }
            Step::TakeOver => {
                let second = started(plant)?;
                plant.kill(Part::Analytics)?;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(100..800))).await;
                plant.start_part(Part::Analytics, None)?;
                second.kill()?;
            }
            Step::Repair => {
                for _ in 0..2 {
                    let output = plant.repair(&today())?;
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    // Refusing is an answer; nothing may be lost by either.
                    if !matches!(output.status.code(), Some(0 | 1)) {
                        return Err(std::io::Error::other(said));
                    }
                }
            }
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), String> {
        let mut log = Vec::new();
        for name in &self.logs {
            log.extend(read_log(&self.plant.site.path(&format!("{name}.ndjson"))).map_err(|error| error.to_string())?);
        }
        let (report, disagreement) = self.plant.verdict_of(&log).await.map_err(|error| error.to_string())?;
        if !report.holds() {
            let lost: Vec<_> = report.lost.iter().take(3).collect();
            return Err(format!(
                "{report}; lost {lost:?}; twice {:?}",
                report.twice.iter().take(3).collect::<Vec<_>>()
            ));
        }
        if !disagreement.is_empty() {
            return Err(format!("the roll-ups differ: {disagreement:#?}"));
        }
        Ok(())
    }
}

fn started(plant: &Plant) -> std::io::Result<Process> {
    let mut second = plant.second_analytics()?;
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

async fn run(steps: &[Step]) -> Result<(), String> {
    let plant = Plant::on_bad_network().await.map_err(|error| error.to_string())?;
    let mut run = Run { plant, logs: Vec::new() };
    for (number, step) in steps.iter().enumerate() {
        run.step(number, *step).await?;
    }
    Ok(())
}

/// The shortest part of a failing sequence that still fails.
async fn shrink(mut steps: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let mut at = 0;
    while at < steps.len() && steps.len() > 1 {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match run(&fewer).await {
            Err(error) => (steps, why) = (fewer, error),
            Ok(()) => at += 1,
        }
    }
    (steps, why)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_told_wrongly_under_any_sequence_of_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("WEIR_FAULT_SEED"), number("WEIR_FAULT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(6),
    };
    for seed in seeds {
        let (steps, began) = (steps_of(seed), Instant::now());
        let outcome = run(&steps).await;
        println!("seed {seed}: {steps:?}, {:.1} s", began.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            let (shortest, why) = shrink(steps, error).await;
            panic!("seed {seed}: {shortest:?}: {why}");
        }
    }
}

/// Every kind of step once, so that none of them goes untried in a short run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_alone_is_survived() {
    run(STEPS).await.unwrap();
}
