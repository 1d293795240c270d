//! The ledger in words: the claim, what is said of one stream, and what to do about it.

use super::account::{Account, Unknown};
use super::claims::Accounted;
use weir_api::ledger::{Doubt, Ledger, LedgerState, LossClass, StreamState};

/// `2026-11-26 14:02:10 UTC`.
pub fn time(ms: i64) -> String {
    let text = weir_event::json::rfc3339_us(ms.saturating_mul(1000));
    let to_the_second = text.split_once('.').map_or(&*text, |(to_the_second, _)| to_the_second);
    format!("{} UTC", to_the_second.replace('T', " "))
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// The name of a stream, as short as it is clear.
pub fn name(one: &Accounted) -> String {
    let owner = &one.owner;
    match owner.worker {
        Some(worker) => format!("{}/{}/{}/{worker}", owner.site, owner.gateway, owner.replica),
        None => format!("stream {:016x}", one.id),
    }
}

/// The claim of the whole ledger.
pub fn sentence(ledger: &Ledger, accounts: &[Accounted]) -> String {
    let others = ledger.balanced_up_to_ms.map(|ms| format!("balanced up to {}", time(ms)));
    let mut parts = Vec::new();
    match ledger.state {
        LedgerState::Empty => return "no data yet: no gateway has reported and nothing is stored".to_owned(),
        LedgerState::Balanced => parts.extend(others.or_else(|| Some("balanced".to_owned()))),
        LedgerState::Missing | LedgerState::Unknown => {
            parts.extend(missing(ledger));
            parts.extend(unknown(accounts));
            parts.extend(others.map(|claim| format!("the other streams are {claim}")));
        }
    }
    if ledger.waiting > 0 {
        parts.push(format!("{} not stored yet", waits(ledger.waiting)));
    }
    if ledger.acknowledged > 0 {
        parts.push(format!("{} missing and acknowledged", events(ledger.acknowledged)));
    }
    parts.join("; ")
}

fn waits(count: u64) -> String {
    if count == 1 {
        "1 event waits at its gateway,".to_owned()
    } else {
        format!("{count} events wait at their gateways,")
    }
}

fn missing(ledger: &Ledger) -> Vec<String> {
    let mut said = Vec::new();
    if ledger.missing > 0 {
        let classes: Vec<_> = ledger.classes.iter().map(|(class, count)| format!("{count} {}", word(*class))).collect();
        said.push(format!("MISSING: {} ({})", events(ledger.missing), classes.join(", ")));
    }
    if ledger.doubled > 0 {
        said.push(format!("STORED TWICE: {}", events(ledger.doubled)));
    }
    said
}

fn word(class: LossClass) -> String {
    class.as_str().replace('_', " ")
}

/// What is unknown, the gateways by name where they are few.
fn unknown(accounts: &[Accounted]) -> Option<String> {
    let doubted: Vec<_> = accounts.iter().filter(|one| super::ledger::is_unknown(&one.account)).collect();
    let named = |one: &&Accounted| {
        let doubts = one.account.unknown.iter().filter(|unknown| !unknown.acknowledged);
        format!("{} {}", name(one), doubts.map(doubt).collect::<Vec<_>>().join(", "))
    };
    match doubted.len() {
        0 => None,
        count @ 1..=3 => {
            let said: Vec<_> = doubted.iter().take(count).map(named).collect();
            Some(format!("UNKNOWN: {}", said.join("; ")))
        }
        count => Some(format!("UNKNOWN: {count} streams, the first: {}", named(&doubted[0]))),
    }
}

fn doubt(unknown: &Unknown) -> String {
    let since = unknown.since_ms.map(time).unwrap_or_default();
    match unknown.doubt {
        Doubt::NotReported => "not reported yet".to_owned(),
        Doubt::NotHeard => format!("not heard since {since}, its later events are unknown"),
        Doubt::OpenEnd => {
            format!("{} from number {} on, how many came after it is unknown", unknown.reason, unknown.from)
        }
        Doubt::Waiting if unknown.since_ms.is_none() => "its first events are not all stored yet".to_owned(),
        Doubt::Waiting if unknown.reason == "waiting" => format!("has events that wait since {since}"),
        Doubt::Waiting => format!("has events that wait since {since} ({})", unknown.reason),
    }
}

/// What is said of one stream.
pub fn claim(one: &Accounted) -> String {
    let account = &one.account;
    let mut said = Vec::new();
    for part in &account.missing {
        said.push(format!("{} {}", part.seqs.count(), named(part.class, &part.reason)));
    }
    if account.doubled > 0 {
        said.push(format!("{} stored twice", account.doubled));
    }
    said.extend(account.unknown.iter().filter(|unknown| !unknown.acknowledged).map(doubt));
    if account.state == StreamState::Balanced {
        said.push(match account.balanced_up_to_ms {
            Some(ms) if one.closed && account.waiting.is_empty() => format!("balanced, ended {}", time(ms)),
            Some(ms) => format!("balanced up to {}", time(ms)),
            None => "balanced".to_owned(),
        });
    }
    if !account.waiting.is_empty() {
        let held = one.held.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        said.push(format!("{} waiting{held}", account.waiting.count()));
    }
    for part in &account.acknowledged {
        said.push(format!("{} {}, acknowledged", part.seqs.count(), named(part.class, &part.reason)));
    }
    said.extend(
        account.unknown.iter().filter(|unknown| unknown.acknowledged).map(|_| "silence acknowledged".to_owned()),
    );
    said.join("; ")
}

fn named(class: LossClass, reason: &str) -> String {
    match class {
        LossClass::Lost => format!("lost ({reason})"),
        LossClass::SetAside => format!("set aside ({reason})"),
        LossClass::DeadLetter => format!("dead letters ({reason})"),
        LossClass::Gone | LossClass::Unaccounted => reason.to_owned(),
    }
}

/// What to do, of the first thing that is wrong.
pub fn advice(one: &Accounted) -> String {
    let account: &Account = &one.account;
    if let Some(part) = account.missing.first() {
        return remedy(part.class, &part.reason).to_owned();
    }
    if account.doubled > 0 {
        return "weir-analytics repair --day DAY removes second copies".to_owned();
    }
    let Some(unknown) = account.unknown.iter().find(|unknown| !unknown.acknowledged) else { return String::new() };
    match unknown.doubt {
        Doubt::NotReported => "wait: a gateway reports every 10 s",
        Doubt::NotHeard => "look after the gateway; if it is gone for good: weirctl ledger --acknowledge",
        Doubt::OpenEnd => "nobody can count these: weirctl ledger --acknowledge",
        Doubt::Waiting if unknown.since_ms.is_none() => "wait: events are stored within seconds",
        Doubt::Waiting if one.closed => "start the gateway on its spool again, or bring its spool to one that runs",
        Doubt::Waiting => "see why the gateway does not deliver: its log, weirctl dump",
    }
    .to_owned()
}

fn remedy(class: LossClass, reason: &str) -> &'static str {
    match (class, reason) {
        (LossClass::Lost, "ring_full") => "raise spool.ringBytes, then weirctl ledger --acknowledge",
        (LossClass::Lost, "spool_full") => "raise spool.maxBytes, then weirctl ledger --acknowledge",
        (LossClass::Lost, "too_old") => "raise spool.maxAge, then weirctl ledger --acknowledge",
        (LossClass::Lost, "disk_full") => "make room on the gateway's disk, then weirctl ledger --acknowledge",
        (LossClass::Lost, "write_failed" | "removed") => "see the gateway's log, then weirctl ledger --acknowledge",
        (LossClass::Lost, _) => "these are gone: weirctl ledger --acknowledge",
        (LossClass::SetAside, _) => "at the gateway: weirctl spool list, then weirctl spool retry",
        (LossClass::DeadLetter, _) => "weirctl deadletters list, fix the clock, then weirctl deadletters replay",
        (LossClass::Gone, _) => "restore the day from a backup, then weirctl ledger --verify",
        (LossClass::Unaccounted, _) => {
            "was a backup restored, or did something else answer the gateway? See docs/ledger.md"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_and_a_time_in_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(1_795_701_730_999), "2026-11-26 14:02:10 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
    }
}
