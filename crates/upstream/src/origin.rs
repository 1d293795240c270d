//! Origins: the distinct upstream addresses of the configurations that somebody still uses.
//!
//! An origin keeps its number over reloads, so that each worker's idle connections are found again by index, without
//! hashing a name on the request path, and survive a reload that does not touch them. It lives as long as a configuration
//! or a connection has it; its number is then given to another.

use crate::addresses::Addresses;
use crate::slots::{Slot, Slots};
use crate::tls::{TlsError, TlsRoots};
use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use weir_config::policy::{Alpn, TlsOutbound};
use weir_config::{Cluster as Settings, Scheme, UpstreamAddress};

/// One upstream address, with everything that a connection to it needs, made at load.
#[derive(Debug)]
pub struct Origin {
    /// Its place in every worker's pool.
    slot: Slot,
    pub address: UpstreamAddress,
    /// What `Host` says where the gateway rewrites it.
    pub authority: HeaderValue,
    /// The same without the port.
    pub name: HeaderValue,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) speaks: Speaks,
    /// The same address, with HTTP/1.1 alone, where HTTP/2 is offered as well.
    http1: Option<Arc<Self>>,
    pub(crate) addresses: Addresses,
    /// A connection is used for at most this long.
    pub(crate) max_age: Duration,
}

/// What is spoken to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
    /// Its TLS says which (ALPN, RFC 7301).
    Either,
}

impl Origin {
    /// Where a request goes that asks for a tunnel: only a connection of HTTP/1.1 becomes one (RFC 9110 7.8, RFC 9113 8.6).
    pub fn of_tunnels(self: &Arc<Self>) -> &Arc<Self> {
        self.http1.as_ref().unwrap_or(self)
    }

    /// Whether HTTP/1.1 is all that is spoken to it.
    pub fn is_http1(&self) -> bool {
        self.speaks == Speaks::Http1
    }

    pub(crate) fn index(&self) -> usize {
        self.slot.index()
    }
}

/// What tells two origins at one address apart: a connection of one is none of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    tls: Option<Arc<TlsOutbound>>,
    max_age: Duration,
    dns_ttl: Option<Duration>,
}

#[derive(Debug, Default)]
struct Known {
    by_address: HashMap<UpstreamAddress, Vec<(Way, Weak<Origin>)>>,
    /// How many there were after the last look for those that have gone.
    swept: usize,
    count: usize,
}

/// The process-wide table of origins. Used at load only.
#[derive(Debug, Default)]
pub struct Origins {
    known: Mutex<Known>,
    slots: Arc<Slots>,
    roots: TlsRoots,
}

impl Origins {
    /// An empty table, whose `https` origins are verified against `roots`.
    pub fn new(roots: TlsRoots) -> Self {
        Self { known: Mutex::default(), slots: Arc::default(), roots }
    }

    /// The origin at `address`, spoken to as `tls` and `settings` say; the same one for the same three, while it lives.
    ///
    /// # Errors
    /// No TLS can be spoken with it.
    pub fn origin(
        &self,
        address: &UpstreamAddress,
        tls: Option<&Arc<TlsOutbound>>,
        settings: &Settings,
    ) -> Result<Arc<Origin>, TlsError> {
        let way = Way { tls: tls.cloned(), max_age: settings.max_connection_age, dns_ttl: settings.dns_ttl };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let there = known.by_address.get(address).into_iter().flatten();
        if let Some(origin) =
            there.into_iter().find(|(other, _)| *other == way).and_then(|(_, origin)| origin.upgrade())
        {
            return Ok(origin);
        }
        let origin = Arc::new(self.make(address, &way)?);
        let there = known.by_address.entry(address.clone()).or_default();
        there.retain(|(_, origin)| origin.strong_count() > 0);
        there.push((way, Arc::downgrade(&origin)));
        known.count += 1;
        if known.count > 64 + 2 * known.swept {
            known.sweep();
        }
        Ok(origin)
    }

    /// Those that live.
    pub(crate) fn all(&self) -> Vec<Arc<Origin>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_address.values().flatten().filter_map(|(_, origin)| origin.upgrade()).collect()
    }

    fn make(&self, address: &UpstreamAddress, way: &Way) -> Result<Origin, TlsError> {
        let value =
            |text: String| HeaderValue::try_from(text).map_err(|_| TlsError::Name { host: address.host.clone() });
        let (authority, name) = (value(address.authority())?, value(address.name())?);
        let settings = way.tls.as_deref();
        let make = |tls, speaks, http1| Origin {
            slot: self.slots.take(),
            address: address.clone(),
            authority: authority.clone(),
            name: name.clone(),
            tls,
            speaks,
            http1,
            addresses: Addresses::new(way.dns_ttl),
            max_age: way.max_age,
        };
        let config = match address.scheme {
            Scheme::Http => return Ok(make(None, Speaks::Http1, None)),
            Scheme::H2 => return Ok(make(None, Speaks::Http2, None)),
            Scheme::Https => self.roots.client_config(settings)?,
        };
        let named = settings.and_then(|settings| settings.server_name.clone());
        let server = named.map_or_else(|| server_name(&address.host), Ok)?;
        let offers = |alpn: Alpn| config.alpn_protocols.iter().any(|offered| offered == alpn.as_bytes());
        match (offers(Alpn::H2), offers(Alpn::Http11)) {
            (false, _) => Ok(make(Some((config, server)), Speaks::Http1, None)),
            (true, false) => Ok(make(Some((config, server)), Speaks::Http2, None)),
            (true, true) => {
                let mut alone = ClientConfig::clone(&config);
                alone.alpn_protocols = vec![Alpn::Http11.as_bytes().to_vec()];
                let http1 = Arc::new(make(Some((Arc::new(alone), server.clone())), Speaks::Http1, None));
                Ok(make(Some((config, server)), Speaks::Either, Some(http1)))
            }
        }
    }
}

impl Known {
    /// Forgets those that have gone.
    fn sweep(&mut self) {
        self.by_address.retain(|_, there| {
            there.retain(|(_, origin)| origin.strong_count() > 0);
            !there.is_empty()
        });
        self.count = self.by_address.values().map(Vec::len).sum();
        self.swept = self.count;
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name { host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> UpstreamAddress {
        UpstreamAddress { scheme: Scheme::Http, host: "127.0.0.1".into(), port }
    }

    fn settings(seconds: u64) -> Settings {
        Settings { max_connection_age: Duration::from_secs(seconds), ..Settings::default() }
    }

    #[test]
    fn an_origin_is_the_same_for_as_long_as_it_lives() {
        let origins = Origins::default();
        let first = origins.origin(&address(80), None, &settings(1)).unwrap();
        let second = origins.origin(&address(81), None, &settings(1)).unwrap();
        let other = origins.origin(&address(80), None, &settings(2)).unwrap();
        assert!(first.index() != second.index() && first.index() != other.index());
        assert!(Arc::ptr_eq(&first, &origins.origin(&address(80), None, &settings(1)).unwrap()));
        assert_eq!(second.authority, "127.0.0.1:81");
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let origins = Origins::default();
        let kept = origins.origin(&address(1), None, &settings(1)).unwrap();
        for generation in 2..5_000 {
            let origin = origins.origin(&address(1), None, &settings(generation)).unwrap();
            assert!(origin.index() < 2, "{}", origin.index());
            let elsewhere = origins.origin(&address(generation as u16), None, &settings(1)).unwrap();
            assert!(elsewhere.index() < 3);
        }
        assert!(origins.known.lock().unwrap().by_address.len() < 200);
        assert!(Arc::ptr_eq(&kept, &origins.origin(&address(1), None, &settings(1)).unwrap()));
    }

    #[test]
    fn a_tunnel_has_an_origin_that_offers_http1_alone() {
        let origins = Origins::default();
        let of = |scheme| {
            origins.origin(&UpstreamAddress { scheme, host: "127.0.0.1".into(), port: 80 }, None, &settings(1)).unwrap()
        };
        let https = of(Scheme::Https);
        let alpn = |origin: &Origin| origin.tls.as_ref().unwrap().0.alpn_protocols.clone();
        assert_eq!((https.speaks, alpn(&https)), (Speaks::Either, vec![b"h2".to_vec(), b"http/1.1".to_vec()]));
        let tunnels = https.of_tunnels();
        assert_eq!((tunnels.speaks, alpn(tunnels)), (Speaks::Http1, vec![b"http/1.1".to_vec()]));
        assert_ne!(tunnels.index(), https.index());
        for (scheme, speaks) in [(Scheme::Http, Speaks::Http1), (Scheme::H2, Speaks::Http2)] {
            let origin = of(scheme);
            assert_eq!((origin.speaks, origin.of_tunnels().index()), (speaks, origin.index()));
        }
    }
}
