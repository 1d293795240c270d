//! hyper's side: its server reads the request and writes the response, its client does the other half.
//!
//! Two tasks, as hyper wants it, each polled when it was woken; no runtime, so that none is measured.

use super::{REQUEST_ID, TRACEPARENT, VIA};
use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, VIA as VIA_NAME};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

fn edit(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.insert(X_REQUEST_ID, HeaderValue::from_str(REQUEST_ID).expect("a value"));
    headers.append(VIA_NAME, HeaderValue::from_static(VIA));
}

/// A peer that has `sends` ready, `times` times: a client at once and then behind each answer, a server behind each
/// request.
struct Peer<'a> {
    sends: &'a [u8],
    times: usize,
    is_due: bool,
    waits: Option<Waker>,
    written: Rc<Cell<usize>>,
}

impl Read for Peer<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.times == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.is_due {
            self.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(self.sends);
        self.is_due = false;
        self.times -= 1;
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_due = true;
        self.written.set(self.written.get() + buf.len());
        if let Some(waker) = self.waits.take() {
            waker.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let all = self.as_mut().poll_write(cx, bufs.first().map_or(&[], |buf| buf));
        self.written.set(self.written.get() + len - bufs.first().map_or(0, |buf| buf.len()));
        all.map_ok(|_| len)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task, and whether it was woken.
struct Task<F> {
    future: F,
    flag: Arc<Flag>,
    waker: Waker,
}

impl<F: Future + Unpin> Task<F> {
    fn new(future: F) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        Self { future, waker: Waker::from(Arc::clone(&flag)), flag }
    }

    fn run(&mut self) -> Poll<()> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&self.waker)).map(drop)
    }
}

/// Bytes written both ways.
pub fn exchanges(wire: &[u8], answer: &[u8], times: usize) -> usize {
    let written = Rc::new(Cell::new(0));
    let peer = |sends, is_due| Peer { sends, times, is_due, waits: None, written: Rc::clone(&written) };
    let handshake = hyper::client::conn::http1::handshake::<_, Incoming>(peer(answer, false));
    let Poll::Ready(Ok((sender, client))) = pin!(handshake).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a handshake waits for nobody")
    };
    let sender = RefCell::new(sender);
    let service = service_fn(|request: Request<Incoming>| {
        let (mut head, body) = request.into_parts();
        edit(&mut head.headers);
        head.headers.insert(TRACE_PARENT, HeaderValue::from_str(TRACEPARENT).expect("a value"));
        let answered = sender.borrow_mut().send_request(Request::from_parts(head, body));
        async {
            let mut response: Response<Incoming> = answered.await?;
            edit(response.headers_mut());
            Ok::<_, hyper::Error>(response)
        }
    });
    let server = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(peer(wire, true), service);
    let (server, client) = (pin!(server), pin!(client));
    let (mut server, mut client) = (Task::new(server), Task::new(client));
    while server.run().is_pending() {
        let _ = client.run();
    }
    written.get()
}
