//! Requests and responses over HTTP/2, with `h2`'s own server as the upstream.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::{Frames, TIMEOUTS, content, head};
use h2::server::{self, Builder, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Frame;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use weir_config::{Scheme, UpstreamAddress};
use weir_event::Instant;
use weir_event::{Attempt, Reason};
use weir_http1::Fields;
use weir_upstream::{Connection, Content, Failure, InFlight, Incomplete, Origin, Origins, Pool, Unanswered};

type Server = server::Connection<TcpStream, Bytes>;

/// An upstream, and a pool of this thread.
struct Upstream {
    listener: TcpListener,
    origin: Arc<Origin>,
    pool: Pool,
}

impl Upstream {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = UpstreamAddress { scheme: Scheme::H2, host: "127.0.0.1".into(), port };
        let origin = Origins::default().origin(&address, None, &weir_config::Cluster::default()).unwrap();
        Self { listener, origin, pool: Pool::new(Arc::default()) }
    }

    async fn accept(&self, builder: Builder) -> Server {
        builder.handshake(self.listener.accept().await.unwrap().0).await.unwrap()
    }

    /// A place on a connection that is there, or on a new one.
    async fn connection(&self) -> Connection {
        match self.pool.checkout(&self.origin, Instant::now(), &TIMEOUTS) {
            Some(connection) => connection,
            None => self.pool.connect(&self.origin, &TIMEOUTS, &mut Attempt::new()).await.unwrap(),
        }
    }

    async fn both(&self, builder: Builder) -> (Connection, Server) {
        tokio::join!(self.connection(), self.accept(builder))
    }
}

/// On one thread, with tasks, within the time that a test may take.
async fn on_worker(test: impl Future<Output = ()>) {
    let ended = tokio::time::timeout(Duration::from_secs(20), LocalSet::new().run_until(test)).await;
    ended.expect("the test comes to an end");
}

fn send(connection: Connection, method: &Method, frames: Frames) -> InFlight<Frames> {
    let mut fields = Fields::new();
    for (name, value) in [("host", "api.test"), ("connection", "upgrade"), ("te", "trailers"), ("x-a", "1")] {
        fields.append(name, value.as_bytes()).unwrap();
    }
    InFlight::send(connection, (method, "/a?b", &fields), frames)
}

/// Serves the requests of a connection, each with `answer`, until it ends.
fn serve<F>(mut server: Server, answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    spawn_local(async move {
        while let Some(Ok((request, respond))) = server.accept().await {
            spawn_local(answer(request, respond));
        }
    });
}

/// Sends what of `sent` is not yet sent, until the server has its request: what answers it.
async fn accepted(server: &mut Server, sent: &mut InFlight<Frames>) -> SendResponse<Bytes> {
    tokio::select! {
        response = head(sent) => panic!("a response before the request: {:?}", response.map(|head| head.status)),
        accepted = server.accept() => accepted.unwrap().unwrap().1,
    }
}

fn ok() -> Response<()> {
    Response::new(())
}

async fn all_of(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        all.extend(data);
    }
    Ok(all)
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    [(name.parse().unwrap(), HeaderValue::from_static(value))].into_iter().collect()
}

#[tokio::test]
async fn a_message_passes_whole_both_ways() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, server) = upstream.both(Builder::new()).await;
        assert!(connection.is_http2());
        serve(server, |mut request, mut respond| async move {
            assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "http://api.test/a?b"));
            let names: Vec<_> = request.headers().keys().map(|name| name.as_str().to_owned()).collect();
            assert_eq!(names, ["x-a", "te"]);
            let early = Response::builder().status(103).header("link", "x").body(()).unwrap();
            respond.send_informational(early).unwrap();
            let data = all_of(request.body_mut()).await.unwrap();
            let mut sum = request.body_mut().trailers().await.unwrap().unwrap();
            assert_eq!((sum.len(), sum.get("expect")), (1, None));
            sum.insert("expect", HeaderValue::from_static("100-continue"));
            let mut send = respond.send_response(ok(), false).unwrap();
            send.send_data(data.into(), false).unwrap();
            send.send_trailers(sum).unwrap();
        });
        let mut frames = Frames::of(&["one", "", "three"]);
        let mut sum = trailers("x-sum", "8");
        sum.insert("expect", HeaderValue::from_static("100-continue"));
        frames.0.push_back(Frame::trailers(sum));
        let mut sent = send(connection, &Method::POST, frames);
        // `head` passes over the 103, and fails without its field.
        assert_eq!(head(&mut sent).await.unwrap().status, 200);
        let (data, sum) = content(&mut sent).await;
        assert_eq!((data.as_slice(), sum.get("x-sum").unwrap().as_bytes()), (&b"onethree"[..], &b"8"[..]));
        assert_eq!(sum.len(), 1, "an expectation is no trailer");
        assert!(sent.is_end() && sent.finish().is_none());
    })
    .await;
}

#[tokio::test]
async fn requests_share_a_connection_up_to_what_its_peer_takes() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let mut builder = Builder::new();
        builder.max_concurrent_streams(2);
        let (first, server) = upstream.both(builder).await;
        serve(server, |_, mut respond| async move { drop(respond.send_response(ok(), true)) });
        let mut sent = send(first, &Method::GET, Frames::default());
        head(&mut sent).await.unwrap();
        let _first = sent;
        // Its settings have come with the response.
        let second = upstream.pool.checkout(&upstream.origin, Instant::now(), &TIMEOUTS).expect("a place");
        assert!(upstream.pool.checkout(&upstream.origin, Instant::now(), &TIMEOUTS).is_none(), "it takes two");
        let (third, _server) = upstream.both(Builder::new()).await;
        assert_ne!(second.address(), None);
        drop((second, third));
        assert_eq!(upstream.pool.idle(), 1, "one carries a request still");
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_while_one_connects_waits_for_its_places() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let places = async { tokio::join!(upstream.connection(), upstream.connection(), upstream.connection()) };
        let (places, _server) = tokio::join!(places, upstream.accept(Builder::new()));
        assert_eq!(upstream.pool.idle(), 0);
        drop(places);
        assert_eq!(upstream.pool.idle(), 1, "three places on one connection");
        upstream.pool.evict(Instant::now() + Duration::from_secs(59), &TIMEOUTS);
        assert_eq!(upstream.pool.idle(), 1);
        upstream.pool.evict(Instant::now() + Duration::from_secs(61), &TIMEOUTS);
        assert_eq!(upstream.pool.idle(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_let_go_is_closed_behind_its_last_request() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, mut server) = upstream.both(Builder::new()).await;
        let mut sent = send(connection, &Method::GET, Frames::default());
        let mut respond = accepted(&mut server, &mut sent).await;
        upstream.pool.evict(Instant::now() + Duration::from_secs(3600), &TIMEOUTS);
        respond.send_response(ok(), true).unwrap();
        let serving = spawn_local(async move { server.accept().await.is_none() });
        assert_eq!(head(&mut sent).await.unwrap().status, 200);
        drop(sent);
        upstream.pool.evict(Instant::now() + Duration::from_secs(3600), &TIMEOUTS);
        assert!(serving.await.unwrap(), "closed with GOAWAY");
    })
    .await;
}

/// What the upstream says it has not looked at can be sent again, with its content.
#[tokio::test]
async fn a_request_that_is_refused_has_its_content_still() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, server) = upstream.both(Builder::new()).await;
        serve(server, |mut request, mut respond| async move {
            all_of(request.body_mut()).await.unwrap();
            respond.send_reset(Code::REFUSED_STREAM);
        });
        let mut sent = send(connection, &Method::POST, Frames::of(&["one", "two"]));
        let refused = head(&mut sent).await.err().unwrap();
        assert!(matches!(refused, Unanswered::Refused) && sent.has_content());
        assert_eq!(sent.into_content().unwrap().whole(), b"onetwo");
    })
    .await;
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_elsewhere_and_the_rest_is_served() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, mut server) = upstream.both(Builder::new()).await;
        let mut served = send(connection, &Method::GET, Frames::default());
        let mut respond = accepted(&mut server, &mut served).await;
        let late = upstream.connection().await;
        server.graceful_shutdown();
        let serving = spawn_local(async move { while server.accept().await.is_some() {} });
        // Nobody gets a place once it is known.
        while upstream.pool.checkout(&upstream.origin, Instant::now(), &TIMEOUTS).is_some() {
            tokio::task::yield_now().await;
        }
        let mut refused = send(late, &Method::POST, Frames::of(&["x"]));
        assert!(matches!(head(&mut refused).await, Err(Unanswered::Refused)));
        assert_eq!(refused.into_content().unwrap().whole(), b"x");
        respond.send_response(ok(), true).unwrap();
        assert_eq!(head(&mut served).await.unwrap().status, 200);
        drop(served);
        serving.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_no_response_has_its_reason() {
    on_worker(async {
        let long = "x".repeat(70 * 1024);
        let answers: [(&str, Option<Response<()>>, Reason); 4] = [
            ("reset", None, Reason::ConnectionTerminated),
            ("101", Some(Response::builder().status(101).body(()).unwrap()), Reason::UpstreamProtocolError),
            ("long", Some(Response::builder().header("x", long).body(()).unwrap()), Reason::UpstreamHeadersTooLarge),
            (
                "length",
                Some(Response::builder().header("content-length", "1,2").body(()).unwrap()),
                Reason::UpstreamProtocolError,
            ),
        ];
        for (name, answer, reason) in answers {
            let upstream = Upstream::new().await;
            let (connection, server) = upstream.both(Builder::new()).await;
            serve(server, move |_, mut respond| {
                let answer = answer.clone();
                async move {
                    match answer {
                        Some(answer) => drop(respond.send_response(answer, false)),
                        None => respond.send_reset(Code::INTERNAL_ERROR),
                    }
                    // The stream stays open.
                    std::future::pending::<()>().await;
                }
            });
            let mut sent = send(connection, &Method::GET, Frames::default());
            let why = head(&mut sent).await.err().unwrap_or_else(|| panic!("{name} is a response"));
            assert_eq!(Failure::of_exchange("t".into(), why).reason(), reason, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_cannot_be_said_is_not_the_upstreams_fault() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, _server) = upstream.both(Builder::new()).await;
        let mut sent = InFlight::send(connection, (&Method::GET, "/", &Fields::new()), Frames::default());
        let why = head(&mut sent).await.err().unwrap();
        assert_eq!(Failure::of_exchange("t".into(), why).reason(), Reason::GatewayError, "it has no Host");
    })
    .await;
}

#[tokio::test]
async fn content_that_is_shorter_or_longer_than_said_breaks_off() {
    on_worker(async {
        for (said, data) in [("5", "four"), ("3", "four")] {
            let upstream = Upstream::new().await;
            let (connection, server) = upstream.both(Builder::new()).await;
            serve(server, move |_, mut respond| async move {
                let head = Response::builder().header("content-length", said).body(()).unwrap();
                respond.send_response(head, false).unwrap().send_data(data.into(), true).unwrap();
            });
            let mut sent = send(connection, &Method::GET, Frames::default());
            head(&mut sent).await.unwrap();
            assert_eq!(sent.length(), Some(said.parse().unwrap()));
            let ended = loop {
                match poll_fn(|cx| sent.poll_frame(cx)).await {
                    Some(Ok(_)) => {}
                    other => break other,
                }
            };
            assert!(matches!(ended, Some(Err(Incomplete::Closed(_)))), "{said}");
        }
    })
    .await;
}

/// A client that takes nothing: what its upstream may send stays within one window.
#[tokio::test]
async fn an_upstream_feels_a_client_that_takes_nothing() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, server) = upstream.both(Builder::new()).await;
        let (told, mut passed) = tokio::sync::watch::channel(0_usize);
        serve(server, move |_, mut respond| {
            let told = told.clone();
            async move {
                let mut send = respond.send_response(ok(), false).unwrap();
                loop {
                    send.reserve_capacity(16 * 1024);
                    let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                    send.send_data(vec![b'x'; room].into(), false).unwrap();
                    told.send_modify(|sum| *sum += room);
                }
            }
        });
        let mut sent = send(connection, &Method::GET, Frames::default());
        head(&mut sent).await.unwrap();
        const WINDOW: usize = 256 * 1024;
        passed.wait_for(|sum| *sum == WINDOW).await.unwrap();
        // All of it is there: the library grants anew what is used of an empty window.
        turns(1000).await;
        let frame = poll_fn(|cx| sent.poll_frame(cx)).await;
        turns(1000).await;
        assert_eq!(*passed.borrow(), WINDOW, "the frame is in hand, not passed on");
        drop(frame);
        // Who asks for the next has passed it on.
        while *passed.borrow() == WINDOW {
            assert!(matches!(poll_fn(|cx| sent.poll_frame(cx)).await, Some(Ok(_))));
            turns(100).await;
        }
    })
    .await;
}

/// Lets the tasks of this thread run.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Content without an end, which counts what was taken of it.
struct Endless(Arc<std::sync::atomic::AtomicUsize>);

impl Content for Endless {
    type Error = std::io::Error;

    fn poll_frame(&mut self, _: &mut std::task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.fetch_add(16 * 1024, std::sync::atomic::Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; 16 * 1024].into()))))
    }

    fn is_end(&self) -> bool {
        false
    }

    fn length(&self) -> Option<u64> {
        None
    }

    fn unread(&mut self, _: Frame<Bytes>) {}
}

/// An upstream that takes nothing: the client is not asked for more than its window, and a frame.
#[tokio::test]
async fn a_client_feels_an_upstream_that_takes_nothing() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, server) = upstream.both(Builder::new()).await;
        serve(server, |request, mut respond| async move {
            let _held = request;
            let _send = respond.send_response(ok(), false).unwrap();
            std::future::pending::<()>().await;
        });
        let taken = Arc::<std::sync::atomic::AtomicUsize>::default();
        let mut fields = Fields::new();
        fields.append("host", b"a").unwrap();
        let mut sent = InFlight::send(connection, (&Method::POST, "/", &fields), Endless(Arc::clone(&taken)));
        poll_fn(|cx| sent.poll_head(cx)).await.unwrap();
        for _ in 0..1000 {
            assert!(poll_fn(|cx| Poll::Ready(sent.poll_frame(cx).is_pending())).await);
            tokio::task::yield_now().await;
        }
        let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
        // The default window of a stream is 65,535 bytes.
        assert!((65_535..=65_535 + 16 * 1024).contains(&taken), "{taken}");
        assert!(!sent.has_content(), "more than is kept");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_given_up_is_cancelled() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, mut server) = upstream.both(Builder::new()).await;
        let mut sent = send(connection, &Method::GET, Frames::default());
        let mut respond = accepted(&mut server, &mut sent).await;
        spawn_local(async move { while server.accept().await.is_some() {} });
        drop(sent);
        let code = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        assert_eq!(code, Code::CANCEL);
        assert_eq!(upstream.pool.idle(), 1, "its connection goes on");
    })
    .await;
}

/// A response that is whole before its request: the rest is not needed (RFC 9113 8.1).
#[tokio::test]
async fn a_response_counts_though_its_request_was_not_taken() {
    on_worker(async {
        let upstream = Upstream::new().await;
        let (connection, server) = upstream.both(Builder::new()).await;
        serve(server, |_, mut respond| async move {
            let mut send = respond.send_response(Response::builder().status(413).body(()).unwrap(), false).unwrap();
            // Behind it the library resets the stream, with NO_ERROR.
            send.send_data("no".into(), true).unwrap();
        });
        let mut fields = Fields::new();
        fields.append("host", b"a").unwrap();
        let mut sent = InFlight::send(connection, (&Method::POST, "/", &fields), Endless(Arc::default()));
        assert_eq!(poll_fn(|cx| sent.poll_head(cx)).await.unwrap().status, 413);
        let frame = poll_fn(|cx| sent.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "no");
        assert!(poll_fn(|cx| sent.poll_frame(cx)).await.is_none());
    })
    .await;
}

/// A peer that is gone without a word: its machine has lost its power.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dead() {
    LocalSet::new()
        .run_until(async {
            let upstream = Upstream::new().await;
            let accepted = async { upstream.listener.accept().await.unwrap().0 };
            let (connection, mut peer) = tokio::join!(upstream.connection(), accepted);
            // Its settings, and that it has those of the client.
            peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).await.unwrap();
            let mut read = [0; 24];
            peer.read_exact(&mut read).await.unwrap();
            tokio::time::pause();
            let began = tokio::time::Instant::now();
            let mut sent = send(connection, &Method::GET, Frames::default());
            assert!(matches!(head(&mut sent).await, Err(Unanswered::Closed(_))));
            assert_eq!(began.elapsed().as_secs(), 50, "30 s of silence, and 20 s for an answer");
            assert!(upstream.pool.checkout(&upstream.origin, Instant::now(), &TIMEOUTS).is_none());
            drop(peer);
        })
        .await;
}

/// A peer that has nothing to say for ten minutes, and is there: servers of gRPC bear a PING every five.
#[tokio::test]
async fn a_peer_that_answers_is_asked_seldom() {
    LocalSet::new()
        .run_until(async {
            let upstream = Upstream::new().await;
            let (connection, mut server) = upstream.both(Builder::new()).await;
            let mut sent = send(connection, &Method::GET, Frames::default());
            spawn_local(async move {
                let (_request, mut respond) = server.accept().await.unwrap().unwrap();
                tokio::time::pause();
                let asked = tokio::time::timeout(Duration::from_secs(600), server.accept()).await;
                assert!(asked.is_err(), "the connection goes on");
                respond.send_response(ok(), true).unwrap();
                while server.accept().await.is_some() {}
            });
            assert_eq!(head(&mut sent).await.unwrap().status, 200);
        })
        .await;
}

/// A request waited in vain and nothing has come for anybody: the next goes elsewhere.
#[tokio::test]
async fn a_silent_connection_is_left() {
    LocalSet::new()
        .run_until(async {
            for (waited, leaves) in [(4, false), (6, true)] {
                let upstream = Upstream::new().await;
                let (connection, mut server) = upstream.both(Builder::new()).await;
                let mut first = send(connection, &Method::GET, Frames::default());
                spawn_local(async move {
                    let (_, mut respond) = server.accept().await.unwrap().unwrap();
                    respond.send_response(ok(), true).unwrap();
                    let mut held = Vec::new();
                    while let Some(Ok(more)) = server.accept().await {
                        held.push(more);
                    }
                });
                head(&mut first).await.unwrap();
                drop(first);
                turns(1000).await;
                tokio::time::pause();
                let mut sent = send(upstream.connection().await, &Method::GET, Frames::default());
                let answered = tokio::time::timeout(Duration::from_secs(waited), head(&mut sent)).await;
                assert!(answered.is_err());
                drop(sent);
                let place = upstream.pool.checkout(&upstream.origin, Instant::now(), &TIMEOUTS);
                assert_eq!(place.is_none(), leaves, "{waited} s");
                tokio::time::resume();
            }
        })
        .await;
}
