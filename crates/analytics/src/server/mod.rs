//! The one door: ingest, query API, page and health over HTTP/1.1.
//!
//! Bounded in everything that a client decides: connections, head time, body size, body time, bytes in flight.

pub mod admin;
mod answer;
mod clock;
mod deadletters;
pub mod document;
mod ingest;
mod ledger;
mod page;
mod queries;

use crate::audit::Auditor;
use crate::ingest::Ingest;
use crate::store::Store;
use crate::tokens::Tokens;
use admin::Admin;
use answer::{Answer, not_allowed, text};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// What the server serves from.
pub struct Server {
    pub ingest: Ingest,
    pub store: Store,
    pub tokens: watch::Receiver<Arc<Tokens>>,
    pub auditor: Auditor,
    admin: Admin,
    room: Arc<Semaphore>,
    clock: clock::ClockWatch,
}

const CONNECTIONS: usize = 1024;
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Bytes of chunks in memory that have not been answered, in KiB: what a crowd of gateways may make this cost.
const ROOM_KIB: usize = 256 * 1024;
/// How long requests that are under way get to finish at the end.
const DRAIN: Duration = Duration::from_secs(30);

impl Server {
    /// `clock` is how far a gateway's clock may differ from this machine's.
    pub fn new(
        ingest: Ingest,
        store: Store,
        tokens: watch::Receiver<Arc<Tokens>>,
        admin: Admin,
        clock: Duration,
    ) -> Self {
        let clock = clock::ClockWatch::new(clock);
        let auditor = Auditor::new(store.clone());
        Self { ingest, store, tokens, auditor, admin, room: Arc::new(Semaphore::new(ROOM_KIB)), clock }
    }

    /// Serves until `stop` turns true, then finishes what is under way.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let server = Arc::new(self);
        tokio::spawn(server.auditor.clone().run(stop.clone()));
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _unwanted_delay = stream.set_nodelay(true);
                    let (server, stop) = (Arc::clone(&server), stop.clone());
                    tokio::spawn(async move {
                        connection(server, stream, peer, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN, connections.acquire_many(all)).await.is_err() {
            tracing::warn!("connections were still busy at the end of the drain time");
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        // Gateways call by whatever name leads here, and show a token; so do probes, which read nothing.
        let is_read = !path.starts_with("/v1/") && path != "/healthz";
        if is_read && let Err(denied) = self.admin.called(&request) {
            return denied.answer();
        }
        match (&method, path.as_str()) {
            (&Method::POST, "/v1/chunks") => self.chunk(request).await,
            (&Method::POST, "/v1/streams") => self.streams(request).await,
            (&Method::GET | &Method::HEAD, "/") => page::page(),
            (&Method::GET | &Method::HEAD, "/healthz") => self.health().await,
            (&Method::GET, "/api/v1/deadletters" | "/api/v1/deadletters/show") => self.dead_letters(&request).await,
            (&Method::POST, "/api/v1/deadletters/replay") => self.dead_replay(&request).await,
            (&Method::POST, "/api/v1/ledger/verify") => self.verify().await,
            (&Method::POST, "/api/v1/ledger/acknowledge") => self.acknowledge(request).await,
            (&Method::GET, path) if path.starts_with("/api/v1/") => self.api(&path["/api/v1/".len()..], &query).await,
            (_, "/v1/chunks" | "/v1/streams") => not_allowed("POST"),
            (_, "/" | "/healthz") => not_allowed("GET, HEAD"),
            _ => text(StatusCode::NOT_FOUND, "nothing is here; the page is at /"),
        }
    }

    /// 200 when the engine answers, 503 when not; a line for what an operator should know besides.
    async fn health(&self) -> Answer {
        match self.store.number("SELECT toUInt64(1)", &[]).await {
            Ok(_) => {
                let mut lines = vec!["ok".to_owned(), self.ingest.role()];
                lines.extend(self.clock.lines());
                text(StatusCode::OK, &lines.join("\n"))
            }
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }
}

async fn connection(
    server: Arc<Server>,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(admin::Peer(peer));
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.route(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Returns when the program is to stop. The borrow of the channel must not be held across what follows.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _told = stop.wait_for(|stop| *stop).await.is_ok();
}
