//! Phase `request_policies`: the API's policies, in their order, until one says no.
//!
//! The chain measures and books; the policy only decides.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::pipeline::Flow;
use crate::route::Target;
use crate::snapshot::BoundPolicy;
use weir_event::{PolicyRun, Verdict};
use weir_policies::{Decision, RequestView};

/// Runs every policy that applies.
pub(crate) fn request_policies(flow: &mut Flow, target: &Target, head: &mut Head) -> Result<(), Refusal> {
    for bound in &target.api().policies {
        if applies(flow, target, bound, head) {
            run(flow, bound, head)?;
        }
    }
    Ok(())
}

fn applies(flow: &Flow, target: &Target, bound: &BoundPolicy, head: &Head) -> bool {
    let exchange = flow.exchange.borrow();
    let request = head.for_rules(exchange.target.path());
    bound.rules.matches(&request, target.path_in_api(request.path))
}

fn run(flow: &mut Flow, bound: &BoundPolicy, head: &mut Head) -> Result<(), Refusal> {
    let mut exchange = flow.exchange.borrow_mut();
    let started = flow.worker.clock.now();
    let mut view = RequestView { method: &head.method, path: exchange.target.path(), headers: &mut head.headers };
    let decision = bound.policy.on_request(&mut view);
    let took = flow.worker.clock.now().saturating_duration_since(started);
    let verdict = match &decision {
        Decision::Continue | Decision::Identified(_) => Verdict::Continue,
        Decision::Reject(_) => Verdict::Rejected,
    };
    exchange.policies.push(PolicyRun { policy: bound.name, verdict, took });
    match decision {
        Decision::Continue => Ok(()),
        Decision::Identified(who) => {
            exchange.consumer = who.consumer().clone();
            exchange.auth = who.kind();
            Ok(())
        }
        Decision::Reject(rejection) => {
            exchange.answered_by = bound.name;
            Err(Refusal::from(rejection))
        }
    }
}
