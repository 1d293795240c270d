//! Trace context, the cells of a route, and a scrape: `cargo bench -p weir-telemetry`.

use divan::{Bencher, black_box};
use std::sync::Arc;
use std::time::Duration;
use weir_config::{Propagators, TraceTrust};
use weir_event::Instant;
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::{Exchange, Method, NameId, Names, Outcome, Turn, Verdict};
use weir_http1::Fields;
use weir_telemetry::metrics::{Cardinality, Exposition, Format, RouteLabels, RouteMetrics};
use weir_telemetry::trace_context::TraceParent;
use weir_telemetry::{Continuation, SpanSource};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn main() {
    divan::main();
}

#[divan::bench]
fn traceparent_parse() -> Option<TraceParent> {
    TraceParent::parse(black_box(PARENT.as_bytes()))
}

/// Taken from a request and written for its attempt.
#[divan::bench(args = [false, true])]
fn trace_context(bencher: Bencher, continued: bool) {
    let (mut source, mut headers) = (SpanSource::seeded(1), Fields::new());
    bencher.bench_local(|| {
        headers.clear();
        if continued {
            headers.set("traceparent", PARENT.as_bytes()).expect("a field");
        }
        let context = Continuation::take(&mut headers, TraceTrust::Continue, Propagators::default(), &mut source);
        context.inject(1, &mut headers);
        black_box(headers.len())
    });
}

fn exchange() -> Exchange {
    let now = Instant::now();
    let mut exchange = Exchange::new(now, 0);
    (exchange.method, exchange.status, exchange.bytes_out) = (Method::Get, 200, 1024);
    let took = Duration::from_millis(7);
    let policy = NameId(0);
    exchange.policies.push(PolicyRun { took: Duration::from_micros(2), ..PolicyRun::new(policy, Verdict::Continue) });
    exchange.attempts.push(Attempt { first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(20));
    exchange.hand_to(Turn::Gateway, now + took);
    exchange.finish(Outcome::Completed, now + took + Duration::from_micros(15));
    exchange
}

fn metrics(route: usize) -> RouteMetrics {
    let labels = RouteLabels { api: "orders".into(), route: format!("route-{route}"), service: "main".into() };
    RouteMetrics::new(labels, 2, &Arc::new(Cardinality::new(20_000)))
}

/// All that one finished exchange adds.
#[divan::bench]
fn cells_of_a_route(bencher: Bencher) {
    let (metrics, exchange) = (metrics(0), exchange());
    bencher.bench_local(|| metrics.observe(0, black_box(&exchange), true));
}

/// Of 1,500 routes, with some 100,000 series as the text has them.
#[divan::bench(args = [Format::Text, Format::OpenMetrics, Format::Protobuf], sample_count = 20, sample_size = 1)]
fn scrape_of_many_routes(bencher: Bencher, format: Format) {
    let (names, exchange) = (Names::new(), exchange());
    let routes: Vec<RouteMetrics> = (0..1500).map(metrics).collect();
    routes.iter().for_each(|route| route.observe(0, &exchange, true));
    bencher.bench_local(|| {
        let mut text = Exposition::of(format);
        for family in RouteMetrics::FAMILIES {
            routes.iter().for_each(|route| route.expose(*family, &names, &mut text));
        }
        text.finish().len()
    });
}
