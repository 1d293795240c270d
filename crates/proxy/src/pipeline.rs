//! The life of a request, as a list: `accept → route → request_policies → upstream → response_policies → body →
//! record`. Each phase is one file; these names are also those of spans, metric labels and documentation.

use crate::accept::{Arrived, Head, accept};
use crate::answer::Refusal;
use crate::body::{ResponseBody, Source};
use crate::client::Client;
use crate::exchange::Owner;
use crate::flow::Flow;
use crate::link;
use crate::own_answer::own_answer;
use crate::reply::Reply;
use crate::request_policies::{before_route, begins_before_route, request_policies};
use crate::response_policies::response_policies;
use crate::route::route;
use crate::tracing::{debug, server_timing};
use crate::upload::Incoming;
use crate::upstream::upstream;
use std::future::Future;
use std::rc::Rc;
use weir_config::TraceEdge;

/// Serves one request. The answer's body records the exchange when its last frame is handed over.
///
/// The exchange begins with the call, not with the first poll: a future that is dropped before it was polled, because
/// its client closed in the same moment, records a cancelled exchange as well.
pub(crate) fn serve(
    client: Rc<Client>,
    owner: Rc<dyn Owner>,
    head: Arrived,
    body: Option<Incoming>,
) -> impl Future<Output = Reply<ResponseBody>> {
    let (flow, request) = accept(client, owner, head, body);
    after_accept(flow, request)
}

async fn after_accept(mut flow: Flow, request: Result<Box<Head>, Refusal>) -> Reply<ResponseBody> {
    let reply = match request {
        Ok(head) => forward(&mut flow, head).await,
        Err(refusal) => Err(refusal),
    };
    let reply = reply.unwrap_or_else(|refusal| {
        // Refused by a policy after the one that identified it.
        debug_consumer(&mut flow);
        refusal.answer(&mut flow)
    });
    let mut reply = response_policies(&mut flow, reply);
    if edge(&flow).server_timing {
        server_timing(&flow.exchange.borrow(), &mut reply.fields);
    }
    let exchange = flow.exchange.borrow();
    // It came from another gateway of the fleet.
    if !exchange.entry {
        link::tell(&exchange, &flow.trace, flow.exchange.worker().clock.now(), &mut reply.fields);
    }
    drop(exchange);
    crate::body::body(flow, reply)
}

/// What the port does with traces.
fn edge(flow: &Flow) -> TraceEdge {
    let snapshot = flow.exchange.snapshot();
    flow.listener.map_or(snapshot.edge, |listener| snapshot.listeners[listener].edge)
}

async fn forward(flow: &mut Flow, mut head: Box<Head>) -> Result<Reply<Source>, Refusal> {
    if let Some(answer) = own_answer(flow, &mut head)? {
        return Ok(answer);
    }
    // Boxed, what is seldom: a request of which no policy waits does not carry room for it.
    let mut consumer = None;
    if begins_before_route(flow) {
        Box::pin(before_route(flow, &mut head, &mut consumer)).await?;
    }
    let target = route(flow, &head)?;
    if let Some(rest) = request_policies(flow, &target, &mut head, &mut consumer)? {
        Box::pin(rest.run(flow, &mut head, &mut consumer)).await?;
    }
    debug_consumer(flow);
    upstream(flow, &target, head).await
}

/// Has the trace kept if an administrator asks for those of its consumer.
fn debug_consumer(flow: &mut Flow) {
    let (snapshot, mut exchange) = (flow.exchange.snapshot(), flow.exchange.borrow_mut());
    debug(snapshot.tracer.as_ref(), &mut flow.trace, &mut exchange, |rules, exchange, now| {
        rules.takes_consumer(&exchange.consumer, now)
    });
}
