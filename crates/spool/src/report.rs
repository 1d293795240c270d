//! What the ingestor is told of every stream: how many numbers were given out, whether more will come, and what this
//! gateway knows of numbers that are not stored. This is what the ledger's `accepted` is held against.

use crate::ledger::StreamLedger;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_event::clock::system_us;
use weir_event::{Identity, StreamId};

/// Lines of one request, at most, and their bytes.
const LINES: usize = 200;
const BYTES: usize = 192 * 1024;
/// Ranges that wait, or are set aside, in one line, at most.
const RANGES: usize = 100;

/// The body of one `POST /v1/streams`, and the streams that it reports as ended.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) body: String,
    pub(crate) ended: Vec<StreamId>,
}

/// The reports of all streams: each of one identity and of bounded size.
pub(crate) fn reports(ledgers: &[StreamLedger], closing: bool) -> Vec<Report> {
    let counted_ms = system_us() / 1000;
    let mut by_identity: BTreeMap<[&str; 4], Vec<(String, Option<StreamId>)>> = BTreeMap::new();
    for ledger in ledgers.iter().filter(|ledger| !ledger.end_reported) {
        let closed = ledger.closed || (closing && !ledger.is_over);
        let Identity { organization, environment, site, gateway, .. } = &ledger.stream.identity;
        let lines = by_identity.entry([organization, environment, site, gateway].map(String::as_str)).or_default();
        lines.push((line(ledger, closed, counted_ms).to_string(), closed.then(|| ledger.stream.id())));
    }
    by_identity.into_values().flat_map(batches).collect()
}

fn batches(lines: Vec<(String, Option<StreamId>)>) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    let mut room = 0;
    for (line, ended) in lines {
        match reports.last_mut() {
            Some(report) if room > 0 && report.body.len() + line.len() < BYTES => {
                report.body.push(',');
                report.body.push_str(&line);
                report.ended.extend(ended);
                room -= 1;
            }
            _ => {
                reports.push(Report { body: format!("[{line}"), ended: ended.into_iter().collect() });
                room = LINES - 1;
            }
        }
    }
    reports.iter_mut().for_each(|report| report.body.push(']'));
    reports
}

fn line(ledger: &StreamLedger, closed: bool, counted_ms: i64) -> Value {
    let identity = &ledger.stream.identity;
    let mut line = json!({
        "stream": ledger.stream.id().to_string(),
        "organization": identity.organization,
        "environment": identity.environment,
        "site": identity.site,
        "gateway": identity.gateway,
        "replica": identity.replica,
        "boot": ledger.stream.boot.to_string(),
        "worker": ledger.stream.worker,
        "accepted": ledger.accepted,
        "closed": closed,
        "counted_ms": counted_ms,
    });
    if let Some(waiting) = ledger.waiting() {
        let range = |(first, last): (u64, u64)| json!({"first": first, "last": last});
        line["waiting"] = waiting.iter().take(RANGES).map(range).collect();
        if waiting.iter().len() > RANGES {
            line["waiting_more"] = true.into();
        }
    }
    if let Some(open) = ledger.open_end {
        line["unknown_from"] = open.from.into();
        line["unknown_reason"] = open.reason.as_str().into();
    }
    if let Some((reason, since_us)) = ledger.held {
        line["held"] = json!({"reason": reason, "since_ms": since_us / 1000});
    }
    if !ledger.set_aside_reasons.is_empty() {
        let range =
            |(first, last, reason): &(u64, u64, String)| json!({"first": first, "last": last, "reason": reason});
        line["set_aside"] = ledger.set_aside_reasons.iter().take(RANGES).map(range).collect();
        if ledger.set_aside_reasons.len() > RANGES {
            line["set_aside_more"] = true.into();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_event::{BootId, Stream};

    fn ledgers(gateway: &str, workers: u16) -> Vec<StreamLedger> {
        let identity = Identity { gateway: gateway.into(), ..Identity::default() };
        let ledger = |worker| StreamLedger {
            closed: true,
            ..StreamLedger::new(Stream { identity: identity.clone(), boot: BootId([1; 16]), worker })
        };
        (0..workers).map(ledger).collect()
    }

    #[test]
    fn reports_are_of_one_identity_and_of_bounded_size() {
        let mut all = ledgers("a", 900);
        all.extend(ledgers("b", 10));
        let reports = reports(&all, false);
        let mut ended = 0;
        for report in &reports {
            assert!(report.body.len() <= BYTES + 1);
            let lines: Vec<Value> = serde_json::from_str(&report.body).unwrap();
            assert!(lines.len() <= LINES && lines.iter().all(|line| line["gateway"] == lines[0]["gateway"]));
            assert_eq!(lines.len(), report.ended.len());
            ended += lines.len();
        }
        assert_eq!((ended, reports.len()), (910, 6));
        all.iter_mut().for_each(|ledger| ledger.end_reported = true);
        assert!(super::reports(&all, true).is_empty());
    }
}
