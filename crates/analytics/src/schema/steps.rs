//! Every migration that was ever released, as frozen text.
//!
//! A step that a release has applied somewhere never changes again: its checksum is in that database. What comes
//! later is a step of its own, `ALTER … ADD COLUMN IF NOT EXISTS` or `CREATE … IF NOT EXISTS`: one statement that may
//! run twice. The text has places for what differs between installations: `{database}`, `{on_cluster}`, `{cluster}`,
//! `{local}`, `{joined:TABLE}`, `{engine:KIND}`, `{window}`, and the retentions `{raw}`, `{seqs}`, `{minutes}`, `{hours}`, `{gauges}`
//! in seconds.

use super::{Layout, Migration, Schema, quoted};

/// A step as it is kept.
struct Step {
    number: u32,
    name: &'static str,
    /// Which layouts have it.
    only_cluster: bool,
    text: &'static str,
}

/// A step of every layout.
macro_rules! step {
    ($number:literal, $name:literal, $file:literal) => {
        Step {
            number: $number,
            name: $name,
            only_cluster: false,
            text: include_str!(concat!("../../migrations/", $file)),
        }
    };
}

/// A step that one server does not have: the `Distributed` table over the shards' own.
macro_rules! cluster_step {
    ($number:literal, $name:literal, $file:literal) => {
        Step {
            number: $number,
            name: $name,
            only_cluster: true,
            text: include_str!(concat!("../../migrations/", $file)),
        }
    };
}

/// The tables and views of the first release.
const FIRST: &[Step] = &[
    step!(1, "access_events", "001_access_events.sql"),
    step!(2, "stored_seqs", "002_stored_seqs.sql"),
    step!(3, "stored_seqs_mv", "003_stored_seqs_mv.sql"),
    step!(4, "requests_1m", "004_requests_1m.sql"),
    step!(5, "requests_1m_mv", "005_requests_1m_mv.sql"),
    step!(6, "requests_1h", "006_requests_1h.sql"),
    step!(7, "requests_1h_mv", "007_requests_1h_mv.sql"),
    step!(8, "gaps", "008_gaps.sql"),
    step!(9, "dead_letters", "009_dead_letters.sql"),
    step!(10, "streams", "010_streams.sql"),
    step!(11, "barrier", "011_barrier.sql"),
    step!(12, "barrier_mv", "012_barrier_mv.sql"),
    cluster_step!(13, "access_events", "013_access_events_distributed.sql"),
    cluster_step!(14, "stored_seqs", "014_stored_seqs_distributed.sql"),
    cluster_step!(15, "requests_1m", "015_requests_1m_distributed.sql"),
    cluster_step!(16, "requests_1h", "016_requests_1h_distributed.sql"),
    cluster_step!(17, "gaps", "017_gaps_distributed.sql"),
    cluster_step!(18, "dead_letters", "018_dead_letters_distributed.sql"),
    cluster_step!(19, "streams", "019_streams_distributed.sql"),
];

/// One writer, dead letters that can be replayed: 20-39.
const INGEST: &[Step] = &[
    step!(20, "access_events_lease", "020_access_events_lease.sql"),
    step!(21, "dead_letters_lease", "021_dead_letters_lease.sql"),
    step!(22, "leases", "022_leases.sql"),
    step!(23, "lease_renewals", "023_lease_renewals.sql"),
    step!(24, "retired_leases", "024_retired_leases.sql"),
    step!(25, "access_events_fence", "025_access_events_fence.sql"),
    step!(26, "dead_letters_fence", "026_dead_letters_fence.sql"),
    step!(27, "dead_chunks", "027_dead_chunks.sql"),
];

/// The account of the ledger: 40-59.
const LEDGER: &[Step] = &[
    step!(40, "stream_reports", "040_stream_reports.sql"),
    step!(41, "report_history", "041_report_history.sql"),
    step!(42, "report_history_mv", "042_report_history_mv.sql"),
    step!(43, "audits", "043_audits.sql"),
    step!(44, "stream_accounts", "044_stream_accounts.sql"),
    step!(45, "acknowledgements", "045_acknowledgements.sql"),
    cluster_step!(46, "stream_reports", "046_stream_reports_distributed.sql"),
    cluster_step!(47, "report_history", "047_report_history_distributed.sql"),
    cluster_step!(48, "audits", "048_audits_distributed.sql"),
    cluster_step!(49, "stream_accounts", "049_stream_accounts_distributed.sql"),
    cluster_step!(50, "acknowledgements", "050_acknowledgements_distributed.sql"),
    // What was reported to a version without these tables.
    step!(51, "stream_reports_seed", "051_stream_reports_seed.sql"),
];

/// Where a request entered the fleet, and the minutes by consumer, link, policy and upstream attempt: 60-89.
const ROLLUPS: &[Step] = &[
    step!(60, "access_events_entry", "060_access_events_entry.sql"),
    cluster_step!(61, "access_events_entry_distributed", "061_access_events_entry_distributed.sql"),
    step!(62, "requests_1m_entry", "062_requests_1m_entry.sql"),
    step!(63, "requests_1m_entry_default", "063_requests_1m_entry_default.sql"),
    cluster_step!(64, "requests_1m_entry_distributed", "064_requests_1m_entry_distributed.sql"),
    step!(65, "requests_1h_entry", "065_requests_1h_entry.sql"),
    step!(66, "requests_1h_entry_default", "066_requests_1h_entry_default.sql"),
    cluster_step!(67, "requests_1h_entry_distributed", "067_requests_1h_entry_distributed.sql"),
    step!(68, "requests_1m_mv", "068_requests_1m_mv.sql"),
    step!(69, "requests_1h_mv", "069_requests_1h_mv.sql"),
    step!(72, "consumers_1m", "072_consumers_1m.sql"),
    step!(73, "consumers_1m_mv", "073_consumers_1m_mv.sql"),
    cluster_step!(74, "consumers_1m", "074_consumers_1m_distributed.sql"),
    step!(75, "links_1m", "075_links_1m.sql"),
    step!(76, "links_1m_mv", "076_links_1m_mv.sql"),
    cluster_step!(77, "links_1m", "077_links_1m_distributed.sql"),
    step!(78, "policies_1m", "078_policies_1m.sql"),
    step!(79, "policies_1m_mv", "079_policies_1m_mv.sql"),
    cluster_step!(80, "policies_1m", "080_policies_1m_distributed.sql"),
    step!(81, "attempts_1m", "081_attempts_1m.sql"),
    step!(82, "attempts_1m_mv", "082_attempts_1m_mv.sql"),
    cluster_step!(83, "attempts_1m", "083_attempts_1m_distributed.sql"),
    step!(84, "consumers_1m_mv", "084_consumers_1m_mv.sql"),
    step!(85, "rollup_fills", "085_rollup_fills.sql"),
];

/// Fields of the event that came later, and what the roll-ups leave out: from 90. Nothing of what was stored before changes
/// by them.
const FIELDS: &[Step] = &[
    step!(90, "access_events_starts", "090_access_events_starts.sql"),
    cluster_step!(91, "access_events_starts_distributed", "091_access_events_starts_distributed.sql"),
    // Probes.
    step!(92, "requests_1m_mv", "092_requests_1m_mv.sql"),
    step!(93, "consumers_1m_mv", "093_consumers_1m_mv.sql"),
    // The durations of tunnels.
    step!(94, "requests_1m_mv", "094_requests_1m_mv.sql"),
];

/// Samples of gateways: from 100.
const GAUGES: &[Step] = &[
    step!(100, "gateway_gauges", "100_gateway_gauges.sql"),
    cluster_step!(101, "gateway_gauges", "101_gateway_gauges_distributed.sql"),
];

/// Which generation served when, so that nobody reads every event to find it: 110-112.
const GENERATIONS: &[Step] = &[
    step!(110, "generations_1m", "110_generations_1m.sql"),
    step!(111, "generations_1m_mv", "111_generations_1m_mv.sql"),
    cluster_step!(112, "generations_1m", "112_generations_1m_distributed.sql"),
];

/// What is read more often than written: from 113. Reading a day of histograms takes half the CPU with LZ4. What is stored
/// already changes with its next merge. (A projection by time would find a few minutes without reading their day, but the
/// engine does not sync its files before it answers an insert.)
const READING: &[Step] = &[
    step!(113, "requests_1m_hist", "113_requests_1m_hist.sql"),
    step!(114, "attempts_1m_hist", "114_attempts_1m_hist.sql"),
];

fn all() -> impl Iterator<Item = &'static Step> {
    [FIRST, INGEST, LEDGER, ROLLUPS, FIELDS, GAUGES, GENERATIONS, READING].into_iter().flatten()
}

/// Every step of `schema`'s layout, in order.
pub(super) fn migrations(schema: &Schema) -> Vec<Migration> {
    let has = |step: &&Step| !step.only_cluster || matches!(schema.layout, Layout::Cluster(_));
    all()
        .filter(has)
        .map(|step| Migration { number: step.number, name: step.name, sql: render(step, schema) })
        .collect()
}

/// Whether this version knows a step of that number, in either layout.
pub(super) fn is_known(number: u32) -> bool {
    all().any(|step| step.number == number)
}

/// The highest number of all.
pub(super) fn last() -> u32 {
    all().map(|step| step.number).max().unwrap_or_default()
}

/// The last step of those that make and change the roll-ups: after it, days that are stored already have to be filled.
pub(crate) fn rollups_step() -> u32 {
    ROLLUPS.iter().chain(GENERATIONS).map(|step| step.number).max().unwrap_or_default()
}

fn render(step: &Step, schema: &Schema) -> String {
    let mut sql = String::with_capacity(step.text.len() + 256);
    let mut rest = step.text.trim_end();
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').expect("every place of a frozen step is closed");
        sql.push_str(before);
        sql.push_str(&filled(place, schema));
        rest = after;
    }
    sql.push_str(rest);
    sql
}

fn filled(place: &str, schema: &Schema) -> String {
    let keep = &schema.retention;
    match place {
        "database" => quoted(&schema.database),
        "on_cluster" => schema.layout.on_cluster(),
        "cluster" => schema.layout.cluster().map(quoted).unwrap_or_default(),
        "local" => schema.layout.local_suffix().to_owned(),
        "window" => schema.layout.window(),
        "raw" => keep.raw.as_secs().to_string(),
        "seqs" => keep.seqs().as_secs().to_string(),
        "minutes" => keep.minutes.as_secs().to_string(),
        "hours" => keep.hours.as_secs().to_string(),
        "gauges" => keep.gauges.as_secs().to_string(),
        _ => match place.strip_prefix("engine:") {
            Some(kind) => schema.layout.engine(kind),
            None if place.starts_with("joined:") => schema.joined(&place["joined:".len()..]),
            None => unreachable!("a frozen step has the place {{{place}}} that nobody fills"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::rollups::ROLLUPS;
    use crate::schema::seqs_select;

    #[test]
    fn numbers_rise_and_no_step_is_there_twice() {
        let numbers: Vec<_> = all().map(|step| step.number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    }

    #[test]
    fn every_place_is_filled_in_both_layouts() {
        for layout in [Layout::Single, Layout::Cluster("main".to_owned())] {
            let schema = Schema { layout, ..Schema::single("weir") };
            for migration in migrations(&schema) {
                let braces = migration.sql.replace("{uuid}", "").replace("{shard}", "").replace("{replica}", "");
                assert!(!braces.contains(['{', '}']), "{}: {}", migration.name, migration.sql);
            }
        }
    }

    /// Where a later step alters a view, this is held against that step instead.
    #[test]
    fn views_compute_what_a_repair_computes() {
        let schema = Schema::single("weir");
        let steps = migrations(&schema);
        let mut views = vec![("stored_seqs_mv".to_owned(), seqs_select(&schema.local("access_events")))];
        views.extend(ROLLUPS.iter().map(|rollup| {
            let select = (rollup.select)(&schema.local(rollup.source.unwrap_or("access_events")));
            (format!("{}_mv", rollup.table), select)
        }));
        for (view, select) in views {
            let step = steps.iter().rfind(|step| step.name == view).expect("the view's step");
            assert!(step.sql.ends_with(&select), "{view}: {}", step.sql);
        }
    }
}
