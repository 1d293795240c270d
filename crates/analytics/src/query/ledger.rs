//! Does the sum hold: every event that a gateway accepted is stored, a dead letter, or a gap with a reason.
//!
//! Per stream, in exact set arithmetic over sequence numbers: `accepted` is `0..n` by the gateway's own count of
//! requests, the rest comes from the tables. What is in none of the sets is **open** - still at the gateway, on its
//! way, or lost: nobody can tell from here, so it is never called balanced.

use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use weir_event::Ranges;

/// The verdict on one stream, or on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Every accepted event is accounted for.
    True,
    /// Some are not yet, or the gateway has not said how many there are.
    Open,
    /// The sets contradict each other.
    False,
}

/// Everything known of one stream.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By the gateway's report; none without one.
    pub accepted: Option<u64>,
    pub closed: bool,
    pub stored: Ranges,
    /// Rows that say they are stored, each counted: more than `stored` when some are there twice.
    pub rows: u64,
    pub dead: Ranges,
    pub gaps: BTreeMap<String, Ranges>,
}

impl Account {
    /// What nobody accounts for.
    pub fn open(&self) -> Ranges {
        let mut open = match self.accepted {
            Some(0) | None => Ranges::default(),
            Some(count) => Ranges::of(0, count - 1),
        };
        open.subtract(&self.covered());
        open
    }

    fn covered(&self) -> Ranges {
        let mut covered = self.stored.clone();
        covered.union(&self.dead);
        self.gaps.values().for_each(|gap| covered.union(gap));
        covered
    }

    /// The verdict, and what is wrong where it is `False`.
    pub fn balance(&self) -> (Balance, Option<&'static str>) {
        if self.rows != self.stored.count() {
            return (Balance::False, Some("an event is stored more than once"));
        }
        if !self.stored.intersection(&self.dead).is_empty() {
            return (Balance::False, Some("an event is both stored and a dead letter"));
        }
        if self.gaps.values().any(|gap| !gap.intersection(&self.stored).is_empty()) {
            return (Balance::False, Some("an event is stored that was reported as a gap"));
        }
        let Some(accepted) = self.accepted else { return (Balance::Open, None) };
        let beyond = self.covered().iter().last().is_some_and(|(_, last)| last >= accepted);
        match (self.open().is_empty(), beyond, self.closed) {
            (_, true, true) => (Balance::False, Some("more events than the gateway accepted")),
            (true, false, _) => (Balance::True, None),
            // Past the last report of a gateway that goes on: the next report will say.
            _ => (Balance::Open, None),
        }
    }
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
    closed: u8,
    last_ms: i64,
}

#[derive(Row, Deserialize)]
struct Run {
    stream: u64,
    first: u64,
    last: u64,
    n: u64,
}

#[derive(Row, Deserialize)]
struct GapRow {
    stream: u64,
    first: u64,
    last: u64,
    reason: String,
}

/// The ledger of every stream that reported in the last `minutes`, or stored on their days.
pub async fn ledger(store: &Store, minutes: u32) -> Result<Value, StoreError> {
    let (reported, mut accounts) = accounts(store, minutes).await?;
    let mut streams = Vec::new();
    let mut worst = Balance::True;
    let mut totals = [0_u64; 5];
    for (id, who) in &reported {
        let account = accounts.remove(id).unwrap_or_default();
        streams.push(line(*id, Some(who), &account, &mut worst, &mut totals));
    }
    for (id, account) in &accounts {
        streams.push(line(*id, None, account, &mut worst, &mut totals));
    }
    let [accepted, stored, dead, shed, open] = totals;
    Ok(json!({
        "minutes": minutes, "balanced": worst, "accepted": accepted, "stored": stored, "dead_letters": dead,
        "shed": shed, "open": open, "streams": streams,
    }))
}

fn line(id: u64, who: Option<&Reported>, account: &Account, worst: &mut Balance, totals: &mut [u64; 5]) -> Value {
    let (balance, why) = account.balance();
    *worst = (*worst).max(balance);
    let open = account.open();
    let mut shed = Ranges::default();
    account.gaps.values().for_each(|gap| shed.union(gap));
    let parts = [
        account.accepted.unwrap_or_default(),
        account.stored.count(),
        account.dead.count(),
        shed.count(),
        open.count(),
    ];
    totals.iter_mut().zip(parts).for_each(|(total, part)| *total = total.saturating_add(part));
    let gaps: BTreeMap<_, _> = account.gaps.iter().map(|(reason, seqs)| (reason, seqs.count())).collect();
    let of = |part: fn(&Reported) -> &str| who.map(part).unwrap_or_default();
    json!({
        "stream": format!("{id:016x}"),
        "organization": of(|who| &who.organization), "environment": of(|who| &who.environment),
        "site": of(|who| &who.site), "gateway": of(|who| &who.gateway), "replica": of(|who| &who.replica),
        "boot": of(|who| &who.boot), "worker": who.map(|who| who.worker),
        "reported_ms": who.map(|who| who.last_ms),
        "accepted": account.accepted, "closed": account.closed, "stored": account.stored.count(),
        "stored_ranges": account.stored.iter().len(), "dead_letters": account.dead.count(), "gaps": gaps,
        "open": open.count(), "open_ranges": open.iter().take(20).collect::<Vec<_>>(),
        "balanced": balance, "why": why,
    })
}

type Accounts = (BTreeMap<u64, Reported>, HashMap<u64, Account>);

async fn accounts(store: &Store, minutes: u32) -> Result<Accounts, StoreError> {
    let which = chosen(store, minutes);
    let reported = reported(store, &which).await?;
    let mut accounts: HashMap<u64, Account> = HashMap::new();
    for run in runs(store, &which).await? {
        let account = accounts.entry(run.stream).or_default();
        account.stored.insert(run.first, run.last);
        account.rows += run.n;
    }
    for gap in gaps(store, &which).await? {
        accounts.entry(gap.stream).or_default().gaps.entry(gap.reason).or_default().insert(gap.first, gap.last);
    }
    for (stream, seq) in dead(store, &which).await? {
        accounts.entry(stream).or_default().dead.add(seq);
    }
    for who in &reported {
        let account = accounts.entry(who.stream).or_default();
        account.accepted = Some(who.accepted);
        account.closed = who.closed != 0;
    }
    Ok((reported.into_iter().map(|who| (who.stream, who)).collect(), accounts))
}

/// Which streams. By day and not by minute where they stored: the partitions tell it.
fn chosen(store: &Store, minutes: u32) -> String {
    let since = format!("now() - INTERVAL {minutes} MINUTE");
    format!(
        "SELECT stream FROM {} GROUP BY stream HAVING max(reported) > {since} \
         UNION DISTINCT SELECT stream FROM {} WHERE day >= toDate({since})",
        store.schema().all("streams"),
        store.schema().all("stored_seqs"),
    )
}

async fn reported(store: &Store, which: &str) -> Result<Vec<Reported>, StoreError> {
    let sql = format!(
        "SELECT stream, any(organization) AS organization, any(environment) AS environment, any(site) AS site, \
         any(gateway) AS gateway, any(replica) AS replica, any(lower(hex(s.boot))) AS boot, any(worker) AS worker, \
         max(s.accepted) AS accepted, max(s.closed) AS closed, toUnixTimestamp64Milli(max(reported)) AS last_ms \
         FROM {} AS s WHERE stream IN ({which}) GROUP BY stream",
        store.schema().all("streams")
    );
    store.rows(&sql, &[]).await
}

/// The islands of every stream, joined by the engine from the runs of blocks.
async fn runs(store: &Store, which: &str) -> Result<Vec<Run>, StoreError> {
    let sql = format!(
        "SELECT stream, min(first) AS first, max(last) AS last, sum(n) AS n FROM (\
           SELECT stream, first, last, n, sum(fresh) OVER (PARTITION BY stream ORDER BY first, last \
             ROWS UNBOUNDED PRECEDING) AS island FROM (\
               SELECT stream, first, last, n, first > max(last) OVER (PARTITION BY stream ORDER BY first, last \
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS fresh \
               FROM {} WHERE stream IN ({which}))) \
         GROUP BY stream, island",
        store.schema().all("stored_seqs")
    );
    store.rows(&sql, &[]).await
}

async fn gaps(store: &Store, which: &str) -> Result<Vec<GapRow>, StoreError> {
    let table = store.schema().all("gaps");
    let sql = format!("SELECT DISTINCT stream, first, last, reason FROM {table} WHERE stream IN ({which})");
    store.rows(&sql, &[]).await
}

async fn dead(store: &Store, which: &str) -> Result<Vec<(u64, u64)>, StoreError> {
    let table = store.schema().all("dead_letters");
    store.rows(&format!("SELECT DISTINCT stream, seq FROM {table} WHERE stream IN ({which})"), &[]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(accepted: u64, stored: &[(u64, u64)]) -> Account {
        let stored: Ranges = stored.iter().copied().collect();
        Account { accepted: Some(accepted), rows: stored.count(), stored, ..Account::default() }
    }

    #[test]
    fn all_stored_is_balanced_and_a_hole_is_open() {
        assert_eq!(account(10, &[(0, 9)]).balance().0, Balance::True);
        assert_eq!(account(0, &[]).balance().0, Balance::True);
        let hole = account(10, &[(0, 3), (5, 9)]);
        assert_eq!((hole.balance().0, hole.open()), (Balance::Open, Ranges::of(4, 4)));
        assert_eq!(Account { accepted: None, ..account(0, &[(0, 3)]) }.balance().0, Balance::Open);
    }

    #[test]
    fn gaps_and_dead_letters_count() {
        let mut whole = account(10, &[(0, 3), (6, 9)]);
        whole.gaps.insert("ring_full".to_owned(), Ranges::of(4, 4));
        whole.dead = Ranges::of(5, 5);
        assert_eq!(whole.balance().0, Balance::True);
        whole.dead = Ranges::of(3, 5);
        assert_eq!(whole.balance().0, Balance::False);
    }

    #[test]
    fn contradictions_are_told() {
        let mut twice = account(10, &[(0, 9)]);
        twice.rows = 11;
        assert_eq!(twice.balance(), (Balance::False, Some("an event is stored more than once")));
        let mut ahead = account(10, &[(0, 11)]);
        assert_eq!(ahead.balance().0, Balance::Open);
        ahead.closed = true;
        assert_eq!(ahead.balance().0, Balance::False);
        let mut gap = account(10, &[(0, 9)]);
        gap.gaps.insert("torn".to_owned(), Ranges::of(9, 9));
        assert_eq!(gap.balance().0, Balance::False);
    }
}
