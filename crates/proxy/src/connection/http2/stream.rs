//! One stream: a request comes in, and its response goes out, by the frames of `h2`.

use super::frames::Frames;
use super::state::StreamState;
use super::upload::{Handle, Upload};
use crate::accept::Arrived;
use crate::body::ResponseBody;
use crate::connection::waker::remember;
use crate::connection::{Connection, Kind};
use crate::exchange::Owner;
use crate::pipeline;
use crate::reply::Reply;
use crate::upload::{Incoming, Upload as _};
use crate::websocket;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE};
use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use weir_event::Reason;
use weir_http1::Fields;

/// What is read of a request that is answered, and for how long.
const MOST_WASTED: usize = 64 * 1024;
const WASTING: Duration = Duration::from_secs(1);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Begins to serve a request.
pub(super) fn spawn(
    connection: &Rc<Connection>,
    frames: &Rc<RefCell<Frames>>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let entered = Entered::new(Rc::clone(connection));
    let (head, recv) = request.into_parts();
    let (upload, handle) = Upload::new(recv, &head.headers);
    let is_websocket = websocket::is_asked_by_http2(&head);
    let over = Over(handle);
    let stream = Rc::clone(&entered.stream);
    let (connection, frames) = (Rc::clone(connection), Rc::clone(frames));
    let future = async move {
        let over = over;
        // Boxed: five kilobytes that would be moved half a dozen times on their way into a task.
        let owner = Rc::clone(&connection) as Rc<dyn Owner>;
        let (mut arrived, mut body) = (Arrived::from(head), None);
        if is_websocket {
            websocket::stand_for(&mut arrived, Box::new(upload));
        } else if !upload.is_end() {
            body = Some(Box::new(upload) as Incoming);
        }
        let served = Box::pin(pipeline::serve(Rc::clone(&connection.client), owner, arrived, body));
        // Whatever ends early resets the stream: it is dropped with its end unsaid.
        if serve((&connection, &frames, &stream), served, respond, &over.0).await.is_some() {
            waste(&over.0).await;
        }
    };
    tokio::task::spawn_local(StreamTask { future, entered });
}

/// Takes a little of what is left of a request that is answered.
async fn waste(upload: &Handle) {
    if upload.is_over() {
        return;
    }
    let mut left = MOST_WASTED;
    timeout(WASTING, poll_fn(|cx| upload.poll_waste(&mut left, cx))).await.unwrap_or_default();
}

/// The stream's end, however it comes: its request is not read any more.
struct Over(Handle);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// `None`: the client has taken the request back, or left.
async fn serve(
    (connection, frames, stream): (&Connection, &RefCell<Frames>, &StreamState),
    mut served: Pin<Box<impl Future<Output = Reply<ResponseBody>>>>,
    mut respond: SendResponse<Bytes>,
    upload: &Handle,
) -> Option<()> {
    let answered = poll_fn(|cx| {
        let served = served.as_mut().poll(cx);
        for (status, fields) in stream.interim.borrow_mut().drain(..) {
            inform(&mut respond, status, &fields);
        }
        if let Poll::Ready(response) = served {
            return Poll::Ready(Some(response));
        }
        if upload.must_continue(cx.waker()) {
            inform(&mut respond, StatusCode::CONTINUE, &Fields::new());
        }
        respond.poll_reset(cx).map(|_| {
            upload.why_reset(cx).into_iter().for_each(|reason| stream.blame(reason));
            None
        })
    });
    let reply = answered.await?;
    // Its exchange lives on in the body.
    drop(served);
    let Reply { status, fields, content, .. } = reply;
    let body = pin!(content);
    let mut head = Response::new(());
    *head.status_mut() = status;
    let headers = head.headers_mut();
    *headers = fields.to_map()?;
    // It is never said twice, and must not push out of the client's table what is (RFC 7541 7.1.3).
    headers.get_mut(&X_REQUEST_ID).into_iter().for_each(|id| id.set_sensitive(true));
    if headers.remove(CONNECTION).is_some() {
        headers.remove(TE);
    }
    headers.entry(DATE).or_insert_with(|| connection.worker().date());
    let ended = body.is_end_stream();
    if !ended
        && !headers.contains_key(CONTENT_LENGTH)
        && let Some(length) = body.size_hint().exact()
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let mut send = match respond.send_response(head, ended) {
        Ok(send) => send,
        Err(error) => {
            // Unless the stream was reset, the response is one that cannot be reported over HTTP/2.
            tracing::debug!(%error, "a response was not sent");
            stream.has_sent_nothing();
            respond.send_reset(Code::INTERNAL_ERROR);
            return None;
        }
    };
    if !ended {
        send_body(frames, body, &mut send).await?;
    }
    Some(())
}

/// Sends a head of 1xx (RFC 9113 8.1).
fn inform(respond: &mut SendResponse<Bytes>, status: StatusCode, fields: &Fields) {
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields.to_map().unwrap_or_default();
    // A stream that is reset takes none, which its next poll tells.
    respond.send_informational(head).unwrap_or_default();
}

/// A frame is asked for before there is room for it: whoever holds a connection's window and has nothing to send would
/// keep others from it.
async fn send_body(
    frames: &RefCell<Frames>,
    mut body: Pin<&mut ResponseBody>,
    send: &mut SendStream<Bytes>,
) -> Option<()> {
    loop {
        let next = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending => send.poll_reset(cx).map(|_| None),
        });
        let frame = match next.await? {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                send.send_reset(Code::INTERNAL_ERROR);
                return None;
            }
            None => return send.send_data(Bytes::new(), true).ok(),
        };
        match frame.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                if !data.is_empty() {
                    send.reserve_capacity(1);
                    room(send, body.as_mut()).await?;
                }
                frames.borrow_mut().sent_frame();
                send.send_data(data, last).ok()?;
                if last {
                    return Some(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = Frame::into_trailers(frame) {
                    send.reserve_capacity(0);
                    return send.send_trailers(trailers).ok();
                }
            }
        }
    }
}

/// Until the client has room for some of a frame; `None` when it has left.
async fn room(send: &mut SendStream<Bytes>, mut body: Pin<&mut ResponseBody>) -> Option<()> {
    poll_fn(|cx| {
        if send.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            if send.capacity() > 0 {
                return Poll::Ready(Some(()));
            }
            match send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => {
                    // The request goes on though its client takes nothing of the response.
                    body.poll_upload(cx);
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// A stream's place in its connection's list.
struct Entered {
    connection: Rc<Connection>,
    stream: Rc<StreamState>,
}

impl Entered {
    fn new(connection: Rc<Connection>) -> Self {
        let stream = Rc::default();
        connection.http2.enter(&stream);
        Self { connection, stream }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.http2.leave(&self.stream);
        connection.since.set(connection.since.get().max(connection.now()));
        if self.stream.exchange.borrow().is_none() {
            // The worker ended before the request was looked at.
            debug_assert!(connection.kind.get() == Kind::Http2);
            connection.record_unparsed(Reason::GatewayDraining, None, &[]);
        }
    }
}

pin_project! {
    /// One stream, which can be asked to stop.
    struct StreamTask<F> {
        // Before the entry, so that its exchange ends as one of the stream.
        #[pin]
        future: F,
        entered: Entered,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Entered { connection, stream } = this.entered;
        if stream.cancelled.get() {
            // Dropped with its end unsaid: the library resets it (RFC 9113 8.1, CANCEL).
            return Poll::Ready(());
        }
        remember(&stream.waker, cx.waker());
        *connection.http2.polled.borrow_mut() = Some(Rc::clone(stream));
        let polled = this.future.poll(cx);
        connection.http2.polled.take();
        polled
    }
}
