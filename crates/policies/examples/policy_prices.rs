//! What one decision costs: `cargo run --release -p weir-policies --example policy_prices`.
//!
//! Of the two that take credentials away, a request made anew (about 200 ns) is in the figure.
//! With two threads, every call is made by both at once: what an unkeyed limit pays for being exact over all workers.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use weir_event::Instant;

use http::Method;
use weir_config::{Api, load_text};
use weir_http1::Fields;
use weir_policies::{Policy, RequestView, Services};

const ROUNDS: u32 = 2_000_000;
const LIMIT: &str = "maximumRequests: 268435454, timePeriodInMilliseconds: 3600000";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = |more: &str| format!("rate-limiting-flex}}, config: {{rateLimits: [{{{LIMIT}}}]{more}}}");
    let key = ", keySelector: \"#[attributes.headers['x-key']]\"";
    price("basic authentication", 1, "http-basic-authentication-flex}, config: {username: chris, password: admin}")?;
    price(
        "client id and secret",
        1,
        &format!("client-id-enforcement-flex}}, config: {{clientSecretExpression: \"{SECRET}\"}}"),
    )?;
    for threads in [1, 2] {
        price("rate limit", threads, &limit(""))?;
        price("rate limit, exposed", threads, &limit(", exposeHeaders: true"))?;
        price("rate limit, 1000 keys", threads, &limit(key))?;
    }
    Ok(())
}

const SECRET: &str = "#[attributes.headers['x-secret']]";

fn api(policy: &str) -> Result<Api, Box<dyn std::error::Error>> {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\n\
         spec: {{address: \"http://0.0.0.0:80\", services: {{s: {{address: http://b}}}}, policies: [{{policyRef: {{name: {policy}}}]}}\n\
         ---\napiVersion: gateway.weir.dev/v1\nkind: Contract\nmetadata: {{name: c}}\n\
         spec: {{apiId: a, client: {{id: mobile, secret: s3cret}}}}\n"
    );
    Ok(load_text(Path::new("prices"), &text, &|_| None)?.apis.remove(0))
}

fn price(what: &str, threads: usize, policy: &str) -> Result<(), Box<dyn std::error::Error>> {
    let api = api(policy)?;
    let policy = Policy::compile(&api.policies[0], &api, &Services::default());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| decide(&policy));
        }
    });
    let nanos = start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
    println!("{what:22} {threads} threads {nanos:6.1} ns");
    Ok(())
}

/// A thousand requests in turn; what a policy takes away of one is put back.
fn decide(policy: &Policy) {
    let mut requests: Vec<_> = (0..1000).map(headers).collect();
    let now = Instant::now();
    for round in 0..ROUNDS as usize {
        let headers = &mut requests[round % 1000];
        let whole = headers.len();
        let (method, path, query, consumer) = (&Method::GET, "/a", None, None);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        black_box(policy.on_request(&mut RequestView {
            method,
            path,
            query,
            headers,
            client,
            consumer,
            has_content: false,
            now,
            messages: &mut Vec::new(),
        }));
        if headers.len() < whole {
            *headers = self::headers(round as u16);
        }
    }
}

fn headers(key: u16) -> Fields {
    let mut headers = Fields::new();
    headers.set("authorization", b"Basic Y2hyaXM6YWRtaW4=").expect("a field");
    headers.set("client_id", b"mobile").expect("a field");
    headers.set("x-secret", b"s3cret").expect("a field");
    headers.set("x-key", key.to_string().as_bytes()).expect("a field");
    headers
}
