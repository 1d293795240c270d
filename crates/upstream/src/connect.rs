//! A new connection: resolve, connect, TLS - under one deadline, each part timed.

use crate::connection::{Connection, Either};
use crate::descriptors::Descriptor;
use crate::dial::dial;
use crate::failure::Failure;
use crate::http2::Session;
use crate::lifetime::Lifetime;
use crate::line::Line;
use crate::origin::{Origin, Speaks};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use weir_config::policy::Alpn;
use weir_event::Instant;
use weir_event::{Attempt, micros};
use weir_transport::{Socket, Stream, lookup};

/// How long each part may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Resolving, connecting and the TLS handshake together.
    pub connect: Duration,
    /// A connection unused for longer is closed.
    pub idle: Duration,
    /// Fields that the head of a response may have.
    pub fields: usize,
}

/// Opens a connection to `origin` and books its times to `attempt`.
pub(crate) async fn connect(
    origin: &Arc<Origin>,
    timeouts: &Timeouts,
    attempt: &mut Attempt,
    descriptor: Descriptor,
) -> Result<Connection, Failure> {
    let started = Instant::now();
    let deadline = started + timeouts.connect;
    let late = || Failure::ConnectTimeout { target: origin.address.to_string(), seconds: timeouts.connect.as_secs() };
    let dialled = timeout_at(deadline.into_std().into(), reach(origin, attempt)).await;
    attempt.connect_us = micros(started.elapsed());
    let stream = dialled.map_err(|_| match attempt.address {
        Some(_) => late(),
        None => Failure::DnsTimeout { host: origin.address.host.clone(), seconds: timeouts.connect.as_secs() },
    })??;
    let address = stream.peer_addr().ok();
    let stream = Socket::from(stream);
    let peer = Peer { life: Lifetime::begin(origin, address), fields: timeouts.fields, descriptor };
    let Some((config, name)) = &origin.tls else {
        return peer.connection(Stream::Plain(stream), origin.speaks == Speaks::Http2).await;
    };
    let started = Instant::now();
    let shaken =
        timeout_at(deadline.into_std().into(), TlsConnector::from(config.clone()).connect(name.clone(), stream)).await;
    attempt.tls_us = micros(started.elapsed());
    let stream = shaken.map_err(|_| late())?;
    let stream = stream.map_err(|error| Failure::Tls { target: origin.address.to_string(), error })?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(Alpn::H2.as_bytes());
    if !is_http2 && origin.speaks == Speaks::Http2 {
        return Err(Failure::NoHttp2 { target: origin.address.to_string() });
    }
    peer.connection(Stream::Tls(Box::new(stream.into())), is_http2).await
}

/// Who has been reached.
struct Peer {
    life: Lifetime,
    fields: usize,
    descriptor: Descriptor,
}

impl Peer {
    async fn connection(self, stream: Stream, is_http2: bool) -> Result<Connection, Failure> {
        let Self { life, fields, descriptor } = self;
        if !is_http2 {
            return Ok(Connection(Either::Http1(Line::new(life, stream, fields, descriptor))));
        }
        let target = life.origin.address.to_string();
        let begun = Session::begin(life, stream, fields, descriptor).await;
        let place = begun.ok().and_then(|session| session.place());
        let error = || Failure::Connect { target, error: io::ErrorKind::ConnectionAborted.into() };
        place.map(|place| Connection(Either::Http2(Box::new(place)))).ok_or_else(error)
    }
}

/// Resolves the name and connects to one of its addresses.
async fn reach(origin: &Origin, attempt: &mut Attempt) -> Result<TcpStream, Failure> {
    let host = &origin.address.host;
    let addresses = resolve(origin).await?;
    let error = match dial(addresses, &mut attempt.address).await {
        Ok(stream) => {
            // Without Nagle: a request head must not wait for the acknowledgement of the one before.
            stream.set_nodelay(true).ok();
            return Ok(stream);
        }
        Err(error) => error,
    };
    match attempt.address {
        Some(address) if error.kind() == io::ErrorKind::AddrNotAvailable && has_source(address) => {
            Err(Failure::NoLocalPort { target: origin.address.to_string() })
        }
        Some(_) => Err(Failure::Connect { target: origin.address.to_string(), error }),
        None => Err(Failure::Dns { host: host.clone(), error }),
    }
}

/// Whether this machine has an address to reach `address` from: then what it lacks is a port. UDP has ports of its own.
fn has_source(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = (&origin.address.host, origin.address.port);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if let Some(known) = origin.addresses.fresh(Instant::now()) {
        return Ok(known);
    }
    let found = lookup(host, port).await.map_err(|error| Failure::Dns { host: host.clone(), error })?;
    origin.addresses.learn(&found, Instant::now());
    Ok(found)
}
