//! What one routing costs: `cargo run --release -p weir-router --example route_prices`.

use std::hint::black_box;
use std::time::Instant;

use http::Method;
use weir_config::{Api, ConfigErrors, load_text};
use weir_http1::Fields;
use weir_router::{Request, Router};

const ROUNDS: u32 = 2_000_000;

fn main() -> Result<(), ConfigErrors> {
    price("catch-all", 1, "[]")?;
    price("/lit(/.*)", 1, "[{rules: [{path: \"/foo(/.*)\", methods: GET|POST}], config: {destinationPath: /orders}}]")?;
    price("regex, no group", 1, "[{rules: [{path: \"/[a-z]+/.*\"}]}]")?;
    price("regex, two groups", 1, "[{rules: [{path: \"(/[a-z]+)/x(/.*)\"}]}]")?;
    price("catch-all, 1000 APIs", 1000, "[]")
}

fn price(what: &str, count: usize, routes: &str) -> Result<(), ConfigErrors> {
    let text: String = (0..count).map(|n| resource(n, routes)).collect();
    let apis: Vec<Api> = load_text("prices".as_ref(), &text, &|_| None)?.apis;
    let router = Router::compile(&apis);
    let (method, headers) = (Method::GET, Fields::new());
    let request = Request { method: &method, host: "api.example.com", path: "/api0/foo/x/bar/1234", headers: &headers };
    let mut out = Vec::with_capacity(256);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        out.clear();
        if let Some(matched) = router.route(black_box(&request)) {
            matched.path.append_to(&mut out);
        }
        black_box(&out);
    }
    println!("{what:22} {:6.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    Ok(())
}

fn resource(n: usize, routes: &str) -> String {
    format!(
        "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a{n}}}\n\
         spec: {{address: \"http://0.0.0.0:80/api{n}\", services: {{s: {{address: http://b, routes: {routes}}}}}}}\n---\n"
    )
}
