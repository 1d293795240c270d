//! Phase `request_policies`: the API's policies, in their order, until one says no or answers in the upstream's place.
//!
//! The chain measures and records; the policy only decides. Some policies are asked before the route is chosen.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::pipeline::Flow;
use crate::route::{Target, answered_early};
use crate::snapshot::{ApiEntry, BoundPolicy};
use std::rc::Rc;
use weir_event::{PolicyRun, RateLimitState, Verdict};
use weir_policies::{Authenticated, Carried, Decision, Outcome, Policy, RequestView, ResponseHeaders, Stages};

/// A policy that the request has passed, and that has a say in the response.
pub(crate) struct Passed {
    /// Its place in the chain of the API.
    pub(crate) policy: usize,
    /// Its place among the runs of the exchange.
    pub(crate) run: usize,
    pub(crate) headers: ResponseHeaders,
    pub(crate) carried: Option<Carried>,
}

/// Runs those that are asked before the route is chosen.
pub(crate) fn before_route(
    flow: &mut Flow,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
) -> Result<(), Refusal> {
    let table = flow.listener.map(|listener| &flow.exchange.snapshot().listeners[listener]);
    if table.is_none_or(|table| !table.is_asked_before_route) {
        return Ok(());
    }
    let snapshot = Rc::clone(flow.exchange.snapshot());
    let Some(table) = flow.listener.map(|listener| &snapshot.listeners[listener]) else { return Ok(()) };
    let found = {
        let exchange = flow.exchange.borrow();
        let path = exchange.target.path();
        table.router.api_of(path).map(|(api, in_api)| (api, path.len() - in_api.len().min(path.len())))
    };
    let Some((api, in_api)) = found else { return Ok(()) };
    flow.api = Some(api);
    let asked = run_all(flow, &table.apis[api], in_api, head, consumer, Stages::BEFORE_ROUTE, Policy::before_route);
    if asked.is_err() {
        answered_early(flow, head);
    }
    asked
}

/// Runs every policy that applies.
pub(crate) fn request_policies(
    flow: &mut Flow,
    target: &Target,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
) -> Result<(), Refusal> {
    flow.api = Some(target.api_index());
    run_all(flow, target.api(), target.in_api(), head, consumer, Stages::REQUEST, Policy::on_request)
}

/// `in_api` is where the path after the base path begins.
fn run_all(
    flow: &mut Flow,
    api: &ApiEntry,
    in_api: usize,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
    stage: Stages,
    ask: impl Fn(&Policy, &mut RequestView<'_>) -> Outcome,
) -> Result<(), Refusal> {
    for (index, bound) in api.policies.iter().enumerate() {
        if bound.policy.stages().has(stage) && applies(flow, in_api, bound, head) {
            run(flow, index, bound, head, consumer, &ask)?;
        }
    }
    Ok(())
}

fn applies(flow: &Flow, in_api: usize, bound: &BoundPolicy, head: &Head) -> bool {
    let exchange = flow.exchange.borrow();
    let request = head.for_rules(exchange.target.path());
    bound.rules.matches(&request, path_in_api(request.path, in_api))
}

/// Of the path asked for, the part after the base path: what the rules of policies look at.
fn path_in_api(path: &str, in_api: usize) -> &str {
    path.get(in_api..).filter(|rest| !rest.is_empty()).unwrap_or("/")
}

fn run(
    flow: &mut Flow,
    index: usize,
    bound: &BoundPolicy,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
    ask: impl Fn(&Policy, &mut RequestView<'_>) -> Outcome,
) -> Result<(), Refusal> {
    let mut exchange = flow.exchange.borrow_mut();
    let started = flow.exchange.worker().clock.now();
    let Outcome { decision, effects } = ask(
        &bound.policy,
        &mut RequestView {
            method: &head.method,
            path: exchange.target.path(),
            query: exchange.target.query(),
            headers: &mut head.headers,
            consumer: consumer.as_ref(),
            now: started,
        },
    );
    let took = flow.exchange.worker().clock.now().saturating_duration_since(started);
    let verdict = match &decision {
        Decision::Continue => Verdict::Continue,
        Decision::Respond(_) => Verdict::Answered,
        Decision::Reject(_) => Verdict::Rejected,
    };
    exchange.policies.push(PolicyRun { policy: bound.name, verdict, took });
    if let Some(who) = effects.identity {
        exchange.consumer = who.consumer().clone();
        exchange.auth = who.kind();
        *consumer = Some(who);
    }
    exchange.rate_limit = worse(exchange.rate_limit, effects.rate_limit);
    let (headers, carried) = (effects.response_headers, effects.carried);
    let answer = match decision {
        Decision::Continue => {
            if bound.policy.stages().has(Stages::RESPONSE) || !headers.is_empty() {
                let run = exchange.policies.len() - 1;
                flow.passed.push(Passed { policy: index, run, headers, carried });
            }
            return Ok(());
        }
        Decision::Respond(answer) | Decision::Reject(answer) => answer,
    };
    exchange.answered_by = bound.name;
    Err(Refusal::from(answer))
}

/// Of two limits that a request met, what the event says: exceeded before within, shared before its own.
fn worse(one: RateLimitState, other: RateLimitState) -> RateLimitState {
    let rank = |state| match state {
        RateLimitState::None => 0,
        RateLimitState::Within => 1,
        RateLimitState::WithinShared => 2,
        RateLimitState::Exceeded => 3,
        RateLimitState::ExceededShared => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}
