//! Origins: the distinct upstream addresses of all configurations of one life of the process.
//!
//! An origin keeps its id over reloads, so that each worker's idle connections are found again by index, without
//! hashing a name on the request path, and survive a reload that does not touch them.

use crate::tls::{TlsError, TlsRoots};
use http::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use weir_config::policy::{Alpn, TlsOutbound};
use weir_config::{Scheme, UpstreamAddress};

/// An origin's index in every worker's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginId(pub(crate) usize);

/// One upstream address, with everything that a connection to it needs, made at load.
#[derive(Debug)]
pub struct Origin {
    pub id: OriginId,
    pub address: UpstreamAddress,
    /// What `Host` says where the gateway rewrites it.
    pub authority: HeaderValue,
    /// The same without the port.
    pub name: HeaderValue,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) speaks: Speaks,
    /// The same address, with HTTP/1.1 alone, where HTTP/2 is offered as well.
    http1: Option<Arc<Self>>,
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
    pub fn of_tunnels(&self) -> &Self {
        self.http1.as_deref().unwrap_or(self)
    }

    /// Whether HTTP/1.1 is all that is spoken to it.
    pub fn is_http1(&self) -> bool {
        self.speaks == Speaks::Http1
    }
}

/// Two services at one address that speak TLS in different ways are two origins: a connection of one is none of the
/// other.
#[derive(Debug, Default)]
struct Known {
    by_address: HashMap<UpstreamAddress, Vec<Spoken>>,
    count: usize,
}

/// One way to speak to an address.
type Spoken = (Option<Arc<TlsOutbound>>, Arc<Origin>);

/// The process-wide table of origins. Used at load only.
#[derive(Debug, Default)]
pub struct Origins {
    known: Mutex<Known>,
    roots: TlsRoots,
}

impl Origins {
    /// An empty table, whose `https` origins are verified against `roots`.
    pub fn new(roots: TlsRoots) -> Self {
        Self { known: Mutex::default(), roots }
    }

    /// The origin at `address`, spoken to as `tls` says; the same one for the same two, always.
    pub fn origin(&self, address: &UpstreamAddress, tls: Option<&Arc<TlsOutbound>>) -> Result<Arc<Origin>, TlsError> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let there = known.by_address.get(address).into_iter().flatten();
        if let Some((_, origin)) = there.into_iter().find(|(settings, _)| settings.as_ref() == tls) {
            return Ok(Arc::clone(origin));
        }
        let origin = Arc::new(self.make(&mut known.count, address, tls.map(Arc::as_ref))?);
        known.by_address.entry(address.clone()).or_default().push((tls.cloned(), Arc::clone(&origin)));
        Ok(origin)
    }

    fn make(
        &self,
        count: &mut usize,
        address: &UpstreamAddress,
        tls: Option<&TlsOutbound>,
    ) -> Result<Origin, TlsError> {
        let value =
            |text: String| HeaderValue::try_from(text).map_err(|_| TlsError::Name { host: address.host.clone() });
        let (authority, name) = (value(address.authority())?, value(address.name())?);
        let mut make = |tls, speaks, http1| {
            let id = OriginId(*count);
            *count += 1;
            let (address, authority, name) = (address.clone(), authority.clone(), name.clone());
            Origin { id, address, authority, name, tls, speaks, http1 }
        };
        let config = match address.scheme {
            Scheme::Http => return Ok(make(None, Speaks::Http1, None)),
            Scheme::H2 => return Ok(make(None, Speaks::Http2, None)),
            Scheme::Https => self.roots.client_config(tls)?,
        };
        let named = tls.and_then(|settings| settings.server_name.clone());
        let name = named.map_or_else(|| server_name(&address.host), Ok)?;
        let offers = |alpn: Alpn| config.alpn_protocols.iter().any(|offered| offered == alpn.as_bytes());
        match (offers(Alpn::H2), offers(Alpn::Http11)) {
            (false, _) => Ok(make(Some((config, name)), Speaks::Http1, None)),
            (true, false) => Ok(make(Some((config, name)), Speaks::Http2, None)),
            (true, true) => {
                let mut alone = ClientConfig::clone(&config);
                alone.alpn_protocols = vec![Alpn::Http11.as_bytes().to_vec()];
                let http1 = Arc::new(make(Some((Arc::new(alone), name.clone())), Speaks::Http1, None));
                Ok(make(Some((config, name)), Speaks::Either, Some(http1)))
            }
        }
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

    #[test]
    fn an_origin_keeps_its_id() {
        let origins = Origins::default();
        let first = origins.origin(&address(80), None).unwrap();
        let second = origins.origin(&address(81), None).unwrap();
        assert_ne!(first.id, second.id);
        assert!(Arc::ptr_eq(&first, &origins.origin(&address(80), None).unwrap()));
        assert_eq!(second.authority, "127.0.0.1:81");
    }

    #[test]
    fn a_tunnel_has_an_origin_that_offers_http1_alone() {
        let origins = Origins::default();
        let of =
            |scheme| origins.origin(&UpstreamAddress { scheme, host: "127.0.0.1".into(), port: 80 }, None).unwrap();
        let https = of(Scheme::Https);
        let alpn = |origin: &Origin| origin.tls.as_ref().unwrap().0.alpn_protocols.clone();
        assert_eq!((https.speaks, alpn(&https)), (Speaks::Either, vec![b"h2".to_vec(), b"http/1.1".to_vec()]));
        let tunnels = https.of_tunnels();
        assert_eq!((tunnels.speaks, alpn(tunnels)), (Speaks::Http1, vec![b"http/1.1".to_vec()]));
        assert_ne!(tunnels.id, https.id);
        for (scheme, speaks) in [(Scheme::Http, Speaks::Http1), (Scheme::H2, Speaks::Http2)] {
            let origin = of(scheme);
            assert_eq!((origin.speaks, origin.of_tunnels().id), (speaks, origin.id));
        }
    }
}
