//! HTTP/1.1 on one connection: one task reads a head, has it served, writes the response, and begins again.
//!
//! What must be known of it from outside - whether a head has begun, which exchange is open - is [`State`], for the worker
//! looks at its connections and drains them.

mod request;
mod response;
pub(super) mod state;
mod wire;

use super::{Connection, Kind};
use crate::accept::MAX_HEAD;
use crate::answer::{PROBLEM, problem, proxy_status};
use crate::exchange::Owner;
use crate::pipeline;
use crate::request_id::RequestId;
use crate::upload::Incoming;
use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use request::{arrived, detail, reason};
use response::{Asker, CLOSE, Stop, write, write_head};
use state::Phase;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use weir_event::Reason;
use weir_http1::{Expectation, Fields, Framing, HeadError, Known, Limits, Request, Upgrade};
use weir_transport::Stream;
use wire::{Next, Wire};

/// Whatever way a connection ends - its future may be dropped where it stands - what has come of a head is recorded.
struct Account(Rc<Connection>);

impl Drop for Account {
    fn drop(&mut self) {
        let drains = self.0.http1.drains.get() || self.0.worker().is_ending();
        self.0.head_is_cut_off(if drains { Reason::GatewayDraining } else { Reason::ClientClosed });
    }
}

/// Serves `stream`, of which `ahead` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: Stream, ahead: BytesMut) {
    connection.kind.set(Kind::Http1);
    let _account = Account(Rc::clone(&connection));
    let fields = connection.worker().snapshot().limits.header_fields as usize;
    let limits = Limits { head: MAX_HEAD, fields, ..Limits::default() };
    let wire = Rc::new(Wire::new(stream, ahead, limits, Rc::clone(&connection)));
    let served = pin!(serve_all(&connection, &wire));
    connection.obediently(served, |_| connection.http1.drains.set(true)).await;
}

async fn serve_all(connection: &Rc<Connection>, wire: &Rc<Wire>) {
    let state = &connection.http1;
    let mut request = Request::default();
    loop {
        let after = match next(connection, wire, &mut request).await {
            Next::Request(framing, fault) => serve_one(connection, wire, &mut request, framing, fault).await,
            Next::Fault(fault) => refuse(connection, wire, fault).await,
            Next::End => {
                connection.head_is_cut_off(Reason::ClientClosed);
                Some(After::Close)
            }
        };
        match after {
            Some(After::Next) => {
                wire.trim();
                state.phase.set(Phase::Idle);
            }
            Some(After::Close) => return close(connection, wire, wire.has_unread()).await,
            Some(After::Linger) => return close(connection, wire, true).await,
            None => return,
        }
    }
}

/// Waits for the next head.
async fn next(connection: &Rc<Connection>, wire: &Wire, request: &mut Request) -> Next {
    let state = &connection.http1;
    poll_fn(|cx| {
        let head = wire.poll_head(request, || connection.head_has_begun(), cx);
        if head.is_pending() && state.phase.get() == Phase::Idle {
            if state.drains.get() {
                return Poll::Ready(Next::End);
            }
            if state.rests.get() {
                wire.rest();
            }
        }
        head
    })
    .await
}

/// How a connection goes on behind a response.
enum After {
    Next,
    Close,
    /// The client is still sending what nobody reads: its end is waited for.
    Linger,
}

/// `None`: the client has left, or must see that its response broke off.
async fn serve_one(
    connection: &Rc<Connection>,
    wire: &Rc<Wire>,
    request: &mut Request,
    framing: Framing,
    fault: Option<HeadError>,
) -> Option<After> {
    let persists = request.persists() && fault.is_none();
    let expects = request.expectation() == Expectation::Continue;
    let opens = request.upgrade() == Upgrade::WebSocket && matches!(framing, Framing::None | Framing::Length(0));
    let tunnel = (opens && fault.is_none()).then(|| Box::new(wire.tunnel()) as Incoming);
    let Some(arrived) = arrived(request, fault, tunnel) else { return refuse(connection, wire, HeadError::Line).await };
    let (version, is_head) = (arrived.version, arrived.method == Method::HEAD);
    request.clear();
    let upload = wire.begin(framing, expects).map(|upload| Box::new(upload) as Incoming);
    let owner = Rc::clone(connection) as Rc<dyn Owner>;
    connection.http1.rests.set(false);
    let mut served = pin!(pipeline::serve(Rc::clone(&connection.client), owner, arrived, upload));
    let mut informs = false;
    let response = poll_fn(|cx| {
        let served = served.as_mut().poll(cx);
        if let Some(interim) = connection.http1.take_interim() {
            wire.with_output(|io| io.output().extend_from_slice(&interim));
            informs = true;
        }
        match served {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // What is not taken now goes out in front of the response.
            Poll::Pending if informs && matches!(wire.poll_flush(cx), Poll::Ready(Err(_))) => Poll::Ready(None),
            Poll::Pending if wire.has_left(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let response = response.await?;
    let asker = Asker { version, is_head, persists: persists && !connection.http1.drains.get() };
    let keeps = match write(wire, connection.worker(), asker, response).await {
        Ok(keeps) => keeps,
        Err(Stop::Gone | Stop::Broken) => return None,
    };
    Some(match wire.is_request_over() {
        false => After::Linger,
        true if fault.is_some() => After::Linger,
        true if keeps && !connection.http1.drains.get() => After::Next,
        true => After::Close,
    })
}

/// Answers and records a head that is no request.
async fn refuse(connection: &Rc<Connection>, wire: &Wire, fault: HeadError) -> Option<After> {
    connection.http1.phase.set(Phase::Flushing);
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (trace, span) = connection.record_unparsed(reason(fault), Some(status), &wire.unread());
    let body = problem(reason(fault), status, detail(fault), trace);
    let mut fields = Fields::new();
    fields.extend([(CONTENT_TYPE, PROBLEM), (CONTENT_LENGTH, body.len().into()), (CONNECTION, CLOSE)]);
    fields.put(Known::Date, &connection.worker().date());
    RequestId::own(trace, span).put(&mut fields);
    if let Some(value) = proxy_status(&connection.worker().snapshot().pseudonym, reason(fault)) {
        fields.put(Known::ProxyStatus, &value);
    }
    wire.with_output(|io| {
        write_head(status, None, &fields, io.output());
        io.push(body, b"");
    });
    // A client that has left does not read it.
    poll_fn(|cx| wire.poll_flush(cx)).await.ok().map(|()| After::Linger)
}

/// Ends our side, and where the client would lose its answer by that, waits for its end.
async fn close(connection: &Rc<Connection>, wire: &Wire, lingers: bool) {
    if poll_fn(|cx| wire.poll_shutdown(cx)).await.is_ok() && lingers {
        connection.http1.lingering.set(Some(connection.now()));
        let mut wasted = 0;
        poll_fn(|cx| wire.poll_waste(&mut wasted, cx)).await;
    }
}
