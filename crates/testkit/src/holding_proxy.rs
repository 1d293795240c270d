//! A buffering proxy in front of ClickHouse: it passes everything on, but can keep back the next request of a kind and
//! deliver it later, whoever has gone meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The end of a body that is sent in chunks.
const END: &[u8] = b"\r\n0\r\n\r\n";

/// The running proxy; it ends with the runtime that it was spawned on.
pub struct HoldingProxy {
    pub address: SocketAddr,
    target: SocketAddr,
    marker: Arc<Mutex<Option<String>>>,
    held: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl HoldingProxy {
    /// Listens on a port of its own in front of `target`.
    pub async fn spawn(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let marker = Arc::new(Mutex::new(None));
        let (holds, held) = mpsc::unbounded_channel();
        let of_task = Arc::clone(&marker);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(pass(client, target, Arc::clone(&of_task), holds.clone()));
            }
        });
        Ok(Self { address, target, marker, held })
    }

    /// Keeps back the next POST whose head names `marker`.
    pub fn hold(&self, marker: &str) {
        *self.marker.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(marker.to_owned());
    }

    /// Waits until a request is held, whole.
    pub async fn held(&mut self) -> io::Result<Vec<u8>> {
        self.held.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Delivers what was held; the beginning of the answer.
    pub async fn deliver(&self, request: &[u8]) -> io::Result<String> {
        let mut server = TcpStream::connect(self.target).await?;
        server.write_all(request).await?;
        // Nothing comes after it, so that the answer ends with the connection.
        server.shutdown().await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn is_wanted(marker: &Mutex<Option<String>>, bytes: &[u8]) -> bool {
    let mut marker = marker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = bytes.starts_with(b"POST")
        && marker.as_ref().is_some_and(|marker| String::from_utf8_lossy(bytes).contains(marker.as_str()));
    if found {
        *marker = None;
    }
    found
}

async fn pass(
    client: TcpStream,
    target: SocketAddr,
    marker: Arc<Mutex<Option<String>>>,
    holds: mpsc::UnboundedSender<Vec<u8>>,
) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut kept: Option<Vec<u8>> = None;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from_client.read(&mut bytes).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        let bytes = &bytes[..read];
        if kept.is_none() && is_wanted(&marker, bytes) {
            kept = Some(Vec::new());
        }
        match &mut kept {
            Some(kept) => {
                kept.extend_from_slice(bytes);
                if kept.ends_with(END) {
                    drop(holds.send(std::mem::take(kept)));
                }
            }
            None => to_server.write_all(bytes).await?,
        }
    }
    answers.abort();
    Ok(())
}
