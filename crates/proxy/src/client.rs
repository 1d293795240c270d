//! Who is at the other end of a connection, as all requests on it know it.

use crate::forwarded::both;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use http::HeaderValue;
use rustls::ServerConfig;
use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use weir_config::PeerGateway;
use weir_event::{Scheme, TlsVersion};
use weir_http1::Lines;

/// A client, and where it came in.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    /// The listener's address as configured.
    pub(crate) listener: SocketAddr,
    pub(crate) peer: IpAddr,
    /// The peer's address as text, made once for all requests.
    pub(crate) peer_text: HeaderValue,
    /// What is said of it to upstreams.
    forwarded: OnceCell<Lines>,
    /// What to shake hands with; `None` in the clear.
    pub(crate) acceptor: Option<Arc<ServerConfig>>,
    /// A generation of the configuration, and whether by it requests of the peer enter the fleet here.
    entry: Cell<(u32, bool)>,
    /// Version and cipher suite.
    tls: Cell<(TlsVersion, &'static str)>,
    /// Of the client's certificate, where it has shown one and the port's authorities vouch for it.
    names: OnceCell<Vec<String>>,
}

impl Client {
    /// `acceptor` is what to shake hands with where the port speaks TLS.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listener: SocketAddr,
        peer: SocketAddr,
        acceptor: Option<Arc<ServerConfig>>,
    ) -> Self {
        let peer = peer.ip().to_canonical();
        let peer_text = HeaderValue::from_str(&peer.to_string()).expect("an IP address is visible ASCII");
        Self {
            worker,
            listener,
            peer,
            peer_text,
            forwarded: OnceCell::new(),
            acceptor,
            entry: Cell::new((0, true)),
            tls: Cell::new((TlsVersion::None, "")),
            names: OnceCell::new(),
        }
    }

    /// The handshake is over: version and cipher suite, and the names in the client's certificate if it has shown one.
    pub(crate) fn has_shaken_hands(&self, tls: (TlsVersion, &'static str), names: Option<Vec<String>>) {
        self.tls.set(tls);
        if let Some(names) = names {
            let _first = self.names.set(names);
        }
    }

    pub(crate) fn tls(&self) -> (TlsVersion, &'static str) {
        self.tls.get()
    }

    /// The scheme by which it asks. It stays, for it is first looked at behind the handshake.
    pub(crate) fn proto(&self) -> &'static str {
        let scheme = if self.tls.get().0 == TlsVersion::None { Scheme::Http } else { Scheme::Https };
        scheme.as_str()
    }

    /// What upstreams are told of it where it says nothing itself.
    pub(crate) fn forwarded(&self) -> &Lines {
        self.forwarded.get_or_init(|| Lines::from(&both(&self.peer_text, self.proto())))
    }

    /// The port speaks TLS and the client does not.
    pub(crate) fn is_in_clear_by_mistake(&self) -> bool {
        self.acceptor.is_some() && self.tls.get().0 == TlsVersion::None
    }

    /// Whether a request that `snapshot` serves enters the fleet here: its peer is no gateway of the fleet. Only the
    /// socket and the client's certificate are asked, for any client can send the headers that a gateway sends. Found out
    /// once for a connection and a generation, so that a reload counts for connections that are kept, too.
    pub(crate) fn is_entry(&self, snapshot: &Snapshot) -> bool {
        let (generation, entry) = self.entry.get();
        if generation == snapshot.generation {
            return entry;
        }
        let names = self.names.get().map(Vec::as_slice).unwrap_or_default();
        let is_this = |gateway: &PeerGateway| gateway.is(self.peer, self.listener.port(), names);
        let entry = !snapshot.peer_gateways.iter().any(is_this);
        self.entry.set((snapshot.generation, entry));
        entry
    }

    /// Whether the port has since begun to speak TLS, or to ask clients for other certificates: who came in before that
    /// has not shown them. (A new certificate of the port itself changes nothing here: its ticket keys are kept.)
    pub(crate) fn is_of_other_terms(&self) -> bool {
        let snapshot = self.worker.snapshot();
        let Some(index) = snapshot.listener(self.listener) else { return false };
        match (&self.acceptor, &snapshot.listeners[index].acceptor) {
            (None, None) => false,
            (Some(ours), Some(theirs)) => {
                !std::ptr::addr_eq(Arc::as_ptr(&ours.ticketer), Arc::as_ptr(&theirs.ticketer))
            }
            _ => true,
        }
    }
}
