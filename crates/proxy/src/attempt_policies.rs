//! The policies of a service, which are asked for each attempt there: in their order, until one says no or answers itself.
//!
//! What they change holds for the attempt. Their time is the gateway's, and what they wait for others is booked as that.

use crate::answer::Refusal;
use crate::flow::Flow;
use crate::policy_run::{Times, Wait, set, verdict};
use crate::snapshot::OutboundPolicy;
use http::Method;
use std::time::Duration;
use weir_event::Turn;
use weir_http1::Fields;
use weir_policies::{AttemptView, Decision, Outcome, Step};
use weir_upstream::Origin;

/// Asks them. `fields` are those of the attempt.
pub(crate) async fn attempt_policies(
    flow: &mut Flow,
    policies: &[OutboundPolicy],
    origin: &Origin,
    (method, target): (&Method, &str),
    fields: &mut Fields,
) -> Result<(), Refusal> {
    flow.exchange.hand_to(Turn::Gateway);
    for OutboundPolicy { name, policy } in policies {
        let started = flow.exchange.worker().clock.now();
        let mut messages = Vec::new();
        let step = policy.on_attempt(&mut AttemptView {
            method,
            target,
            headers: fields,
            authority: &origin.authority,
            number: flow.exchange.borrow().attempts.len() + 1,
            now: started,
            messages: &mut messages,
        });
        let ended = flow.exchange.worker().clock.now();
        if !messages.is_empty() {
            flow.exchange.worker().log_messages(&flow.exchange.borrow(), *name, &messages);
        }
        let (outcome, times) = match step {
            Step::Done(outcome) => (outcome, Times { started, ended, waited: Duration::ZERO }),
            // It is streamed by now: there is nothing to be seen.
            Step::Content | Step::Stream(_) => continue,
            Step::Wait(waiting) => {
                let wait = Wait::begin(flow.exchange.clone(), *name, started, ended);
                (waiting.await, wait.end())
            }
        };
        let Outcome { decision, effects } = outcome;
        set(fields, effects.request_headers);
        let mut exchange = flow.exchange.borrow_mut();
        let run = times.run(&exchange, *name, verdict(&decision));
        exchange.policies.push(run);
        if let Decision::Respond(answer) | Decision::Reject(answer) = decision {
            exchange.answered_by = *name;
            return Err(Refusal::from(answer));
        }
    }
    Ok(())
}
