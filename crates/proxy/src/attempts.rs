//! Which endpoint of its cluster a request goes to, and whether a failed attempt is followed by another.
//!
//! One endpoint and no retries, which is most services, costs nothing here.

use crate::accept::Head;
use crate::exchange::ExchangeRef;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use weir_config::{HashKey, Timeouts};
use weir_event::Instant;
use weir_event::{Reason, Side};
use weir_http1::{Fields, Known};
use weir_upstream::{Cluster, Content, Lease, Origin, Tried, hash};

/// What is waited before the same endpoint is tried once more; twice as long each time.
const PAUSE: Duration = Duration::from_millis(25);

/// The attribute of an exchange with the statuses that were thrown away for another attempt.
const THROWN_AWAY: Bytes = Bytes::from_static(b"retry.statuses");

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Before anything of the request was sent.
    Unsent(Reason),
    /// After that, without a response.
    Sent(Reason),
    /// With a response that may be thrown away.
    Status(StatusCode),
}

/// The attempts of one request.
pub(crate) struct Attempts<'a> {
    cluster: &'a Cluster,
    /// Where the current one goes.
    endpoint: usize,
    lease: Option<Lease>,
    key: Option<u64>,
    tried: Tried,
    retries: u8,
    /// It may be sent again: an idempotent method (RFC 9110 9.2.2), and no content.
    is_repeatable: bool,
}

impl<'a> Attempts<'a> {
    /// Chooses the endpoint of the first.
    #[inline]
    pub(crate) fn begin(exchange: &ExchangeRef, cluster: &'a Cluster, head: &Head) -> Self {
        let is_repeatable = head.method.is_idempotent() && head.body.is_end();
        let mut attempts =
            Self { cluster, endpoint: 0, lease: None, key: None, tried: Tried::default(), retries: 0, is_repeatable };
        if !cluster.is_single() {
            attempts.key = cluster.hash_key().and_then(|key| key_of(key, exchange, head));
            attempts.choose(exchange, exchange.progress());
        }
        if cluster.retries().attempts > 0 {
            exchange.worker().balancer.earn(cluster, exchange.progress());
        }
        attempts
    }

    fn choose(&mut self, exchange: &ExchangeRef, now: Instant) {
        self.lease = None;
        let chosen = exchange.worker().balancer.choose(self.cluster, self.key, &self.tried, now);
        (self.endpoint, self.lease) = chosen;
    }

    /// Where the current attempt goes.
    #[inline]
    pub(crate) fn origin(&self) -> &'a Arc<Origin> {
        self.cluster.origin(self.endpoint)
    }

    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The request's place among those that are open at its endpoint.
    pub(crate) fn into_lease(self) -> Option<Lease> {
        self.lease
    }

    /// How long the response is waited for, where that is less than of all requests.
    #[inline]
    pub(crate) fn timeouts(&self, of_all: &Timeouts) -> Option<Timeouts> {
        let limit = self.cluster.retries().attempt_timeout?;
        Some(Timeouts { upstream_response: of_all.upstream_response.min(limit), ..*of_all })
    }

    /// A response head came. Its status is one that is thrown away where another attempt can be made.
    #[inline]
    pub(crate) fn is_thrown_away(&self, status: StatusCode) -> bool {
        let rule = self.cluster.retries();
        rule.statuses.binary_search(&status.as_u16()).is_ok() && self.is_repeatable && self.retries < rule.attempts
    }

    /// Reports what the attempt met: whether its server works.
    #[inline]
    pub(crate) fn answered(&self, status: StatusCode, now: Instant) {
        self.cluster.report(self.endpoint, !status.is_server_error(), now);
    }

    /// Reports an attempt that was not answered.
    pub(crate) fn failed(&self, reason: Reason, now: Instant) {
        // What the client or the gateway did says nothing of the server.
        if reason.side() == Side::Upstream {
            self.cluster.report(self.endpoint, false, now);
        }
    }

    /// Whether another attempt is made, and chooses where it goes.
    #[cold]
    pub(crate) async fn again(&mut self, exchange: &ExchangeRef, miss: Miss, now: Instant) -> bool {
        let rule = self.cluster.retries();
        let wanted = match miss {
            Miss::Unsent(reason) => rule.on_connect_failure && reason.side() == Side::Upstream,
            Miss::Sent(Reason::UpstreamTimeout) => rule.on_timeout && self.is_repeatable,
            Miss::Sent(reason) => rule.on_reset && self.is_repeatable && is_reset(reason),
            Miss::Status(status) => self.is_thrown_away(status),
        };
        if !wanted || self.retries >= rule.attempts || !exchange.worker().balancer.spend(self.cluster, now) {
            return false;
        }
        self.retries += 1;
        let before = self.endpoint;
        self.tried.add(before);
        if !self.cluster.is_single() {
            self.choose(exchange, now);
        }
        if let Miss::Status(status) = miss {
            throw_away(exchange, status);
        }
        if self.endpoint == before {
            sleep(PAUSE * (1 << (self.retries - 1))).await;
        }
        true
    }
}

/// The connection ended, or what came was no response.
fn is_reset(reason: Reason) -> bool {
    matches!(reason, Reason::ConnectionTerminated | Reason::UpstreamProtocolError)
}

fn throw_away(exchange: &ExchangeRef, status: StatusCode) {
    let mut exchange = exchange.borrow_mut();
    match exchange.attrs.iter_mut().find(|(name, _)| *name == THROWN_AWAY) {
        Some((_, statuses)) => *statuses = [&statuses[..], b",", status.as_str().as_bytes()].concat().into(),
        None => exchange.attrs.push((THROWN_AWAY, Bytes::copy_from_slice(status.as_str().as_bytes()))),
    }
}

/// What the request is told apart by, where it says that.
#[cold]
fn key_of(key: &HashKey, exchange: &ExchangeRef, head: &Head) -> Option<u64> {
    match key {
        HashKey::ClientAddress => Some(match exchange.borrow().client {
            IpAddr::V4(address) => hash(&address.octets()),
            IpAddr::V6(address) => hash(&address.octets()),
        }),
        HashKey::Path => Some(hash(exchange.borrow().target.path().as_bytes())),
        HashKey::Header(name) => head.headers.get(name).map(hash),
        HashKey::Cookie(name) => cookie(&head.headers, name.as_bytes()).map(hash),
    }
}

/// The value of a cookie (RFC 6265 4.2.1).
fn cookie<'a>(fields: &'a Fields, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = fields.get_all(Known::Cookie).flat_map(|line| line.split(|byte| *byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let (own, value) = pair.trim_ascii().split_at_checked(name.len())?;
        value.strip_prefix(b"=").filter(|_| own == name)
    });
    named.next()
}

/// What `Host` says to an endpoint, where that is not what the client sent.
pub(crate) fn host_of(origin: &Origin, rewrite: weir_config::UpstreamHost) -> Option<&HeaderValue> {
    match rewrite {
        weir_config::UpstreamHost::Authority => Some(&origin.authority),
        weir_config::UpstreamHost::Name => Some(&origin.name),
        weir_config::UpstreamHost::Original => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut fields = Fields::new();
        fields.append("cookie", b"xid=1; id2=2; id=3").unwrap();
        fields.append("cookie", b"late=4;id=5").unwrap();
        assert_eq!(cookie(&fields, b"id"), Some(&b"3"[..]));
        assert_eq!(cookie(&fields, b"late"), Some(&b"4"[..]));
        assert_eq!(cookie(&fields, b"i"), None);
    }
}
