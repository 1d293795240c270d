//! One port for all: ingest, query API, page and health over HTTP/1.1.
//!
//! Bounded in everything that a client decides: connections, head time, body size, body time, bytes in flight, queries, and
//! the time for reading an answer. What one kind of client takes, no other lacks: gateways, readers and probes have
//! places of their own ([`places`], [`readers`], [`health`]).

pub mod admin;
mod answer;
mod blame;
mod clock;
mod dashboards;
mod deadletters;
mod document;
mod entrance;
mod events;
mod guarded;
mod health;
mod ingest;
mod ledger;
#[cfg(test)]
mod limits;
mod login;
mod metrics;
mod origin;
mod page;
mod places;
mod queries;
mod readers;
mod sessions;
mod shared;
pub mod tls;

use crate::audit::Auditor;
use crate::gauges::GaugesSink;
use crate::ingest::Ingest;
use crate::readers::{Reader, Role};
use crate::store::{Costs, Store, StoreError};
use crate::tokens::Tokens;
use admin::Admin;
use answer::{Answer, again, described, not_allowed, refused, text};
pub use entrance::ReaderFile;
use entrance::{Caller, Entrance};
use guarded::Guarded;
use health::Health;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
pub use places::Bounds;
use places::{Client, OVER, Place, Places};
use readers::Readers;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use weir_api::operations::{self, ANALYTICS, Access, Analytics as Operation, Dashboards as Asked};
use weir_api::routes::{Found, Routes};

/// What the server serves from.
pub struct Server {
    pub ingest: Ingest,
    pub store: Store,
    pub tokens: watch::Receiver<Arc<Tokens>>,
    pub auditor: Auditor,
    /// For everything that is only asked: at bounded costs.
    reading: Store,
    /// As `reading`, for the queries of dashboards.
    reading_dashboards: Store,
    /// For files of events.
    reading_exports: Store,
    exporting: Arc<Semaphore>,
    /// What those answered within the last seconds.
    shared: shared::Shared<dashboards::Question>,
    admin: Admin,
    entrance: Entrance,
    room: Arc<Semaphore>,
    clock: clock::ClockWatch,
    answered: metrics::Answered,
    gauges: GaugesSink,
    bounds: Bounds,
    places: Arc<Places>,
    readers: Arc<Readers>,
    /// It takes minutes and reads every row: one at a time, so that it never takes the places of several queries.
    verifying: Arc<Semaphore>,
    health: Health,
    routes: Routes<Operation>,
}

/// Who may do what.
pub struct People {
    /// Of gateways.
    pub tokens: watch::Receiver<Arc<Tokens>>,
    /// Of readers; without a file only this machine reads.
    pub readers: Option<ReaderFile>,
    pub admin: Admin,
    /// Whether the port is on loopback.
    pub is_local: bool,
}

/// What an operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How far a gateway's clock may differ from this machine's.
    pub max_clock_difference: Duration,
    pub bounds: Bounds,
    /// The longest that ClickHouse works on a reader's query.
    pub query_time: Duration,
}

/// By what TLS is spoken, as it is now.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// For a head on a connection that had one before, and how long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(15);
/// Bytes of chunks in memory that have not been answered, in KiB: what a crowd of gateways may make this cost.
const ROOM_KIB: usize = 256 * 1024;
/// How long requests that are under way get to finish at the end.
const DRAIN: Duration = Duration::from_secs(30);

impl Server {
    /// # Errors
    /// The machine has no root certificates, and ClickHouse is spoken to by `https`.
    pub fn new(ingest: Ingest, store: Store, people: People, settings: Settings) -> Result<Self, StoreError> {
        let People { tokens, readers, admin, is_local } = people;
        let bounds = settings.bounds;
        let reading = store.for_readers(Costs::of_reader(settings.query_time))?;
        let reading_dashboards = store.for_dashboards(Costs::of_dashboards(settings.query_time))?;
        let reading_exports = store.for_exports(Costs::of_export(settings.query_time))?;
        Ok(Self {
            reading_exports,
            exporting: Arc::new(Semaphore::new(events::FILES)),
            ingest,
            tokens,
            auditor: Auditor::new(store.clone()),
            admin,
            entrance: Entrance::new(readers, is_local),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            clock: clock::ClockWatch::new(settings.max_clock_difference),
            answered: metrics::Answered::default(),
            gauges: GaugesSink::start(store.clone()),
            bounds,
            places: Places::new(bounds),
            readers: Readers::new(bounds),
            verifying: Arc::new(Semaphore::new(1)),
            health: Health::new(reading.clone()),
            routes: Routes::new(ANALYTICS),
            reading,
            reading_dashboards,
            shared: shared::Shared::default(),
            store,
        })
    }

    /// Serves until `stop` turns true, then finishes what is under way.
    pub async fn serve(self, listener: TcpListener, tls: Option<Tls>, mut stop: watch::Receiver<bool>) {
        let server = Arc::new(self);
        tokio::spawn(server.auditor.clone().run(stop.clone()));
        let most = server.bounds.connections + OVER;
        let connections = Arc::new(Semaphore::new(most));
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
                    let tls = tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
                    let place = Arc::new(server.places.take(peer.ip()));
                    tokio::spawn(async move {
                        placed(server, Socket { stream, peer, tls }, place, stop).await;
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
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN, connections.acquire_many(all)).await.is_err() {
            tracing::warn!("connections were still busy at the end of the drain time");
        }
    }

    async fn route(self: Arc<Self>, mut request: Request<Incoming>, client: Client) -> Answer {
        let path = request.uri().path().to_owned();
        let found = self.routes.find(request.method().as_str(), &path);
        // Gateways call by whatever name leads here, and show a token; so do probes and Prometheus, which read no event.
        let is_read = !path.starts_with("/v1/") && path != "/healthz" && path != "/metrics";
        if is_read && let Err(denied) = self.admin.called(&request) {
            return denied.answer();
        }
        let (operation, id) = match found {
            Found::Operation(operation, id) => (operation, id),
            Found::OtherMethods(allowed) => return not_allowed(&allowed),
            Found::Nothing => return text(StatusCode::NOT_FOUND, "nothing is here; the page is at /"),
        };
        let reader = match self.admitted(&mut request, operation, client).await {
            Ok(reader) => reader,
            Err(answer) => return *answer,
        };
        let params = request.uri().query().unwrap_or_default().to_owned();
        match operation {
            Operation::Chunks => self.chunk(request).await,
            Operation::Streams => self.streams(request).await,
            Operation::Page | Operation::DashboardPage | Operation::TailPage => page::page(),
            Operation::LivePage => page::live(),
            Operation::LoginPage => self.login_form(&params),
            Operation::Login => self.login(request, client).await,
            Operation::Logout => self.logout(&request),
            Operation::OpenApi => described(),
            Operation::Health => self.health().await,
            Operation::Metrics => self.metrics(&request),
            Operation::DeadLetters => self.dead_letters(&request).await,
            Operation::DeadLetterEvents => self.dead_letter_events(&request).await,
            Operation::Replay => self.dead_replay(&request).await,
            Operation::Acknowledge => self.acknowledge(request).await,
            Operation::Verify => self.verify_all(client).await,
            Operation::Dashboards(Asked::List) => dashboards::list(),
            Operation::Dashboards(Asked::One) => dashboards::one(id),
            Operation::Dashboards(query @ (Asked::Panel | Asked::Annotation | Asked::Variable)) => {
                self.dashboard(client, query, (id, &params), &reader.scope).await
            }
            Operation::Blame => {
                let server = Arc::clone(&self);
                self.queried(client, async move { server.blame(&params, &reader.scope).await }).await
            }
            Operation::Events => self.events(client, &params, &reader.scope).await,
            Operation::Query(query) => {
                let (server, id) = (Arc::clone(&self), id.to_owned());
                self.queried(client, async move { server.api(query, &id, &params, &reader).await }).await
            }
        }
    }

    /// Whose questions these are, or why they are not answered. Who it is stays with the request, for what only an
    /// administrator may.
    async fn admitted(
        &self,
        request: &mut Request<Incoming>,
        operation: Operation,
        client: Client,
    ) -> Result<Arc<Reader>, Box<Answer>> {
        let access = operations::access_of(operation);
        let nobody = || Ok(Arc::new(Reader::of_this_machine()));
        if !matches!(access, Access::Reader | Access::Administrator) {
            return nobody();
        }
        if operation == Operation::Verify
            && let Err(foreign) = origin::own_page(request)
        {
            return Err(foreign);
        }
        if self.entrance.is_open() && access == Access::Reader {
            return nobody();
        }
        let caller = self.entrance.caller(request.headers(), client, self.admin.token()).await;
        let caller = caller.map_err(|failed| Box::new(failed.answer()))?;
        request.extensions_mut().insert(caller.clone());
        match caller {
            Caller::Known(reader) if operation == Operation::Verify && reader.role != Role::Admin => {
                self.admin.check(request).map(|_| Arc::clone(&reader)).map_err(|denied| Box::new(denied.answer()))
            }
            Caller::Known(reader) => Ok(reader),
            Caller::Nobody if access == Access::Administrator => nobody(),
            Caller::Nobody if operation.is_page() => {
                let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
                Err(Box::new(login::to_login(target)))
            }
            Caller::Nobody => Err(Box::new(self.entrance.closed(self.admin.token().is_some()))),
        }
    }

    /// An audit of every day, one at a time.
    async fn verify_all(self: Arc<Self>, client: Client) -> Answer {
        let Ok(alone) = Arc::clone(&self.verifying).try_acquire_owned() else {
            return again("an audit of every day is under way; ask again when it is done", 10);
        };
        let server = Arc::clone(&self);
        let verify = async move {
            let answer = server.verify().await;
            drop(alone);
            answer
        };
        self.queried(client, verify).await
    }

    /// What `query` answers, in a place of `client` among the queries. It goes on where the client leaves, since
    /// ClickHouse does.
    async fn queried(&self, client: Client, query: impl Future<Output = Answer> + Send + 'static) -> Answer {
        let place = match self.readers.enter(client).await {
            Ok(place) => place,
            Err(crowded) => return crowded.answer(),
        };
        let asked = tokio::spawn(async move { readers::holding(query.await, place).await });
        asked.await.unwrap_or_else(|_| refused(StatusCode::INTERNAL_SERVER_ERROR, "the query ended by a panic"))
    }
}

/// What a connection was accepted with.
struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
}

/// Serves one connection for as long as it has its place.
async fn placed(server: Arc<Server>, socket: Socket, place: Arc<Place>, stop: watch::Receiver<bool>) {
    let peer = socket.peer;
    tokio::select! {
        () = shaken(Arc::clone(&server), socket, Arc::clone(&place), stop) => {}
        () = place.needed() => {}
        () = place.silent() => {
            server.places.counts.silent.fetch_add(1, Ordering::Relaxed);
            tracing::info!(client = %peer.ip(), "a connection was closed: no whole request came in time");
        }
    }
    if place.shared.unread.load(Ordering::Relaxed) {
        server.places.counts.unread.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(client = %peer.ip(), "a connection was closed: its client did not read the answers");
    }
}

/// Shakes hands first where the server speaks TLS.
async fn shaken(server: Arc<Server>, socket: Socket, place: Arc<Place>, stop: watch::Receiver<bool>) {
    let Socket { stream, peer, tls } = socket;
    let stream = Guarded::new(stream, Arc::clone(&place.shared));
    let Some(tls) = tls else { return connection(server, stream, Way { peer, over_tls: false }, place, stop).await };
    match TlsAcceptor::from(tls).accept(stream).await {
        Ok(stream) => connection(server, stream, Way { peer, over_tls: true }, place, stop).await,
        Err(error) => tracing::info!(client = %peer.ip(), %error, "a TLS handshake failed"),
    }
}

/// How a connection comes here.
#[derive(Clone, Copy)]
struct Way {
    peer: SocketAddr,
    over_tls: bool,
}

async fn connection(
    server: Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    Way { peer, over_tls }: Way,
    place: Arc<Place>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let busy = place.asked();
        request.extensions_mut().insert(admin::Peer(peer));
        request.extensions_mut().insert(Arc::clone(&place));
        if over_tls {
            request.extensions_mut().insert(login::OverTls);
        }
        let server = Arc::clone(&server);
        async move {
            let answer = server.route(request, peer.ip().into()).await;
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
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
    let _reported = stop.wait_for(|stop| *stop).await.is_ok();
}
