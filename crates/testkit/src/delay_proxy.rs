//! A long way: a TCP proxy that delivers everything a while later, each direction for itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How late a timer of the runtime may be, which is no part of the way.
const TIMER: Duration = Duration::from_millis(2);

/// Listens on a port of its own in front of `target`; what comes in is delivered `delay` later, and so is what comes back.
/// It ends with the runtime that it was spawned on.
pub async fn spawn(target: SocketAddr, delay: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(target).await else { return };
                // One that waits for more to send would be a delay of its own.
                if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
                    return;
                }
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::join!(pass(from_client, to_server, delay), pass(from_server, to_client, delay));
            });
        }
    });
    Ok(address)
}

/// Until the sender's end, which is passed on as well.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (send, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if send.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = waiting.recv().await {
            sleep_until(due.checked_sub(TIMER).unwrap_or(due)).await;
            while Instant::now() < due {
                tokio::task::yield_now().await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Whoever has gone needs no end.
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}
