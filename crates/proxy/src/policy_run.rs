//! What is recorded of a policy that was asked, at whichever stage: when, how long, and what it said.

use crate::exchange::ExchangeRef;
use http::{HeaderName, HeaderValue};
use std::time::Duration;
use weir_event::Instant;
use weir_event::{Exchange, NameId, PolicyRun, Verdict, micros};
use weir_http1::Fields;
use weir_policies::Decision;

/// When a policy was asked, when it had answered, and how long of that it waited.
pub(crate) struct Times {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) waited: Duration,
}

/// The wait of a policy. Dropped before its end - the client gave up - the policy is recorded with what it waited.
pub(crate) struct Wait {
    exchange: ExchangeRef,
    policy: NameId,
    started: Instant,
    since: Instant,
    ended: bool,
}

impl Wait {
    pub(crate) fn begin(exchange: ExchangeRef, policy: NameId, started: Instant, since: Instant) -> Self {
        Self { exchange, policy, started, since, ended: false }
    }

    pub(crate) fn end(mut self) -> Times {
        self.ended = true;
        let times = self.times();
        self.exchange.borrow_mut().waited += times.waited;
        times
    }

    fn times(&self) -> Times {
        let ended = self.exchange.worker().clock.now();
        Times { started: self.started, ended, waited: ended.saturating_duration_since(self.since) }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            let times = self.times();
            let mut exchange = self.exchange.borrow_mut();
            let run = times.run(&exchange, self.policy, Verdict::Skipped);
            exchange.waited += times.waited;
            exchange.policies.push(run);
        }
    }
}

impl Times {
    pub(crate) fn run(&self, exchange: &Exchange, policy: NameId, verdict: Verdict) -> PolicyRun {
        let Self { started, ended, waited } = *self;
        let start_us = micros(started.saturating_duration_since(exchange.started));
        let took = ended.saturating_duration_since(started);
        PolicyRun { policy, verdict, start_us, waited_us: micros(waited), took }
    }
}

/// What a decision is in the record.
pub(crate) fn verdict(decision: &Decision) -> Verdict {
    match decision {
        Decision::Continue => Verdict::Continue,
        Decision::Respond(_) => Verdict::Answered,
        Decision::Reject(_) => Verdict::Rejected,
    }
}

/// Has the effects of a policy on the headers of a request.
pub(crate) fn set(headers: &mut Fields, changes: Vec<(HeaderName, Option<HeaderValue>)>) {
    for (name, value) in changes {
        match value {
            Some(value) => headers.put(&name, &value),
            None => drop(headers.remove(&name)),
        }
    }
}
