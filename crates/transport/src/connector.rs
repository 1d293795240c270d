//! TCP connections for the clients of hyper-util.

use crate::resolve::Resolver;
use hyper_util::client::legacy::connect::HttpConnector;

/// Connects to names by [`Resolver`], and sends what is written at once (no Nagle, RFC 896). It takes addresses of `https`
/// as well, for whoever puts TLS around it.
pub fn connector() -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}
