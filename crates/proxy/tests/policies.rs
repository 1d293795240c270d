//! What policies do to requests, and what the event says of it: their order, their rules, who is let in, and how often.

mod common;

use common::{Gateway, Upstream, api, header};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_event::{AuthKind, Exchange, RateLimitState, Reason, Side, Verdict, micros};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-ratelimit-limit: theirs\r\n\r\nok";

/// A PolicyBinding to the API `orders` of the tests.
fn binding(name: &str, policy: &str, order: u32, config: &str) -> String {
    format!(
        "
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: {name}}}
spec:
  targetRef: {{name: orders}}
  policyRef: {{name: {policy}}}
  order: {order}
  config: {config}
"
    )
}

fn limit(name: &str, order: u32, requests: u32, more: &str) -> String {
    let config = format!("{{rateLimits: [{{maximumRequests: {requests}, timePeriodInMilliseconds: 3600000}}]{more}}}");
    binding(name, "rate-limiting-flex", order, &config)
}

fn contract(id: &str) -> String {
    format!(
        "
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Contract
metadata: {{name: {id}}}
spec: {{apiId: orders, client: {{id: {id}, secret: s3cret}}}}
"
    )
}

fn get(gateway: &Gateway, headers: &str) -> (String, Exchange) {
    let answer = gateway.exchange(&format!("GET /a?x=1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"));
    (answer, gateway.event())
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn names(gateway: &Gateway, event: &Exchange) -> Vec<String> {
    let name = |id| gateway.registry.names.name(id).map(|name| name.to_string()).unwrap_or_default();
    event.policies.iter().map(|run| name(run.policy)).collect()
}

/// `order` decides, and what is written in the API stands at 50, before what is bound there.
#[test]
fn the_chain_runs_in_its_order_and_by_its_rules() {
    let upstream = Upstream::answering(OK);
    let basic = |user: &str| format!("{{username: {user}, password: p}}");
    let inline = "  policies: [{policyRef: {name: rate-limiting-flex}, config: {rateLimits: \
                  [{maximumRequests: 9, timePeriodInMilliseconds: 3600000}]}}]";
    let ruled = |yaml: String, rules: &str| yaml.trim_end().to_owned() + &format!("\n  rules: [{rules}]\n");
    let yaml = api(upstream.address, inline)
        + &binding("last", "http-basic-authentication-flex", 60, &basic("u"))
        + &ruled(limit("posts", 1, 9, ""), "{methods: POST}")
        + &ruled(limit("mine", 51, 9, ""), "{path: /a, headers: {x-mine: yes}}")
        + &limit("same", 50, 9, "")
        + &binding("first", "client-id-enforcement-flex", 2, "{}")
        + &contract("mobile");
    let gateway = Gateway::start(&yaml);
    let credentials = "client_id: mobile\r\nauthorization: Basic dTpw\r\n";
    let chain = |headers: &str| {
        let (answer, event) = get(&gateway, headers);
        assert_eq!(status(&answer), "200", "{answer}");
        names(&gateway, &event)
    };
    // The names are numbered by their place in the chain: 1 is `posts`, which never runs here.
    let [id, limit, basic] = ["client-id-enforcement-flex", "rate-limiting-flex", "http-basic-authentication-flex"];
    assert_eq!(chain(credentials), [id, &format!("{limit}-2"), &format!("{limit}-3"), basic]);
    let mine = format!("{credentials}x-mine: yes\r\n");
    assert_eq!(chain(&mine), [id, &format!("{limit}-2"), &format!("{limit}-3"), &format!("{limit}-4"), basic]);
    let (answer, event) = get(&gateway, "authorization: Basic dTpw\r\n");
    assert_eq!((status(&answer), names(&gateway, &event)), ("401", vec![id.to_owned()]), "the first to refuse ends it");
    assert_eq!(event.policies[0].verdict, Verdict::Rejected);
}

#[test]
fn a_client_without_a_contract_is_refused_as_flex_does() {
    let upstream = Upstream::answering(OK);
    let config = "{clientSecretExpression: \"#[attributes.headers['client_secret']]\"}";
    let yaml =
        api(upstream.address, "") + &binding("ids", "client-id-enforcement-flex", 1, config) + &contract("mobile");
    let gateway = Gateway::start(&yaml);

    for (headers, body) in [
        ("", r#"{"error":"Client ID is not present"}"#),
        ("client_id: mobile\r\nclient_secret: wrong\r\n", r#"{"error":"Authentication Attempt Failed"}"#),
    ] {
        let (answer, event) = get(&gateway, headers);
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        assert_eq!(header(&answer, "www-authenticate"), Some("Client-ID-Enforcement"));
        assert_eq!(header(&answer, "content-type"), Some("application/json"));
        assert_eq!(header(&answer, "content-length"), Some(body.len().to_string().as_str()));
        assert_eq!((event.status, event.reason, event.side()), (401, Reason::AuthenticationFailed, Side::Downstream));
        assert_eq!((event.auth, event.consumer.as_ref()), (AuthKind::None, b"".as_slice()));
        assert_eq!(gateway.registry.names.name(event.answered_by).as_deref(), Some("client-id-enforcement-flex"));
    }

    let (answer, event) = get(&gateway, "client_id: mobile\r\nclient_secret: s3cret\r\n");
    assert_eq!(status(&answer), "200");
    assert_eq!((event.auth, event.consumer.as_ref()), (AuthKind::ClientId, b"mobile".as_slice()));
    let sent = upstream.request();
    assert_eq!((header(&sent, "client_id"), header(&sent, "client_secret")), (Some("mobile"), None));
}

/// Two workers, sixteen connections at once: what is counted is one number.
#[test]
fn a_limit_of_a_hundred_admits_a_hundred_over_all_workers() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&(api(upstream.address, "") + &limit("all", 1, 100, ", exposeHeaders: true")));
    let (admitted, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = gateway_get(gateway.address);
                    let count = if status(&answer) == "200" { &admitted } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                    let limit = header(&answer, "x-ratelimit-limit");
                    assert_eq!(limit, Some("100"), "the gateway's own, not the upstream's: {answer}");
                }
            });
        }
    });
    assert_eq!((admitted.into_inner(), refused.into_inner()), (100, 60));
    let mut states = [0; 5];
    for _ in 0..160 {
        let event = gateway.event();
        states[event.rate_limit as usize] += 1;
        let expected = if event.rate_limit == RateLimitState::Within { Reason::None } else { Reason::RateLimited };
        assert_eq!(event.reason, expected);
    }
    assert_eq!(states, [0, 100, 60, 0, 0]);
    let workers: Vec<_> =
        gateway.proxy.as_ref().map(|proxy| proxy.stats().map(|stats| stats.accepted()).collect()).unwrap_or_default();
    assert!(workers.iter().all(|accepted| *accepted > 0), "both had some: {workers:?}");
}

fn gateway_get(address: std::net::SocketAddr) -> String {
    let mut client = common::Client::connect(address);
    client.send(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    client.read_to_end()
}

#[test]
fn what_is_over_a_limit_is_429_and_says_when_to_come_back() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&(api(upstream.address, "") + &limit("all", 1, 1, ", exposeHeaders: true")));
    let (first, event) = get(&gateway, "");
    assert_eq!((status(&first), header(&first, "x-ratelimit-remaining")), ("200", Some("0")));
    let reset: u64 = header(&first, "x-ratelimit-reset").expect("it is exposed").parse().expect("milliseconds");
    assert!((3_590_000..=3_600_000).contains(&reset), "{reset}");
    assert_eq!(event.rate_limit, RateLimitState::Within);
    let (second, event) = get(&gateway, "");
    assert_eq!((status(&second), header(&second, "x-ratelimit-remaining")), ("429", Some("0")));
    assert_eq!(header(&second, "content-type"), Some("application/problem+json"));
    assert!(second.contains(r#""reason":"rate_limited""#), "{second}");
    let retry: u64 = header(&second, "retry-after").expect("it is exposed").parse().expect("seconds");
    assert!((3_590..=3_600).contains(&retry), "{retry}");
    assert_eq!((event.status, event.rate_limit, event.side()), (429, RateLimitState::Exceeded, Side::Downstream));
    assert!(event.attempts.is_empty());
}

#[test]
fn nothing_is_said_of_limits_unless_asked_for() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::start(&(api(upstream.address, "") + &limit("all", 1, 1, "")));
    for wanted in ["200", "429"] {
        let (answer, _) = get(&gateway, "");
        assert_eq!(status(&answer), wanted);
        assert!(!answer.contains("ratelimit") && !answer.contains("retry-after"), "{answer}");
    }
}

#[test]
fn a_reload_lets_nobody_begin_anew() {
    let upstream = Upstream::answering(OK);
    let yaml = |requests| api(upstream.address, "") + &limit("all", 1, requests, "");
    let mut gateway = Gateway::start(&yaml(2));
    let ask = |gateway: &Gateway| status(&get(gateway, "").0).to_owned();
    assert_eq!([ask(&gateway), ask(&gateway), ask(&gateway)], ["200", "200", "429"]);
    gateway.reload(&yaml(2));
    assert_eq!(ask(&gateway), "429");
    gateway.reload(&yaml(3));
    assert_eq!([ask(&gateway), ask(&gateway)], ["200", "429"], "one more, of the window that is open");
}

#[test]
fn a_limit_may_be_for_each_consumer_or_for_what_the_request_says() {
    let upstream = Upstream::answering(OK);
    let yaml = api(upstream.address, "")
        + &binding("ids", "client-id-enforcement-flex", 1, "{}")
        + &limit("consumers", 2, 2, ", keyBy: consumer")
        + &limit("queries", 3, 1, ", keySelector: \"#[attributes.headers['x-key']]\"")
        + &contract("mobile")
        + &contract("web");
    let gateway = Gateway::start(&yaml);
    let ask = |client: &str, key: &str| {
        let (answer, _) = get(&gateway, &format!("client_id: {client}\r\nx-key: {key}\r\n"));
        status(&answer).to_owned()
    };
    assert_eq!([ask("mobile", "a"), ask("mobile", "a"), ask("mobile", "b")], ["200", "429", "429"]);
    assert_eq!([ask("web", "a"), ask("web", "b")], ["429", "200"]);
}

/// Whatever its `order` says, CORS is first: a browser sends no credentials with a preflight, and has no route for it.
#[test]
fn a_preflight_is_answered_before_a_route_and_before_credentials_are_asked_for() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\ncontent-length: 2\r\n\r\nok");
    let cors = "{publicResource: false, originGroups: [{origins: ['https://app.example.com'], \
                allowedMethods: [{methodName: PUT}], exposedHeaders: [x-total]}]}";
    let routed = "\", routes: [{rules: [{methods: GET|PUT}]}]}";
    let yaml = api(upstream.address, "").replace("\"}", routed)
        + &binding("users", "http-basic-authentication-flex", 1, "{username: u, password: p}")
        + &binding("browsers", "cors-flex", 99, cors);
    let gateway = Gateway::start(&yaml);
    let ask = |method: &str, headers: &str| {
        let head = format!("{method} /a HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
        let answer = gateway.exchange(&head);
        (answer, gateway.event())
    };
    let (origin, preflight) = ("origin: https://app.example.com\r\n", "access-control-request-method: PUT\r\n");

    let (answer, event) = ask("OPTIONS", &format!("{origin}{preflight}"));
    assert_eq!(status(&answer), "204", "{answer}");
    assert!(answer.ends_with("\r\n\r\n") && header(&answer, "content-type").is_none(), "{answer}");
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(header(&answer, "access-control-allow-methods"), Some("GET, HEAD, POST, PUT"));
    assert!(header(&answer, "x-request-id").is_some());
    assert_eq!((event.status, event.reason, event.side()), (204, Reason::PolicyAnswered, Side::Gateway));
    assert_eq!((names(&gateway, &event), event.policies[0].verdict), (vec!["cors-flex".to_owned()], Verdict::Answered));
    let name = |id| gateway.registry.names.name(id).map(|name| name.to_string());
    assert_eq!(name(event.answered_by).as_deref(), Some("cors-flex"));
    assert_eq!(name(event.api).as_deref(), Some("orders"), "it counts for the route that it asks about");
    assert!(event.attempts.is_empty());

    let (answer, event) = ask("OPTIONS", &format!("origin: https://evil.example\r\n{preflight}"));
    assert_eq!((status(&answer), header(&answer, "access-control-allow-origin")), ("204", None));
    assert_eq!(event.reason, Reason::PolicyAnswered);

    // What refuses is read by scripts too, and what the upstream says of origins is not its to say.
    for (method, credentials, expected) in
        [("GET", "", "401"), ("PUT", "authorization: Basic dTpw\r\n", "200"), ("DELETE", "", "404")]
    {
        let (answer, _) = ask(method, &format!("{origin}{credentials}"));
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://app.example.com"), "{answer}");
        assert_eq!(header(&answer, "access-control-expose-headers"), Some("x-total"));
        let (answer, _) = ask(method, &format!("origin: https://evil.example\r\n{credentials}"));
        assert_eq!((status(&answer), header(&answer, "access-control-allow-origin")), (expected, None), "{answer}");
    }
}

/// The request side in the order of the chain, the response side in the reverse: what is injected first is removed last.
#[test]
fn header_fields_are_added_and_removed_on_both_ways() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\nserver: theirs\r\nx-internal: 1\r\ncontent-length: 2\r\n\r\nok");
    let inject = "{inboundHeaders: [{key: x-api-key, value: $KEY}, {key: x-copy, value: \"#[attributes.queryParams['x']]\"}], \
                  outboundHeaders: [{key: x-served-by, value: weir}]}";
    let remove = "{inboundHeaders: [x-debug.*, x-copy], outboundHeaders: [x-internal, x-served-by, via]}";
    let yaml = |first: u32, second: u32| {
        api(upstream.address, "")
            + &binding("add", "header-injection-flex", first, inject)
            + &binding("take", "header-removal-flex", second, remove)
    };
    let env = |name: &str| (name == "KEY").then(|| "from-the-environment".to_owned());
    for (first, second, copied, served_by) in [(1, 2, None, Some("weir")), (2, 1, Some("1"), None)] {
        let gateway = Gateway::start_with(&yaml(first, second), &env);
        let (answer, event) = get(&gateway, "x-debug-a: 1\r\nx-api-key: mine\r\n");
        let sent = upstream.request();
        assert_eq!(status(&answer), "200", "{answer}");
        assert_eq!((header(&sent, "x-debug-a"), header(&sent, "x-copy")), (None, copied), "{sent}");
        assert!(sent.contains("x-api-key: from-the-environment"), "{sent}");
        assert_eq!((header(&answer, "x-internal"), header(&answer, "x-served-by")), (None, served_by), "{answer}");
        assert_eq!(header(&answer, "server"), Some("theirs"));
        assert!(event.policies.iter().all(|run| run.verdict == Verdict::Continue) && event.policies.len() == 2);
    }
    let gateway = Gateway::start_with(&yaml(1, 2), &env);
    let answer = gateway.exchange("GET /a?x=%0d%0aevil:1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let event = gateway.event();
    assert_eq!((status(&answer), event.reason, event.side()), ("400", Reason::MalformedRequest, Side::Downstream));
}

#[test]
fn an_address_that_is_not_let_in_is_403() {
    let upstream = Upstream::answering(OK);
    let config = |ips: &str| format!("{{ipExpression: \"#[attributes.headers['x-forwarded-for']]\", ips: [{ips}]}}");
    let (allow, block) = ("ip-allowlist-flex", "ip-blocklist-flex");
    let yaml = api(upstream.address, "")
        + &binding("own", allow, 1, &config("10.0.0.0/8, '2001:db8::/32'"))
        + &binding("guests", block, 2, &config("10.66.0.0/16"));
    let gateway = Gateway::start(&yaml);
    for (headers, refused_by) in [
        ("x-forwarded-for: 10.1.2.3\r\n", None),
        ("x-forwarded-for: 2001:db8::1, 10.66.0.1\r\n", None),
        ("x-forwarded-for: 10.66.0.1, 10.1.2.3\r\n", Some(block)),
        ("x-forwarded-for: 192.0.2.1\r\n", Some(allow)),
        ("x-forwarded-for: unknown\r\n", Some(allow)),
        ("", Some(allow)),
    ] {
        let (answer, event) = get(&gateway, headers);
        let Some(policy) = refused_by else {
            assert_eq!((status(&answer), names(&gateway, &event)), ("200", vec![allow.to_owned(), block.to_owned()]));
            continue;
        };
        assert_eq!(status(&answer), "403", "{answer}");
        assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
        assert!(answer.contains(r#""reason":"ip_denied""#), "{answer}");
        assert_eq!((event.status, event.reason, event.side()), (403, Reason::IpDenied, Side::Downstream));
        assert_eq!(event.policies.last().map(|run| run.verdict), Some(Verdict::Rejected));
        assert_eq!(gateway.registry.names.name(event.answered_by).as_deref(), Some(policy));
        assert!(event.attempts.is_empty());
    }
}

/// By the address of the connection, whatever the client writes; by what a trusted proxy says of it.
#[test]
fn an_address_of_a_connection_cannot_be_forged() {
    let upstream = Upstream::answering(OK);
    let config = "{ipExpression: \"#[attributes.remoteAddress]\", ips: [127.0.0.1]}";
    let yaml = |more: &str| api(upstream.address, "") + &binding("own", "ip-allowlist-flex", 1, config) + more;
    let forged = "x-forwarded-for: 10.1.2.3\r\n";
    assert_eq!(status(&get(&Gateway::start(&yaml("")), forged).0), "200");
    let trusting = "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {name: proxies}\nspec: {trustedPeers: [127.0.0.0/8]}\n";
    assert_eq!(status(&get(&Gateway::start(&yaml(trusting)), forged).0), "403");
}

/// Signed by openssl, with a key that is nowhere else; it never expires.
const TOKEN: &str = include_str!("common/token.txt");
/// What verifies it.
const KEYS: &str = include_str!("common/keys.json");

/// A server of key sets that answers when it is asked to.
struct KeyServer {
    address: std::net::SocketAddr,
    go: std::sync::mpsc::Sender<String>,
}

impl KeyServer {
    fn start() -> Self {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (go, documents) = std::sync::mpsc::channel::<String>();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                common::read_request(&mut stream);
                let Ok(document) = documents.recv() else { return };
                let length = document.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                stream.write_all((head + &document).as_bytes()).ok();
            }
        });
        Self { address, go }
    }
}

/// The first request waits for the keys. That is neither the gateway's work nor a failure, and who gives up meanwhile is
/// recorded as that.
#[test]
fn a_request_waits_for_keys_and_the_wait_is_not_the_gateways() {
    use std::time::Duration;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (upstream, keys) = (Upstream::answering(OK), KeyServer::start());
    let config = format!(
        "{{jwtKeyOrigin: jwks, jwksUrl: \"http://{}/keys\", skipClientIdValidation: true, claimsToHeaders: [sub]}}",
        keys.address
    );
    let yaml = api(upstream.address, "") + &binding("tokens", "jwt-validation-flex", 1, &config);
    let registry = weir_proxy::Registry::new(2).with_background(runtime.handle().clone());
    let gateway = Gateway::start_in(registry, &yaml, &|_| None);

    let head = format!(
        "GET /a HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-agw-sub: forged\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let mut leaves = gateway.connect();
    leaves.send(head.as_bytes());
    let mut waits = gateway.connect();
    waits.send(head.as_bytes());
    common::delay(Duration::from_millis(300));
    drop(leaves);
    let gone = gateway.event();
    assert_eq!((gone.reason, gone.attempts.len()), (Reason::ClientClosed, 0));
    let waited = gone.waited;
    assert!(waited >= Duration::from_millis(250) && gone.overhead() < Duration::from_millis(200), "{gone:?}");
    assert_eq!((gone.policies[0].verdict, gone.policies[0].waited_us), (Verdict::Skipped, micros(waited)));
    keys.go.send(KEYS.to_owned()).expect("the server of keys");
    let answer = waits.read_to_end();
    let event = gateway.event();
    assert_eq!(status(&answer), "200", "{answer}");
    assert_eq!(header(&upstream.request(), "x-agw-sub"), Some("mobile-app"));
    assert_eq!((event.auth, event.consumer.as_ref()), (AuthKind::Jwt, b"mobile-app".as_slice()));
    let waited = event.waited;
    assert!(waited >= Duration::from_millis(250) && event.policies[0].took >= waited, "{waited:?}");
    let (policy, attempt) = (event.policies[0], event.attempts[0]);
    assert_eq!(policy.waited_us, micros(waited));
    let ended = policy.start_us + micros(policy.took);
    assert!(
        attempt.start_us >= ended && attempt.start_us + micros(attempt.took) <= micros(event.meter.total()),
        "{event:?}"
    );
    assert!(event.overhead() < Duration::from_millis(200), "{:?} beside {waited:?}", event.overhead());

    let (answer, event) = get(&gateway, &format!("authorization: Bearer {TOKEN}\r\n"));
    assert_eq!((status(&answer), event.waited), ("200", Duration::ZERO));
    let (answer, event) = get(&gateway, "");
    assert_eq!((status(&answer), event.reason), ("400", Reason::AuthenticationFailed));
}

/// Policies of a service are asked for each attempt, and what they add goes nowhere else.
#[test]
fn a_policy_of_a_service_is_asked_for_each_attempt() {
    let busy = Upstream::answering("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    let good = Upstream::answering(OK);
    let gateway = Gateway::start(&format!(
        "
apiVersion: gateway.weir.dev/v1
kind: Service
metadata: {{name: main}}
spec:
  addresses: [\"http://{}\", \"http://{}\"]
  balancing: {{algorithm: roundRobin}}
  retries: {{attempts: 1, statuses: [503]}}
---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: orders}}
spec:
  address: http://127.0.0.1:0
  policies:
    - policyRef: {{name: route}}
      config: {{destinationRef: {{name: main}}}}
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: credentials}}
spec:
  targetRef: {{kind: Service, name: main}}
  policyRef: {{name: credential-injection-basic-auth-flex}}
  config: {{username: Aladdin, password: open sesame}}
",
        busy.address, good.address
    ));
    let mut seen = false;
    while !seen {
        let (answer, event) = get(&gateway, "authorization: Basic dGhlaXJz\r\n");
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(!answer.contains("QWxhZGRpbjpvcGVuIHNlc2FtZQ"), "{answer}");
        seen = event.attempts.len() == 2;
        let expected = vec!["credential-injection-basic-auth-flex"; event.attempts.len()];
        assert_eq!(names(&gateway, &event), expected);
        assert!(event.policies.iter().all(|run| run.verdict == Verdict::Continue && run.waited_us == 0));
        let sent: Vec<_> = [&busy, &good].into_iter().filter_map(Upstream::try_request).collect();
        assert_eq!(sent.len(), event.attempts.len());
        for request in sent {
            assert_eq!(header(&request, "authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
            assert_eq!(request.to_ascii_lowercase().matches("authorization:").count(), 1, "{request}");
        }
    }
}

#[test]
fn an_answer_of_the_configuration_needs_no_service() {
    let upstream = Upstream::answering(OK);
    let config = "{status: 503, contentType: application/json, body: '{\"back\": 9}', headers: {retry-after: '60'}}";
    let gateway = Gateway::start(&(api(upstream.address, "") + &binding("notice", "direct-response", 1, config)));
    let (answer, event) = get(&gateway, "");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n{\"back\": 9}"), "{answer}");
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    assert_eq!(header(&answer, "content-length"), Some("11"));
    assert_eq!(header(&answer, "retry-after"), Some("60"));
    assert_eq!((event.status, event.reason, event.attempts.len()), (503, Reason::PolicyAnswered, 0));
    assert_eq!(event.policies[0].verdict, Verdict::Answered);
    assert_eq!(event.bytes_out, 11);
    assert!(upstream.try_request().is_none());
}

const JSON: &str = "{maxContainerDepth: 2, maxBodySize: 1KiB}";

/// What a policy has to see whole is sent on as it came, and nothing before it is seen.
#[test]
fn content_is_read_whole_for_a_policy_that_needs_it_and_sent_on_as_it_came() {
    let upstream = Upstream::answering(OK);
    let gateway =
        Gateway::start(&(api(upstream.address, "") + &binding("json", "json-threat-protection-flex", 1, JSON)));
    let post = |more: &str, body: &str| {
        let head = "POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n";
        let answer = gateway.exchange(&format!("{head}{more}\r\n\r\n{body}"));
        (answer, gateway.event())
    };
    let (answer, event) = post("content-length: 9", "{\"a\": 1 }");
    assert_eq!((status(&answer), event.bytes_in, event.bytes_to_upstream), ("200", 9, 9));
    let sent = upstream.request();
    assert!(sent.ends_with("\r\n\r\n{\"a\": 1 }") && header(&sent, "content-length") == Some("9"), "{sent}");
    let (answer, event) = post("transfer-encoding: chunked", "4\r\n[1, \r\n2\r\n2]\r\n0\r\nx-sum: 3\r\n\r\n");
    assert_eq!((status(&answer), event.bytes_in, event.bytes_to_upstream), ("200", 6, 6));
    let sent = upstream.request();
    assert!(sent.ends_with("\r\n\r\n6\r\n[1, 2]\r\n0\r\nx-sum: 3\r\n\r\n"), "{sent}");
    assert_eq!((header(&sent, "content-length"), header(&sent, "transfer-encoding")), (None, Some("chunked")));
    for (more, body, told, reason) in [
        ("content-length: 7", "[[[1]]]", "400", Reason::MalformedRequestBody),
        ("content-length: 3", "{a}", "400", Reason::MalformedRequestBody),
        ("content-length: 1025", "[", "413", Reason::RequestTooLarge),
        (
            "transfer-encoding: chunked",
            &format!("401\r\n{}\r\n0\r\n\r\n", " ".repeat(1025)),
            "413",
            Reason::RequestTooLarge,
        ),
    ] {
        let (answer, event) = post(more, body);
        assert_eq!((status(&answer), event.reason), (told, reason), "{more}: {answer}");
        assert_eq!((event.bytes_to_upstream, event.attempts.len()), (0, 0), "{more}");
        assert!(upstream.try_request().is_none(), "{more}");
        assert!(names(&gateway, &event).iter().all(|name| name == "json-threat-protection-flex"));
    }
    // Other content is streamed: its head goes on before it has come.
    let mut client = gateway.connect();
    client.send(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\ncontent-length: 2000\r\n\r\n");
    client.send(&[b'x'; 2000]);
    assert!(client.read_until("\r\n\r\nok").starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.event().bytes_to_upstream, 2000);
}

/// The wait for a client's content is the client's time, whoever wants to see it; and it may be given up.
#[test]
fn the_time_of_content_that_is_read_whole_is_the_clients() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(
        &(api(upstream.address, "")
            + &binding("json", "json-threat-protection-flex", 1, JSON)
            + &common::timeouts(1, 60)),
    );
    let head = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\n[1,";
    let mut client = gateway.connect();
    client.send(head.as_bytes());
    common::delay(std::time::Duration::from_millis(200));
    client.send(b" 2]");
    assert!(client.read_until("\r\n\r\nok").starts_with("HTTP/1.1 200 "));
    let event = gateway.event();
    let times = [weir_event::Turn::Client, weir_event::Turn::Gateway, weir_event::Turn::Upstream]
        .map(|turn| event.meter.spent(turn).as_millis());
    assert!(times[0] >= 180 && event.policies[0].took.as_millis() < 150, "{times:?} {:?}", event.policies);
    assert_eq!(
        event.overhead() + event.meter.spent(weir_event::Turn::Client) + event.meter.spent(weir_event::Turn::Upstream),
        event.total()
    );
    let mut client = gateway.connect();
    client.send(head.as_bytes());
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 408 "));
    assert_eq!(gateway.event().reason, Reason::ClientIdleTimeout);
    let mut client = gateway.connect();
    client.send(head.as_bytes());
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    let event = gateway.event();
    assert_eq!((event.reason, event.bytes_to_upstream), (Reason::ClientClosed, 0));
}

#[test]
fn content_that_is_too_large_is_refused_at_once_or_ends_where_it_is_too_much() {
    let upstream = Upstream::answering(OK);
    let limit = binding("size", "request-size-limit", 1, "{maxBodySize: 10B}");
    let gateway = Gateway::start(&(api(upstream.address, "") + &limit));
    let post = |more: &str, body: &str| {
        let answer =
            gateway.exchange(&format!("POST /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n\r\n{body}"));
        (answer, gateway.event())
    };
    let chunks = |pieces: &[usize]| {
        let all: String = pieces.iter().map(|len| format!("{len:x}\r\n{}\r\n", "x".repeat(*len))).collect();
        all + "0\r\n\r\n"
    };
    assert_eq!(status(&post("content-length: 10", "0123456789").0), "200");
    assert!(upstream.request().ends_with("0123456789"));
    let (answer, event) = post("content-length: 11", "0123456789x");
    assert_eq!((status(&answer), event.reason, event.attempts.len()), ("413", Reason::RequestTooLarge, 0));
    let (answer, event) = post("transfer-encoding: chunked", &chunks(&[4, 6]));
    assert_eq!((status(&answer), event.bytes_to_upstream, event.reason), ("200", 10, Reason::None));
    assert_eq!(event.policies[0].verdict, Verdict::Continue);
    assert!(upstream.request().contains("xxxx"));
    let (answer, event) = post("transfer-encoding: chunked", &chunks(&[4, 6, 1]));
    assert_eq!((status(&answer), event.reason, event.side()), ("413", Reason::RequestTooLarge, Side::Downstream));
    assert!(answer.contains("larger than this API takes"), "{answer}");
    assert_eq!((event.bytes_in, event.bytes_to_upstream), (11, 10));
    assert_eq!(gateway.registry.names.name(event.answered_by).unwrap().to_string(), "request-size-limit");
    assert!(upstream.try_request().is_none(), "what came of it was never whole");
    assert_eq!(status(&get(&gateway, "").0), "200", "a request without content has no size");
}
