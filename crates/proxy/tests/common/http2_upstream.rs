//! An upstream of HTTP/2 with a thread of its own, which serves each request as a test says.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

pub type Server = Connection<TcpStream, Bytes>;

/// An upstream. Its thread ends with the test's process.
pub struct Http2Upstream {
    pub address: SocketAddr,
    told: Receiver<String>,
}

impl Http2Upstream {
    /// Serves every connection as `serve` does. What it is to be told of it sends.
    pub fn serving<F>(builder: Builder, serve: impl Fn(Server, Sender<String>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(LocalSet::new().run_until(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    if let Ok(server) = builder.handshake(stream).await {
                        spawn_local(serve(server, tell.clone()));
                    }
                }
            }));
        });
        Self { address, told }
    }

    /// Serves every request as `answer` does, in a task of its own.
    pub fn answering<F>(
        builder: Builder,
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>, Sender<String>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let answer = std::sync::Arc::new(answer);
        Self::serving(builder, move |mut server, tell| {
            let answer = std::sync::Arc::clone(&answer);
            async move {
                let answer = Rc::new(answer);
                while let Some(Ok((request, respond))) = server.accept().await {
                    let (answer, tell) = (Rc::clone(&answer), tell.clone());
                    spawn_local(async move { answer(request, respond, tell).await });
                }
                drop(tell.send("closed".to_owned()));
            }
        })
    }

    /// What it has been told next.
    pub fn told(&self) -> String {
        self.told.recv_timeout(super::DEADLINE).expect("the upstream says something")
    }

    /// An API that forwards everything to it, with more of its spec in `extra`.
    pub fn api(&self, extra: &str) -> String {
        super::api(self.address, extra).replace("address: \"http://", "address: \"h2://")
    }
}

/// Everything of a body.
pub async fn all_of(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    super::http2::body(stream).await
}

/// A map of fields.
pub fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

/// A response with a status of gRPC behind `data`, or without any.
pub fn answer_grpc(respond: &mut SendResponse<Bytes>, data: Option<&'static str>, status: &'static str) {
    let mut head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let trailers = fields(&[("grpc-status", status), ("grpc-message", "said%20so")]);
    match data {
        Some(data) => {
            let mut send = respond.send_response(head, false).unwrap();
            send.send_data(data.into(), false).unwrap();
            send.send_trailers(trailers).unwrap();
        }
        None => {
            head.headers_mut().extend(trailers);
            respond.send_response(head, true).unwrap();
        }
    }
}
