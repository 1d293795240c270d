//! Long times from the roll-up by hours: sixty times fewer rows, and what is older than minutes are kept for.
//!
//! The files name the roll-up by minutes, since Grafana has no other way to choose; here a query that reads nothing else is
//! given the hours. Its step and its ends are whole hours then, so that no hour is counted in part. What compares minutes
//! with events ([`MINUTES_ALONE`]) stays as it is.

use super::expand::Asked;
use std::borrow::Cow;

/// From how many seconds on a time is long: a chart has no finer step then anyway.
pub const LONG_S: i64 = 5 * 86_400;

const HOUR_S: i64 = 3600;
const MINUTES: &str = "FROM requests_1m";
/// A query that reads it needs the minutes.
const MINUTES_ALONE: &str = "access_events";
/// What in a query says how long a row of the roll-up is, and what says the same of hours.
const SPANS: [(&str, &str); 3] = [
    (MINUTES, "FROM requests_1h"),
    ("$__interval_s, 60)", "$__interval_s, 3600)"),
    ("+ 59, 60) * 60", "+ 3599, 3600) * 3600"),
];

/// `sql` and the time that it is asked for, by hours where the time is long and the query allows it.
pub fn by_hours<'q>(sql: &'q str, asked: &Asked, now_s: i64) -> (Cow<'q, str>, Asked) {
    let is_long = asked.to_s - asked.from_s >= LONG_S;
    if !is_long || !sql.contains(MINUTES) || sql.contains(MINUTES_ALONE) {
        return (Cow::Borrowed(sql), asked.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::dashboards::shipped;
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
                if sql.contains(MINUTES_ALONE) {
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
        assert!(given > 15 && kept == 1, "{given} {kept}");
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
        assert_eq!(by_hours(sql, &short, NOW_S), (Cow::Borrowed(sql), short.clone()));
        assert_eq!(by_hours("SELECT 1 FROM links_1m", &asked(0, NOW_S), NOW_S).0, "SELECT 1 FROM links_1m");
    }
}
