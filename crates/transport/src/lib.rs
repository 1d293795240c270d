//! What every outgoing connection needs: the addresses of a name, a connector of TCP, and a client's TLS from authorities and
//! a key pair; and who a peer with a certificate is.
//!
//! The border: nothing here knows Weir, HTTP or a protocol of its own. Pools and limits are whoever makes them.

mod connector;
mod error;
mod names;
mod resolve;
mod tls;

pub use connector::connector;
pub use error::causes;
pub use names::names_of_certificate;
pub use resolve::{Resolver, lookup, start_resolver};
pub use tls::{NoRoots, TlsError, client_tls, system_roots};
