//! The ledger as the API, the page and `weirctl` give it: a claim with a time, and one account a stream.
//!
//! Every stream is looked at, whatever its age: a loss counts until it is acknowledged. The range that is asked for only
//! says which of the accounts that are in order are listed.

use super::account::{Account, Class, Doubt, Limits, Missing, State, Unknown};
use super::facts::{self, Known, Owner};
use super::wording;
use crate::ingest::now_us;
use crate::store::{Store, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /api/v1/ledger`.
#[derive(Debug, Serialize)]
pub struct Ledger {
    pub state: Verdict,
    /// The claim, with its time.
    pub sentence: String,
    /// Every event counted up to this time is accounted for, in all streams that are not unknown or missing.
    pub balanced_up_to_ms: Option<i64>,
    pub now_ms: i64,
    /// Accounts in order whose last report is older are not listed.
    pub since_ms: Option<i64>,
    /// When the rows themselves were last counted against `stored_seqs`.
    pub audited_ms: Option<i64>,
    pub accepted: u64,
    pub stored: u64,
    pub waiting: u64,
    pub missing: u64,
    /// What is missing, by class.
    pub classes: BTreeMap<&'static str, u64>,
    pub acknowledged: u64,
    pub doubled: u64,
    /// Streams of which a part is unknown.
    pub unknown: u64,
    pub streams: Vec<Line>,
}

/// What is said of all streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Balanced,
    Missing,
    Unknown,
    /// No gateway has reported and nothing is stored.
    Empty,
}

/// The account of one stream.
#[derive(Debug, Serialize)]
pub struct Line {
    pub stream: String,
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    pub replica: String,
    pub boot: String,
    pub worker: Option<u16>,
    pub state: State,
    /// What is said of it, without its name.
    pub claim: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
    pub balanced_up_to_ms: Option<i64>,
    pub reported_ms: Option<i64>,
    pub closed: bool,
    pub accepted: u64,
    pub stored: u64,
    pub waiting: u64,
    pub waiting_since_ms: Option<i64>,
    /// Why its chunks are not shipped.
    pub held: Option<String>,
    pub missing: Vec<Part>,
    pub acknowledged: Vec<Part>,
    pub doubled: u64,
    pub unknown: Vec<Doubtful>,
}

/// Numbers that are missing for one reason.
#[derive(Debug, Serialize)]
pub struct Part {
    pub class: Class,
    pub reason: String,
    pub count: u64,
    /// The first [`RANGES`] of them.
    pub ranges: Vec<(u64, u64)>,
}

/// A part that is not known.
#[derive(Debug, Serialize)]
pub struct Doubtful {
    pub kind: Doubt,
    pub reason: String,
    pub from: u64,
    pub since_ms: Option<i64>,
    pub acknowledged: bool,
}

/// Ranges of a part that are listed.
const RANGES: usize = 20;

/// A stream with its account.
pub struct Accounted {
    pub id: u64,
    pub owner: Owner,
    pub account: Account,
    pub reported_ms: Option<i64>,
    pub counted_ms: Option<i64>,
    pub closed: bool,
    pub held: Option<String>,
}

/// The account of every stream, as of now.
pub async fn accounts(store: &Store) -> Result<Vec<Accounted>, StoreError> {
    let known = facts::read(store).await?;
    let waits: Vec<_> = known.iter().filter_map(|(id, known)| Some((*id, known.facts.first_waiting()?))).collect();
    let histories = facts::history(store, &waits).await?;
    let now_ms = now_us() / 1000;
    let of = |(id, Known { owner, facts }): (u64, Known)| {
        let history = histories.get(&id).copied().unwrap_or_default();
        let account = facts.account(history, now_ms, Limits::default());
        let report = facts.report;
        Accounted {
            id,
            owner,
            account,
            reported_ms: report.as_ref().map(|report| report.received_ms),
            counted_ms: report.as_ref().map(|report| report.counted_ms),
            closed: report.as_ref().is_some_and(|report| report.closed),
            held: report.and_then(|report| report.held).map(|(reason, _)| reason),
        }
    };
    Ok(known.into_iter().map(of).collect())
}

/// The ledger. Accounts that are in order are listed where their last report is younger than `minutes`; all without it.
pub async fn ledger(store: &Store, minutes: Option<u32>, audited_ms: Option<i64>) -> Result<Ledger, StoreError> {
    let accounts = accounts(store).await?;
    let now_ms = now_us() / 1000;
    let since_ms = minutes.map(|minutes| now_ms - i64::from(minutes) * 60_000);
    Ok(summary(&accounts, now_ms, since_ms, audited_ms))
}

/// All accounts together.
pub fn summary(accounts: &[Accounted], now_ms: i64, since_ms: Option<i64>, audited_ms: Option<i64>) -> Ledger {
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(|one| of(&one.account)).sum();
    let worst = accounts.iter().map(|one| one.account.state).max();
    let mut classes = BTreeMap::new();
    for part in accounts.iter().flat_map(|one| &one.account.missing) {
        *classes.entry(part.class.as_str()).or_insert(0) += part.seqs.count();
    }
    let mut ledger = Ledger {
        state: match worst {
            None => Verdict::Empty,
            Some(State::Balanced) => Verdict::Balanced,
            Some(State::Unknown) => Verdict::Unknown,
            Some(State::Missing) => Verdict::Missing,
        },
        sentence: String::new(),
        balanced_up_to_ms: balanced_up_to(accounts),
        now_ms,
        since_ms,
        audited_ms,
        accepted: sum(|account| account.accepted),
        stored: sum(|account| account.stored.count()),
        waiting: sum(|account| account.waiting.count()),
        missing: sum(Account::missing_count),
        classes,
        acknowledged: sum(|account| account.acknowledged.iter().map(|part| part.seqs.count()).sum()),
        doubled: sum(|account| account.doubled),
        unknown: accounts.iter().filter(|one| is_unknown(&one.account)).count() as u64,
        streams: Vec::new(),
    };
    ledger.sentence = wording::sentence(&ledger, accounts);
    let listed = |one: &&Accounted| {
        let recent = since_ms.is_none_or(|since| one.reported_ms.is_none_or(|reported| reported >= since));
        recent || one.account.state != State::Balanced
    };
    ledger.streams = accounts.iter().filter(listed).map(line).collect();
    // Whoever reads the list at night wants the worst first.
    ledger.streams.sort_by(|a, b| {
        let key = |line: &Line| {
            (line.site.clone(), line.gateway.clone(), line.replica.clone(), line.boot.clone(), line.worker)
        };
        b.state.cmp(&a.state).then_with(|| key(a).cmp(&key(b)))
    });
    ledger
}

pub(super) fn is_unknown(account: &Account) -> bool {
    account.unknown.iter().any(|unknown| !unknown.acknowledged)
}

/// The time of the claim: of the streams that go on, the one that was whole the longest ago; where all have ended, the
/// last report.
fn balanced_up_to(accounts: &[Accounted]) -> Option<i64> {
    let sound = || accounts.iter().filter(|one| one.account.state == State::Balanced);
    let going_on = sound().filter(|one| !one.closed || !one.account.waiting.is_empty());
    // One that an operator has acknowledged as lost from sight says nothing about today.
    let going_on = going_on.filter(|one| one.account.unknown.is_empty());
    let ended = || sound().filter_map(|one| one.account.balanced_up_to_ms).max();
    going_on.filter_map(|one| one.account.balanced_up_to_ms).min().or_else(ended)
}

fn line(one: &Accounted) -> Line {
    let (owner, account) = (one.owner.clone(), &one.account);
    Line {
        stream: format!("{:016x}", one.id),
        organization: owner.organization,
        environment: owner.environment,
        site: owner.site,
        gateway: owner.gateway,
        replica: owner.replica,
        boot: owner.boot,
        worker: owner.worker,
        state: account.state,
        claim: wording::claim(one),
        advice: wording::advice(one),
        balanced_up_to_ms: account.balanced_up_to_ms,
        reported_ms: one.reported_ms,
        closed: one.closed,
        accepted: account.accepted,
        stored: account.stored.count(),
        waiting: account.waiting.count(),
        waiting_since_ms: account.waiting_since_ms,
        held: one.held.clone(),
        missing: account.missing.iter().map(part).collect(),
        acknowledged: account.acknowledged.iter().map(part).collect(),
        doubled: account.doubled,
        unknown: account.unknown.iter().map(doubtful).collect(),
    }
}

fn part(missing: &Missing) -> Part {
    Part {
        class: missing.class,
        reason: missing.reason.clone(),
        count: missing.seqs.count(),
        ranges: missing.seqs.iter().take(RANGES).collect(),
    }
}

fn doubtful(unknown: &Unknown) -> Doubtful {
    Doubtful {
        kind: unknown.doubt,
        reason: unknown.reason.clone(),
        from: unknown.from,
        since_ms: unknown.since_ms,
        acknowledged: unknown.acknowledged,
    }
}
