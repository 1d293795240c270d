//! What every outgoing connection needs: the addresses of a name, and whom TLS trusts; and who a peer with a certificate is.
//!
//! The border: nothing here knows Weir, HTTP or a protocol of its own. Connections, pools and limits are whoever makes
//! them.

mod error;
mod names;
mod resolve;
mod tls;

pub use error::causes;
pub use names::names_of_certificate;
pub use resolve::{Resolver, lookup, start_resolver};
pub use tls::{NoRoots, client_config, system_roots};
