//! Phase `request_policies`: the API's policies, in their order, until one says no.
//!
//! The chain measures and books; the policy only decides.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::pipeline::Flow;
use crate::route::Target;
use crate::snapshot::BoundPolicy;
use weir_event::{PolicyRun, RateLimitState, Verdict};
use weir_policies::{Authenticated, Decision, RequestView};

/// Runs every policy that applies.
pub(crate) fn request_policies(flow: &mut Flow, target: &Target, head: &mut Head) -> Result<(), Refusal> {
    let mut consumer = None;
    for bound in &target.api().policies {
        if applies(flow, target, bound, head) {
            run(flow, bound, head, &mut consumer)?;
        }
    }
    Ok(())
}

fn applies(flow: &Flow, target: &Target, bound: &BoundPolicy, head: &Head) -> bool {
    let exchange = flow.exchange.borrow();
    let request = head.for_rules(exchange.target.path());
    bound.rules.matches(&request, target.path_in_api(request.path))
}

fn run(
    flow: &mut Flow,
    bound: &BoundPolicy,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
) -> Result<(), Refusal> {
    let mut exchange = flow.exchange.borrow_mut();
    let started = flow.exchange.worker().clock.now();
    let decision = bound.policy.on_request(&mut RequestView {
        method: &head.method,
        path: exchange.target.path(),
        query: exchange.target.query(),
        headers: &mut head.headers,
        consumer: consumer.as_ref(),
        now: started,
    });
    let took = flow.exchange.worker().clock.now().saturating_duration_since(started);
    let verdict = if matches!(decision, Decision::Reject(_)) { Verdict::Rejected } else { Verdict::Continue };
    exchange.policies.push(PolicyRun { policy: bound.name, verdict, took });
    match decision {
        Decision::Continue => {}
        Decision::Identified(who) => {
            exchange.consumer = who.consumer().clone();
            exchange.auth = who.kind();
            *consumer = Some(who);
        }
        Decision::Limited(limited) => {
            exchange.rate_limit = worse(exchange.rate_limit, limited.state);
            flow.response_headers.extend(limited.headers);
        }
        Decision::Reject(rejection) => {
            exchange.answered_by = bound.name;
            exchange.rate_limit = worse(exchange.rate_limit, rejection.rate_limit);
            return Err(Refusal::from(rejection));
        }
    }
    Ok(())
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
