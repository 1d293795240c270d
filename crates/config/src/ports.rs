//! TLS belongs to a port, and is written at any of the port's APIs: which port has which, and what is wrong with that.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::api::{Listen, Scheme};
use crate::error::ConfigError;
use crate::policy::Tls;
use crate::read::{Errors, Place};
use crate::resources::ApiDraft;

/// The TLS of each address that has it.
pub(crate) fn tls(apis: &[ApiDraft]) -> HashMap<SocketAddr, Arc<Tls>> {
    let mut ports = HashMap::new();
    for (listen, _, tls) in bound(apis) {
        ports.entry(listen.address).or_insert_with(|| Arc::new(tls.clone()));
    }
    ports
}

/// A port to which a `tls` policy is bound speaks TLS, whatever scheme the addresses of its APIs are written with: what
/// was asked to be encrypted is never served in clear text, also where the policy itself could not be read.
pub(crate) fn settle(apis: &mut [ApiDraft], warnings: &Errors) {
    let encrypted: HashSet<_> = apis.iter().filter(|api| !api.tls.is_empty()).filter_map(ApiDraft::address).collect();
    let listens = apis.iter_mut().filter_map(|api| api.listen.as_mut());
    for (listen, place) in listens.filter(|(listen, _)| encrypted.contains(&listen.address)) {
        if listen.scheme == Scheme::Http {
            listen.scheme = Scheme::Https;
            let port = listen.address.port();
            let said =
                format!("port {port} speaks TLS, for a `tls` policy is bound to it; write the address with `https`");
            warnings.borrow_mut().push(place.error(said));
        }
    }
}

/// An https address without a `tls` policy, and one with two that differ.
pub(crate) fn mistakes(apis: &[ApiDraft]) -> Vec<ConfigError> {
    let mut first: HashMap<SocketAddr, (&Tls, &Place)> = HashMap::new();
    let mut errors = Vec::new();
    for (listen, place, tls) in bound(apis) {
        let (other, at) = *first.entry(listen.address).or_insert((tls, place));
        if other != tls {
            let port = listen.address.port();
            errors.push(place.error(format!("port {port} has another `tls` at {at}; one port has one: remove one")));
        }
    }
    let with: HashSet<_> = apis.iter().filter(|api| !api.tls.is_empty()).filter_map(ApiDraft::address).collect();
    let listens = apis.iter().filter_map(|api| api.listen.as_ref());
    let bare = listens.filter(|(listen, _)| listen.scheme == Scheme::Https && !with.contains(&listen.address));
    errors.extend(bare.map(|(_, place)| {
        place.error("an https address needs a `tls` policy at one of its APIs; add one, or use `http`".to_owned())
    }));
    errors
}

fn bound(apis: &[ApiDraft]) -> impl Iterator<Item = (&Listen, &Place, &Tls)> {
    apis.iter().flat_map(|api| {
        let listen = api.listen.as_ref().map(|(listen, _)| listen);
        let read = api.tls.iter().filter_map(|(tls, place)| Some((tls.as_ref()?, place)));
        listen.into_iter().flat_map(move |listen| read.clone().map(move |(tls, place)| (listen, place, tls)))
    })
}
