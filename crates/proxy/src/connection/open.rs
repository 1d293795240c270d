//! The first bytes: the TLS handshake where the port has one, and whether HTTP/1.1 or HTTP/2 follows.
//!
//! Over TLS the protocol is what ALPN settled (RFC 7301). In the clear it is HTTP/2 if the connection begins with
//! HTTP/2's preface (prior knowledge, RFC 9113 3.3); what was read to see that is handed on.

use super::{Connection, Kind};
use bytes::BytesMut;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;
use weir_event::TlsVersion;
use weir_http1::Reader;
use weir_transport::{Socket, Stream, names_of_certificate};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at once while looking for the preface: most requests whole.
const AHEAD: usize = 2048;

/// A connection whose language is known.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// What was read to find out.
    pub(super) ahead: BytesMut,
    pub(super) http2: bool,
}

/// `None` where the client left, or the handshake failed: there is nobody to answer.
pub(super) async fn open(connection: &Connection, tcp: TcpStream) -> Option<Opened> {
    match &connection.client.acceptor {
        // Boxed: a handshake's state is large, and is gone after it.
        Some(config) => Box::pin(secure(connection, tcp, Arc::clone(config))).await,
        None => sniff(connection, tcp).await.ok(),
    }
}

async fn secure(connection: &Connection, tcp: TcpStream, config: Arc<ServerConfig>) -> Option<Opened> {
    let stats = connection.worker().stats();
    let mut first = [0];
    if tcp.peek(&mut first).await.ok()? == 1 && first[0].is_ascii_uppercase() {
        // A request in the clear: it is refused in its own language.
        connection.kind.set(Kind::Http1);
        connection.head_has_begun();
        stats.handshake_failed();
        return Some(Opened { stream: Stream::Plain(tcp.into()), ahead: BytesMut::new(), http2: false });
    }
    match TlsAcceptor::from(config).accept(Socket::from(tcp)).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            stats.handshake(session.handshake_kind() == Some(HandshakeKind::Resumed));
            let own = session.peer_certificates().and_then(<[_]>::first);
            connection.client.has_shaken_hands(facts(session), own.map(names_of_certificate));
            let http2 = session.alpn_protocol() == Some(b"h2");
            Some(Opened { stream: Stream::Tls(Box::new(stream.into())), ahead: BytesMut::new(), http2 })
        }
        Err(error) => {
            stats.handshake_failed();
            debug!(peer = %connection.client.peer, listener = %connection.client.listener, %error, "TLS handshake failed");
            None
        }
    }
}

fn facts(session: &ServerConnection) -> (TlsVersion, &'static str) {
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::None,
    };
    (version, session.negotiated_cipher_suite().map_or("", |suite| iana(suite.suite())))
}

/// The registry's name; rustls spells those of TLS 1.3 its own way.
fn iana(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}

/// Reads until what came is HTTP/2's preface, or cannot become it.
async fn sniff(connection: &Connection, mut tcp: TcpStream) -> io::Result<Opened> {
    // An idle connection holds no buffer: it is made when there is something to read.
    tcp.readable().await?;
    let mut ahead = BytesMut::with_capacity(AHEAD);
    loop {
        let ended = tcp.read_buf(&mut ahead).await? == 0;
        let seen = ahead.len().min(PREFACE.len());
        let same = ahead[..seen] == PREFACE[..seen];
        // Within the preface nothing was asked for yet; fewer bytes of it may be those of a POST or a PROPFIND.
        if ended && (ahead.is_empty() || same && seen >= "PRI".len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if Reader::has_begun(&ahead) {
            connection.head_has_begun();
        }
        if ended || !same || seen == PREFACE.len() {
            let http2 = same && seen == PREFACE.len();
            return Ok(Opened { stream: Stream::Plain(tcp.into()), ahead, http2 });
        }
    }
}
