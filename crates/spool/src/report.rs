//! What the ingestor is informed of every stream: how many numbers were given out, whether more will come, and what this
//! gateway knows of numbers that are not stored. This is what the ledger's `accepted` is held against.

use crate::ledger::StreamLedger;
use std::collections::BTreeMap;
use weir_api::gauges::Gauges;
use weir_api::ingest::{Held, Range, Report as Line, ReportDetails, SetAsideRange};
use weir_event::clock::system_us;
use weir_event::{BootId, Identity, StreamId};

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

/// The reports of all streams: each of one identity and of bounded size. The sample of this process goes with the first
/// line of its life.
pub(crate) fn reports(ledgers: &[StreamLedger], closing: bool, mut own: Option<(BootId, Gauges)>) -> Vec<Report> {
    let counted_ms = system_us() / 1000;
    let mut by_identity: BTreeMap<[&str; 4], Vec<(String, Option<StreamId>)>> = BTreeMap::new();
    for ledger in ledgers.iter().filter(|ledger| !ledger.end_reported) {
        let closed = ledger.closed || (closing && !ledger.is_over);
        let Identity { organization, environment, site, gateway, .. } = &ledger.stream.identity;
        let lines = by_identity.entry([organization, environment, site, gateway].map(String::as_str)).or_default();
        let gauges = own.take_if(|(boot, _)| *boot == ledger.stream.boot).map(|(_, gauges)| Box::new(gauges));
        lines.push((line(ledger, closed, counted_ms, gauges), closed.then(|| ledger.stream.id())));
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

fn line(ledger: &StreamLedger, closed: bool, counted_ms: i64, gauges: Option<Box<Gauges>>) -> String {
    let Identity { organization, environment, site, gateway, replica } = ledger.stream.identity.clone();
    let mut details = ReportDetails { closed, counted_ms: Some(counted_ms), ..ReportDetails::default() };
    if let Some(waiting) = ledger.waiting() {
        let range = |(first, last)| Range { first, last };
        details.waiting = Some(waiting.iter().take(RANGES).map(range).collect());
        details.waiting_more = waiting.iter().len() > RANGES;
    }
    if let Some(open) = ledger.open_end {
        details.unknown_from = Some(open.from);
        details.unknown_reason = Some(open.reason.as_str().to_owned());
    }
    if let Some((reason, since_us)) = ledger.held {
        details.held = Some(Held { reason: reason.to_owned(), since_ms: since_us / 1000 });
    }
    let set_aside = |(first, last, reason): &(u64, u64, String)| SetAsideRange {
        first: *first,
        last: *last,
        reason: reason.clone(),
    };
    details.set_aside = ledger.set_aside_reasons.iter().take(RANGES).map(set_aside).collect();
    details.set_aside_more = ledger.set_aside_reasons.len() > RANGES;
    let line = Line {
        stream: ledger.stream.id().to_string(),
        organization,
        environment,
        site,
        gateway,
        replica,
        boot: ledger.stream.boot.to_string(),
        worker: ledger.stream.worker,
        accepted: ledger.accepted,
        gauges,
        details,
    };
    // Never an error: its maps have text for keys.
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
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
        let reports = reports(&all, false, None);
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
        assert!(super::reports(&all, true, None).is_empty());
    }

    #[test]
    fn the_sample_goes_with_one_line_of_its_own_life() {
        let mut all = ledgers("a", 300);
        for ledger in all.iter_mut().skip(1) {
            ledger.stream.boot = BootId([2; 16]);
        }
        let sample = Gauges { connections: 7, ..Gauges::default() };
        let lines = |own| -> Vec<Value> {
            let bodies = reports(&all, false, own).into_iter();
            bodies.flat_map(|report| serde_json::from_str::<Vec<Value>>(&report.body).unwrap()).collect()
        };
        let with = lines(Some((BootId([2; 16]), sample)));
        let sampled: Vec<_> = with.iter().filter(|line| !line["gauges"].is_null()).collect();
        assert_eq!((with.len(), sampled.len()), (300, 1));
        assert_eq!(sampled[0]["gauges"]["connections"], 7);
        assert_eq!(sampled[0]["boot"], BootId([2; 16]).to_string());
        assert!(lines(None).iter().all(|line| line.get("gauges").is_none()));
    }
}
