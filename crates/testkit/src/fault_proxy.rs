//! What stands between a gateway and weir-analytics, and misbehaves as networks do: a proxy that passes bytes on, or
//! answers for somebody else, or swallows, refuses, loses or changes them.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it treats connections. A change ends those that are open, but for [`Mode::HalfOpen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a network that is well.
    Pass,
    /// Every request gets this status and body: a portal, a gateway time-out, a wrong port.
    Answer(u16, &'static str),
    /// Takes everything and never answers: a firewall that has forgotten the connection.
    Swallow,
    /// Swallows what comes on the connections that are open now, and passes new ones: a firewall that was restarted.
    HalfOpen,
    /// Closes at once.
    Refuse,
    /// Passes requests on, and loses the answers.
    LoseAnswers,
    /// Changes a byte of every body that is long enough.
    ChangeBodies,
}

/// The running proxy; it ends with the runtime that it was spawned on.
pub struct FaultProxy {
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
}

/// Bytes of a request's stream after which one is changed: past the head, within the body.
const CHANGED: usize = 600;

impl FaultProxy {
    /// Listens on a port of its own in front of `target`.
    pub async fn spawn(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            // As long as it lives: an error of one connection is that connection's.
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(client, target, modes.clone()));
            }
        });
        Ok(Self { address, mode })
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(mut client: TcpStream, target: SocketAddr, mut modes: watch::Receiver<Mode>) {
    let mode = *modes.borrow_and_update();
    let changed = tokio::select! {
        _ended = treat(&mut client, target, mode) => false,
        changed = modes.changed() => changed.is_ok(),
    };
    if changed && *modes.borrow_and_update() == Mode::HalfOpen {
        tokio::select! {
            _ended = swallow(&mut client) => {}
            _changed = modes.changed() => {}
        }
    }
}

async fn treat(client: &mut TcpStream, target: SocketAddr, mode: Mode) -> io::Result<()> {
    match mode {
        Mode::Pass | Mode::HalfOpen => {
            let mut server = TcpStream::connect(target).await?;
            copy_bidirectional(client, &mut server).await.map(|_| ())
        }
        Mode::Answer(status, body) => answer(client, status, body).await,
        Mode::Swallow => swallow(client).await,
        Mode::Refuse => Ok(()),
        Mode::LoseAnswers => lose_answers(client, target).await,
        Mode::ChangeBodies => change_bodies(client, target).await,
    }
}

async fn swallow(client: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 16 * 1024];
    while client.read(&mut bytes).await? > 0 {}
    Ok(())
}

async fn answer(client: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let mut request = Vec::new();
    let mut bytes = [0; 16 * 1024];
    while !is_whole(&request) {
        let read = client.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..read]);
    }
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let body = if status == 204 { "" } else { body };
    client.write_all(format!("HTTP/1.1 {status} Foreign\r\n{length}connection: close\r\n\r\n{body}").as_bytes()).await
}

/// Whether a request's head and body are in.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    request.len() >= head + 4 + length.unwrap_or(0)
}

async fn lose_answers(client: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_server) = (client.split().0, server.split());
    let mut first = [0; 1];
    tokio::select! {
        copied = tokio::io::copy(&mut from_client, &mut to_server.1) => copied.map(|_| ()),
        // An answer comes: whoever sent it believes that it arrives.
        read = to_server.0.read(&mut first) => read.map(|_| ()),
    }
}

async fn change_bodies(client: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let change = async {
        let (mut bytes, mut seen) = ([0; 16 * 1024], 0);
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            if let Some(at) = CHANGED.checked_sub(seen).filter(|at| *at < read) {
                bytes[at] ^= 0x20;
            }
            seen += read;
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        changed = change => changed,
        copied = tokio::io::copy(&mut from_server, &mut to_client) => copied.map(|_| ()),
    }
}
