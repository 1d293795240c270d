//! Resources that name each other: what a binding does to which API, in which order, and what leads nowhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use weir_config::policy::{Alpn, Verify};
use weir_config::{Api, GatewayConfig, Policy, PolicyBinding, load_text};

fn load(text: &str) -> Result<GatewayConfig, String> {
    load_text("x.yaml".as_ref(), text, &|_| None).map_err(|errors| errors.to_string())
}

fn well(parts: &[String]) -> GatewayConfig {
    load(&parts.concat()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One document: `name` may be `namespace/name`.
fn resource(kind: &str, name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    format!(
        "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{{spec}}}\n---\n"
    )
}

fn api(name: &str, port: u16, more: &str) -> String {
    resource("ApiInstance", name, &format!("address: \"http://0.0.0.0:{port}\"{more}"))
}

const INLINE: &str = ", services: {s: {address: http://b}}";

fn basic(name: &str, target: &str, user: &str, more: &str) -> String {
    let policy = "policyRef: {name: http-basic-authentication-flex}";
    let spec = format!("targetRef: {{{target}}}, {policy}, config: {{username: {user}, password: p}}{more}");
    resource("PolicyBinding", name, &spec)
}

/// The users of an API's policies, in their order.
fn users(api: &Api) -> Vec<&str> {
    fn user(binding: &PolicyBinding) -> &str {
        let Policy::HttpBasicAuthentication(policy) = &binding.policy else { panic!("another policy") };
        &policy.username
    }
    api.policies.iter().map(user).collect()
}

#[test]
fn order_decides_and_after_it_what_is_within_and_then_the_name() {
    let inline = ", policies: [{policyRef: {name: http-basic-authentication-flex}, config: {username: one, password: p}},\
                  {policyRef: {name: http-basic-authentication-flex}, config: {username: two, password: p}}]";
    let config = well(&[
        basic("z", "name: a", "z", ""),
        basic("y", "name: a", "y", ", order: 50"),
        basic("late", "name: a", "late", ", order: 51"),
        basic("early", "name: a", "early", ", order: 2, rules: [{methods: GET}]"),
        api("a", 1, &format!("{INLINE}{inline}")),
    ]);
    let api = &config.apis[0];
    assert_eq!(users(api), ["early", "one", "two", "y", "z", "late"]);
    let names: Vec<_> = api.policies.iter().map(|binding| (binding.name.as_str(), binding.id.as_str())).collect();
    assert_eq!(names[0], ("http-basic-authentication-flex", "default/a/early"));
    assert_eq!(names[2], ("http-basic-authentication-flex-3", "default/a/a-http-basic-authentication-flex-1"));
    assert!(api.policies[0].rules[0].methods.as_ref().unwrap().is_match("GET"));
    assert!(api.policies[1].rules.is_empty());
}

#[test]
fn a_selector_binds_to_all_that_bear_its_labels() {
    let labelled = |name: &str, port: u16, labels: &str| {
        api(name, port, INLINE).replace("namespace: default", &format!("namespace: default, labels: {{{labels}}}"))
    };
    let apis = [
        labelled("a", 1, "team: red, tier: 1"),
        labelled("b", 2, "team: red"),
        labelled("c", 3, "team: blue"),
        api("shop/d", 4, INLINE),
    ];
    let bound = |target: &str| {
        let config = well(&[apis.concat(), basic("x", target, "x", "")]);
        let bound = config.apis.iter().filter(|api| !api.policies.is_empty());
        bound.map(|api| api.name.clone()).collect::<Vec<_>>().concat()
    };
    assert_eq!(bound("kind: Selector, selector: {kind: ApiInstance, labels: {team: red}}"), "ab");
    assert_eq!(bound("kind: Selector, selector: {labels: {team: red, tier: 1}}"), "a");
    assert_eq!(bound("kind: Selector, selector: {kind: ApiInstance}"), "abcd");
    assert_eq!(bound("kind: Selector, namespace: shop, selector: {}"), "d");
    assert_eq!(bound("kind: Selector, selector: {labels: {team: green}}"), "");
    assert_eq!(bound("name: d, namespace: shop"), "d");
}

#[test]
fn routes_lead_to_services_of_their_own() {
    let route = |name: &str, to: &str, more: &str| {
        let spec =
            format!("targetRef: {{name: a}}, policyRef: {{name: route}}, config: {{destinationRef: {{{to}}}{more}");
        resource("PolicyBinding", name, &spec)
    };
    let config = well(&[
        route("rest", "name: main", "}"),
        route(
            "first",
            "name: other, kind: Service, namespace: shop",
            ", destinationPath: /v1/}, order: 1, rules: [{path: /a}]",
        ),
        resource("Service", "main", "address: \"http://main:81/\""),
        resource("Service", "shop/other", "address: \"https://other\""),
        api("a", 1, ""),
        api(
            "b",
            2,
            ", policies: [{policyRef: {name: route}, config: {destinationRef: {name: main, namespace: \"\"}}}]",
        ),
    ]);
    let [a, b] = &config.apis[..] else { panic!() };
    let services: Vec<_> =
        a.services.iter().map(|service| (service.name.as_str(), service.endpoints[0].address.to_string())).collect();
    assert_eq!(services, [("shop/other", "https://other".to_owned()), ("main", "http://main:81".to_owned())]);
    let routes: Vec<_> = a.routes.iter().map(|route| (route.name.as_str(), route.service)).collect();
    assert_eq!(routes, [("first", 0), ("rest", 1)]);
    assert_eq!(a.routes[0].destination_path.as_deref(), Some("/v1"));
    assert_eq!(a.routes[0].rules.len(), 1);
    assert_eq!(b.routes[0].name, "b-route-0");
    assert_eq!(b.services[0].name, "main");
}

#[test]
fn tls_of_a_service_is_that_of_all_apis_that_use_it() {
    let outbound = |name: &str, target: &str, config: &str| {
        let spec = format!(
            "targetRef: {{kind: Service, name: {target}}}, policyRef: {{name: tls-outbound}}, config: {{{config}}}"
        );
        resource("PolicyBinding", name, &spec).replace("mulesoft.com/v1alpha1", "weir.dev/v1")
    };
    let pem = "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n";
    let within = |name: &str, port| {
        api(name, port, ", policies: [{policyRef: {name: route}, config: {destinationRef: {name: main}}}]")
    };
    let config = well(&[
        outbound("x", "main", &format!("trustedCA: \"{pem}\", sni: orders.example, alpn: [h2, http/1.1]")),
        outbound("y", "c-s", "skipValidation: true"),
        resource("Service", "main", "address: \"https://10.0.0.1\""),
        within("a", 1),
        within("b", 2),
        api("c", 3, ", services: {s: {address: https://b}, t: {address: https://c}}"),
    ]);
    for api in &config.apis[..2] {
        let tls = api.services[0].tls.as_ref().unwrap();
        assert!(matches!(&tls.verify, Verify::By(trusted) if trusted.certificates.len() == 1));
        assert!(format!("{:?}", tls.server_name).contains("orders.example"));
        assert_eq!(tls.offer.alpn, [Alpn::H2, Alpn::Http11]);
    }
    let c = &config.apis[2];
    assert_eq!(c.services[0].tls.as_ref().unwrap().verify, Verify::Nothing);
    assert_eq!(c.services[0].tls.as_ref().unwrap().offer.alpn, [Alpn::Http11]);
    assert_eq!(c.services[1].tls, None);
}

#[test]
fn contracts_are_those_of_their_api() {
    let contract = |name: &str, api: &str, id: &str| {
        resource("Contract", name, &format!("apiId: {api}, client: {{id: {id}, secret: $s}}"))
    };
    let config = well(&[
        contract("x", "a", "two"),
        contract("y", "a", "one"),
        contract("shop/x", "a", "one"),
        api("a", 1, INLINE),
        api("shop/a", 2, INLINE),
    ]);
    let ids = |api: &Api| api.contracts.iter().map(|contract| contract.client_id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&config.apis[0]), ids(&config.apis[1])),
        (vec!["one".to_owned(), "two".to_owned()], vec!["one".to_owned()])
    );
    assert_eq!(config.apis[0].contracts[0].secret.expose(), "$s", "as written, under Flex's apiVersion");
}

#[test]
fn a_tls_policy_may_be_bound_to_the_ports_of_many() {
    let pem = |kind: &str| format!("-----BEGIN {kind}-----\\nAAAA\\n-----END {kind}-----\\n");
    let tls = format!("config: {{certificate: {{crt: \"{}\", key: \"{}\"}}}}", pem("CERTIFICATE"), pem("PRIVATE KEY"));
    let config = well(&[
        resource(
            "PolicyBinding",
            "x",
            &format!("targetRef: {{kind: Selector, selector: {{}}}}, policyRef: {{name: tls}}, {tls}"),
        ),
        api("a", 1, INLINE),
        api("b", 2, INLINE).replace("http://0", "https://0"),
    ]);
    assert!(config.apis[0].tls.is_some() && config.apis[0].tls == config.apis[1].tls);
}

const LIMIT: &str = "policyRef: {name: rate-limiting-flex}, \
                     config: {keyBy: consumer, rateLimits: [{maximumRequests: 1, timePeriodInMilliseconds: 1}]}";

/// Each leads nowhere, or to where it may not.
#[test]
fn what_leads_nowhere_is_reported() {
    let route = "policyRef: {name: route}, config: {destinationRef: {name: mian}}";
    let skip = "policyRef: {name: tls-outbound}, config: {skipValidation: true}";
    let cases = [
        (
            basic("x", "name: orderz", "u", ""),
            "x.yaml:14:26: PolicyBinding \"x\": targetRef.name: there is no ApiInstance `orderz` in namespace `default`; did you mean `orders`?",
        ),
        (basic("shop/x", "name: orders", "u", ""), "there is one in namespace `default`: write `namespace: default`"),
        (basic("x", "name: main", "u", ""), "there is no ApiInstance `main`"),
        (basic("x", "kind: Service, name: orders", "u", ""), "there is no Service `orders` in namespace `default`; "),
        (basic("x", "kind: Service, name: main", "u", ""), "the policy belongs to an ApiInstance"),
        (
            basic("x", "kind: Gateway, name: main", "u", ""),
            "targetRef.kind: `Gateway` is unknown; write `ApiInstance`, `Service`, `Selector`",
        ),
        (basic("x", "kind: Selector, name: a, selector: {}", "u", ""), "targetRef.name: cannot be beside a selector"),
        (basic("x", "name: orders, selector: {}", "u", ""), "targetRef.selector: is for `kind: Selector`"),
        (basic("x", "name: orders", "u", ", order: -1"), "order: `-1` is not a whole number from 0 to 2147483646"),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{name: orders}}, {skip}")),
            "the policy belongs to a Service; write `targetRef: {kind: Service, name: …}`",
        ),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{kind: Selector, selector: {{}}}}, {skip}")),
            "the policy belongs to a Service",
        ),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{kind: Service, name: orders-s}}, {skip}")),
            "the Service is at `http://b`, without TLS",
        ),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{kind: Service, name: main}}, {skip}, rules: []")),
            "rules: cannot be: `tls-outbound` knows no requests",
        ),
        (
            (0..2)
                .map(|n| {
                    resource(
                        "PolicyBinding",
                        &format!("x{n}"),
                        &format!("targetRef: {{kind: Service, name: main}}, {skip}"),
                    )
                })
                .collect(),
            "has a `tls-outbound` already, at x.yaml:14",
        ),
        (
            api("bare", 3, "") + &resource("PolicyBinding", "x", &format!("targetRef: {{name: bare}}, {route}")),
            "there is no Service `mian` in namespace `default`; did you mean `main`?",
        ),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{name: orders}}, {}", route.replace("mian", "main"))),
            "services: are beside the policy `route`",
        ),
        (
            resource("Contract", "x", "apiId: nobody, client: {id: i, secret: s}"),
            "Contract \"x\": apiId: there is no ApiInstance `nobody`",
        ),
        (resource("Contract", "x", "apiId: orders, client: {id: i, secret: \"\"}"), "client.secret: is empty"),
        (resource("Contract", "x", "apiId: orders, client: {id: i, secret: s}, sla: {}"), "sla: is not supported yet"),
        (
            (0..2)
                .map(|n| resource("Contract", &format!("x{n}"), "apiId: orders, client: {id: i, secret: s}"))
                .collect(),
            "client `i` has a contract with this API already",
        ),
        (
            resource("PolicyBinding", "x", &format!("targetRef: {{name: orders}}, {LIMIT}"))
                .replace("mulesoft.com/v1alpha1", "weir.dev/v1")
                + &basic("auth", "name: orders", "u", ", order: 51"),
            "asks for the consumer before any policy says who that is",
        ),
        (resource("Service", "main", "address: http://c"), "`main` is also the name of the Service at x.yaml:3"),
        (
            resource("Service", "orders-s", "address: http://c"),
            "`orders-s` is also what a service of the ApiInstance at x.yaml:",
        ),
        (api("x", 4, &format!("{INLINE}, policies: [{{{skip}}}]")), "policies[0]: belongs to a Service"),
    ];
    let there = [resource("Service", "main", "address: https://a"), String::new()].concat() + &api("orders", 1, INLINE);
    well(std::slice::from_ref(&there));
    for (text, said) in cases {
        let reported = load(&(there.clone() + &text)).expect_err(said);
        assert!(reported.contains(said), "{text}\n{reported}\nwanted: {said}");
        assert_eq!(reported.lines().count(), 1, "one mistake is reported once: {reported}");
    }
}

/// Every kind and every key, loaded from a folder.
#[test]
fn the_whole_of_it_loads() {
    let env = |name: &str| match name {
        "STOCK_KEY" => Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned()),
        "PER_HOUR" => Some("5000".to_owned()),
        "WEIR_ANALYTICS_TOKEN" | "MOBILE_SECRET" => Some("t0ken".to_owned()),
        _ => None,
    };
    let config = weir_config::load(&["tests/conf.d/whole".into()], &env).unwrap_or_else(|errors| panic!("{errors}"));
    let api = &config.apis[0];
    assert_eq!((api.namespace.as_str(), api.services[0].name.as_str()), ("shop", "shop/stock"));
    assert!(api.tls.is_some() && api.services[0].tls.is_some());
    assert_eq!(api.contracts[0].secret.expose(), "t0ken");
    let names: Vec<_> = api.policies.iter().map(|binding| binding.name.as_str()).collect();
    assert_eq!(names, ["client-id-enforcement-flex", "rate-limiting-flex"]);
    let Policy::RateLimiting(limits) = &api.policies[1].policy else { panic!() };
    let limits: Vec<_> = limits.limits.iter().map(|limit| (limit.requests.get(), limit.window.as_secs())).collect();
    assert_eq!(limits, [(5000, 3600), (100, 1)], "the longest first");
}
