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
use weir_config::policy::TlsOutbound;
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
        let origin = Arc::new(self.make(OriginId(known.count), address, tls.map(Arc::as_ref))?);
        known.count += 1;
        known.by_address.entry(address.clone()).or_default().push((tls.cloned(), Arc::clone(&origin)));
        Ok(origin)
    }

    fn make(&self, id: OriginId, address: &UpstreamAddress, tls: Option<&TlsOutbound>) -> Result<Origin, TlsError> {
        let value =
            |text: String| HeaderValue::try_from(text).map_err(|_| TlsError::Name { host: address.host.clone() });
        let (authority, host) = (value(address.authority())?, value(address.name())?);
        let tls = match address.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let named = tls.and_then(|settings| settings.server_name.clone());
                let name = named.map_or_else(|| server_name(&address.host), Ok)?;
                Some((self.roots.client_config(tls)?, name))
            }
        };
        Ok(Origin { id, address: address.clone(), authority, name: host, tls })
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
}
