//! One decision of each policy: `cargo bench -p weir-policies`.
//!
//! A policy that takes credentials away is given them anew each time; `credentials_given_anew` is what that costs.

use divan::{Bencher, black_box};
use http::Method;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use weir_config::{Api, load_text};
use weir_event::Instant;
use weir_http1::Fields;
use weir_policies::{Policy, RequestView, Services};

const LIMIT: &str = "rateLimits: [{maximumRequests: 268435454, timePeriodInMilliseconds: 3600000}]";

fn main() {
    divan::main();
}

fn api(policy: &str) -> Api {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\n\
         spec: {{address: \"http://0.0.0.0:80\", services: {{s: {{address: http://b}}}}, policies: [{{policyRef: {{name: {policy}}}]}}\n\
         ---\napiVersion: gateway.weir.dev/v1\nkind: Contract\nmetadata: {{name: c}}\n\
         spec: {{apiId: a, client: {{id: mobile, secret: s3cret}}}}\n"
    );
    load_text(Path::new("bench"), &text, &|_| None).expect("the configuration is right").apis.remove(0)
}

fn headers(key: u16) -> Fields {
    let mut headers = Fields::new();
    headers.set("host", b"api.example.com").expect("a field");
    headers.set("x-key", key.to_string().as_bytes()).expect("a field");
    give(&mut headers);
    headers
}

fn give(headers: &mut Fields) {
    headers.set("authorization", b"Basic Y2hyaXM6YWRtaW4=").expect("a field");
    headers.set("client_id", b"mobile").expect("a field");
    headers.set("x-secret", b"s3cret").expect("a field");
}

#[divan::bench]
fn credentials_given_anew(bencher: Bencher) {
    let mut headers = headers(1);
    bencher.bench_local(|| give(black_box(&mut headers)));
}

fn decide(bencher: Bencher, policy: &str) {
    let api = api(policy);
    let policy = Policy::compile(&api.policies[0], &api, &Services::default());
    let (mut requests, mut at): (Vec<_>, usize) = ((0..1000).map(headers).collect(), 0);
    let now = Instant::now();
    bencher.bench_local(|| {
        at = (at + 1) % 1000;
        let headers = &mut requests[at];
        give(headers);
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
    });
}

#[divan::bench]
fn basic_authentication(bencher: Bencher) {
    decide(bencher, "http-basic-authentication-flex}, config: {username: chris, password: admin}");
}

#[divan::bench]
fn client_id(bencher: Bencher) {
    decide(
        bencher,
        "client-id-enforcement-flex}, config: {clientSecretExpression: \"#[attributes.headers['x-secret']]\"}",
    );
}

#[divan::bench]
fn rate_limit(bencher: Bencher) {
    decide(bencher, &format!("rate-limiting-flex}}, config: {{{LIMIT}}}"));
}

#[divan::bench]
fn rate_limit_of_1000_keys(bencher: Bencher) {
    decide(
        bencher,
        &format!("rate-limiting-flex}}, config: {{{LIMIT}, keySelector: \"#[attributes.headers['x-key']]\"}}"),
    );
}
