//! Phase `request_policies`: the API's policies, in their order, until one says no or answers in the upstream's place.
//!
//! The chain measures and records; the policy only decides. Some policies are asked before the route is chosen.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::flow::{Flow, Passed};
use crate::gather::gather;
use crate::policy_run::{self, Times, Wait, set};
use crate::route::{Target, answered_early};
use crate::snapshot::{ApiEntry, BoundPolicy};
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;
use weir_event::Instant;
use weir_event::RateLimitState;
use weir_policies::{Authenticated, Decision, Need, Outcome, RequestView, Stages, Step, Waiting};
use weir_upstream::Content as _;

/// The policies of an API, at one stage.
struct Chain<'a> {
    api: &'a ApiEntry,
    /// Where the path after the base path begins.
    in_api: usize,
    stage: Stages,
}

/// A policy that was asked, and has not answered yet.
struct Asked {
    index: usize,
    started: Instant,
    /// Since when it waits.
    since: Instant,
    /// `None`: for the content of the request.
    waiting: Option<Waiting>,
}

/// Runs those that are asked before the route is chosen.
pub(crate) async fn before_route(
    flow: &mut Flow,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
) -> Result<(), Refusal> {
    let snapshot = Rc::clone(flow.exchange.snapshot());
    let Some(table) = flow.listener.map(|listener| &snapshot.listeners[listener]) else { return Ok(()) };
    let found = {
        let exchange = flow.exchange.borrow();
        let path = exchange.target.path();
        table.router.api_of(path).map(|(api, rest)| (api, path.len() - rest.len()))
    };
    let Some((api, in_api)) = found else { return Ok(()) };
    flow.api = Some(api);
    let chain = Chain { api: &table.apis[api], in_api, stage: Stages::BEFORE_ROUTE };
    let asked = match chain.ask_from(0, flow, head, consumer) {
        Ok(Some(asked)) => chain.resume(asked, flow, head, consumer).await,
        Ok(None) => Ok(()),
        Err(refusal) => Err(refusal),
    };
    if asked.is_err() {
        answered_early(flow, head);
    }
    asked
}

/// Whether anything at the listener of this request is asked before a route is chosen.
pub(crate) fn begins_before_route(flow: &Flow) -> bool {
    flow.listener.is_some_and(|listener| flow.exchange.snapshot().listeners[listener].is_asked_before_route)
}

/// Runs every policy that applies, or those before the first that waits.
pub(crate) fn request_policies<'t>(
    flow: &mut Flow,
    target: &'t Target,
    head: &mut Head,
    consumer: &mut Option<Authenticated>,
) -> Result<Option<Rest<'t>>, Refusal> {
    flow.api = Some(target.api_index());
    let chain = Chain { api: target.api(), in_api: target.in_api(), stage: Stages::REQUEST };
    let asked = chain.ask_from(0, flow, head, consumer)?;
    Ok(asked.map(|asked| Rest { chain, asked }))
}

/// The policy that waits, and those behind it.
pub(crate) struct Rest<'t> {
    chain: Chain<'t>,
    asked: Asked,
}

impl Rest<'_> {
    /// Runs them.
    pub(crate) async fn run(
        self,
        flow: &mut Flow,
        head: &mut Head,
        consumer: &mut Option<Authenticated>,
    ) -> Result<(), Refusal> {
        self.chain.resume(self.asked, flow, head, consumer).await
    }
}

impl Chain<'_> {
    /// Goes on where a policy waits.
    async fn resume(
        &self,
        asked: Asked,
        flow: &mut Flow,
        head: &mut Head,
        consumer: &mut Option<Authenticated>,
    ) -> Result<(), Refusal> {
        let mut next = Some(asked);
        while let Some(Asked { index, started, since, waiting }) = next {
            let bound = &self.api.policies[index];
            let Some(waiting) = waiting else {
                let content = self.content(bound, flow, head).await?;
                next = match self.see(index, &content, flow, head, consumer)? {
                    Some(asked) => Some(asked),
                    None => self.ask_from(index + 1, flow, head, consumer)?,
                };
                continue;
            };
            let wait = Wait::begin(flow.exchange.clone(), bound.name, started, since);
            let outcome = waiting.await;
            self.settle(index, outcome, wait.end(), flow, head, consumer)?;
            next = self.ask_from(index + 1, flow, head, consumer)?;
        }
        Ok(())
    }

    /// Reads what the policy needs of the request's content.
    async fn content(&self, bound: &BoundPolicy, flow: &mut Flow, head: &mut Head) -> Result<Bytes, Refusal> {
        let most = match bound.policy.needs() {
            Need::Whole { most } => most,
            Need::None | Need::Stream => 0,
        };
        let gathered = gather(&flow.exchange, &mut head.body, most).await;
        if gathered.is_err() {
            flow.exchange.borrow_mut().answered_by = bound.name;
        }
        gathered
    }

    /// Asks the policy that needed the content of the request, which is here. Answers where it waits for others now.
    fn see(
        &self,
        index: usize,
        content: &Bytes,
        flow: &mut Flow,
        head: &mut Head,
        consumer: &mut Option<Authenticated>,
    ) -> Result<Option<Asked>, Refusal> {
        let bound = &self.api.policies[index];
        let started = flow.exchange.worker().clock.now();
        let step = self.look(flow, bound, head, consumer, started, Some(content));
        let ended = flow.exchange.worker().clock.now();
        match step {
            Step::Done(outcome) => {
                let times = Times { started, ended, waited: Duration::ZERO };
                self.settle(index, outcome, times, flow, head, consumer)?;
                Ok(None)
            }
            Step::Wait(waiting) => Ok(Some(Asked { index, started, since: ended, waiting: Some(waiting) })),
            // It has seen it.
            Step::Content | Step::Stream(_) => Ok(None),
        }
    }

    /// Asks one after the other from the one at `first`, until one waits.
    fn ask_from(
        &self,
        first: usize,
        flow: &mut Flow,
        head: &mut Head,
        consumer: &mut Option<Authenticated>,
    ) -> Result<Option<Asked>, Refusal> {
        for (index, bound) in self.api.policies.iter().enumerate().skip(first) {
            if !bound.policy.stages().has(self.stage) || !self.applies(flow, bound, head) {
                continue;
            }
            let started = flow.exchange.worker().clock.now();
            let step = self.ask(flow, bound, head, consumer, started);
            let ended = flow.exchange.worker().clock.now();
            match step {
                Step::Done(outcome) => {
                    let times = Times { started, ended, waited: Duration::ZERO };
                    self.settle(index, outcome, times, flow, head, consumer)?;
                }
                Step::Wait(waiting) => {
                    return Ok(Some(Asked { index, started, since: ended, waiting: Some(waiting) }));
                }
                Step::Content => return Ok(Some(Asked { index, started, since: ended, waiting: None })),
                Step::Stream(reader) => {
                    head.body.watch(bound.name, reader);
                    let times = Times { started, ended, waited: Duration::ZERO };
                    self.settle(index, Outcome::passed(), times, flow, head, consumer)?;
                }
            }
        }
        Ok(None)
    }

    fn applies(&self, flow: &Flow, bound: &BoundPolicy, head: &Head) -> bool {
        let exchange = flow.exchange.borrow();
        let request = head.for_rules(exchange.target.path());
        // Rules look at the part of the path after the base path.
        let path = request.path.get(self.in_api..).filter(|rest| !rest.is_empty()).unwrap_or("/");
        bound.rules.matches(&request, path)
    }

    // Inlined, so that its answer is made where it is used: it is large.
    #[inline(always)]
    fn ask(
        &self,
        flow: &Flow,
        bound: &BoundPolicy,
        head: &mut Head,
        consumer: &Option<Authenticated>,
        now: Instant,
    ) -> Step {
        self.look(flow, bound, head, consumer, now, None)
    }

    #[inline(always)]
    fn look(
        &self,
        flow: &Flow,
        bound: &BoundPolicy,
        head: &mut Head,
        consumer: &Option<Authenticated>,
        now: Instant,
        content: Option<&Bytes>,
    ) -> Step {
        let exchange = flow.exchange.borrow();
        let mut messages = Vec::new();
        let mut request = RequestView {
            method: &head.method,
            path: exchange.target.path(),
            query: exchange.target.query(),
            headers: &mut head.headers,
            client: exchange.client,
            consumer: consumer.as_ref(),
            now,
            has_content: !head.body.is_end(),
            messages: &mut messages,
        };
        let step = match content {
            Some(content) => bound.policy.on_content(&mut request, content),
            None if self.stage == Stages::REQUEST => bound.policy.on_request(&mut request),
            None => bound.policy.before_route(&mut request),
        };
        if !messages.is_empty() {
            flow.exchange.worker().log_messages(&exchange, bound.name, &messages);
        }
        step
    }

    /// Records what the policy said, and has its effects.
    #[inline(always)]
    fn settle(
        &self,
        index: usize,
        outcome: Outcome,
        times: Times,
        flow: &mut Flow,
        head: &mut Head,
        consumer: &mut Option<Authenticated>,
    ) -> Result<(), Refusal> {
        let Outcome { decision, effects } = outcome;
        let bound = &self.api.policies[index];
        let verdict = policy_run::verdict(&decision);
        let mut exchange = flow.exchange.borrow_mut();
        let run = times.run(&exchange, bound.name, verdict);
        exchange.policies.push(run);
        if let Some(who) = effects.identity {
            exchange.consumer = who.consumer().clone();
            exchange.auth = who.kind();
            *consumer = Some(who);
        }
        if effects.rate_limit != RateLimitState::None {
            exchange.rate_limit = worse(exchange.rate_limit, effects.rate_limit);
        }
        let (headers, carried) = (effects.response_headers, effects.carried);
        let answer = match decision {
            Decision::Continue => {
                if !effects.request_headers.is_empty() {
                    set(&mut head.headers, effects.request_headers);
                }
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
