//! Are the rows there: raw counted against `stored_seqs`, per day and stream, again and again.
//!
//! A look costs little: the engine has the number of rows of a day without reading one. Only where the two numbers of a
//! day differ, or changed a while ago, or an operator asks, are the day's streams counted, and only where a stream
//! differs are its numbers compared. What was stored once is remembered in `audits`, so that a day that is gone with
//! its `stored_seqs` is missed as well. A day past its retention is not looked at any more.
//!
//! The same task compacts the accounts of streams ([`Auditor::compact`]) before the rows that they rest on expire.

use crate::ingest::now_us;
use crate::ingest::verify::wait_for_inserts;
use crate::query::facts::{self, Parts};
use crate::store::{ServerRun, Store, StoreError};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use weir_api::ledger::Audited;
use weir_event::Ranges;

/// Between two looks, besides those that the ledger takes when it is asked.
const EVERY: Duration = Duration::from_secs(60);
/// How long the ledger waits for a look that somebody else has begun.
const GLANCE: Duration = Duration::from_secs(2);
/// A day whose counts agree and go on growing is counted by stream this often.
const AGAIN_MS: i64 = 600_000;
const COMPACT_MS: i64 = 3_600_000;
/// Chunks of events of a day may come for a while after it: its runs are compacted when it is this old.
const SETTLED_DAYS: i64 = 2;
/// `keep_until` of what is to stay: the last day that a `Date` holds.
const FOREVER: u16 = u16::MAX;
const DAY_MS: i64 = 86_400_000;

/// Audits and compacts. Clones share what they know.
#[derive(Clone)]
pub struct Auditor {
    store: Store,
    audited_ms: Arc<AtomicI64>,
    memory: Arc<Mutex<Memory>>,
}

/// What the last look saw. It spares work and decides nothing.
#[derive(Default)]
struct Memory {
    days: HashMap<i64, Seen>,
    server: Option<ServerRun>,
    compacted_ms: i64,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    counts: Counts,
    clean: bool,
    at_ms: i64,
}

/// The rows of one day: in raw, by `stored_seqs`, and the most that an audit ever saw; and the streams of which the newest
/// audit says that rows are gone or doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    raw: u64,
    seqs: u64,
    known: u64,
    wrong: u64,
}

#[derive(Row, Deserialize)]
struct DayCount {
    day: i64,
    n: u64,
}

#[derive(Row, Deserialize)]
struct AuditedDay {
    day: i64,
    known: u64,
    wrong: u64,
}

#[derive(Row, Deserialize)]
struct StreamCount {
    stream: u64,
    n: u64,
    sum: u64,
}

#[derive(Row, Deserialize)]
struct Run {
    stream: u64,
    first: u64,
    last: u64,
    n: u64,
}

#[derive(Row, Deserialize)]
struct Before {
    stream: u64,
    stored: Vec<(u64, u64)>,
    gone: Vec<(u64, u64)>,
    doubled: u64,
}

/// Of `audits`. Days are counted since the Unix epoch.
#[derive(Row, Serialize)]
struct AuditRow {
    day: u16,
    stream: u64,
    stored: Vec<(u64, u64)>,
    gone: Vec<(u64, u64)>,
    doubled: u64,
    /// Milliseconds since the Unix epoch.
    audited: i64,
    keep_until: u16,
}

/// Of `stream_accounts`.
#[derive(Row, Serialize)]
struct AccountRow {
    stream: u64,
    stored: Vec<(u64, u64)>,
    gaps: Vec<(u64, u64, String)>,
    dead: Vec<(u64, u64, String)>,
    /// Milliseconds since the Unix epoch.
    compacted: i64,
}

/// One stream on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Finding {
    stored: Ranges,
    gone: Ranges,
    doubled: u64,
}

impl Auditor {
    pub fn new(store: Store) -> Self {
        Self { store, audited_ms: Arc::default(), memory: Arc::default() }
    }

    /// When the last audit ended, in milliseconds since the epoch.
    pub fn audited_ms(&self) -> Option<i64> {
        Some(self.audited_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }

    /// Looks once a minute, and compacts once an hour, until `stop`.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "the rows could not be audited; the next try is in a minute");
            }
        }
    }

    async fn turn(&self) -> Result<(), StoreError> {
        self.look(false).await?;
        let due = has_passed(self.memory.lock().await.compacted_ms, now_us() / 1000, COMPACT_MS);
        if due {
            self.compact().await?;
        }
        Ok(())
    }

    /// As [`Auditor::look`] where it gives cause, unless one is under way that takes long.
    pub async fn glance(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(GLANCE, self.memory.lock()).await {
            Ok(mut memory) => self.look_with(&mut memory, false).await.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Holds the rows against what was stored; every day of the retention where `all`, else those that give cause.
    pub async fn look(&self, all: bool) -> Result<Audited, StoreError> {
        self.look_with(&mut *self.memory.lock().await, all).await
    }

    async fn look_with(&self, memory: &mut Memory, all: bool) -> Result<Audited, StoreError> {
        if self.server_changed(memory).await? {
            memory.days.clear();
        }
        let mut found = Audited::default();
        for (day, counts) in self.counts().await? {
            let now_ms = now_us() / 1000;
            let cause = match memory.days.get(&day) {
                Some(seen) => seen.gives_cause(counts, now_ms),
                // What was wrong when it was last audited may have been put right while nobody looked.
                None => counts.wrong > 0 || counts != Counts { raw: counts.seqs, known: counts.seqs, ..counts },
            };
            if !all && !cause {
                continue;
            }
            let findings = self.audit_day(day).await?;
            let sum = |of: fn(&Finding) -> u64| findings.values().map(of).sum::<u64>();
            let (gone, doubled) = (sum(|one| one.gone.count()), sum(|one| one.doubled));
            let known = sum(|one| one.stored.count());
            if gone > 0 {
                tracing::error!(day, gone, "rows that were stored are gone; `weirctl ledger` lists them");
            }
            found.days += 1;
            found.gone += gone;
            found.doubled += doubled;
            let seen = Seen { counts: Counts { known, ..counts }, clean: gone == 0 && doubled == 0, at_ms: now_ms };
            memory.days.insert(day, seen);
        }
        self.audited_ms.store(now_us() / 1000, Ordering::Relaxed);
        Ok(found)
    }

    /// Whether this is another server than at the last look, or the same one started again.
    async fn server_changed(&self, memory: &mut Memory) -> Result<bool, StoreError> {
        let Some(run) = self.store.server_run().await? else { return Ok(false) };
        let changed = memory.server.as_ref().is_some_and(|before| !before.is(&run));
        if changed || memory.server.is_none() {
            memory.server = Some(run);
        }
        Ok(changed)
    }

    /// The counts of every day that is still kept whole.
    async fn counts(&self) -> Result<BTreeMap<i64, Counts>, StoreError> {
        let schema = self.store.schema();
        let keep_ms = i64::try_from(schema.retention.raw.as_millis()).unwrap_or(i64::MAX);
        // A day that ends less than the retention ago; the one at the border is being removed.
        let first = (now_us() / 1000).saturating_sub(keep_ms).div_euclid(DAY_MS) + 1;
        let by_day = |what: &str, day: &str, table: &str| {
            format!(
                "SELECT toInt64(toRelativeDayNum({day})) AS day, {what} FROM {table} \
                 WHERE {day} >= toDate({}) GROUP BY {day} ORDER BY day",
                first.max(0)
            )
        };
        let audits = format!(
            "(SELECT day, stream, argMax(arraySum(run -> run.2 - run.1 + 1, a.stored), audited) AS n, \
             argMax(notEmpty(a.gone) OR a.doubled > 0, audited) AS bad FROM {} AS a GROUP BY day, stream)",
            schema.all("audits")
        );
        let mut days: BTreeMap<i64, Counts> = BTreeMap::new();
        // Raw last: a row is there before its run is.
        let found = by_day("toUInt64(sum(n)) AS known, toUInt64(sum(bad)) AS wrong", "day", &audits);
        let seqs = by_day("toUInt64(sum(n)) AS n", "day", &schema.all("stored_seqs"));
        let raw = by_day("toUInt64(count()) AS n", "toDate(ts)", &schema.all("access_events"));
        let (audits, seqs, raw) = (
            self.store.rows::<AuditedDay>(&found, &[]).await?,
            self.store.rows::<DayCount>(&seqs, &[]).await?,
            self.store.rows::<DayCount>(&raw, &[]).await?,
        );
        for AuditedDay { day, known, wrong } in audits {
            let counts = days.entry(day).or_default();
            (counts.known, counts.wrong) = (known, wrong);
        }
        seqs.iter().for_each(|row| days.entry(row.day).or_default().seqs = row.n);
        raw.iter().for_each(|row| days.entry(row.day).or_default().raw = row.n);
        Ok(days)
    }

    /// Counts the streams of a day, and compares the numbers of those that differ.
    async fn audit_day(&self, day: i64) -> Result<BTreeMap<u64, Finding>, StoreError> {
        let before = self.before(day).await?;
        let mut findings: BTreeMap<u64, Finding> = before
            .iter()
            .map(|(id, one)| (*id, Finding { stored: one.stored.clone(), ..Finding::default() }))
            .collect();
        for run in self.runs(day).await? {
            findings.entry(run.stream).or_default().stored.insert(run.first, run.last);
        }
        let counted: HashMap<u64, (u64, u64)> =
            self.streams(day).await?.into_iter().map(|row| (row.stream, (row.n, row.sum))).collect();
        let differs = |(id, one): (&u64, &Finding)| {
            let rows = counted.get(id).copied().unwrap_or_default();
            (rows != (one.stored.count(), sum_of(&one.stored))).then_some(*id)
        };
        let suspects: Vec<u64> = findings.iter().filter_map(differs).collect();
        if !suspects.is_empty() {
            // Every insert whose run was seen above has ended after this: its rows are there, or never will be.
            wait_for_inserts(&self.store).await?;
            let mut have: HashMap<u64, (Ranges, u64)> = HashMap::new();
            for run in self.rows_of(day, &suspects).await? {
                let (ranges, rows) = have.entry(run.stream).or_default();
                ranges.insert(run.first, run.last);
                *rows += run.n;
            }
            for id in suspects {
                let (ranges, rows) = have.remove(&id).unwrap_or_default();
                let one = findings.entry(id).or_default();
                one.gone = one.stored.clone();
                one.gone.subtract(&ranges);
                one.doubled = rows.saturating_sub(ranges.count());
            }
        }
        self.keep(day, &before, &findings).await?;
        Ok(findings)
    }

    async fn before(&self, day: i64) -> Result<HashMap<u64, Finding>, StoreError> {
        let sql = format!(
            "SELECT stream, argMax(a.stored, audited) AS stored, argMax(a.gone, audited) AS gone, \
             argMax(a.doubled, audited) AS doubled FROM {} AS a WHERE day = toDate({day}) GROUP BY stream",
            self.store.schema().all("audits")
        );
        let rows = self.store.rows::<Before>(&sql, &[]).await?;
        let of = |row: Before| {
            let finding = Finding {
                stored: row.stored.into_iter().collect(),
                gone: row.gone.into_iter().collect(),
                doubled: row.doubled,
            };
            (row.stream, finding)
        };
        Ok(rows.into_iter().map(of).collect())
    }

    async fn runs(&self, day: i64) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "SELECT stream, first, last, n FROM {} WHERE day = toDate({day}) ORDER BY stream, first",
            self.store.schema().all("stored_seqs")
        );
        self.store.rows(&sql, &[]).await
    }

    async fn streams(&self, day: i64) -> Result<Vec<StreamCount>, StoreError> {
        let sql = format!(
            "SELECT stream, count() AS n, sum(seq) AS sum FROM {} WHERE toDate(ts) = toDate({day}) GROUP BY stream",
            self.store.schema().all("access_events")
        );
        self.store.rows(&sql, &[]).await
    }

    /// The numbers of some streams that have rows, as runs, with how many rows each has.
    async fn rows_of(&self, day: i64, streams: &[u64]) -> Result<Vec<Run>, StoreError> {
        let table = self.store.schema().all("access_events");
        let mut all = Vec::new();
        for some in streams.chunks(500) {
            let ids: Vec<_> = some.iter().map(u64::to_string).collect();
            let sql = format!(
                "SELECT stream, min(seq) AS first, max(seq) AS last, sum(rows) AS n FROM (\
                   SELECT stream, seq, rows, seq - row_number() OVER (PARTITION BY stream ORDER BY seq) AS island FROM (\
                     SELECT stream, seq, count() AS rows FROM {table} \
                     WHERE toDate(ts) = toDate({day}) AND stream IN ({}) GROUP BY stream, seq)) \
                 GROUP BY stream, island",
                ids.join(", ")
            );
            all.extend(self.store.rows::<Run>(&sql, &[]).await?);
        }
        Ok(all)
    }

    /// Writes down what is new.
    async fn keep(
        &self,
        day: i64,
        before: &HashMap<u64, Finding>,
        findings: &BTreeMap<u64, Finding>,
    ) -> Result<(), StoreError> {
        let keep_days = i64::try_from(self.store.schema().retention.seqs().as_secs() / 86_400).unwrap_or(i64::MAX);
        let until = u16::try_from(day.saturating_add(keep_days).saturating_add(1)).unwrap_or(FOREVER);
        let version = self.version("audits", "audited").await?;
        let mut rows = Vec::new();
        for (stream, one) in findings {
            let known = before.get(stream);
            if known == Some(one) {
                continue;
            }
            // What was ever written to stay must stay, or the row before it would come back when this one goes.
            let loss = |one: &Finding| !one.gone.is_empty() || one.doubled > 0;
            let until = if loss(one) || known.is_some_and(loss) { FOREVER } else { until };
            rows.push(AuditRow {
                day: u16::try_from(day).unwrap_or(FOREVER),
                stream: *stream,
                stored: one.stored.iter().collect(),
                gone: one.gone.iter().collect(),
                doubled: one.doubled,
                audited: version,
                keep_until: until,
            });
        }
        self.store.insert_rows::<AuditRow>("audits", &rows).await
    }

    /// What `column` of `table` says of rows that are written now: the time, or later than all that is there, where the
    /// clock was ahead before. The newest row of a key counts.
    async fn version(&self, table: &str, column: &str) -> Result<i64, StoreError> {
        let sql = format!("SELECT toUnixTimestamp64Milli(max({column})) FROM {}", self.store.schema().all(table));
        let newest = self.store.rows::<i64>(&sql, &[]).await?.pop().unwrap_or_default();
        Ok((now_us() / 1000).max(newest + 1))
    }

    /// Writes what is settled of every stream to a row that does not expire. Interrupted anywhere, the rows that it
    /// rests on are still there.
    pub async fn compact(&self) -> Result<u64, StoreError> {
        let now_ms = now_us() / 1000;
        let before = facts::compacted(&self.store).await?;
        let settled = facts::settled(&self.store, now_ms.div_euclid(DAY_MS) - SETTLED_DAYS + 1).await?;
        let version = self.version("stream_accounts", "compacted").await?;
        let mut rows = Vec::new();
        for (stream, parts) in settled {
            let known = before.get(&stream).cloned().unwrap_or_default();
            let all = joined(&known, &parts);
            if all == known {
                continue;
            }
            rows.push(AccountRow {
                stream,
                stored: all.stored.iter().collect(),
                gaps: named(&all.gaps),
                dead: named(&all.dead),
                compacted: version,
            });
        }
        self.store.insert_rows::<AccountRow>("stream_accounts", &rows).await?;
        self.memory.lock().await.compacted_ms = now_ms;
        Ok(rows.len() as u64)
    }
}

/// Whether more than `ms` have passed since `last_ms`. A last time far in the future is that of a clock which was wrong.
fn has_passed(last_ms: i64, now_ms: i64, ms: i64) -> bool {
    now_ms.saturating_sub(last_ms).saturating_abs() > ms
}

impl Seen {
    fn gives_cause(&self, counts: Counts, now_ms: i64) -> bool {
        let agree = counts.raw == counts.seqs && counts.known <= counts.seqs;
        let changed = (self.counts.raw, self.counts.seqs) != (counts.raw, counts.seqs);
        match (agree, changed) {
            (true, true) => !self.clean || has_passed(self.at_ms, now_ms, AGAIN_MS),
            // The rows may have come back between the counting of the day and that of its streams.
            (true, false) => !self.clean && has_passed(self.at_ms, now_ms, AGAIN_MS),
            (false, changed) => changed || self.clean,
        }
    }
}

/// The sum of all numbers, as the engine's `sum` wraps.
fn sum_of(ranges: &Ranges) -> u64 {
    let sum = |(first, last): (u64, u64)| (u128::from(first) + u128::from(last)) * u128::from(last - first + 1) / 2;
    ranges.iter().fold(0, |all: u64, part| all.wrapping_add(sum(part) as u64))
}

fn joined(one: &Parts, other: &Parts) -> Parts {
    let mut all = one.clone();
    all.stored.union(&other.stored);
    for (into, more) in [(&mut all.gaps, &other.gaps), (&mut all.dead, &other.dead)] {
        more.iter().for_each(|(reason, seqs)| into.entry(reason.clone()).or_default().union(seqs));
    }
    all
}

/// Every range with its name.
fn named(ranges: &BTreeMap<String, Ranges>) -> Vec<(u64, u64, String)> {
    let of = |(name, seqs): (&String, &Ranges)| {
        seqs.iter().map(|(first, last)| (first, last, name.clone())).collect::<Vec<_>>()
    };
    ranges.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_range_is_that_of_its_numbers() {
        let ranges: Ranges = [(3, 7), (10, 10)].into_iter().collect();
        assert_eq!(sum_of(&ranges), 3 + 4 + 5 + 6 + 7 + 10);
        let high = Ranges::of(u64::MAX - 2, u64::MAX);
        assert_eq!(sum_of(&high), 0_u64.wrapping_sub(3 + 2 + 1));
    }

    #[test]
    fn a_clock_that_was_wrong_puts_nothing_off() {
        assert!(has_passed(0, 1, 0) && !has_passed(1_000, 2_000, AGAIN_MS));
        assert!(has_passed(40 * DAY_MS, 0, COMPACT_MS), "it was forty days ahead");
    }

    #[test]
    fn a_day_is_counted_where_it_gives_cause() {
        let counts = |raw, seqs, known| Counts { raw, seqs, known, wrong: 0 };
        let clean = Seen { counts: counts(10, 10, 10), clean: true, at_ms: 0 };
        assert!(clean.gives_cause(counts(9, 10, 10), 0), "a row is missing");
        assert!(clean.gives_cause(counts(0, 0, 10), 0), "a day is gone with its runs");
        assert!(!clean.gives_cause(counts(10, 10, 10), AGAIN_MS * 9), "nothing changed");
        assert!(!clean.gives_cause(counts(20, 20, 10), AGAIN_MS - 1));
        assert!(clean.gives_cause(counts(20, 20, 10), AGAIN_MS + 1), "it grew");
        let gone = Seen { counts: counts(9, 10, 10), clean: false, at_ms: 0 };
        assert!(!gone.gives_cause(counts(9, 10, 10), AGAIN_MS * 9), "known, and as it was");
        assert!(gone.gives_cause(counts(10, 10, 10), 0), "it was restored");
    }
}
