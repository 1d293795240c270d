//! Phase `response_policies`: what an answer gets on its way out, whoever gave it.
//!
//! The policies that the request has passed, in reverse order, and the request id, by which a user can name the request to
//! an operator.

use crate::body::Source;
use crate::flow::{Flow, Passed};
use crate::reply::Reply;
use crate::snapshot::BoundPolicy;
use std::rc::Rc;
use weir_policies::{ResponseView, Stages};

/// Runs the response side. Of two policies that set the same field, what the first of the chain says stands.
pub(crate) fn response_policies(flow: &mut Flow, mut reply: Reply<Source>) -> Reply<Source> {
    if !flow.passed.is_empty() {
        run_all(flow, &mut reply);
    }
    flow.request_id.put(&mut reply.fields);
    reply
}

fn run_all(flow: &mut Flow, reply: &mut Reply<Source>) {
    let passed = std::mem::take(&mut flow.passed);
    let snapshot = Rc::clone(flow.exchange.snapshot());
    let (Some(listener), Some(api)) = (flow.listener, flow.api) else { return };
    let (policies, status) = (&snapshot.listeners[listener].apis[api].policies, reply.status);
    let clock = &flow.exchange.worker().clock;
    for Passed { policy, run, headers: set, carried } in passed.into_iter().rev() {
        let headers = &mut reply.fields;
        for (name, value) in set {
            headers.put(&name, &value);
        }
        let BoundPolicy { policy, name, .. } = &policies[policy];
        if policy.stages().has(Stages::RESPONSE) {
            let started = clock.now();
            let mut messages = Vec::new();
            policy.on_response(&mut ResponseView { status, headers, carried, messages: &mut messages });
            let took = clock.now().saturating_duration_since(started);
            let mut exchange = flow.exchange.borrow_mut();
            exchange.policies[run].took += took;
            if !messages.is_empty() {
                flow.exchange.worker().log_messages(&exchange, *name, &messages);
            }
        }
    }
}
