//! TLS handshakes and nothing else: connect, shake hands, read the tickets, close. No request.

use super::Load;
use crate::tls::{self, Terms};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients at a time. Each waits for the proxy, so that a few keep it busy.
const CLIENTS: usize = 4;
/// Tickets that have not come by then are not sent by themselves.
const TICKETS: Duration = Duration::from_secs(1);

/// Whether it gives a ticket before it is asked anything. BoringSSL gives its tickets with the first answer.
pub fn gives_tickets(target: SocketAddr, terms: Terms) -> io::Result<bool> {
    let (mut stream, mut tls) = connect(target, &tls::client(terms, true).map_err(io::Error::other)?)?;
    stream.set_read_timeout(Some(TICKETS))?;
    match read_tickets(&mut tls, &mut stream) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Handshakes for `seconds`: each a full one, or each resuming what the one before was given.
pub fn run(target: SocketAddr, seconds: u64, terms: Terms, resumed: bool) -> io::Result<Load> {
    let tickets = terms.tickets_come_after() && gives_tickets(target, terms)?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let begun = Instant::now();
    let clients: Vec<io::Result<Load>> = std::thread::scope(|scope| {
        let started: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| client(target, deadline, terms, resumed, tickets))).collect();
        let gone = |_| Err(io::Error::other("a client panicked"));
        started.into_iter().map(|client| client.join().unwrap_or_else(gone)).collect()
    });
    let mut load = Load::default();
    for client in clients {
        let client = client?;
        load.requests += client.requests;
        load.errors += client.errors;
    }
    load.per_second = load.requests as f64 / begun.elapsed().as_secs_f64();
    Ok(load)
}

fn client(target: SocketAddr, deadline: Instant, terms: Terms, resumed: bool, tickets: bool) -> io::Result<Load> {
    // Its own store of tickets, each used once.
    let config = tls::client(terms, resumed).map_err(io::Error::other)?;
    let wanted = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
    if resumed {
        shake_hands(target, &config, tickets)?;
    }
    let mut load = Load::default();
    while Instant::now() < deadline {
        match shake_hands(target, &config, tickets) {
            Ok(kind) if kind == wanted => load.requests += 1,
            Ok(kind) => return Err(io::Error::other(format!("a handshake was `{kind:?}` and not `{wanted:?}`"))),
            Err(_) => load.errors += 1,
        }
    }
    Ok(load)
}

/// One handshake, up to the tickets that follow it if there are any, and an orderly end.
fn shake_hands(target: SocketAddr, config: &Arc<ClientConfig>, tickets: bool) -> io::Result<HandshakeKind> {
    let (mut stream, mut tls) = connect(target, config)?;
    if tickets {
        read_tickets(&mut tls, &mut stream)?;
    }
    tls.send_close_notify();
    tls.write_tls(&mut stream)?;
    if !tickets {
        // It has taken the end of the handshake when it closes, too.
        stream.shutdown(std::net::Shutdown::Write)?;
        while tls.read_tls(&mut stream).is_ok_and(|read| read > 0) {}
    }
    tls.handshake_kind().ok_or_else(|| io::Error::other("a handshake of no kind"))
}

fn connect(target: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<(TcpStream, ClientConnection)> {
    let mut stream = super::http::connect(target)?;
    let mut tls = ClientConnection::new(config.clone(), tls::server_name()).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok((stream, tls))
}

fn read_tickets(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.tls13_tickets_received() == 0 {
        if tls.read_tls(stream)? == 0 {
            return Err(io::Error::other("closed without a ticket"));
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(())
}
