//! Times from the roll-up by hours: sixty times fewer rows, and what is older than minutes are kept for.
//!
//! The files name the roll-up by minutes, since Grafana has no other way to choose; here a query that reads nothing else is
//! given the hours. If the time is long, its step and its ends are whole hours then, so that no hour is counted in part. If it
//! is not, a query of one figure over all of the time has the whole hours within it from the hours, and the minutes before and
//! after them from the minutes: the same sums. What compares minutes with events ([`MINUTES_ALONE`]) stays as it is.

use super::expand::Asked;
use crate::schema::{key_columns, sum_columns};
use std::borrow::Cow;

/// From how many seconds on a time is long: a chart has no finer step then anyway.
pub const LONG_S: i64 = 5 * 86_400;

const HOUR_S: i64 = 3600;
const MINUTES: &str = "FROM requests_1m";
/// A query that reads one of these needs the minutes.
const MINUTES_ALONE: [&str; 2] = ["access_events", "generations_1m"];
/// How a query names the minutes of the time shown.
const SHOWN: &str = "$__timeFilter(t)";
/// What in a query says how long a row of the roll-up is, and what says the same of hours.
const SPANS: [(&str, &str); 3] = [
    (MINUTES, "FROM requests_1h"),
    ("$__interval_s, 60)", "$__interval_s, 3600)"),
    ("+ 59, 60) * 60", "+ 3599, 3600) * 3600"),
];

/// `sql` and the time that it is asked for, by hours where the time is long and the query allows it.
pub fn by_hours<'q>(sql: &'q str, asked: &Asked, now_s: i64) -> (Cow<'q, str>, Asked) {
    let is_long = asked.to_s - asked.from_s >= LONG_S;
    if !sql.contains(MINUTES) || MINUTES_ALONE.iter().any(|table| sql.contains(table)) {
        return (Cow::Borrowed(sql), asked.clone());
    }
    if !is_long {
        return (hours_within(sql, asked), asked.clone());
    }
    let sql = SPANS.iter().fold(sql.to_owned(), |sql, (minutes, hours)| sql.replace(minutes, hours));
    let step_s = asked.step_s.div_ceil(HOUR_S as u32) * HOUR_S as u32;
    let from_s = (asked.from_s + HOUR_S - 1).div_euclid(HOUR_S) * HOUR_S;
    // The hour that goes on now has nothing beyond the end; an earlier one that begins before the end may have.
    let to_s = if asked.to_s < now_s.div_euclid(HOUR_S) * HOUR_S {
        asked.to_s.div_euclid(HOUR_S) * HOUR_S - 1
    } else {
        asked.to_s
    };
    (Cow::Owned(sql), Asked { from_s, to_s, step_s, ..asked.clone() })
}

/// `sql` with the whole hours of the time shown from the hours, if it is of sums over all of the time.
fn hours_within<'q>(sql: &'q str, asked: &Asked) -> Cow<'q, str> {
    let Asked { from_s, to_s, .. } = *asked;
    // The last minute that counts begins at the end, at the latest.
    let begin_s = (from_s + HOUR_S - 1).div_euclid(HOUR_S) * HOUR_S;
    let end_s = (to_s + 60).div_euclid(HOUR_S) * HOUR_S;
    if begin_s >= end_s || !is_of_sums(sql) {
        return Cow::Borrowed(sql);
    }
    let keys = key_columns().chain(sum_columns()).map(|field| field.name).collect::<Vec<_>>().join(", ");
    let columns = format!("t, {keys}, n, max_total_us, hist, slow_trace");
    let [from, begin, end, to] = [from_s, begin_s, end_s, to_s].map(|at_s| format!("toDateTime({at_s})"));
    let parts = format!(
        "FROM (SELECT {columns} FROM requests_1h WHERE t >= {begin} AND t < {end} UNION ALL \
         SELECT {columns} FROM requests_1m WHERE t >= {from} AND t < {begin} OR t >= {end} AND t <= {to})"
    );
    Cow::Owned(sql.replacen(MINUTES, &parts, 1))
}

/// Whether a query reads the minutes once, for nothing that depends on how many they are or when each of them is.
fn is_of_sums(sql: &str) -> bool {
    let rest = sql.replacen(SHOWN, "", 1);
    let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    sql.matches(MINUTES).count() == 1
        && sql.contains(SHOWN)
        && words.all(|word| !matches!(word, "t" | "count" | "__interval_s" | "__timeFilter" | "JOIN"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::dashboards::{find, shipped};
    use std::collections::BTreeMap;

    const NOW_S: i64 = 1_000_000_000;

    fn asked(from_s: i64, to_s: i64) -> Asked {
        Asked { from_s, to_s, step_s: 4320, values: BTreeMap::new() }
    }

    #[test]
    fn every_query_of_the_minutes_can_be_asked_of_the_hours() {
        let long = asked(NOW_S - LONG_S, NOW_S);
        let (mut given, mut kept) = (0, 0);
        for panel in shipped().iter().flat_map(|dashboard| &dashboard.panels) {
            for sql in panel.targets.iter().map(|target| &target.raw_sql).filter(|sql| sql.contains(MINUTES)) {
                let (hours, _) = by_hours(sql, &long, NOW_S);
                if MINUTES_ALONE.iter().any(|table| sql.contains(table)) {
                    assert_eq!(hours, *sql, "{}", panel.title);
                    kept += 1;
                    continue;
                }
                given += 1;
                for left in ["requests_1m", ", 60)", "+ 59,", "* 60)"] {
                    assert!(!hours.contains(left), "{}: `{left}` is left in {hours}", panel.title);
                }
            }
        }
        assert!(given > 15 && kept == 4, "{given} {kept}");
    }

    #[test]
    fn hours_within_are_of_sums_alone() {
        let fleet = find("weir-fleet").unwrap();
        let asked = asked(7201, 7201 + 3 * 3600);
        let given = |title: &str| {
            let panel = fleet.panels.iter().find(|panel| panel.title == title).unwrap();
            let sql = &panel.targets[0].raw_sql;
            let (given, same) = by_hours(sql, &asked, NOW_S);
            assert_eq!(same, asked, "{title}: the time stays as it is");
            (given != *sql).then(|| given.into_owned())
        };
        let parts = "t >= toDateTime(10800) AND t < toDateTime(18000) UNION ALL";
        for title in
            ["User requests", "p99, of user requests", "Sites", "APIs, worst first", "Status by site, gateway requests"]
        {
            assert!(given(title).is_some_and(|sql| sql.contains(parts)), "{title}");
        }
        let minutes = [
            "Gateway requests by site",
            "Total time of user requests",
            "Failed user requests, the last ones",
            "Gateways",
        ];
        for title in minutes {
            assert_eq!(given(title), None, "{title}");
        }
        let sums = "SELECT sum(n) FROM requests_1m WHERE $__timeFilter(t)";
        let cut = |from_s, to_s| by_hours(sums, &self::asked(from_s, to_s), NOW_S).0.contains("requests_1h");
        assert!(cut(3600, 7140) && !cut(3601, 7140) && !cut(3600, 7139), "an hour has sixty minutes that begin in it");
        for sql in [
            "SELECT max(t) FROM requests_1m WHERE $__timeFilter(t)",
            "SELECT count() FROM requests_1m WHERE $__timeFilter(t)",
        ] {
            assert_eq!(by_hours(sql, &asked, NOW_S).0, sql);
        }
    }

    #[test]
    fn ends_and_steps_are_whole_hours() {
        let sql = "SELECT 1 FROM requests_1m";
        let (from_s, hour) = (NOW_S - 10 * 86_400 - 1, |at_s: i64| at_s % 3600);
        let (_, until_now) = by_hours(sql, &asked(from_s, NOW_S), NOW_S);
        assert_eq!((hour(until_now.from_s), until_now.to_s, until_now.step_s), (0, NOW_S, 7200));
        assert!(until_now.from_s >= from_s && until_now.from_s < from_s + 3600);
        let (_, ended) = by_hours(sql, &asked(from_s, NOW_S - 86_400), NOW_S);
        assert_eq!(hour(ended.to_s + 1), 0, "the hour in which it ends is left out");
        let short = asked(NOW_S - LONG_S + 1, NOW_S);
        assert_eq!(by_hours(sql, &short, NOW_S), (Cow::Borrowed(sql), short.clone()), "it does not say which minutes");
        assert_eq!(by_hours("SELECT 1 FROM links_1m", &asked(0, NOW_S), NOW_S).0, "SELECT 1 FROM links_1m");
    }
}
