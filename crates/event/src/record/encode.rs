//! The worker's side: an exchange in, its record out.

use super::{AttemptEntry, Fixed, MAX_ATTEMPTS, MAX_ATTRS, MAX_PATH, MAX_POLICIES, MAX_TEXT, PolicyEntry};
use crate::exchange::{Exchange, micros, micros_u64};
use crate::meter::Turn;
use crate::vocabulary::Kept;
use crate::wire::put_text16;
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};

/// Appends the record of a finished exchange as number `seq` of its stream.
pub fn encode(exchange: &Exchange, seq: u64, out: &mut Vec<u8>) {
    let policies = &exchange.policies[..exchange.policies.len().min(MAX_POLICIES)];
    let attempts = &exchange.attempts[..exchange.attempts.len().min(MAX_ATTEMPTS)];
    let attrs = &exchange.attrs[..exchange.attrs.len().min(MAX_ATTRS)];
    let mut fixed = [0; Fixed::SIZE];
    fixed_of(exchange, seq, policies.len() as u8, attempts.len() as u8, attrs.len() as u8).put(&mut fixed);
    out.extend_from_slice(&fixed);
    for run in policies {
        let entry = PolicyEntry {
            policy: run.policy.0,
            verdict: run.verdict as u8,
            us: micros(run.took),
            start_us: run.start_us,
            waited_us: run.waited_us,
        };
        let mut bytes = [0; PolicyEntry::SIZE];
        entry.put(&mut bytes);
        out.extend_from_slice(&bytes);
    }
    for attempt in attempts {
        let (address, port) = address_of(attempt.address);
        let entry = AttemptEntry {
            address,
            port,
            outcome: attempt.outcome as u8,
            connect_us: attempt.connect_us,
            tls_us: attempt.tls_us,
            first_byte_us: micros(attempt.first_byte),
            total_us: micros(attempt.took),
            start_us: attempt.start_us,
        };
        let mut bytes = [0; AttemptEntry::SIZE];
        entry.put(&mut bytes);
        out.extend_from_slice(&bytes);
    }
    put_text16(out, cut(&exchange.method_original, 32));
    put_text16(out, cut(header_bytes(&exchange.host), MAX_TEXT));
    put_text16(out, cut(exchange.target.path().as_bytes(), MAX_PATH));
    put_redacted_query(out, exchange.target.query().unwrap_or_default().as_bytes());
    put_text16(out, cut(header_bytes(&exchange.user_agent), MAX_TEXT));
    put_text16(out, cut(&exchange.consumer, MAX_TEXT));
    put_text16(out, exchange.tls_cipher.as_bytes());
    for (key, value) in attrs {
        put_text16(out, cut(key, MAX_TEXT));
        put_text16(out, cut(value, MAX_TEXT));
    }
}

fn fixed_of(exchange: &Exchange, seq: u64, policies: u8, attempts: u8, attrs: u8) -> Fixed {
    let (upstream, upstream_port) = address_of(exchange.upstream);
    Fixed {
        seq,
        start_us: exchange.started_us,
        trace: exchange.trace.trace.0,
        span: exchange.trace.span.0,
        parent: exchange.trace.parent.0,
        client: ip_bytes(exchange.client),
        upstream,
        upstream_port,
        generation: exchange.generation,
        api: exchange.api.0,
        api_instance: exchange.api_instance.0,
        route: exchange.route.0,
        service: exchange.service.0,
        path_template: exchange.path_template.0,
        answered_by: exchange.answered_by.0,
        status: exchange.status,
        upstream_status: exchange.upstream_status,
        reason: exchange.reason as u8,
        outcome: exchange.outcome as u8,
        method: exchange.method as u8,
        scheme: exchange.scheme as u8,
        protocol: exchange.protocol as u8,
        tls_version: exchange.tls_version as u8,
        auth: exchange.auth as u8,
        cache: exchange.cache as u8,
        rate_limit: exchange.rate_limit as u8,
        sampled: u8::from(exchange.trace.sampled),
        kept: exchange.trace.kept.unwrap_or(Kept::None) as u8,
        gateway_us: micros_u64(exchange.meter.spent(Turn::Gateway)),
        upstream_us: micros_u64(exchange.meter.spent(Turn::Upstream)),
        client_us: micros_u64(exchange.meter.spent(Turn::Client)),
        link_us: micros(exchange.link),
        bytes_in: exchange.bytes_in,
        bytes_to_upstream: exchange.bytes_to_upstream,
        bytes_from_upstream: exchange.bytes_from_upstream,
        bytes_out: exchange.bytes_out,
        sample_interval: exchange.sample_interval,
        policies,
        attempts,
        attrs,
        entry: u8::from(exchange.entry),
    }
}

/// `a=1&b=2` as `a=*&b=*`: which parameters came is a fact of the request, what they held may be a secret.
fn put_redacted_query(out: &mut Vec<u8>, query: &[u8]) {
    let len_at = out.len();
    out.extend_from_slice(&[0, 0]);
    if !query.is_empty() {
        for (index, pair) in cut(query, MAX_PATH).split(|byte| *byte == b'&').enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            match pair.iter().position(|byte| *byte == b'=') {
                Some(equals) => {
                    out.extend_from_slice(&pair[..equals]);
                    out.extend_from_slice(b"=*");
                }
                // A bare word may be a token: only its presence is reported.
                None => out.push(b'*'),
            }
        }
    }
    let len = (out.len() - len_at - 2) as u16;
    out[len_at..len_at + 2].copy_from_slice(&len.to_le_bytes());
}

fn header_bytes(value: &Option<HeaderValue>) -> &[u8] {
    value.as_ref().map_or(&[], HeaderValue::as_bytes)
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

/// IPv4 as its IPv4-mapped IPv6 form (RFC 4291 2.5.5.2), so that one column holds both.
fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address_of(address: Option<SocketAddr>) -> ([u8; 16], u16) {
    address.map_or(([0; 16], 0), |address| (ip_bytes(address.ip()), address.port()))
}
