//! What the tables know of every stream, as [`Facts`] for the account: one statement a table, whatever the number of
//! streams.

use super::account::{Acknowledged, Facts, History, Report};
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use weir_api::ingest::{Range, ReportDetails};
use weir_event::Ranges;

/// Whose stream it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    pub replica: String,
    pub boot: String,
    pub worker: Option<u16>,
}

/// One stream as the tables have it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub owner: Owner,
    pub facts: Facts,
}

#[derive(Row, Deserialize)]
struct Reported {
    stream: u64,
    organization: String,
    environment: String,
    site: String,
    gateway: String,
    replica: String,
    boot: String,
    worker: u16,
    accepted: u64,
    newest: String,
}

#[derive(Row, Deserialize)]
struct Run {
    stream: u64,
    first: u64,
    last: u64,
    n: u64,
}

#[derive(Row, Deserialize)]
struct Named {
    stream: u64,
    first: u64,
    last: u64,
    reason: String,
}

#[derive(Row, Deserialize)]
struct Compacted {
    stream: u64,
    stored: Vec<(u64, u64)>,
    gaps: Vec<(u64, u64, String)>,
    dead: Vec<(u64, u64, String)>,
}

#[derive(Row, Deserialize)]
struct Audited {
    stream: u64,
    now_gone: Vec<(u64, u64)>,
    now_doubled: u64,
}

/// Every stream that reported, or of which anything is stored or named.
pub async fn read(store: &Store) -> Result<BTreeMap<u64, Known>, StoreError> {
    // Reports before rows: what a gateway had acknowledged when it counted is stored when it is looked for.
    let reported = reported(store).await?;
    let mut all = read_rows(store).await?;
    for row in reported {
        let known = all.entry(row.stream).or_default();
        known.facts.report = Some(report(&row));
        known.owner = Owner {
            organization: row.organization,
            environment: row.environment,
            site: row.site,
            gateway: row.gateway,
            replica: row.replica,
            boot: row.boot,
            worker: Some(row.worker),
        };
    }
    for note in acknowledged(store).await? {
        let Some(known) = all.get_mut(&note.stream) else { continue };
        note_into(&mut known.facts.acknowledged, &note);
    }
    // An account alone is no stream: its report has been removed with it.
    for (stream, parts) in compacted(store).await? {
        let Some(known) = all.get_mut(&stream) else { continue };
        known.facts.stored.union(&parts.stored);
        merge(&mut known.facts.gaps, &parts.gaps);
        merge(&mut known.facts.dead, &parts.dead);
    }
    Ok(all)
}

async fn read_rows(store: &Store) -> Result<BTreeMap<u64, Known>, StoreError> {
    let mut all: BTreeMap<u64, Known> = BTreeMap::new();
    let mut rows: HashMap<u64, u64> = HashMap::new();
    let audited_days = audited_days(store).await?;
    for run in runs(store, &not_in(&audited_days)).await? {
        all.entry(run.stream).or_default().facts.stored.insert(run.first, run.last);
        *rows.entry(run.stream).or_default() += run.n;
    }
    for (stream, rows) in rows {
        let facts = &mut all.entry(stream).or_default().facts;
        facts.doubled = rows.saturating_sub(facts.stored.count());
    }
    // Of every day: should `stored_seqs` have lost what the rows still say, the rows are right.
    for (stream, seqs) in audited_runs(store, "1").await? {
        all.entry(stream).or_default().facts.stored.union(&seqs);
    }
    for gap in gaps(store).await? {
        let named = &mut all.entry(gap.stream).or_default().facts.gaps;
        named.entry(gap.reason).or_default().insert(gap.first, gap.last);
    }
    for letter in dead(store).await? {
        let named = &mut all.entry(letter.stream).or_default().facts.dead;
        named.entry(letter.reason).or_default().insert(letter.first, letter.last);
    }
    for found in audited(store).await? {
        let facts = &mut all.entry(found.stream).or_default().facts;
        found.now_gone.iter().for_each(|(first, last)| facts.gone.insert(*first, *last));
        facts.doubled = facts.doubled.max(found.now_doubled);
    }
    Ok(all)
}

fn note_into(acknowledged: &mut Acknowledged, note: &Named) {
    match note.reason.as_str() {
        "unknown" => acknowledged.unknown.push(note.first),
        _ => acknowledged.missing.insert(note.first, note.last),
    }
}

fn merge(into: &mut BTreeMap<String, Ranges>, more: &BTreeMap<String, Ranges>) {
    for (reason, seqs) in more {
        into.entry(reason.clone()).or_default().union(seqs);
    }
}

/// The newest report. One that cannot be read (of a version to come) still counts what it counted.
fn report(row: &Reported) -> Report {
    let (received, details) = row.newest.split_at_checked(16).unwrap_or(("", ""));
    let received_ms = received.parse().unwrap_or(0);
    let details: ReportDetails = serde_json::from_str(details).unwrap_or_default();
    let mut set_aside: BTreeMap<String, Ranges> = BTreeMap::new();
    for part in &details.set_aside {
        set_aside.entry(part.reason.clone()).or_default().insert(part.first, part.last);
    }
    let all_of = |spans: Vec<Range>| spans.iter().map(|span| (span.first, span.last)).collect::<Ranges>();
    let incomplete = details.waiting_more || details.set_aside_more;
    Report {
        accepted: row.accepted,
        counted_ms: details.counted_ms.unwrap_or(received_ms).min(received_ms),
        received_ms,
        closed: details.closed,
        unknown_from: details.unknown_from.map(|from| (from, details.unknown_reason.unwrap_or_default())),
        set_aside,
        waiting: details.waiting.filter(|_| !incomplete).map(all_of),
        held: details.held.map(|held| (held.reason, held.since_ms)),
    }
}

async fn reported(store: &Store) -> Result<Vec<Reported>, StoreError> {
    let sql = format!(
        "SELECT stream, any(organization) AS organization, any(environment) AS environment, any(site) AS site, \
         any(gateway) AS gateway, any(replica) AS replica, any(lower(hex(s.boot))) AS boot, any(worker) AS worker, \
         max(s.accepted) AS accepted, max(s.newest) AS newest FROM {} AS s GROUP BY stream",
        store.schema().all("stream_reports")
    );
    store.rows(&sql, &[]).await
}

/// The islands of every stream, joined by the engine from the runs of blocks. `condition` is one on `stored_seqs`.
async fn runs(store: &Store, condition: &str) -> Result<Vec<Run>, StoreError> {
    let sql = format!(
        "SELECT stream, min(first) AS first, max(last) AS last, sum(n) AS n FROM (\
           SELECT stream, first, last, n, sum(fresh) OVER (PARTITION BY stream ORDER BY first, last \
             ROWS UNBOUNDED PRECEDING) AS island FROM (\
               SELECT stream, first, last, n, first > max(last) OVER (PARTITION BY stream ORDER BY first, last \
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS fresh \
               FROM {} WHERE {condition})) \
         GROUP BY stream, island",
        store.schema().all("stored_seqs")
    );
    store.rows(&sql, &[]).await
}

/// The days of which `audits` holds all that `stored_seqs` does: a stream has a row there, and thousands here.
async fn audited_days(store: &Store) -> Result<Vec<i64>, StoreError> {
    #[derive(Row, Deserialize)]
    struct Day {
        number: i64,
    }
    let sql = format!(
        "SELECT toInt64(toRelativeDayNum(s.day)) AS number FROM (SELECT day, sum(n) AS rows FROM {} GROUP BY day) AS s \
         INNER JOIN (SELECT day, sum(known) AS rows FROM (\
           SELECT day, stream, argMax(arraySum(run -> run.2 - run.1 + 1, stored), audited) AS known FROM {} \
           GROUP BY day, stream) GROUP BY day) AS a ON s.day = a.day WHERE s.rows = a.rows",
        store.schema().all("stored_seqs"),
        store.schema().all("audits"),
    );
    Ok(store.rows::<Day>(&sql, &[]).await?.into_iter().map(|day| day.number).collect())
}

fn not_in(days: &[i64]) -> String {
    if days.is_empty() {
        return "1".to_owned();
    }
    let days: Vec<_> = days.iter().map(|day| format!("toDate({day})")).collect();
    format!("day NOT IN ({})", days.join(", "))
}

/// What audits saw stored, on the days of `condition`.
async fn audited_runs(store: &Store, condition: &str) -> Result<HashMap<u64, Ranges>, StoreError> {
    #[derive(Row, Deserialize)]
    struct Stored {
        stream: u64,
        runs: Vec<(u64, u64)>,
    }
    let mut all: HashMap<u64, Ranges> = HashMap::new();
    let sql = format!(
        "SELECT stream, argMax(stored, audited) AS runs FROM {} WHERE {condition} GROUP BY day, stream",
        store.schema().all("audits"),
    );
    for row in store.rows::<Stored>(&sql, &[]).await? {
        let seqs = all.entry(row.stream).or_default();
        row.runs.into_iter().for_each(|(first, last)| seqs.insert(first, last));
    }
    Ok(all)
}

async fn gaps(store: &Store) -> Result<Vec<Named>, StoreError> {
    let table = store.schema().all("gaps");
    store.rows(&format!("SELECT DISTINCT stream, first, last, reason FROM {table}"), &[]).await
}

/// Dead letters as runs: they come by the thousand when a clock is wrong.
async fn dead(store: &Store) -> Result<Vec<Named>, StoreError> {
    let sql = format!(
        "SELECT stream, run[1] AS first, run[-1] AS last, reason FROM (\
           SELECT stream, toString(reason) AS reason, arraySort(groupUniqArray(seq)) AS seqs FROM {} \
           GROUP BY stream, reason) \
         ARRAY JOIN arraySplit((seq, step) -> step != 1, seqs, arrayDifference(seqs)) AS run",
        store.schema().all("dead_letters")
    );
    store.rows(&sql, &[]).await
}

async fn audited(store: &Store) -> Result<Vec<Audited>, StoreError> {
    let sql = format!(
        "SELECT stream, argMax(gone, audited) AS now_gone, argMax(doubled, audited) AS now_doubled FROM {} \
         GROUP BY day, stream HAVING notEmpty(now_gone) OR now_doubled > 0",
        store.schema().all("audits")
    );
    store.rows(&sql, &[]).await
}

async fn acknowledged(store: &Store) -> Result<Vec<Named>, StoreError> {
    let table = store.schema().all("acknowledgements");
    store.rows(&format!("SELECT stream, first, last, toString(kind) AS reason FROM {table}"), &[]).await
}

/// What is compacted of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub stored: Ranges,
    pub gaps: BTreeMap<String, Ranges>,
    pub dead: BTreeMap<String, Ranges>,
}

/// All rows together: an account only grows, so that an old row beside its successor changes nothing.
pub async fn compacted(store: &Store) -> Result<HashMap<u64, Parts>, StoreError> {
    let table = store.schema().all("stream_accounts");
    let rows = store.rows::<Compacted>(&format!("SELECT stream, stored, gaps, dead FROM {table}"), &[]).await?;
    let mut all: HashMap<u64, Parts> = HashMap::new();
    let add = |into: &mut BTreeMap<String, Ranges>, part: (u64, u64, String)| {
        into.entry(part.2).or_default().insert(part.0, part.1);
    };
    for row in rows {
        let parts = all.entry(row.stream).or_default();
        row.stored.into_iter().for_each(|(first, last)| parts.stored.insert(first, last));
        row.gaps.into_iter().for_each(|part| add(&mut parts.gaps, part));
        row.dead.into_iter().for_each(|part| add(&mut parts.dead, part));
    }
    Ok(all)
}

/// What the tables with an end of their rows hold and that does not change any more: `stored_seqs` of the days before
/// `before`, in days since the epoch, and every gap and dead letter.
pub async fn settled(store: &Store, before: i64) -> Result<HashMap<u64, Parts>, StoreError> {
    let mut all: HashMap<u64, Parts> = HashMap::new();
    let before = format!("day < toDate({before})");
    let live = format!("{before} AND {}", not_in(&audited_days(store).await?));
    for run in runs(store, &live).await? {
        all.entry(run.stream).or_default().stored.insert(run.first, run.last);
    }
    for (stream, seqs) in audited_runs(store, &before).await? {
        all.entry(stream).or_default().stored.union(&seqs);
    }
    for gap in gaps(store).await? {
        let parts = all.entry(gap.stream).or_default();
        parts.gaps.entry(gap.reason).or_default().insert(gap.first, gap.last);
    }
    for letter in dead(store).await? {
        let parts = all.entry(letter.stream).or_default();
        parts.dead.entry(letter.reason).or_default().insert(letter.first, letter.last);
    }
    Ok(all)
}

#[derive(Row, Deserialize)]
struct Counted {
    stream: u64,
    before_ms: i64,
    counted_ms: i64,
}

/// When each stream's number was and was not yet counted. Times of one stream are those of one clock.
pub async fn history(store: &Store, firsts: &[(u64, u64)]) -> Result<HashMap<u64, History>, StoreError> {
    let mut all = HashMap::new();
    for part in firsts.chunks(500) {
        let pairs: Vec<_> = part.iter().map(|(stream, first)| format!("({stream}, {first})")).collect();
        let sql = format!(
            // A late report of an older count must not pass for the newest that was whole.
            "SELECT stream, arrayMax(arrayPushBack(arrayFilter(t -> t < since OR since = 0, before), 0)) AS before_ms, \
             since AS counted_ms FROM (\
               SELECT h.stream AS stream, minIf(toUnixTimestamp64Milli(h.counted), h.accepted > w.n) AS since, \
               groupArrayIf(toUnixTimestamp64Milli(h.counted), h.accepted <= w.n) AS before FROM {} AS h \
               INNER JOIN values('stream UInt64, n UInt64', {}) AS w ON h.stream = w.stream GROUP BY h.stream)",
            store.schema().all("report_history"),
            pairs.join(", "),
        );
        let time = |ms: i64| (ms > 0).then_some(ms);
        all.extend(
            store
                .rows::<Counted>(&sql, &[])
                .await?
                .into_iter()
                .map(|row| (row.stream, History { before_ms: time(row.before_ms), counted_ms: time(row.counted_ms) })),
        );
    }
    Ok(all)
}
