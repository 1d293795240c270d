//! The ledger as the API, the page and `weirctl` give it: a claim with a time, and one account a stream.
//!
//! Every stream is looked at, whatever its age: a loss counts until it is acknowledged. The range that is asked for only
//! says which of the accounts that are in order are listed.

use super::account::{Account, Limits, Missing, Unknown};
pub use super::claims::Accounted;
use super::facts::{self, Known};
use super::wording;
use crate::ingest::now_us;
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use weir_api::ledger::{Ledger, LedgerState, MissingPart, StreamAccount, StreamState, UnknownPart};

/// Ranges of a part that are listed.
const RANGES: usize = 20;

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
pub async fn ledger(store: &Store, minutes: Option<u64>, audited_ms: Option<i64>) -> Result<Ledger, StoreError> {
    let accounts = accounts(store).await?;
    let now_ms = now_us() / 1000;
    let since_ms = minutes.map(|minutes| now_ms - minutes.cast_signed() * 60_000);
    Ok(summary(&accounts, now_ms, since_ms, audited_ms))
}

/// All accounts together.
pub fn summary(accounts: &[Accounted], now_ms: i64, since_ms: Option<i64>, audited_ms: Option<i64>) -> Ledger {
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(|one| of(&one.account)).sum();
    let worst = accounts.iter().map(|one| one.account.state).max();
    let mut classes = BTreeMap::new();
    for part in accounts.iter().flat_map(|one| &one.account.missing) {
        *classes.entry(part.class).or_insert(0) += part.seqs.count();
    }
    let mut ledger = Ledger {
        state: match worst {
            None => LedgerState::Empty,
            Some(StreamState::Balanced) => LedgerState::Balanced,
            Some(StreamState::Unknown) => LedgerState::Unknown,
            Some(StreamState::Missing) => LedgerState::Missing,
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
        recent || one.account.state != StreamState::Balanced
    };
    ledger.streams = accounts.iter().filter(listed).map(line).collect();
    // Whoever reads the list at night wants the worst first.
    ledger.streams.sort_by(|a, b| {
        let key = |line: &StreamAccount| {
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
    let sound = || accounts.iter().filter(|one| one.account.state == StreamState::Balanced);
    let going_on = sound().filter(|one| !one.closed || !one.account.waiting.is_empty());
    // One that an operator has acknowledged as lost from sight says nothing about today.
    let going_on = going_on.filter(|one| one.account.unknown.is_empty());
    let ended = || sound().filter_map(|one| one.account.balanced_up_to_ms).max();
    going_on.filter_map(|one| one.account.balanced_up_to_ms).min().or_else(ended)
}

fn line(one: &Accounted) -> StreamAccount {
    let (owner, account) = (one.owner.clone(), &one.account);
    StreamAccount {
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
        unknown: account.unknown.iter().map(unknown_part).collect(),
    }
}

fn part(missing: &Missing) -> MissingPart {
    MissingPart {
        class: missing.class,
        reason: missing.reason.clone(),
        count: missing.seqs.count(),
        ranges: missing.seqs.iter().take(RANGES).collect(),
    }
}

fn unknown_part(unknown: &Unknown) -> UnknownPart {
    UnknownPart {
        kind: unknown.doubt,
        reason: unknown.reason.clone(),
        from: unknown.from,
        since_ms: unknown.since_ms,
        acknowledged: unknown.acknowledged,
    }
}
