//! The HTTP side: connections with limits, who asks, and which of ClickHouse's paths it is.
//!
//! Statements run on blocking threads, at most `max_queries` at once; one more is refused, as ClickHouse
//! does, unless it says that it would wait (`queue_max_wait_ms`). A panic in a statement ends that request with an error and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::body::{BodyReader, Reply};
use crate::coding::Coding;
use crate::engine::Engine;
use crate::exception::Exception;
use crate::metrics::{Metrics, Now};
use crate::multipart;
use crate::request::Order;
use crate::respond::{Context, Responder};
use crate::session::Sessions;
use crate::slots::Slots;
use crate::statement::{self, Job};
use crate::users::Users;

/// How often sessions that nobody asked for are ended.
const SWEEP: Duration = Duration::from_secs(5);

/// Bounds of what clients may take.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_connections: usize,
    /// Statements at once.
    pub max_queries: usize,
    /// Bytes of a statement's text.
    pub max_query_size: usize,
    /// Bytes, before formatting, of a result that must be in memory as a whole.
    pub max_whole_result: u64,
    /// Sessions that are kept.
    pub max_sessions: usize,
    /// Bytes of a request's head.
    pub max_head: usize,
    /// A head must be here, and a kept connection used again, within this.
    pub idle: Duration,
    /// Each piece of a body, either way, within this.
    pub transfer: Duration,
    /// Running statements get this long after a signal.
    pub drain: Duration,
}

/// The service; shared by all connections.
pub struct Server {
    engine: Arc<Engine>,
    users: Users,
    limits: Limits,
    slots: Arc<Slots>,
    connections: Arc<Semaphore>,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
}

impl Server {
    pub fn new(engine: Engine, users: Users, limits: Limits) -> Server {
        Server {
            engine: Arc::new(engine),
            users,
            slots: Slots::new(limits.max_queries),
            connections: Arc::new(Semaphore::new(limits.max_connections)),
            sessions: Sessions::new(limits.max_sessions),
            metrics: Arc::new(Metrics::new()),
            limits,
        }
    }

    /// Serves until `stop` is true, then lets what runs finish, within the drain time.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                Some(ended) = connections.join_next() => { report(ended); continue }
                _ = sweep.tick() => { self.sweep(); continue }
                accepted = accept(&listener, &self.connections) => accepted,
            };
            if let Some((stream, peer, slot)) = accepted {
                connections.spawn(Arc::clone(&self).connection(stream, peer, slot, stop.clone()));
            }
        }
        drop(listener);
        self.drain(connections).await;
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.drain, all).await.is_ok() {
            return;
        }
        tracing::warn!(
            seconds = self.limits.drain.as_secs(),
            "statements still run at the end of the drain time; they are cancelled"
        );
        let engine = Arc::clone(&self.engine);
        let _cancelled = tokio::task::spawn_blocking(move || engine.kill_all()).await;
        let all = async { while connections.join_next().await.is_some() {} };
        let _ended = timeout(Duration::from_secs(5), all).await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
        mut stop: watch::Receiver<bool>,
    ) {
        let _best_effort = stream.set_nodelay(true);
        let limits = self.limits.clone();
        let service = service_fn(move |request| Arc::clone(&self).handle(request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(limits.max_head);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
        let mut context = Context {
            query_id: String::new(),
            version: self.engine.version().to_owned(),
            timezone: self.engine.timezone().to_owned(),
            started: Instant::now(),
        };
        let reading = matches!(*request.method(), Method::GET | Method::HEAD);
        Ok(match request.uri().path() {
            _ if !reading && request.method() != Method::POST => context.error(&Exception::not_implemented("only GET, HEAD and POST are served")),
            "/ping" | "/replicas_status" => context.plain(StatusCode::OK, "Ok.\n"),
            "/" if reading && request.uri().query().is_none_or(str::is_empty) => context.plain(StatusCode::OK, "Ok.\n"),
            "/metrics" if reading => context.metrics(self.exposition()),
            "/" | "/query" => match self.statement(request, &mut context).await {
                Ok(response) => response,
                Err(error) => {
                    self.metrics.error(error.code);
                    context.error(&error)
                }
            },
            _ => context.plain(StatusCode::NOT_FOUND, "There is no handle for this path. Send queries to `/`, by GET (`?query=`) or POST; `/ping` says whether the engine is up.\n"),
        })
    }

    async fn statement(&self, request: Request<Incoming>, context: &mut Context) -> Result<Response<Reply>, Exception> {
        let (parts, body) = request.into_parts();
        let (order, credentials) = Order::read(&parts.method, &parts.uri, &parts.headers)?;
        context.query_id.clone_from(&order.query_id);
        let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        self.users.check_origin(header(HOST), header(ORIGIN))?;
        let right = order.right(self.users.authenticate(&credentials)?)?;
        let query_id = order.query_id.clone();
        let slot = self.slots.enter(&query_id, order.queue).await?;
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let job = Job {
            boundary: content_type.and_then(multipart::boundary),
            body: BodyReader::start(body, self.limits.transfer),
            user: credentials.user.unwrap_or_else(|| "default".to_owned()),
            right,
            sessions: Arc::clone(&self.sessions),
            max_query_size: self.limits.max_query_size,
            max_whole_result: self.limits.max_whole_result,
            order,
        };
        let (sender, answer) = oneshot::channel();
        let coding = job.order.response_coding.unwrap_or(Coding::Identity);
        let mut responder = Responder::new(sender, context.clone(), coding, self.limits.transfer);
        let engine = Arc::clone(&self.engine);
        let metrics = Arc::clone(&self.metrics);
        let mut guard = CancelOnDrop { engine: Arc::clone(&engine), query_id: Some(query_id) };
        tokio::task::spawn_blocking(move || {
            statement::run(&engine, job, &mut responder);
            drop(slot);
            responder.deliver(&metrics);
        });
        let answered = answer.await;
        guard.query_id = None;
        answered.map_err(|_| {
            Exception::new(
                1002,
                "UNKNOWN_EXCEPTION",
                "the statement ended without an answer: a fault of weir-chdb, see its log",
            )
        })
    }
}

impl Server {
    fn exposition(&self) -> String {
        self.metrics.render(&Now {
            running: self.slots.running(),
            queued: self.slots.queued(),
            connections: self.limits.max_connections - self.connections.available_permits(),
            sessions: self.sessions.count(),
            engine: self.engine.version(),
        })
    }

    /// Ends old sessions; closing one takes the engine a moment.
    fn sweep(&self) {
        let sessions = Arc::clone(&self.sessions);
        tokio::task::spawn_blocking(move || sessions.sweep());
    }
}

/// Ends when the program is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _sender_gone = stop.wait_for(|stop| *stop).await.is_err();
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            // Out of descriptors, or the peer left already: neither ends the service.
            tracing::warn!(%error, "connection not accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection ended by a fault");
    }
}

/// Cancels the statement of a client that left before the answer began.
struct CancelOnDrop {
    engine: Arc<Engine>,
    query_id: Option<String>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(query_id) = self.query_id.take() {
            let engine = Arc::clone(&self.engine);
            tokio::task::spawn_blocking(move || engine.kill(&query_id));
        }
    }
}
