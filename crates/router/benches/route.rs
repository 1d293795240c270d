//! Route match and the forwarded path: `cargo bench -p weir-router`.

use divan::{Bencher, black_box};
use http::Method;
use std::fmt::Write;
use std::path::Path;
use weir_config::load_text;
use weir_http1::Fields;
use weir_router::{Request, Router};

fn main() {
    divan::main();
}

/// One API with so many routes, each its own prefix.
fn router(routes: usize) -> Router {
    let mut text = "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {name: a}\n\
        spec:\n  address: http://0.0.0.0:80/api\n  services:\n    s:\n      address: http://b\n      routes:\n"
        .to_owned();
    for route in 0..routes {
        let _ = writeln!(text, "      - {{rules: [{{path: \"/r{route:04}(/.*)\", methods: GET|POST}}]}}");
    }
    let apis = load_text(Path::new("bench"), &text, &|_| None).expect("the configuration is right").apis;
    Router::compile(&apis)
}

/// Every route in turn, in an order that neither repeats soon nor is sorted.
#[divan::bench(args = [10, 5_000])]
fn matched(bencher: Bencher, routes: usize) {
    let (router, headers) = (router(routes), Fields::new());
    let paths: Vec<String> = (0..routes).map(|route| format!("/api/r{route:04}/orders/1234")).collect();
    let (mut at, mut out) = (0, Vec::with_capacity(256));
    bencher.bench_local(|| {
        at = (at + 2741) % routes;
        let request = Request { method: &Method::GET, host: "api.example.com", path: &paths[at], headers: &headers };
        out.clear();
        let matched = router.route(black_box(&request)).expect("every path has a route");
        matched.path.append_to(&mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = [10, 5_000])]
fn without_a_match(bencher: Bencher, routes: usize) {
    let (router, headers) = (router(routes), Fields::new());
    let request =
        Request { method: &Method::GET, host: "api.example.com", path: "/api/none/at/all", headers: &headers };
    assert!(router.route(&request).is_none());
    bencher.bench_local(|| router.route(black_box(&request)).is_none());
}
