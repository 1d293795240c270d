//! Fifty who look at the same dashboard cost the engine what five do: what counts are the queries that it runs, by its own
//! counter, and not times.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Analytics, Engine, chunk, now_us, stream};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use weir_analytics::query::dashboards::find;
use weir_api::dashboards::VariableKind;

/// How long an answer is given to others (`KEPT` of the server), which is also what times are rounded to.
const KEPT: Duration = Duration::from_secs(5);
/// Queries that weir-analytics may ask for itself in a step: of its lease, of its readiness.
const OWN: u64 = 20;

/// What the page asks to draw Fleet for the time that ends at `to_ms`: values of variables, annotations, panels.
fn questions(to_ms: i64) -> Vec<String> {
    let fleet = find("weir-fleet").unwrap();
    let range = format!("&from={}&to={to_ms}", to_ms - 3_600_000);
    let variables = fleet.templating.list.iter().filter(|one| one.kind == VariableKind::Query);
    let variables = variables.map(|one| format!("variable?name={}", one.name));
    let annotations =
        fleet.annotations.list.iter().map(|one| format!("annotation?name={}", one.name.replace(' ', "+")));
    let panels = fleet.panels.iter().flat_map(|panel| {
        panel.targets.iter().map(|target| format!("panel?panel={}&target={}&step=60", panel.id, target.ref_id))
    });
    let all = variables.chain(annotations).chain(panels);
    all.map(|what| format!("/api/v1/dashboards/weir-fleet/{what}{range}")).collect()
}

/// How many queries the engine runs while so many viewers ask all of it, at once and then one after the other, and how long
/// that takes. All of them get the same answers.
fn cost(engine: &Engine, analytics: &Analytics, viewers: usize, to_ms: i64) -> (u64, Duration) {
    let ran = || engine.number("SELECT value FROM system.events WHERE event = 'SelectQuery'");
    let (questions, start) = (questions(to_ms), Barrier::new(viewers));
    let answer = |question: &String| {
        let reply = analytics.get(question);
        assert_eq!(reply.status, 200, "{question}: {}", reply.text());
        reply.text()
    };
    let look = || questions.iter().map(answer).collect::<Vec<_>>();
    let look_at_once = || {
        start.wait();
        look()
    };
    let (before, began) = (ran(), Instant::now());
    let mut seen: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..viewers).map(|_| scope.spawn(look_at_once)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    seen.extend((0..viewers).map(|_| look()));
    let took = began.elapsed();
    assert!(seen.iter().all(|one| one[0] == seen[0][0]), "the same question has the same answer");
    assert!(seen[0].iter().any(|one| one.contains("edge")), "there is something to see: {:?}", seen[0]);
    // Without the query that asks for the count.
    (ran() - before - 1, took)
}

#[test]
fn fifty_viewers_cost_the_engine_what_five_do() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let begin_us = now_us() - 600_000_000;
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..500, begin_us, 1_000_000));
    let asked = questions(0).len() as u64;
    assert!(asked > 15, "{asked}");
    let to_ms = now_us() / 5_000_000 * 5000;
    // Each of them looks at a later step than the one before, as a page does that draws itself anew every five seconds.
    for (turn, viewers) in [5, 50, 5, 50].into_iter().enumerate() {
        let (ran, took) = cost(&engine, &analytics, viewers, to_ms + turn as i64 * 5000);
        // Who is still asking when an answer has become too old has it made once more.
        let steps = 1 + took.as_secs() / KEPT.as_secs();
        let most = (asked + OWN) * steps;
        assert!(viewers == 5 || most < 50 * asked, "fifty who shared nothing would not be found out: {took:?}");
        assert!((asked..=most).contains(&ran), "{viewers} viewers of {asked} questions: {ran} queries in {took:?}");
    }
}
