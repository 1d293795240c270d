//! The account of one stream: what can be claimed of it, from the facts that are known, and nothing more.
//!
//! Pure set arithmetic over sequence numbers; no I/O and no clock but the one handed in. The rules:
//!
//! - **Stored wins.** A number whose row is there is accounted for, whatever else was reported of it.
//! - A number is *missing* only on evidence: its loss has a reason, its row was there and is gone, or the gateway counts
//!   it as acknowledged and it is not stored.
//! - What only might exist is *unknown*: a silent gateway's later numbers, those past the end of a torn ring, and those
//!   that wait for longer than [`Limits::waiting`] without any word.
//! - What an operator has acknowledged stays in the account and no longer decides its state.

use std::collections::BTreeMap;
use weir_api::ledger::{Doubt, LossClass, StreamState};
use weir_event::Ranges;

/// The newest report of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Numbers below this one were given out: the largest that was ever reported.
    pub accepted: u64,
    /// When it was counted, by the gateway's clock, never later than it was received. Milliseconds since the epoch.
    pub counted_ms: i64,
    pub received_ms: i64,
    /// Its process has ended: no further number is given out.
    pub closed: bool,
    /// From this number on nobody can say how many were given out, and why.
    pub unknown_from: Option<(u64, String)>,
    pub set_aside: BTreeMap<String, Ranges>,
    /// What the gateway holds: in chunk files and in its ring. `None` when it does not say, or not all of it.
    pub waiting: Option<Ranges>,
    /// Why its chunks are not shipped now, and since when.
    pub held: Option<(String, i64)>,
}

/// Everything known of one stream.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub report: Option<Report>,
    pub stored: Ranges,
    /// Numbers that more than one row says are stored, each further one counted.
    pub doubled: u64,
    /// Were stored once, and their rows are not there, though their day is still kept.
    pub gone: Ranges,
    pub dead: BTreeMap<String, Ranges>,
    pub gaps: BTreeMap<String, Ranges>,
    pub acknowledged: Acknowledged,
}

/// What an operator has taken note of.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Missing numbers.
    pub missing: Ranges,
    /// The number from which on an unknown stretch begins, of each that was acknowledged.
    pub unknown: Vec<u64>,
}

/// When silence and waiting become worth a word.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Three reports.
    pub silence_ms: i64,
    /// How long an event may wait before its account is unknown.
    pub waiting_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { silence_ms: 30_000, waiting_ms: 300_000 }
    }
}

/// Numbers that are missing for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub class: LossClass,
    pub reason: String,
    pub seqs: Ranges,
}

/// A part of the account that nobody can speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub doubt: Doubt,
    /// The gateway's own word where it gave one: `torn`, `ring_damaged`, …
    pub reason: String,
    /// The first number that it is about.
    pub from: u64,
    /// The time from which on nothing is known; `None` where there is none.
    pub since_ms: Option<i64>,
    pub acknowledged: bool,
}

/// The times at which a number was and was not yet counted, for streams of which something waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The newest report that did not count the number yet.
    pub before_ms: Option<i64>,
    /// The oldest report that counted it.
    pub counted_ms: Option<i64>,
}

/// The account of one stream.
#[derive(Clone, Debug)]
pub struct Account {
    pub state: StreamState,
    /// As reported, and never below what is accounted for. `None` where neither is known.
    pub accepted: u64,
    pub stored: Ranges,
    /// Accepted, not stored yet, and at the gateway as far as is known.
    pub waiting: Ranges,
    pub missing: Vec<Missing>,
    /// The part of what is missing that was acknowledged.
    pub acknowledged: Vec<Missing>,
    pub doubled: u64,
    pub unknown: Vec<Unknown>,
    /// Everything counted at this time is accounted for. `None` where nothing is claimed.
    pub balanced_up_to_ms: Option<i64>,
    /// Since when the oldest of `waiting` is counted.
    pub waiting_since_ms: Option<i64>,
}

impl Account {
    pub fn missing_count(&self) -> u64 {
        self.missing.iter().map(|missing| missing.seqs.count()).sum()
    }
}

fn below(count: u64) -> Ranges {
    count.checked_sub(1).map(|last| Ranges::of(0, last)).unwrap_or_default()
}

/// One past the last number.
fn end(ranges: &Ranges) -> u64 {
    ranges.iter().last().map_or(0, |(_, last)| last.saturating_add(1))
}

/// The sets of a stream, each number in one of them.
struct Sets {
    stored: Ranges,
    missing: Vec<Missing>,
    /// Accepted, and in none of the sets above.
    rest: Ranges,
    accepted: u64,
}

impl Facts {
    /// The first number that is accepted and not accounted for: what [`History`] is asked about.
    pub fn first_waiting(&self) -> Option<u64> {
        self.sets().rest.iter().next().map(|(first, _)| first)
    }

    fn sets(&self) -> Sets {
        let mut stored = self.stored.clone();
        stored.subtract(&self.gone);
        let mut covered = stored.clone();
        let mut missing = Vec::new();
        let mut take = |class: LossClass, reason: &str, seqs: &Ranges| {
            let mut seqs = seqs.clone();
            seqs.subtract(&covered);
            covered.union(&seqs);
            if !seqs.is_empty() {
                missing.push(Missing { class, reason: reason.to_owned(), seqs });
            }
        };
        self.dead.iter().for_each(|(reason, seqs)| take(LossClass::DeadLetter, reason, seqs));
        // What was set aside and dropped later is a gap: its reason is the last word.
        self.gaps.iter().for_each(|(reason, seqs)| take(LossClass::Lost, reason, seqs));
        let aside = self.report.iter().flat_map(|report| &report.set_aside);
        aside.for_each(|(reason, seqs)| take(LossClass::SetAside, reason, seqs));
        take(LossClass::Gone, "stored before, gone now", &self.gone);
        let accepted = self.report.as_ref().map_or(0, |report| report.accepted).max(end(&covered));
        let mut rest = below(accepted);
        rest.subtract(&covered);
        Sets { stored, missing, rest, accepted }
    }

    /// The account at `now_ms`. `history` is that of [`Facts::first_waiting`].
    pub fn account(&self, history: History, now_ms: i64, limits: Limits) -> Account {
        let Sets { stored, mut missing, rest, accepted } = self.sets();
        let (waiting, unaccounted) = self.judge(rest);
        missing.extend(unaccounted);
        let (missing, acknowledged) = self.split(missing);
        let mut account = Account {
            state: StreamState::Balanced,
            accepted,
            stored,
            waiting,
            missing,
            acknowledged,
            doubled: self.doubled,
            unknown: Vec::new(),
            balanced_up_to_ms: None,
            waiting_since_ms: None,
        };
        account.unknown = self.doubts(&account, history, now_ms, limits);
        let counted = self.report.as_ref().map(|report| report.counted_ms);
        if account.waiting.is_empty() {
            account.balanced_up_to_ms = counted;
        } else {
            account.waiting_since_ms = history.counted_ms.or(counted);
            account.balanced_up_to_ms = history.before_ms;
        }
        if !account.missing.is_empty() || account.doubled > 0 {
            account.state = StreamState::Missing;
        } else if account.unknown.iter().any(|unknown| !unknown.acknowledged) {
            account.state = StreamState::Unknown;
        }
        if account.state == StreamState::Missing || self.report.is_none() {
            account.balanced_up_to_ms = None;
        }
        account
    }

    /// What of `rest` waits, and what is missing: by the gateway's own word, where it gave one.
    fn judge(&self, rest: Ranges) -> (Ranges, Vec<Missing>) {
        let Some(report) = &self.report else { return (rest, Vec::new()) };
        let mut waiting = rest;
        let mut missing = Vec::new();
        let mut take = |class, reason: &str, among: &Ranges| {
            let mut seqs = waiting.intersection(among);
            report.waiting.iter().for_each(|held| seqs.subtract(held));
            waiting.subtract(&seqs);
            if !seqs.is_empty() {
                missing.push(Missing { class, reason: reason.to_owned(), seqs });
            }
        };
        if let Some((from, reason)) = &report.unknown_from {
            // Below a number that is stored or named: these were given out, and are nowhere.
            take(LossClass::Lost, reason, &Ranges::of(*from, u64::MAX));
        }
        if report.waiting.is_some() {
            // Only what that report counted: what came after it may wait unreported.
            take(LossClass::Unaccounted, "not stored and not reported as waiting", &below(report.accepted));
        }
        (waiting, missing)
    }

    /// What is missing, and what of it was acknowledged.
    fn split(&self, missing: Vec<Missing>) -> (Vec<Missing>, Vec<Missing>) {
        let (mut open, mut acknowledged) = (Vec::new(), Vec::new());
        for part in missing {
            let known = part.seqs.intersection(&self.acknowledged.missing);
            let mut seqs = part.seqs.clone();
            seqs.subtract(&known);
            if !known.is_empty() {
                acknowledged.push(Missing { seqs: known, ..part.clone() });
            }
            if !seqs.is_empty() {
                open.push(Missing { seqs, ..part });
            }
        }
        (open, acknowledged)
    }

    fn doubts(&self, account: &Account, history: History, now_ms: i64, limits: Limits) -> Vec<Unknown> {
        let mut found = Vec::new();
        let mut add = |doubt, reason: &str, from, since_ms| {
            let acknowledged = self.acknowledged.unknown.contains(&from);
            found.push(Unknown { doubt, reason: reason.to_owned(), from, since_ms, acknowledged });
        };
        let Some(report) = &self.report else {
            // Only losses are known of it, and they are named: nothing else is in doubt.
            if !account.stored.is_empty() || !account.waiting.is_empty() {
                add(Doubt::NotReported, "not_reported", account.accepted, None);
            }
            return found;
        };
        if let Some((from, reason)) = &report.unknown_from {
            add(Doubt::OpenEnd, reason, (*from).max(end(&account.stored)), Some(report.counted_ms));
        }
        if !report.closed && now_ms.saturating_sub(report.received_ms) > limits.silence_ms {
            add(Doubt::NotHeard, "not_heard", report.accepted, Some(report.counted_ms));
        }
        if let Some((first, _)) = account.waiting.iter().next() {
            let since = history.counted_ms.unwrap_or(report.counted_ms);
            let reason = report.held.as_ref().map_or("waiting", |(reason, _)| reason.as_str());
            if now_ms.saturating_sub(since) > limits.waiting_ms {
                add(Doubt::Waiting, reason, first, Some(since));
            } else if history.before_ms.is_none() {
                // No time yet at which all was accounted for: no claim that could be made.
                add(Doubt::Waiting, reason, first, None);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000_000;

    fn report(accepted: u64) -> Report {
        Report { accepted, counted_ms: NOW - 5_000, received_ms: NOW - 4_990, ..Report::default() }
    }

    fn facts(accepted: u64, stored: &[(u64, u64)]) -> Facts {
        Facts { report: Some(report(accepted)), stored: stored.iter().copied().collect(), ..Facts::default() }
    }

    fn account(facts: &Facts) -> Account {
        facts.account(History::default(), NOW, Limits::default())
    }

    fn set(reason: &str, first: u64, last: u64) -> BTreeMap<String, Ranges> {
        [(reason.to_owned(), Ranges::of(first, last))].into()
    }

    #[test]
    fn all_stored_is_balanced_up_to_the_time_of_the_report() {
        let account = account(&facts(10, &[(0, 9)]));
        assert_eq!((account.state, account.balanced_up_to_ms), (StreamState::Balanced, Some(NOW - 5_000)));
        assert_eq!(self::account(&facts(0, &[])).state, StreamState::Balanced);
    }

    #[test]
    fn accepted_is_never_below_stored() {
        let ahead = account(&facts(10, &[(0, 19)]));
        assert_eq!(
            (ahead.accepted, ahead.state, ahead.balanced_up_to_ms),
            (20, StreamState::Balanced, Some(NOW - 5_000))
        );
        let closed = Facts { report: Some(Report { closed: true, ..report(10) }), ..facts(10, &[(0, 19)]) };
        assert_eq!(account(&closed).state, StreamState::Balanced, "no contradiction where nothing is missing");
    }

    #[test]
    fn without_a_report_it_is_not_reported_yet() {
        let account = account(&Facts { report: None, ..facts(0, &[(0, 3)]) });
        assert_eq!((account.state, account.accepted, account.balanced_up_to_ms), (StreamState::Unknown, 4, None));
        assert_eq!(account.unknown[0].doubt, Doubt::NotReported);
    }

    #[test]
    fn a_silent_gateway_is_unknown_from_its_last_report_on() {
        let mut silent = facts(10, &[(0, 9)]);
        silent.report.as_mut().unwrap().received_ms = NOW - 30_001;
        let reported = account(&silent);
        assert_eq!(reported.state, StreamState::Unknown);
        assert_eq!((reported.unknown[0].doubt, reported.unknown[0].since_ms), (Doubt::NotHeard, Some(NOW - 5_000)));
        assert_eq!(reported.balanced_up_to_ms, Some(NOW - 5_000), "up to the report it is");
        silent.report.as_mut().unwrap().closed = true;
        assert_eq!(account(&silent).state, StreamState::Balanced, "its end was reported");
    }

    #[test]
    fn what_waits_is_neither_missing_nor_balanced() {
        let waits = facts(10, &[(0, 6)]);
        assert_eq!(waits.first_waiting(), Some(7));
        let history = History { before_ms: Some(NOW - 15_000), counted_ms: Some(NOW - 5_000) };
        let account = waits.account(history, NOW, Limits::default());
        assert_eq!((account.state, account.waiting.count()), (StreamState::Balanced, 3));
        assert_eq!(account.balanced_up_to_ms, Some(NOW - 15_000));
        let old = History { before_ms: Some(NOW - 400_000), counted_ms: Some(NOW - 390_000) };
        let account = waits.account(old, NOW, Limits::default());
        assert_eq!((account.state, account.unknown[0].doubt), (StreamState::Unknown, Doubt::Waiting));
    }

    #[test]
    fn what_is_not_stored_and_not_reported_as_waiting_is_missing() {
        let mut lost = facts(10, &[(0, 3), (6, 6)]);
        lost.report.as_mut().unwrap().waiting = Some(Ranges::of(7, 9));
        let account = account(&lost);
        assert_eq!((account.state, account.waiting.count()), (StreamState::Missing, 3));
        assert_eq!((account.missing[0].class, &account.missing[0].seqs), (LossClass::Unaccounted, &Ranges::of(4, 5)));
        // What was counted after that report may wait, though it is not in it.
        let mut later = facts(10, &[(0, 9), (15, 19)]);
        later.report.as_mut().unwrap().waiting = Some(Ranges::new());
        let history = History { before_ms: Some(NOW - 15_000), counted_ms: Some(NOW - 5_000) };
        let account = later.account(history, NOW, Limits::default());
        assert_eq!((account.state, account.waiting.count()), (StreamState::Balanced, 5));
        assert_eq!(self::account(&later).state, StreamState::Unknown, "never whole yet");
    }

    #[test]
    fn stored_wins_over_gaps_and_dead_letters_and_what_was_set_aside() {
        let mut all = facts(10, &[(0, 9)]);
        all.gaps = set("too_old", 3, 9);
        all.dead = set("ts_ahead", 0, 1);
        all.report.as_mut().unwrap().set_aside = set("rejected", 2, 2);
        let account = account(&all);
        assert_eq!((account.state, account.missing.len()), (StreamState::Balanced, 0));
    }

    #[test]
    fn each_loss_is_of_one_class_with_its_reason() {
        let mut all = facts(20, &[(0, 3), (16, 19)]);
        all.gaps = set("ring_full", 2, 5);
        all.dead = set("ts_too_old", 6, 7);
        all.report.as_mut().unwrap().set_aside = set("rejected", 4, 11);
        all.gone = Ranges::of(1, 1);
        all.report.as_mut().unwrap().waiting = Some(Ranges::of(14, 15));
        let account = account(&all);
        let found: Vec<_> =
            account.missing.iter().map(|part| (part.class, part.seqs.iter().collect::<Vec<_>>())).collect();
        let wanted = [
            (LossClass::DeadLetter, vec![(6, 7)]),
            (LossClass::Lost, vec![(4, 5)]),
            (LossClass::SetAside, vec![(8, 11)]),
            (LossClass::Gone, vec![(1, 1)]),
            (LossClass::Unaccounted, vec![(12, 13)]),
        ];
        assert_eq!(found, wanted);
        assert_eq!((account.state, account.stored.count(), account.waiting.count()), (StreamState::Missing, 7, 2));
        assert_eq!(account.balanced_up_to_ms, None);
    }

    #[test]
    fn a_torn_ring_leaves_an_open_end() {
        let mut torn = facts(10, &[(0, 9)]);
        torn.report.as_mut().unwrap().closed = true;
        torn.report.as_mut().unwrap().unknown_from = Some((10, "torn".to_owned()));
        let account = account(&torn);
        assert_eq!((account.state, account.unknown[0].from), (StreamState::Unknown, 10));
        assert_eq!((account.unknown[0].doubt, account.unknown[0].reason.as_str()), (Doubt::OpenEnd, "torn"));
        // What is stored past it is known; what lies before that and is nowhere is lost.
        torn.stored = [(0, 11), (14, 14)].into_iter().collect();
        let account = self::account(&torn);
        assert_eq!((account.missing[0].class, &account.missing[0].seqs), (LossClass::Lost, &Ranges::of(12, 13)));
        assert_eq!((account.missing[0].reason.as_str(), account.unknown[0].from), ("torn", 15));
    }

    #[test]
    fn what_was_acknowledged_stays_in_the_account_and_decides_nothing() {
        let mut lost = facts(10, &[(0, 3)]);
        lost.gaps = set("ring_full", 4, 9);
        lost.acknowledged.missing = Ranges::of(4, 7);
        let reported = account(&lost);
        assert_eq!((reported.state, reported.missing_count()), (StreamState::Missing, 2));
        lost.acknowledged.missing = Ranges::of(4, 9);
        let reported = account(&lost);
        assert_eq!((reported.state, reported.acknowledged[0].seqs.count()), (StreamState::Balanced, 6));
        let mut silent = facts(10, &[(0, 9)]);
        silent.report.as_mut().unwrap().received_ms = NOW - 60_000;
        silent.acknowledged.unknown = vec![10];
        assert_eq!(account(&silent).state, StreamState::Balanced);
        // It came back and went again: that is another silence.
        silent.report.as_mut().unwrap().accepted = 12;
        silent.stored = Ranges::of(0, 11);
        assert_eq!(account(&silent).state, StreamState::Unknown);
    }

    #[test]
    fn doubled_rows_are_never_balanced() {
        assert_eq!(account(&Facts { doubled: 1, ..facts(10, &[(0, 9)]) }).state, StreamState::Missing);
    }

    /// Whatever the facts: each number below `accepted` is in exactly one set, and balanced means that none is missing.
    #[test]
    fn every_number_is_in_one_set() {
        for seed in 0..3000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut some = || {
                let mut set = Ranges::new();
                for _ in 0..rng.u8(0..3) {
                    let first = rng.u64(0..25);
                    set.insert(first, first + rng.u64(0..8));
                }
                set
            };
            let mut facts = Facts { stored: some(), gone: some(), ..Facts::default() };
            facts.gaps.insert("ring_full".to_owned(), some());
            facts.dead.insert("ts_ahead".to_owned(), some());
            facts.acknowledged.missing = some();
            let mut report = Report { set_aside: [("rejected".to_owned(), some())].into(), ..self::report(0) };
            report.waiting = Some(some());
            report.accepted = rng.u64(0..40);
            report.unknown_from = rng.bool().then(|| (rng.u64(0..40), "torn".to_owned()));
            report.waiting = report.waiting.filter(|_| rng.bool());
            facts.report = rng.bool().then_some(report);
            let account = account(&facts);
            let mut all = Ranges::new();
            let mut count = 0;
            let parts = account.missing.iter().chain(&account.acknowledged).map(|part| &part.seqs);
            for part in parts.chain([&account.stored, &account.waiting]) {
                count += part.count();
                all.union(part);
            }
            assert_eq!((count, &all), (account.accepted, &below(account.accepted)), "seed {seed}: {facts:?}");
            assert_eq!(account.state == StreamState::Missing, account.missing_count() > 0, "seed {seed}");
        }
    }
}
