//! One event as JSON, field by field under the names of [`crate::field::FIELDS`]: for people and their tools.
//!
//! Not a wire form: the pipeline carries records. What the ingestor adds (`block`, `ts_received`) is not in it.

use crate::identity::Stream;
use crate::names::NameId;
use crate::record::{AttemptEntry, Event};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// The event as a JSON object; `name` looks up the names that the record uses. An unknown name shows as `?`.
pub fn to_json(event: &Event<'_>, stream: &Stream, name: impl Fn(NameId) -> Option<String>) -> Value {
    let mut out = Map::new();
    let mut set = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    let fixed = &event.fixed;
    let named = |id: u32| name(NameId(id)).unwrap_or_else(|| "?".to_owned());
    let identity = &stream.identity;
    set("ts", json!(rfc3339_us(fixed.start_us)));
    set("organization", json!(identity.organization));
    set("environment", json!(identity.environment));
    set("site", json!(identity.site));
    set("gateway", json!(identity.gateway));
    set("replica", json!(identity.replica));
    set("boot", json!(stream.boot.to_string()));
    set("worker", json!(stream.worker));
    set("stream", json!(stream.id().to_string()));
    set("seq", json!(fixed.seq));
    set("generation", json!(fixed.generation));
    set("entry", json!(u8::from(event.entry())));
    set("api", json!(named(fixed.api)));
    set("api_instance", json!(named(fixed.api_instance)));
    set("route", json!(named(fixed.route)));
    set("service", json!(named(fixed.service)));
    set("upstream", json!(address(event.upstream())));
    set("consumer", text(event.consumer));
    set("auth", json!(event.auth().as_str()));
    set("method", json!(event.method().as_str()));
    set("method_original", text(event.method_original));
    set("scheme", json!(event.scheme().as_str()));
    set("host", text(event.host));
    set("path", text(event.path));
    set("query", text(event.query));
    set("path_template", json!(named(fixed.path_template)));
    set("protocol", json!(event.protocol().as_str()));
    set("tls_version", json!(event.tls_version().as_str()));
    set("tls_cipher", text(event.tls_cipher));
    set("client_ip", json!(event.client().to_string()));
    set("user_agent", text(event.user_agent));
    set("status", json!(fixed.status));
    set("upstream_status", json!(fixed.upstream_status));
    set("reason", json!(event.reason().as_str()));
    set("side", json!(event.reason().side().as_str()));
    set("outcome", json!(event.outcome().as_str()));
    set("answered_by", json!(named(fixed.answered_by)));
    set("retries", json!(event.retries()));
    set("cache", json!(event.cache().as_str()));
    set("rate_limit", json!(event.rate_limit().as_str()));
    set("total_us", json!(event.total_us()));
    set("gateway_us", json!(fixed.gateway_us));
    set("upstream_us", json!(fixed.upstream_us));
    set("client_us", json!(fixed.client_us));
    set("link_us", json!(fixed.link_us));
    let last = event.attempts().last();
    let of_last = |part: fn(&AttemptEntry) -> u32| json!(last.as_ref().map_or(0, part));
    set("connect_us", of_last(|attempt| attempt.connect_us));
    set("tls_us", of_last(|attempt| attempt.tls_us));
    set("first_byte_us", of_last(|attempt| attempt.first_byte_us));
    set("bytes_in", json!(fixed.bytes_in));
    set("bytes_to_upstream", json!(fixed.bytes_to_upstream));
    set("bytes_from_upstream", json!(fixed.bytes_from_upstream));
    set("bytes_out", json!(fixed.bytes_out));
    set("policy_names", event.policies().map(|run| named(run.policy)).collect());
    set("policy_verdicts", event.policies().map(|run| run.verdict().as_str()).collect());
    set("policy_us", event.policies().map(|run| run.us).collect());
    // Empty where the gateway's schema could not say.
    let starts = event.schema.has_starts();
    set("policy_start_us", event.policies().filter(|_| starts).map(|run| run.start_us).collect());
    set("policy_waited_us", event.policies().filter(|_| starts).map(|run| run.waited_us).collect());
    set("attempt_start_us", event.attempts().filter(|_| starts).map(|attempt| attempt.start_us).collect());
    set("waited_us", json!(event.waited_us()));
    set("attempt_upstreams", event.attempts().map(|attempt| address(attempt.socket())).collect());
    set("attempt_outcomes", event.attempts().map(|attempt| attempt.outcome().as_str()).collect());
    set("attempt_us", event.attempts().map(|attempt| attempt.total_us).collect());
    set("trace_id", json!(event.trace().to_string()));
    set("span_id", json!(event.span().to_string()));
    set("parent_span_id", json!(if event.parent().is_none() { String::new() } else { event.parent().to_string() }));
    set("sampled", json!(fixed.sampled != 0));
    set("kept", json!(event.kept().as_str()));
    set("sample_interval", json!(fixed.sample_interval));
    set("attrs", event.attrs().map(|(key, value)| (lossy(key), text(value))).collect::<Map<_, _>>().into());
    Value::Object(out)
}

fn address(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(bytes: &[u8]) -> Value {
    Value::String(lossy(bytes))
}

/// Microseconds since the Unix epoch as `2026-11-23T06:41:25.123456Z` (RFC 3339).
pub fn rfc3339_us(us: i64) -> String {
    // Beyond the year 9999 there is no such text.
    let time = Timestamp::from_microsecond(us).unwrap_or(if us < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{time:.6}")
}

/// The time that such a text says, or ClickHouse's form of it (`2026-11-23 06:41:25.123456`, UTC).
pub fn read_us(text: &str) -> Option<i64> {
    let time = text.trim_end_matches('Z').parse::<DateTime>().ok()?;
    Some(Offset::UTC.to_timestamp(time).ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::exchange::Exchange;
    use crate::field::FIELDS;
    use crate::ids::BootId;
    use crate::reason::Outcome;
    use crate::record::Schema;

    #[test]
    fn json_has_the_fields_of_the_table_and_no_others() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 0);
        exchange.finish(Outcome::Completed, now);
        let mut bytes = Vec::new();
        crate::record::encode(&exchange, 0, &mut bytes);
        let stream = Stream { identity: Default::default(), boot: BootId::default(), worker: 0 };
        let value = to_json(&Event::decode(Schema::NEWEST, &bytes).unwrap(), &stream, |_| Some(String::new()));
        let mut expected: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        expected.retain(|name| !["block", "ts_received"].contains(name));
        expected.sort_unstable();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected);
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339_us(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339_us(951_827_696_789_012), "2000-02-29T12:34:56.789012Z");
        assert_eq!(rfc3339_us(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339_us(1_795_416_085_000_000), "2026-11-23T06:41:25.000000Z");
        assert_eq!(rfc3339_us(i64::MAX), "9999-12-30T22:00:00.999999Z");
    }

    #[test]
    fn times_of_both_forms_are_read() {
        assert_eq!(read_us("1970-01-02T00:00:01.000002Z"), Some(86_401_000_002));
        assert_eq!(read_us("2000-02-29 12:34:56.789012"), Some(951_827_696_789_012));
        for wrong in ["", "rubbish", "2026-02-30 00:00:00"] {
            assert_eq!(read_us(wrong), None, "{wrong}");
        }
    }
}
