//! What changed when an API got worse: the changes of configuration and version of the time shown, each with what was
//! before and after it, and whether that differs by more than chance.
//!
//! A gateway is in one state at a time: a generation of its configuration, and a version of the program. Events say their
//! generation; the version is that of the process which recorded them. Each state is compared with the one before it at the
//! same gateway, so that nothing else of the fleet is in the comparison. What is found is a coincidence in time and never
//! said to be more.

mod significance;

use super::dashboards::{Asked, ExpandError, Statement, expand, find};
use super::quantile::quantile;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Deserialize;
use significance::{ShareTest, distributions, shares};
use weir_api::query::{Blame, BlameChange, BlameErrors, BlameSide, BlameTimes, ShareTestName};

/// The dashboard whose variables say which requests are meant.
const DASHBOARD: &str = "weir-api";
/// A difference is named where chance alone makes one of its size in fewer than so many of all comparisons.
const SIGNIFICANT: f64 = 0.01;
/// Changes that are answered, at most: those that are least by chance.
const MOST: usize = 50;

/// The states of each gateway, with what they did. `$` stands for what is chosen.
const STATES: &str = "SELECT organization, environment, site, gateway, generation, version, \
    min(first) AS from_ms, max(last) AS to_ms, sum(n) AS requests, sum(f) AS failed, max(longest) AS largest, \
    sumMap(h) AS hist FROM (\
      SELECT organization, environment, site, gateway, boot, generation, toUnixTimestamp64Milli(min(ts)) AS first, \
      toUnixTimestamp64Milli(max(ts)) AS last, toUInt64(sum(sample_interval)) AS n, max(total_us) AS longest, \
      toUInt64(sumIf(sample_interval, (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered'))) AS f, \
      sumMap(map(toUInt16(floor(log2(least(total_us, 9223372036854775806) + 1) * 8)), toUInt64(sample_interval))) AS h \
      FROM access_events WHERE $__timeFilter(ts) AND sample_interval > 0 \
      AND $__conditionalAll(organization IN (${organization:singlequote}), $organization) \
      AND $__conditionalAll(environment IN (${environment:singlequote}), $environment) \
      AND $__conditionalAll(site IN (${site:singlequote}), $site) \
      AND $__conditionalAll(gateway IN (${gateway:singlequote}), $gateway) \
      AND $__conditionalAll(api IN (${api:singlequote}), $api) \
      AND $__conditionalAll(route IN (${route:singlequote}), $route) \
      AND $__conditionalAll(consumer IN (${consumer:singlequote}), $consumer) \
      GROUP BY organization, environment, site, gateway, boot, generation) AS e \
    LEFT JOIN (SELECT boot, toString(any(version)) AS version FROM gateway_gauges \
      WHERE t >= $__fromTime - 86400 AND t <= $__toTime + 60 GROUP BY boot) AS v USING boot \
    GROUP BY organization, environment, site, gateway, generation, version \
    ORDER BY organization, environment, site, gateway, from_ms, generation";

/// One state of one gateway.
#[derive(Clone, Debug, Row, Deserialize)]
struct State {
    organization: String,
    environment: String,
    site: String,
    gateway: String,
    generation: u32,
    /// Empty where the process never sent a sample.
    version: String,
    from_ms: i64,
    to_ms: i64,
    requests: u64,
    failed: u64,
    largest: u64,
    hist: Vec<(u16, u64)>,
}

/// The statement for what is asked.
pub fn statement(asked: &Asked) -> Result<Statement, ExpandError> {
    let dashboard = find(DASHBOARD).ok_or_else(|| ExpandError::Dashboard(format!("no `{DASHBOARD}`")))?;
    expand(dashboard, STATES, asked)
}

/// What changed, the least by chance first.
pub async fn blame(store: &Store, statement: &Statement, api: &str) -> Result<Blame, StoreError> {
    let args: Vec<_> = statement.args.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    Ok(judged(api, store.rows::<State>(&statement.sql, &args).await?))
}

fn judged(api: &str, states: Vec<State>) -> Blame {
    let gateways = states.chunk_by(|a, b| place(a) == place(b));
    let mut changes: Vec<_> = gateways.flat_map(|of_one| compared(of_one.to_vec())).collect();
    // Each change is compared twice: by errors, and by times.
    let comparisons = changes.iter().map(|one| u64::from(one.errors.is_some()) + u64::from(one.times.is_some())).sum();
    let adjusted = |p: f64| (p * comparisons as f64).min(1.0);
    for change in &mut changes {
        if let Some(errors) = &mut change.errors {
            errors.adjusted_p = adjusted(errors.p);
        }
        if let Some(times) = &mut change.times {
            times.adjusted_p = adjusted(times.p);
        }
        change.sentences = sentences(change);
    }
    changes.sort_by(|a, b| smallest(a).total_cmp(&smallest(b)).then(a.at_ms.cmp(&b.at_ms)));
    let sentence = summary(&changes, comparisons);
    let found = changes.len() as u64;
    changes.truncate(MOST);
    Blame { api: api.to_owned(), sentence, comparisons, found, changes }
}

fn place(state: &State) -> (&str, &str, &str, &str) {
    (&state.organization, &state.environment, &state.site, &state.gateway)
}

/// The states of one gateway in their order, each beside the one before it.
fn compared(mut states: Vec<State>) -> Vec<BlameChange> {
    // A process that sent no sample is taken to be of the version before it.
    for at in 1..states.len() {
        if states[at].version.is_empty() {
            states[at].version = states[at - 1].version.clone();
        }
    }
    let mut merged: Vec<State> = Vec::new();
    for state in states {
        match merged.iter_mut().find(|one| one.generation == state.generation && one.version == state.version) {
            Some(same) => same.add(state),
            None => merged.push(state),
        }
    }
    merged.windows(2).map(|pair| change(&pair[0], &pair[1])).collect()
}

impl State {
    fn add(&mut self, other: Self) {
        self.to_ms = self.to_ms.max(other.to_ms);
        self.requests += other.requests;
        self.failed += other.failed;
        self.largest = self.largest.max(other.largest);
        self.hist.extend(other.hist);
    }

    fn side(&self) -> BlameSide {
        BlameSide {
            generation: self.generation,
            version: self.version.clone(),
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            requests: self.requests,
            failed: self.failed,
            p95_us: quantile(&summed(&self.hist), 0.95, self.largest).map(f64::round),
        }
    }
}

/// One entry a bucket.
fn summed(hist: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut all = std::collections::BTreeMap::new();
    hist.iter().for_each(|(bucket, count)| *all.entry(*bucket).or_insert(0) += count);
    all.into_iter().collect()
}

fn change(before: &State, after: &State) -> BlameChange {
    let errors =
        shares((before.failed, before.requests), (after.failed, after.requests)).map(|(test, p)| BlameErrors {
            test: match test {
                ShareTest::Z => ShareTestName::ZTest,
                ShareTest::Fisher => ShareTestName::Fisher,
            },
            p,
            adjusted_p: p,
        });
    let times = distributions(&summed(&before.hist), &summed(&after.hist)).map(|(distance, p)| BlameTimes {
        distance,
        p,
        adjusted_p: p,
    });
    BlameChange {
        organization: after.organization.clone(),
        environment: after.environment.clone(),
        site: after.site.clone(),
        gateway: after.gateway.clone(),
        at_ms: after.from_ms,
        before: before.side(),
        after: after.side(),
        errors,
        times,
        sentences: Vec::new(),
    }
}

/// The smaller of the two p-values.
fn smallest(change: &BlameChange) -> f64 {
    let errors = change.errors.as_ref().map_or(1.0, |errors| errors.adjusted_p);
    errors.min(change.times.as_ref().map_or(1.0, |times| times.adjusted_p))
}

/// What differs by more than chance, in words that the numbers bear.
fn sentences(change: &BlameChange) -> Vec<String> {
    let (before, after) = (&change.before, &change.after);
    let what = what(change);
    let mut said = Vec::new();
    if let Some(errors) = change.errors.as_ref().filter(|errors| errors.adjusted_p < SIGNIFICANT) {
        let way = if share(after) > share(before) { "rose" } else { "fell" };
        said.push(format!(
            "errors {way} from {} of {} to {} of {} after {what} ({}, {})",
            before.failed,
            before.requests,
            after.failed,
            after.requests,
            errors.test.as_str(),
            p_of(errors.adjusted_p)
        ));
    }
    if let Some(times) = change.times.as_ref().filter(|times| times.adjusted_p < SIGNIFICANT) {
        let ms = |side: &BlameSide| side.p95_us.map_or("-".to_owned(), |us| format!("{:.1} ms", us / 1000.0));
        let way = match (before.p95_us, after.p95_us) {
            (Some(b), Some(a)) if a > b => "rose",
            (Some(b), Some(a)) if a < b => "fell",
            _ => "did not move",
        };
        said.push(format!(
            "durations are others after {what}: their 95th percentile {way} from {} to {} (Kolmogorov-Smirnov test on {} \
             and {} requests, {})",
            ms(before),
            ms(after),
            before.requests,
            after.requests,
            p_of(times.adjusted_p)
        ));
    }
    said
}

fn share(side: &BlameSide) -> f64 {
    side.failed as f64 / side.requests.max(1) as f64
}

fn what(change: &BlameChange) -> String {
    let (before, after) = (&change.before, &change.after);
    let mut parts = Vec::new();
    if before.generation != after.generation {
        parts.push(format!("generation {}", after.generation));
    }
    if before.version != after.version {
        parts.push(format!("version {}", if after.version.is_empty() { "unknown" } else { &after.version }));
    }
    format!("{} at {}/{}", parts.join(" and "), change.site, change.gateway)
}

fn p_of(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

fn summary(changes: &[BlameChange], comparisons: u64) -> String {
    if changes.is_empty() {
        return "no gateway changed its configuration or version while it served this in the time shown".to_owned();
    }
    let worse = changes.iter().find_map(|change| change.sentences.iter().find(|said| said.contains(" rose ")));
    let corrected = format!("{comparisons} comparisons, for which p is corrected");
    match worse {
        Some(said) => format!("{said}; of {corrected}"),
        None => format!("after no change did errors or durations rise by more than chance; {corrected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(generation: u32, version: &str, (failed, requests): (u64, u64), bucket: u16) -> State {
        State {
            organization: "acme".to_owned(),
            environment: "demo".to_owned(),
            site: "on-prem".to_owned(),
            gateway: "edge".to_owned(),
            generation,
            version: version.to_owned(),
            from_ms: i64::from(generation) * 1000,
            to_ms: i64::from(generation) * 1000 + 999,
            requests,
            failed,
            largest: 1 << 40,
            hist: vec![(bucket, requests)],
        }
    }

    #[test]
    fn what_got_worse_is_named_with_its_numbers() {
        let states =
            vec![state(6, "1.0", (10, 1000), 80), state(7, "1.0", (90, 900), 80), state(8, "1.0", (5, 500), 80)];
        let blame = judged("orders", states);
        assert_eq!((blame.comparisons, blame.found), (4, 2));
        assert_eq!(
            blame.sentence,
            "errors rose from 10 of 1000 to 90 of 900 after generation 7 at on-prem/edge (two-proportion z-test, \
             p < 0.001); of 4 comparisons, for which p is corrected"
        );
        let fell = &blame.changes[1];
        assert_eq!(fell.sentences.len(), 1, "{fell:?}");
        assert!(fell.sentences[0].starts_with("errors fell from 90 of 900 to 5 of 500 after generation 8"));
        let errors = blame.changes[0].errors.as_ref().unwrap();
        assert!((errors.adjusted_p - 4.0 * errors.p).abs() < 1e-12, "every comparison counts");
    }

    #[test]
    fn chance_is_not_blamed() {
        let blame = judged("orders", vec![state(6, "1.0", (10, 1000), 80), state(7, "1.0", (14, 1000), 80)]);
        assert!(blame.changes[0].sentences.is_empty());
        assert_eq!(
            blame.sentence,
            "after no change did errors or durations rise by more than chance; 2 comparisons, for which p is corrected"
        );
        assert!(judged("orders", vec![state(6, "1.0", (10, 1000), 80)]).sentence.starts_with("no gateway changed"));
        assert_eq!(judged("orders", Vec::new()).changes.len(), 0);
    }

    #[test]
    fn a_version_is_a_change_and_an_unknown_one_is_none() {
        let mut slower = state(6, "1.1", (0, 1000), 96);
        slower.from_ms += 500;
        let blame = judged("orders", vec![state(6, "1.0", (0, 1000), 80), slower.clone()]);
        assert!(
            blame
                .sentence
                .starts_with("durations are others after version 1.1 at on-prem/edge: their 95th percentile rose from"),
            "{}",
            blame.sentence
        );
        slower.version = String::new();
        let blame = judged("orders", vec![state(6, "1.0", (0, 1000), 80), slower]);
        assert_eq!(blame.found, 0, "the same state, by all that is known");
        let other = State { gateway: "core".to_owned(), ..state(7, "2.0", (900, 1000), 80) };
        assert_eq!(judged("orders", vec![state(6, "1.0", (0, 1000), 80), other]).found, 0, "another gateway");
    }
}
