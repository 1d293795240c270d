//! What connections need, whoever's they are: sockets and TLS as one [`Stream`], with what is read and written [`Buffered`];
//! the addresses of a name, a connector of TCP, and a client's TLS from authorities and a key pair; and who a peer with a
//! certificate is.
//!
//! The border: nothing here knows Weir, HTTP or a protocol of its own. Pools and limits are whoever makes them.

mod buffered;
mod connector;
mod error;
mod names;
mod resolve;
mod socket;
mod stream;
mod tls;

pub use buffered::Buffered;
pub use connector::connector;
pub use error::causes;
pub use names::names_of_certificate;
pub use resolve::{Resolver, lookup, start_resolver};
pub use socket::Socket;
pub use stream::Stream;
pub use tls::{NoRoots, TlsError, client_tls, system_roots};
