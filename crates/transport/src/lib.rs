//! What every outgoing connection needs: the addresses of a name, and whom TLS trusts.
//!
//! The border: nothing here knows Weir, HTTP or a protocol of its own. Connections, pools and limits are whoever makes
//! them.

mod error;
mod resolve;
mod tls;

pub use error::causes;
pub use resolve::{Resolver, lookup, start_resolver};
pub use tls::{NoRoots, client_config, system_roots};
