//! `/dump`: everything that a support case needs, in one document, without its secrets.
//!
//! The configuration is written by [`view`], which has no way to a secret. Errors, warnings and arguments may quote what
//! somebody wrote in the wrong place: they are searched for secrets.

use super::{Admin, process, status, view};
use crate::reload::lock;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_api::admin::{Certificate, Dump, DumpedListener, LogLine};
use weir_config::Validity;
use weir_event::json::rfc3339_us;
use weir_program::log::recent::LogRecord;

/// The document.
pub fn dump(admin: &Admin) -> Value {
    let config = admin.reloads.running();
    let dump = Dump {
        status: status::status(admin),
        taken: time(SystemTime::now()),
        started: time(admin.started),
        listeners: listeners(admin),
        configuration: view::view(&config),
        ledger: status::ledger(admin),
        process: process::facts(),
        log: admin.log.list().iter().map(said).collect(),
    };
    // Never an error: its maps have text for keys.
    let mut dump = serde_json::to_value(dump).unwrap_or_default();
    // Only where texts are not of this program's own making: each is held against each secret.
    let secrets = view::secrets(&config);
    ["reloads", "spool", "process", "log"].iter().for_each(|part| scrub(&mut dump[part], &secrets));
    dump
}

/// What is listened on, and until when its certificates hold.
fn listeners(admin: &Admin) -> Vec<DumpedListener> {
    let proxy = lock(&admin.proxy);
    let Some(proxy) = proxy.as_ref() else { return Vec::new() };
    let snapshot = proxy.snapshot();
    let certificates = |address| {
        let mut all = snapshot.certificates().filter(|(listener, _)| *listener == address);
        let validities = all.next().map_or(&[][..], |(_, validities)| validities);
        validities.iter().map(|validity| certificate(*validity)).collect()
    };
    let listener = |configured: SocketAddr, actual: SocketAddr| DumpedListener {
        configured: configured.to_string(),
        actual: actual.to_string(),
        scheme: if snapshot.speaks_tls(configured) { "https" } else { "http" }.to_owned(),
        certificates: certificates(configured),
    };
    proxy.listening().iter().map(|(configured, actual)| listener(*configured, *actual)).collect()
}

fn certificate(validity: Validity) -> Certificate {
    let [from, expiry] =
        [validity.not_before, validity.not_after].map(|second| i64::try_from(second).unwrap_or(i64::MAX));
    let left = expiry.saturating_sub(since_epoch_us(SystemTime::now()) / 1_000_000);
    let time = |second: i64| rfc3339_us(second.saturating_mul(1_000_000));
    Certificate { valid_from: time(from), expires: time(expiry), days_left: left.div_euclid(86_400) }
}

fn said(said: &LogRecord) -> LogLine {
    LogLine {
        at: time(said.at),
        level: said.level.to_owned(),
        target: said.target.to_owned(),
        message: said.message.clone(),
        fields: said.fields.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect(),
    }
}

fn time(at: SystemTime) -> String {
    rfc3339_us(since_epoch_us(at))
}

fn since_epoch_us(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).ok().and_then(|time| i64::try_from(time.as_micros()).ok()).unwrap_or(0)
}

/// A shorter secret could be part of any word.
const SHORTEST: usize = 8;

fn scrub(value: &mut Value, secrets: &[&str]) {
    match value {
        Value::String(text) => {
            for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
                if text.contains(secret) {
                    *text = text.replace(secret, weir_config::view::REDACTED);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, secrets)),
        Value::Object(fields) => fields.values_mut().for_each(|field| scrub(field, secrets)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_found_wherever_it_is_quoted() {
        let mut dump = json!({"log": [{"message": "`hunter2-hunter2` is no number"}], "short": "pass", "n": 1});
        scrub(&mut dump, &["hunter2-hunter2", "pass"]);
        assert_eq!(dump, json!({"log": [{"message": "`(redacted)` is no number"}], "short": "pass", "n": 1}));
    }

    #[test]
    fn a_certificate_that_has_expired_has_negative_days_left() {
        let now = since_epoch_us(SystemTime::now()) / 1_000_000;
        let until = |second: i64| Validity { not_before: 0, not_after: second.try_into().unwrap() };
        assert_eq!(certificate(until(now + 86_400 * 3 + 60)).days_left, 3);
        assert_eq!(certificate(until(now - 60)).days_left, -1);
        assert_eq!(certificate(until(0)).expires, "1970-01-01T00:00:00.000000Z");
    }
}
