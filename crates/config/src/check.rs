//! What no resource can see alone: names used twice, ports and base paths that clash.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::api::{Api, Listen};
use crate::error::ConfigError;
use crate::key::Key;
use crate::model::PeerGateway;
use crate::policy::ClientCertificates;
use crate::ports;
use crate::read::Place;
use crate::resources::Drafts;

/// Tells every clash, at the later of the two places, naming the earlier one.
pub(crate) fn check(drafts: &Drafts) -> Vec<ConfigError> {
    let (apis, settings) = (&drafts.apis, &drafts.settings);
    let mut errors = names(&drafts.names);
    let listens: Vec<_> = apis.iter().filter_map(|api| api.listen.as_ref()).collect();
    errors.extend(listeners(&listens));
    errors.extend(ports::mistakes(apis));
    let ports = [
        (Some(settings.admin()), "admin listener", settings.place("admin.address")),
        (settings.probe(), "probe port", settings.place("probe")),
        (settings.metrics(), "metrics port", settings.place("metrics.address")),
    ];
    let mut known: Vec<(SocketAddr, &str, Option<&Place>)> = Vec::new();
    for (address, owner, place) in ports {
        let Some(address) = address else { continue };
        let other = known.iter().find(|(known, ..)| overlap(address, *known));
        if let Some(((_, other, at), place)) = other.zip(place) {
            errors.push(place.error(taken(address, other, *at)));
        }
        known.push((address, owner, place));
    }
    for (listen, place) in &listens {
        let clash = known.iter().filter(|(address, ..)| overlap(listen.address, *address));
        errors.extend(clash.map(|(_, owner, at)| place.error(taken(listen.address, owner, *at))));
    }
    errors
}

/// Warns of each peer gateway whose certificate no port asks for: none would ever be recognised.
pub(crate) fn unseen_peers(peers: &[PeerGateway], apis: &[Api], place: &Place) -> Vec<ConfigError> {
    let asks = |api: &Api, port: Option<u16>| {
        let client = api.tls.as_ref().map(|tls| &tls.client);
        port.is_none_or(|port| port == api.listen.address.port())
            && matches!(client, Some(ClientCertificates::Required(_)))
    };
    let unseen = |peer: &PeerGateway| {
        let certificate = peer.certificate.as_ref()?;
        let port = peer.port.map_or_else(|| "no port asks".to_owned(), |port| format!("port {port} does not ask"));
        let is_seen = apis.iter().any(|api| asks(api, peer.port));
        (!is_seen).then(|| {
            place.error(format!(
                "`{certificate}` has no effect: {port} for client certificates; set `requireClientCertificate` in the policy `tls` of an API there"
            ))
        })
    };
    peers.iter().filter_map(unseen).collect()
}

fn taken(address: SocketAddr, owner: &str, place: Option<&Place>) -> String {
    let whose = place.map_or_else(|| "by default".to_owned(), |place| format!("at {place}"));
    format!("port {} is that of the {owner}, set {whose}; use another port", address.port())
}

fn names(names: &[(&'static str, Key, Place)]) -> Vec<ConfigError> {
    let mut first: HashMap<(&str, &Key), &Place> = HashMap::new();
    let mut errors = Vec::new();
    for (kind, key @ (namespace, name), place) in names {
        match first.entry((kind, key)) {
            Entry::Vacant(entry) => _ = entry.insert(place),
            Entry::Occupied(entry) => errors.push(place.error(format!(
                "`{name}` is also the name of the {kind} at {} in namespace `{namespace}`; rename one",
                entry.get(),
            ))),
        }
    }
    errors
}

/// Each listener against those before it on its port; one error for each that clashes.
fn listeners(listens: &[&(Listen, Place)]) -> Vec<ConfigError> {
    let mut ports: HashMap<u16, Vec<&(Listen, Place)>> = HashMap::new();
    let mut errors = Vec::new();
    for pair @ (listen, place) in listens {
        let earlier = ports.entry(listen.address.port()).or_default();
        if let Some((why, other)) = earlier.iter().find_map(|(other, at)| Some((clash(listen, other)?, at))) {
            errors.push(place.error(format!("{why} at {other}; {}", why.fix())));
        }
        earlier.push(pair);
    }
    errors
}

/// Why two listeners of one port cannot both be.
enum Clash {
    Scheme(u16),
    Address(SocketAddr),
    Path(String, String),
}

impl Clash {
    const fn fix(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "one port speaks either http or https",
            Self::Address(_) => "write the same IP address in both, or use another port",
            Self::Path(..) => "use base paths of which none begins with the other, or another port",
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(port) => write!(f, "port {port} is used with another scheme"),
            Self::Address(other) => write!(f, "the address overlaps with `{other}`"),
            Self::Path(mine, other) => write!(f, "base path `{mine}` clashes with `{other}`"),
        }
    }
}

fn clash(a: &Listen, b: &Listen) -> Option<Clash> {
    if !overlap(a.address, b.address) {
        return None;
    }
    let shown = |path: &str| if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    if a.scheme != b.scheme {
        Some(Clash::Scheme(a.address.port()))
    } else if a.address != b.address {
        Some(Clash::Address(b.address))
    } else if under(&a.base_path, &b.base_path) || under(&b.base_path, &a.base_path) {
        Some(Clash::Path(shown(&a.base_path), shown(&b.base_path)))
    } else {
        None
    }
}

/// Whether `path` is `base` or a path below it.
fn under(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether two sockets would want the same packets. Port 0 is another port each time, but one listener for one address.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = |ip: IpAddr| ip.is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || any(a.ip()) || any(b.ip()))
}
