//! A stack whose every request is counted by the witness, and what must be true of its account whatever happens to it.
//!
//! I1: what a client was answered is stored, or named as lost with its true reason, or unknown and said to be unknown. I2:
//! nothing is stored twice, in raw or in a roll-up. I3: *balanced* only when the witness agrees. I4: no loss is reported
//! where the witness finds none.

use crate::{Claim, Part, TestStack, disagreement, eventually, now_ms};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use weir_testkit::compare::{self, Report};
use weir_testkit::witness::{Line, Plan, Tally, Witness, read_log};

/// The stack, and the witness's logs of it.
pub struct Account {
    pub stack: TestStack,
    logs: Vec<PathBuf>,
    /// All requests so far were answered by then.
    pub answered_ms: i64,
    /// Whose events the witness's requests became.
    gateways: Vec<String>,
    /// Requests whose loss the account has named, or has said to be unknown, and an operator has taken note of.
    excused: HashSet<String>,
}

impl Deref for Account {
    type Target = TestStack;

    fn deref(&self) -> &TestStack {
        &self.stack
    }
}

impl DerefMut for Account {
    fn deref_mut(&mut self) -> &mut TestStack {
        &mut self.stack
    }
}

impl Account {
    pub fn of(stack: TestStack) -> Self {
        Self {
            stack,
            logs: Vec::new(),
            answered_ms: now_ms(),
            gateways: vec!["edge".to_owned()],
            excused: HashSet::new(),
        }
    }

    /// Leaves these requests out of what is compared from now on.
    pub fn excuse(&mut self, requests: impl IntoIterator<Item = String>) {
        self.excused.extend(requests);
    }

    /// Counts the events of another gateway, too.
    pub fn and_gateway(&mut self, name: &str) {
        self.gateways.push(name.to_owned());
    }

    /// A plan for the witness, and a log that is counted.
    pub fn plan(&mut self, requests: u64, rate: f64) -> Plan {
        let mut plan = self.stack.traffic(requests, rate);
        // Every answer of the upstream is whole, so that each has an event.
        plan.mix.retain(|(path, _)| path != "/broken");
        plan.log = self.stack.site.path(&format!("witness-{}.ndjson", self.logs.len()));
        self.logs.push(plan.log.clone());
        plan
    }

    /// Sends what is planned; all of it must be answered.
    pub async fn send(&mut self, plan: Plan) -> Tally {
        let tally = Witness::start(plan.clone()).expect("the witness starts").wait().await.expect("the witness ends");
        assert_eq!(Some(tally.completed), plan.requests, "every request is answered: {tally:?}");
        self.is_answered();
        tally
    }

    /// All requests so far were answered by now, by the gateway's clock.
    pub fn is_answered(&mut self) {
        self.answered_ms = now_ms() + self.stack.site.clock_ms(Part::Gateway.name());
    }

    /// Requests to the stack's gateway.
    pub async fn traffic(&mut self, requests: u64) -> Tally {
        let plan = self.plan(requests, 800.0);
        self.send(plan).await
    }

    /// Requests to another gateway.
    pub async fn traffic_to(&mut self, target: SocketAddr, requests: u64) -> Tally {
        let plan = Plan { target, ..self.plan(requests, 800.0) };
        self.send(plan).await
    }

    /// What the witness has seen so far.
    pub fn log(&self) -> io::Result<Vec<Line>> {
        let logs: Vec<_> = self.logs.iter().map(|path| read_log(path)).collect::<Result<_, _>>()?;
        let mut lines = logs.concat();
        lines.retain(|line| !self.excused.contains(&line.trace));
        Ok(lines)
    }

    /// The witness's log against what is stored at this moment.
    pub async fn report(&self) -> Report {
        let mut stored = Vec::new();
        for gateway in &self.gateways {
            stored.extend(compare::stored(&self.stack.client(), gateway).await.expect("the events"));
        }
        stored.retain(|event| !self.excused.contains(&event.trace));
        let report = compare::compare(&self.log().expect("the logs"), &stored);
        let wrong = report.invented.len() + report.twice.len() + report.different.len();
        assert_eq!(wrong, 0, "doubled, invented or changed: {report}");
        report
    }

    /// Waits for a claim; none that is seen on the way may say more than the witness knows.
    pub async fn claimed(&self, what: &str, mut wanted: impl FnMut(&Claim) -> bool) -> (Claim, Report) {
        eventually(what, async || {
            let claim = Claim::of(&self.stack).await.expect("a claim");
            let report = self.report().await;
            assert_eq!(claim.overclaims(&report, self.answered_ms), Vec::<String>::new());
            wanted(&claim).then_some((claim, report))
        })
        .await
    }

    /// The claim when all is settled, which must agree with the witness; and raw with the roll-ups.
    pub async fn claim(&self) -> (Claim, Report) {
        let claim = Claim::of(&self.stack).await.expect("a claim");
        let report = self.report().await;
        assert_eq!(claim.disagreement(&report, self.answered_ms), Vec::<String>::new());
        let disagreement = disagreement(&self.stack.client()).await.expect("raw and roll-ups");
        assert!(disagreement.is_empty(), "raw and roll-ups differ: {disagreement:#?}");
        (claim, report)
    }

    /// Everything is stored, once, and nothing else is claimed.
    pub async fn holds(&self) {
        self.stack.settle().await;
        let (claim, report) = self.claim().await;
        assert!(report.holds(), "{report}");
        assert_eq!((claim.count("missing"), claim.count("doubled")), (0, 0), "{}", claim.0);
    }

    /// As [`Account::holds`]; and when the gateway has said how its streams ended, all of it is balanced.
    pub async fn ends_balanced(&mut self) {
        self.holds().await;
        self.stack.stop(Part::Gateway).expect("the gateway ends");
        let (claim, _) = self.claim().await;
        assert!(claim.is_balanced_at(self.answered_ms), "{}", claim.0);
    }

    /// What is not stored is what the ledger names, each loss under its class and reason, number by number.
    pub async fn names(&self, losses: &[(&str, &str)]) -> u64 {
        let (claim, report) = self.claim().await;
        let named: u64 = losses.iter().map(|(class, reason)| claim.named(class, reason)).sum();
        assert_eq!(named, claim.count("missing"), "other losses than {losses:?}: {}", claim.0);
        assert_eq!(named, report.lost.len() as u64, "{report}: {}", claim.0);
        assert!(named == 0 || claim.state() == "missing", "{}", claim.0);
        named
    }
}
