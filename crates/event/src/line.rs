//! Single fields of an event by name, for lines of a log: under the names of [`crate::field::FIELDS`].
//!
//! Of the table, what a line can have as one value: no arrays, and nothing that only the ledger needs.

use crate::identity::Identity;
use crate::json::rfc3339_us;
use crate::names::NameId;
use crate::record::Event;
use std::net::SocketAddr;

/// What a field says of one request.
#[derive(Clone, Debug, PartialEq)]
pub enum LineValue<'a> {
    Text(&'a str),
    /// What a client sent: any bytes.
    Bytes(&'a [u8]),
    Owned(String),
    Number(u64),
    Flag(bool),
}

/// A request, and who served it.
pub struct Line<'a> {
    pub event: &'a Event<'a>,
    pub identity: &'a Identity,
    /// What configuration calls by a number.
    pub names: &'a dyn Fn(NameId) -> &'a str,
}

/// A field that a line can have.
#[derive(Clone, Copy)]
pub struct LineField {
    pub name: &'static str,
    read: for<'a> fn(&Line<'a>) -> LineValue<'a>,
}

impl LineField {
    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        LINE_FIELDS.iter().find(|field| field.name == name).copied()
    }

    pub fn of<'a>(&self, line: &Line<'a>) -> LineValue<'a> {
        (self.read)(line)
    }
}

impl std::fmt::Debug for LineField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for LineField {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<'a> Line<'a> {
    fn name(&self, id: u32) -> LineValue<'a> {
        LineValue::Text((self.names)(NameId(id)))
    }
}

fn address<'a>(address: Option<SocketAddr>) -> LineValue<'a> {
    LineValue::Owned(address.map(|address| address.to_string()).unwrap_or_default())
}

macro_rules! line_fields {
    ($($name:literal $read:expr;)+) => {
        /// Every field that a line can have, in the order of the events' columns.
        pub const LINE_FIELDS: &[LineField] = &[$(LineField { name: $name, read: $read }),+];
    };
}

use LineValue::{Bytes, Flag, Number, Owned, Text};

line_fields! {
    "ts" |line| Owned(rfc3339_us(line.event.fixed.start_us));
    "organization" |line| Text(&line.identity.organization);
    "environment" |line| Text(&line.identity.environment);
    "site" |line| Text(&line.identity.site);
    "gateway" |line| Text(&line.identity.gateway);
    "replica" |line| Text(&line.identity.replica);
    "seq" |line| Number(line.event.fixed.seq);
    "generation" |line| Number(line.event.fixed.generation.into());
    "api" |line| line.name(line.event.fixed.api);
    "api_instance" |line| line.name(line.event.fixed.api_instance);
    "route" |line| line.name(line.event.fixed.route);
    "service" |line| line.name(line.event.fixed.service);
    "upstream" |line| address(line.event.upstream());
    "consumer" |line| Bytes(line.event.consumer);
    "auth" |line| Text(line.event.auth().as_str());
    "method" |line| Text(line.event.method().as_str());
    "method_original" |line| Bytes(line.event.method_original);
    "scheme" |line| Text(line.event.scheme().as_str());
    "host" |line| Bytes(line.event.host);
    "path" |line| Bytes(line.event.path);
    "query" |line| Bytes(line.event.query);
    "path_template" |line| line.name(line.event.fixed.path_template);
    "protocol" |line| Text(line.event.protocol().as_str());
    "tls_version" |line| Text(line.event.tls_version().as_str());
    "tls_cipher" |line| Bytes(line.event.tls_cipher);
    "client_ip" |line| Owned(line.event.client().to_canonical().to_string());
    "user_agent" |line| Bytes(line.event.user_agent);
    "status" |line| Number(line.event.fixed.status.into());
    "upstream_status" |line| Number(line.event.fixed.upstream_status.into());
    "reason" |line| Text(line.event.reason().as_str());
    "side" |line| Text(line.event.reason().side().as_str());
    "outcome" |line| Text(line.event.outcome().as_str());
    "answered_by" |line| line.name(line.event.fixed.answered_by);
    "retries" |line| Number(line.event.retries().into());
    "cache" |line| Text(line.event.cache().as_str());
    "rate_limit" |line| Text(line.event.rate_limit().as_str());
    "total_us" |line| Number(line.event.total_us());
    "gateway_us" |line| Number(line.event.fixed.gateway_us);
    "upstream_us" |line| Number(line.event.fixed.upstream_us);
    "client_us" |line| Number(line.event.fixed.client_us);
    "link_us" |line| Number(line.event.fixed.link_us.into());
    "bytes_in" |line| Number(line.event.fixed.bytes_in);
    "bytes_to_upstream" |line| Number(line.event.fixed.bytes_to_upstream);
    "bytes_from_upstream" |line| Number(line.event.fixed.bytes_from_upstream);
    "bytes_out" |line| Number(line.event.fixed.bytes_out);
    "trace_id" |line| Owned(line.event.trace().to_string());
    "span_id" |line| Owned(line.event.span().to_string());
    "parent_span_id" |line| Owned(if line.event.parent().is_none() { String::new() } else { line.event.parent().to_string() });
    "sampled" |line| Flag(line.event.fixed.sampled != 0);
    "kept" |line| Text(line.event.kept().as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::exchange::Exchange;
    use crate::identity::Stream;
    use crate::ids::BootId;
    use crate::reason::Outcome;
    use crate::record::{Schema, encode};
    use serde_json::{Value, json};

    /// A line says of a field what the event's JSON says of it.
    #[test]
    fn a_field_is_what_the_event_says() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 1_795_416_085_000_000);
        exchange.api = NameId(7);
        exchange.consumer = bytes::Bytes::from_static(b"mobile");
        exchange.bytes_in = 3;
        exchange.status = 200;
        exchange.target = "/a?b=c".parse().unwrap();
        exchange.finish(Outcome::Completed, now);
        let mut bytes = Vec::new();
        encode(&exchange, 5, &mut bytes);
        let event = Event::decode(Schema::NEWEST, &bytes).unwrap();
        let identity = Identity { site: "here".to_owned(), ..Identity::default() };
        let stream = Stream { identity: identity.clone(), boot: BootId::default(), worker: 0 };
        let name = |id: NameId| if id.0 == 7 { "orders" } else { "" };
        let json = crate::json::to_json(&event, &stream, |id| Some(name(id).to_owned()));
        let line = Line { event: &event, identity: &identity, names: &name };
        for field in LINE_FIELDS {
            let value = match field.of(&line) {
                LineValue::Text(text) => json!(text),
                LineValue::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
                LineValue::Owned(text) => Value::String(text),
                LineValue::Number(number) => json!(number),
                LineValue::Flag(flag) => json!(flag),
            };
            assert_eq!(value, json[field.name], "{}", field.name);
        }
    }

    #[test]
    fn fields_are_those_of_the_table() {
        for field in LINE_FIELDS {
            assert!(crate::field::FIELDS.iter().any(|known| known.name == field.name), "{}", field.name);
            assert_eq!(LineField::named(field.name), Some(*field));
        }
        assert_eq!(LineField::named("policy_us"), None);
    }
}
