//! What a Service says of its addresses together: balancing, retries, health.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use crate::address;
use crate::api::{Endpoint, UpstreamAddress};
use crate::cluster::{Balancing, Cluster, HashKey, HealthCheck, OutlierEjection, Retries};
use crate::read::{Cursor, Mapping};
use crate::units::{parse_duration, time};

/// Addresses of one service at most.
const MOST_ADDRESSES: usize = 256;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// `address`, or `addresses`, and the path that they have in common.
pub(super) fn endpoints(fields: &mut Mapping<'_>) -> (Option<Vec<Endpoint>>, String) {
    fields.mean([
        ("address", "`http://host:port`, `https://…` or `h2://…` (HTTP/2 in clear text); a path is put before that of every request"),
        (
            "addresses",
            "Several addresses in place of one, at most 256: each as in `address`, or with a weight; all with the same scheme and path",
        ),
    ]);
    let one = fields.take("address");
    let only = one.as_ref().map(at_address);
    let Some(several) = fields.take_weir("addresses") else {
        let Some(only) = only else {
            // Refused under Flex's `apiVersion`, it is not missing.
            let missing = if fields.has("addresses") { None } else { fields.missing("address", "add it") };
            return (missing, String::new());
        };
        return match only {
            Some((address, path)) => (Some(vec![Endpoint { address, weight: 1 }]), path),
            None => (None, String::new()),
        };
    };
    if let Some(at) = one {
        at.refuse::<()>("is here beside `addresses`; remove one of them");
    }
    let mut count = 0;
    let read = several.items(|at| {
        count += 1;
        endpoint(at)
    });
    let read = read.unwrap_or_default();
    let Some(((first, path), _)) = read.first() else {
        let empty = if count == 0 { several.refuse("names no address; write at least one") } else { None };
        return (empty, String::new());
    };
    let mut seen: Vec<&UpstreamAddress> = Vec::new();
    for ((address, own), _) in &read {
        if address.scheme != first.scheme || own != path {
            return (several.refuse("differ in scheme or path; all must have the same"), String::new());
        }
        if seen.contains(&address) {
            return (several.refuse(format!("name `{address}` twice; give it a `weight`")), String::new());
        }
        seen.push(address);
    }
    if read.len() > MOST_ADDRESSES {
        return (several.refuse(format!("are more than {MOST_ADDRESSES}; write fewer")), String::new());
    }
    let path = path.clone();
    let endpoints = read.into_iter().map(|((address, _), weight)| Endpoint { address, weight });
    (Some(endpoints.collect()), path)
}

fn at_address(at: &Cursor<'_>) -> Option<(UpstreamAddress, String)> {
    let (address, path) = at.parse_with_hint(address::upstream)?;
    if !path.is_empty() {
        at.warn(format!(
            "carries the path `{path}`, which is put before that of every request, as `destinationPath` is"
        ));
    }
    Some((address, path))
}

/// A text, or a mapping with a weight.
fn endpoint(at: &Cursor<'_>) -> Option<((UpstreamAddress, String), u16)> {
    if !at.is_mapping() {
        let read = at_address(at);
        if !at.is_described() {
            return Some((read?, 1));
        }
    }
    let mut fields = at.fields()?;
    fields.mean([
        ("address", "As in `address`"),
        ("weight", "Its share of the requests, relative to the other weights; default 1"),
    ]);
    let address = fields.required("address", at_address);
    let weight = fields.take("weight");
    let weight = weight.map_or(Some(1), |at| number(&at, 1..=1000));
    fields.finish();
    Some((address?, weight?))
}

/// The settings; what could not be read is reported, and has its default here.
pub(super) fn settings(fields: &mut Mapping<'_>, endpoints: usize) -> Cluster {
    fields.mean([
        ("balancing", "Which of several addresses a request goes to"),
        ("retries", "Which failed attempts are retried"),
        (
            "maxConnectionAge",
            "Maximum age of a connection, less a random part of up to a tenth; 1 s to 1 d; default `10m`",
        ),
        (
            "dnsTtl",
            "How long resolved addresses are used before the name is resolved again; connections to addresses that it no longer has get no further requests; 1 s to 1 h; default: the name is resolved for each new connection",
        ),
        ("healthChecks", "Checks each address regularly; one that fails gets no requests"),
        ("outlierEjection", "Stops sending requests to an address for a while if its requests fail"),
    ]);
    let default = Cluster::default();
    let attempts = u8::from(endpoints > 1);
    let retries = fields.take_weir("retries").and_then(|at| retries(&at, attempts));
    Cluster {
        balancing: fields.take_weir("balancing").and_then(|at| balancing(&at)).unwrap_or_default(),
        retries: retries.unwrap_or(Retries { attempts, ..Retries::default() }),
        max_connection_age: fields
            .take_weir("maxConnectionAge")
            .and_then(|at| period(&at, SECOND..=24 * HOUR))
            .unwrap_or(default.max_connection_age),
        dns_ttl: fields.take_weir("dnsTtl").and_then(|at| period(&at, SECOND..=HOUR)),
        health: fields.take_weir("healthChecks").and_then(|at| health(&at)),
        ejection: fields.take_weir("outlierEjection").and_then(|at| ejection(&at)),
    }
}

fn balancing(at: &Cursor<'_>) -> Option<Balancing> {
    let mut fields = at.fields()?;
    fields.mean([
        ("algorithm", "`leastRequests` (the less busy of two drawn at random; default), `roundRobin`, or `hash`: the same address for the same key"),
        ("hashOn", "What the key of `hash` is; required for `hash`"),
        ("hashKey", "The name of the header or the cookie"),
    ]);
    let algorithms = [(Balancing::LEAST_REQUESTS, 0), (Balancing::ROUND_ROBIN, 1), (Balancing::HASH, 2)];
    let algorithm = fields.optional("algorithm", |at| at.choice(&algorithms));
    let on = fields.take("hashOn");
    let key = fields.take("hashKey");
    let kinds = [("clientAddress", 0), ("path", 1), ("header", 2), ("cookie", 3)];
    let kind = on.as_ref().and_then(|at| at.choice(&kinds));
    let name = key.as_ref().and_then(Cursor::text);
    let balancing = match (algorithm, kind) {
        (Some(2), None) if on.is_none() => fields.missing("hashOn", "say what requests are told apart by"),
        (Some(2), Some(kind @ (2 | 3))) => {
            let Some(at) = key.as_ref() else {
                fields.finish();
                return at.refuse("has no `hashKey`; write the name of the header or the cookie");
            };
            let name = name?;
            let parsed = HeaderName::try_from(name.as_str());
            match (kind, parsed) {
                (2, Ok(name)) => Some(Balancing::Hash(HashKey::Header(name))),
                // A cookie's name is a token as well (RFC 6265 4.1.1).
                (3, Ok(_)) => Some(Balancing::Hash(HashKey::Cookie(name))),
                _ => at.refuse("is no name of a header or a cookie; write one, as in `x-tenant`"),
            }
        }
        (Some(2), Some(0)) => Some(Balancing::Hash(HashKey::ClientAddress)),
        (Some(2), Some(_)) => Some(Balancing::Hash(HashKey::Path)),
        (Some(1), _) => Some(Balancing::RoundRobin),
        _ => Some(Balancing::LeastRequests),
    };
    if let Some(at) = on.as_ref().filter(|at| !at.is_described() && algorithm != Some(2)) {
        at.refuse::<()>("is for `algorithm: hash`; write that, or remove it");
    }
    fields.finish();
    balancing
}

fn retries(at: &Cursor<'_>, attempts: u8) -> Option<Retries> {
    let mut fields = at.fields()?;
    fields.mean([
        ("attempts", "Maximum number of retries; default 1 (with one address and without `retries`: 0)"),
        (
            "on",
            "Failures that are retried: `connectFailure` for any request, `reset` and `timeout` for requests with an idempotent method and without a body; default `connectFailure` and `reset`",
        ),
        ("statuses", "Statuses, 500 to 599, for which the response is discarded and the request is retried, if it is idempotent and has no body; default none"),
        ("budgetPercent", "Maximum number of retries, in percent of a worker's requests, plus three a second; default 20"),
        (
            "attemptTimeout",
            "Timeout from sending an attempt to the head of its response; 10 ms to 1 h; default: `upstreamResponseSeconds`",
        ),
    ]);
    let default = Retries { attempts: attempts.max(1), ..Retries::default() };
    let given = fields.optional("attempts", |at| number(at, 0..=10));
    let kinds = [("connectFailure", 0_u8), ("reset", 1), ("timeout", 2)];
    let on = fields.optional("on", |at| at.items(|at| at.choice(&kinds)));
    let statuses = fields.optional("statuses", |at| statuses(at, 500..=599)).unwrap_or_default();
    let budget = fields.optional("budgetPercent", |at| number(at, 1..=100));
    let attempt_timeout = fields.optional("attemptTimeout", |at| period(at, 10 * MILLISECOND..=HOUR));
    fields.finish();
    let is = |kind: u8, default: bool| on.as_ref().map_or(default, |on| on.contains(&kind));
    Some(Retries {
        attempts: given.map_or(default.attempts, |attempts| attempts as u8),
        on_connect_failure: is(0, default.on_connect_failure),
        on_reset: is(1, default.on_reset),
        on_timeout: is(2, default.on_timeout),
        statuses,
        budget_percent: budget.map_or(default.budget_percent, |budget| budget as u8),
        attempt_timeout,
    })
}

fn health(at: &Cursor<'_>) -> Option<HealthCheck> {
    let mut fields = at.fields()?;
    fields.mean([
        ("path", "Path of the GET request; without it, a connection is enough"),
        ("interval", "Time between two checks; 100 ms to 1 h; default `5s`"),
        ("timeout", "Timeout for connection and response together; 10 ms to 1 h; default `2s`"),
        ("unhealthyThreshold", "Failures in a row until an address gets no requests; default 3"),
        ("healthyThreshold", "Successes in a row until it gets requests again; default 2"),
        ("statuses", "Statuses that count as success; default 200 to 299"),
    ]);
    let path = fields.take("path");
    let path = path.map_or(Some(None), |at| at.parse(origin_form, "as in `/health`").map(Some));
    let interval = fields.optional("interval", |at| period(at, 100 * MILLISECOND..=HOUR));
    let timeout = fields.optional("timeout", |at| period(at, 10 * MILLISECOND..=HOUR));
    let unhealthy = fields.optional("unhealthyThreshold", |at| number(at, 1..=100));
    let healthy = fields.optional("healthyThreshold", |at| number(at, 1..=100));
    let expected = fields.optional("statuses", |at| statuses(at, 100..=599)).unwrap_or_default();
    fields.finish();
    Some(HealthCheck {
        path: path?,
        interval: interval.unwrap_or(5 * SECOND),
        timeout: timeout.unwrap_or(2 * SECOND),
        unhealthy_threshold: unhealthy.unwrap_or(3) as u8,
        healthy_threshold: healthy.unwrap_or(2) as u8,
        statuses: expected,
    })
}

fn ejection(at: &Cursor<'_>) -> Option<OutlierEjection> {
    let mut fields = at.fields()?;
    fields.mean([
        (
            "consecutiveFailures",
            "How many requests in a row must fail: no response, or a status of 500 to 599; default 5",
        ),
        (
            "ejectionTime",
            "How long the address gets no requests; the second time in a row twice as long, up to ten times; 100 ms to 1 h; default `30s`",
        ),
        ("maxEjectedPercent", "Maximum share of the addresses that are ejected at once; one of several always may be; default 50"),
    ]);
    let failures = fields.optional("consecutiveFailures", |at| number(at, 1..=10_000));
    let period = fields.optional("ejectionTime", |at| period(at, 100 * MILLISECOND..=HOUR));
    let most = fields.optional("maxEjectedPercent", |at| number(at, 1..=100));
    fields.finish();
    Some(OutlierEjection {
        consecutive_failures: failures.unwrap_or(5),
        ejection_time: period.unwrap_or(30 * SECOND),
        max_ejected_percent: most.unwrap_or(50) as u8,
    })
}

fn origin_form(text: &str) -> Result<String, &'static str> {
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err("is no path"),
    }
}

fn statuses(at: &Cursor<'_>, range: RangeInclusive<u16>) -> Option<Vec<u16>> {
    let mut read = at.items(|at| number(at, range.clone()))?;
    read.sort_unstable();
    read.dedup();
    Some(read)
}

fn number(at: &Cursor<'_>, range: RangeInclusive<u16>) -> Option<u16> {
    let (least, most) = (u64::from(*range.start()), u64::from(*range.end()));
    at.integer(least..=most).and_then(|number| u16::try_from(number).ok())
}

fn period(at: &Cursor<'_>, range: RangeInclusive<Duration>) -> Option<Duration> {
    let read = at.parse(parse_duration, "as in `30s` or `500ms`")?;
    if range.contains(&read) {
        return Some(read);
    }
    at.refuse(format!("is out of range; write `{}` to `{}`", time(*range.start()), time(*range.end())))
}
