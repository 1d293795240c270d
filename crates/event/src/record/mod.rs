//! The flat form of one event: a fixed part, then what varies in length. Little-endian.
//!
//! ```text
//! Fixed (FIXED_SIZE bytes) · policies × { name u32, verdict u8, µs u32, start µs u32, waited µs u32 }
//!   · attempts × { address 16, port u16, outcome u8, connect µs u32, tls µs u32, first byte µs u32, total µs u32, start µs u32 }
//!   · method_original · host · path · query · user_agent · consumer · tls_cipher   each { len u16, bytes }
//!   · attrs × { key { len u16, bytes }, value { len u16, bytes } }
//! ```
//!
//! A gateway writes the newest [`Schema`]; every one is read, because rings and chunks outlive the gateway that wrote
//! them. What a version adds stands at the end of the fixed part or of an entry, so that the older one is a prefix of the newer.
//!
//! Writing is straight copies into one buffer (measured against prost structs: 2 µs an event cheaper). Reading
//! borrows from the bytes and never panics on any of them; see the fuzz target `record`.

mod decode;
mod encode;

pub use decode::Event;
pub use encode::encode;

use crate::wire::flat;

/// A version of this layout. The ring and the chunk say which one their records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Schema {
    /// Without `entry`: every request of that time counts as one that entered the fleet.
    V1 = 1,
    /// With `entry`.
    V2 = 2,
    /// With the start of each policy and attempt, and how long each policy waited.
    V3 = 3,
}

impl Schema {
    /// What this version of Weir writes.
    pub const NEWEST: Self = Self::V3;

    /// The number that rings and chunks carry.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether it says when policies and attempts began, and how long policies waited.
    pub const fn has_starts(self) -> bool {
        matches!(self, Self::V3)
    }

    const fn sizes(self) -> Sizes {
        let (whole, fixed_v1) = (Fixed::SIZE, Fixed::SIZE - size_of::<u8>());
        let (policy, attempt) = (PolicyEntry::SIZE, AttemptEntry::SIZE);
        let (policy_v1, attempt_v1) = (policy - 2 * size_of::<u32>(), attempt - size_of::<u32>());
        match self {
            Self::V1 => Sizes { fixed: fixed_v1, policy: policy_v1, attempt: attempt_v1 },
            Self::V2 => Sizes { fixed: whole, policy: policy_v1, attempt: attempt_v1 },
            Self::V3 => Sizes { fixed: whole, policy, attempt },
        }
    }

    /// None where it is of a newer version of Weir.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

/// Strings of a request are cut here, in bytes: what a client may make an event cost.
pub const MAX_PATH: usize = 2048;
const MAX_TEXT: usize = 256;
/// What one record takes at most: bounds the ring's slot and the reader's trust.
pub const MAX_RECORD: usize = 16 * 1024;
const MAX_POLICIES: usize = 64;
const MAX_ATTEMPTS: usize = 16;
const MAX_ATTRS: usize = 8;

flat! {
    /// The part of a record that has the same size in every event.
    pub struct Fixed {
        seq: u64,
        start_us: i64,
        trace: [u8; 16],
        span: [u8; 8],
        parent: [u8; 8],
        client: [u8; 16],
        upstream: [u8; 16],
        upstream_port: u16,
        generation: u32,
        api: u32,
        api_instance: u32,
        route: u32,
        service: u32,
        path_template: u32,
        answered_by: u32,
        status: u16,
        upstream_status: u16,
        reason: u8,
        outcome: u8,
        method: u8,
        scheme: u8,
        protocol: u8,
        tls_version: u8,
        auth: u8,
        cache: u8,
        rate_limit: u8,
        sampled: u8,
        kept: u8,
        gateway_us: u64,
        upstream_us: u64,
        client_us: u64,
        link_us: u32,
        bytes_in: u64,
        bytes_to_upstream: u64,
        bytes_from_upstream: u64,
        bytes_out: u64,
        sample_interval: u32,
        policies: u8,
        attempts: u8,
        attrs: u8,
        entry: u8,
    }
}

/// Bytes of the parts of a record, in one schema.
#[derive(Clone, Copy)]
struct Sizes {
    fixed: usize,
    policy: usize,
    attempt: usize,
}

flat! {
    /// One policy of a record.
    pub struct PolicyEntry { policy: u32, verdict: u8, us: u32, start_us: u32, waited_us: u32 }
}

flat! {
    /// One upstream attempt of a record.
    pub struct AttemptEntry {
        address: [u8; 16], port: u16, outcome: u8, connect_us: u32, tls_us: u32, first_byte_us: u32, total_us: u32,
        start_us: u32,
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record ends before its own lengths do")]
    Short,
    #[error("the record is longer than its own lengths say")]
    Trailing,
    #[error("the record is larger than {MAX_RECORD} bytes")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::exchange::Exchange;
    use crate::exchange::{Attempt, PolicyRun};
    use crate::meter::Turn;
    use crate::names::NameId;
    use crate::reason::{Outcome, Reason};
    use crate::vocabulary::{Method, Verdict};
    use bytes::Bytes;
    use http::HeaderValue;
    use std::time::Duration;

    fn exchange() -> Exchange {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 1_700_000_000_000_001);
        exchange.api = NameId(3);
        exchange.method = Method::Post;
        exchange.target = "/api/users/7?page=2&token=s3cret&bare".parse().unwrap();
        exchange.host = Some(HeaderValue::from_static("api.example"));
        exchange.client = "192.0.2.7".parse().unwrap();
        exchange.upstream = Some("[2001:db8::1]:8443".parse().unwrap());
        exchange.status = 201;
        let took = Duration::from_micros(12);
        exchange.policies.push(PolicyRun {
            start_us: 3,
            waited_us: 5,
            took,
            ..PolicyRun::new(NameId(9), Verdict::Continue)
        });
        exchange.attempts.push(Attempt { start_us: 12, outcome: Reason::ConnectionRefused, ..Attempt::new() });
        exchange.attempts.push(Attempt { address: exchange.upstream, first_byte: took, ..Attempt::new() });
        exchange.attrs.push((Bytes::from_static(b"tenant"), Bytes::from_static(b"blue")));
        exchange.hand_to(Turn::Upstream, now + Duration::from_micros(40));
        exchange.finish(Outcome::Completed, now + Duration::from_micros(100));
        exchange
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let mut bytes = Vec::new();
        encode(&exchange(), 42, &mut bytes);
        let event = Event::decode(Schema::NEWEST, &bytes).unwrap();
        assert_eq!(event.fixed.seq, 42);
        assert_eq!(event.method(), Method::Post);
        assert_eq!(event.path, b"/api/users/7");
        assert_eq!(event.client().to_string(), "192.0.2.7");
        assert_eq!(event.upstream().unwrap().to_string(), "[2001:db8::1]:8443");
        assert_eq!((event.fixed.gateway_us, event.fixed.upstream_us, event.total_us()), (40, 60, 100));
        let policies: Vec<_> = event.policies().map(|entry| (entry.start_us, entry.us, entry.waited_us)).collect();
        assert_eq!((policies, event.waited_us()), (vec![(3, 12, 5)], 5));
        assert_eq!(event.attempts().map(|entry| entry.start_us).collect::<Vec<_>>(), [12, 0]);
        assert_eq!(
            event.attempts().map(|entry| entry.outcome()).collect::<Vec<_>>(),
            [Reason::ConnectionRefused, Reason::None]
        );
        assert_eq!(event.retries(), 1);
        assert_eq!(event.attrs().collect::<Vec<_>>(), [(b"tenant".as_slice(), b"blue".as_slice())]);
        assert_eq!(event.name_ids().collect::<Vec<_>>(), [NameId(3), NameId(9)]);
    }

    #[test]
    fn query_values_are_never_written() {
        let mut bytes = Vec::new();
        encode(&exchange(), 0, &mut bytes);
        assert_eq!(Event::decode(Schema::NEWEST, &bytes).unwrap().query, b"page=*&token=*&*");
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
    }

    /// The record of `exchange` as an earlier schema has it: each part cut to its size there.
    fn encode_as(schema: Schema, exchange: &Exchange, out: &mut Vec<u8>) {
        let mut newest = Vec::new();
        encode(exchange, 0, &mut newest);
        let (of, whole) = (schema.sizes(), Schema::NEWEST.sizes());
        let mut parts = vec![(whole.fixed, of.fixed)];
        parts.extend(exchange.policies.iter().map(|_| (whole.policy, of.policy)));
        parts.extend(exchange.attempts.iter().map(|_| (whole.attempt, of.attempt)));
        let mut rest = &newest[..];
        for (size, kept) in parts {
            out.extend_from_slice(&rest[..kept]);
            rest = &rest[size..];
        }
        out.extend_from_slice(rest);
    }

    const ALL: [Schema; 3] = [Schema::V1, Schema::V2, Schema::V3];

    #[test]
    fn every_cut_of_a_record_is_refused() {
        for schema in ALL {
            let mut bytes = Vec::new();
            encode_as(schema, &exchange(), &mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(Event::decode(schema, &bytes[..len]).err(), Some(RecordError::Short), "{schema:?} {len}");
            }
            assert!(Event::decode(schema, &bytes).is_ok());
            bytes.push(0);
            assert_eq!(Event::decode(schema, &bytes).err(), Some(RecordError::Trailing), "{schema:?}");
        }
    }

    /// What a schema cannot say reads as: the request entered here, and nothing is known of starts and waiting.
    #[test]
    fn an_earlier_record_reads_without_what_came_later() {
        for schema in ALL {
            let mut exchange = exchange();
            exchange.entry = false;
            let mut bytes = Vec::new();
            encode_as(schema, &exchange, &mut bytes);
            let event = Event::decode(schema, &bytes).unwrap();
            assert_eq!(event.entry(), schema == Schema::V1, "{schema:?}");
            assert_eq!((event.path, event.fixed.attrs), (&b"/api/users/7"[..], 1));
            let starts = if schema.has_starts() { (3, 5, 12) } else { (0, 0, 0) };
            let (policy, attempt) = (event.policies().next().unwrap(), event.attempts().next().unwrap());
            assert_eq!((policy.start_us, policy.waited_us, attempt.start_us), starts, "{schema:?}");
            assert_eq!((policy.us, attempt.outcome(), event.attempts().len()), (12, Reason::ConnectionRefused, 2));
        }
    }

    #[test]
    fn a_schema_reads_as_it_was_written_and_a_later_one_not_at_all() {
        for schema in ALL {
            assert_eq!(Schema::from_number(schema.number()), Some(schema));
        }
        assert_eq!(Schema::from_number(Schema::NEWEST.number() + 1), None);
        assert_eq!(Schema::from_number(0), None);
    }

    #[test]
    fn the_largest_exchange_fits_a_record() {
        let mut exchange = exchange();
        let long = Bytes::from(vec![b'a'; 100_000]);
        exchange.target = format!("/{}?{}", "p".repeat(30_000), "a&".repeat(15_000)).parse().unwrap();
        exchange.host = Some(HeaderValue::from_maybe_shared(long.clone()).unwrap());
        exchange.user_agent = exchange.host.clone();
        exchange.consumer = long.clone();
        exchange.method_original = long.clone();
        exchange.attrs = vec![(long.clone(), long); 50];
        let run = exchange.policies[0];
        exchange.policies.extend(std::iter::repeat_n(run, 500));
        let attempt = exchange.attempts[0];
        exchange.attempts.extend(std::iter::repeat_n(attempt, 500));
        let mut bytes = Vec::new();
        encode(&exchange, 0, &mut bytes);
        assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        assert_eq!(Event::decode(Schema::NEWEST, &bytes).unwrap().path.len(), MAX_PATH);
    }
}
