//! Resources that are well become the configuration that they say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_config::{
    Api, Balancing, ByteSize, Cluster, GatewayConfig, HashKey, HealthCheck, LogLevel, OutlierEjection, Policy, Retries,
    UpstreamHost, load, load_text,
};

fn env(name: &str) -> Option<String> {
    let variables = [
        ("GATEWAY", "edge-1"),
        ("WEIR_ANALYTICS_TOKEN", "t0ken"),
        ("USER_NAME", "chris"),
        ("FLEX_STREAM_IDLE_TIMEOUT_SECONDS", "99"),
        ("FLEX_UPSTREAM_CONNECTION_IDLE_TIMEOUT_SECONDS", "7"),
        ("FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS", "8"),
        ("FLEX_REWRITE_HOST_HEADER", "false"),
        ("FLEX_PRESERVE_EXTERNAL_REQUEST_ID", "true"),
        ("FLEX_SERVICE_ENVOY_DRAIN_TIME", "3s"),
    ];
    variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn flex() -> GatewayConfig {
    load(&[PathBuf::from("tests/conf.d/flex")], &env).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn settings() {
    let config = flex();
    assert_eq!(config.startup.identity.organization, "acme");
    assert_eq!(config.startup.identity.gateway, "edge-1");
    assert_eq!(config.startup.admin.to_string(), "127.0.0.1:9902");
    assert_eq!(config.startup.probe.unwrap().to_string(), "[::]:3000");
    let analytics = config.startup.analytics.unwrap();
    assert_eq!(analytics.endpoint, "https://analytics.example.com/base");
    assert_eq!(analytics.token.expose(), "t0ken");
    assert_eq!(config.startup.spool.max_bytes, ByteSize::mib(64));
    assert_eq!(config.startup.spool.max_age, Duration::from_secs(7200));
    assert_eq!(config.trusted_peers.len(), 2);
    let peers: Vec<_> = config.peer_gateways.iter().map(|peer| peer.network.unwrap().to_string()).collect();
    assert_eq!(peers, ["10.1.0.7/32", "2001:db8::/32"]);
    assert_eq!(config.startup.log_level, LogLevel::Debug);
}

/// All that is said of a peer gateway must hold.
#[test]
fn peer_gateways_are_known_by_network_certificate_and_port() {
    let yaml = |peers: &str| {
        format!(
            "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: fleet}}\nspec: {{peerGateways: [{peers}]}}\n"
        )
    };
    let peer = |peer: &str| {
        let config = load_text(Path::new("peers.yaml"), &yaml(peer), &|_| None).unwrap();
        config.peer_gateways[0].clone()
    };
    let names = ["edge.example.com".to_owned(), "spiffe://example.com/Edge".to_owned(), "urn:weir:Edge".to_owned()];
    let address = |text: &str| text.parse().unwrap();
    for (written, from, port, is) in [
        ("10.0.0.0/8", "10.1.2.3", 80, true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, true),
        ("10.0.0.0/8", "11.1.2.3", 80, false),
        ("{network: 10.0.0.0/8, port: 8443}", "10.1.2.3", 8443, true),
        ("{network: 10.0.0.0/8, port: 8443}", "10.1.2.3", 80, false),
        ("{certificate: Edge.Example.com}", "192.0.2.1", 80, true),
        ("{certificate: \"spiffe://example.com/Edge\"}", "192.0.2.1", 80, true),
        ("{certificate: \"spiffe://example.com/edge\"}", "192.0.2.1", 80, false),
        ("{certificate: \"urn:weir:Edge\"}", "192.0.2.1", 80, true),
        ("{certificate: example.com}", "192.0.2.1", 80, false),
        ("{certificate: edge.example.com, network: 10.0.0.0/8}", "192.0.2.1", 80, false),
        ("{certificate: edge.example.com, network: 10.0.0.0/8, port: 80}", "10.0.0.1", 80, true),
    ] {
        assert_eq!(peer(written).is(address(from), port, &names), is, "{written} {from}:{port}");
    }
    let warned = |written: &str| {
        let config = load_text(Path::new("peers.yaml"), &yaml(written), &|_| None).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(warned("10.0.0.0/8"), "");
    assert!(warned("{certificate: a.example}").contains("`a.example` has no effect: no port asks for client cert"));
    assert!(warned("{certificate: a.example, port: 8443}").contains("port 8443 does not ask"));
    assert!(!peer("{certificate: edge.example.com}").is(address("10.0.0.1"), 80, &[]), "without a certificate");
    for (written, said) in [
        ("{port: 8443}", "names no gateway; write `network`, `certificate` or both"),
        ("{network: here, certificate: edge.example.com}", "`here` is no network"),
        ("{certificate: edge.example.com, ports: 1}", "ports"),
    ] {
        let errors = load_text(Path::new("peers.yaml"), &yaml(written), &|_| None).unwrap_err().to_string();
        assert!(errors.contains(said), "{errors}");
    }
}

#[test]
fn yaml_before_environment_before_default() {
    let config = flex();
    let seconds = Duration::from_secs;
    assert_eq!(config.timeouts.stream_idle, seconds(30), "yaml");
    assert_eq!(config.timeouts.upstream_connection_idle, seconds(7), "environment");
    assert_eq!(config.timeouts.downstream_connection_idle, seconds(8), "environment");
    assert_eq!(config.timeouts.upstream_connect, seconds(5), "default");
    assert_eq!(
        (config.upstream_host, config.preserve_request_id, config.drain),
        (UpstreamHost::Original, true, seconds(3))
    );
}

#[test]
fn apis() {
    let config = flex();
    let [example, orders] = &config.apis[..] else { panic!("two APIs") };
    assert_eq!((example.name.as_str(), example.namespace.as_str()), ("api-example", "default"));
    assert_eq!(example.services[0].endpoints[0].address.to_string(), "https://example.com");
    assert_eq!(example.routes[0].destination_path.as_deref(), Some("/v1/apps"));
    assert_eq!(example.routes[0].rules[1].path.as_ref().unwrap().source(), "/api(/comments/.*)");
    assert_eq!(orders.listen.base_path, "/api");
    assert_eq!(orders.labels["secured"], "yes");
    let routes: Vec<_> = orders.routes.iter().map(|route| (route.name.as_str(), route.service)).collect();
    let second = ("orders-second-in-the-alphabet-route-0", 0);
    let first = ["orders-first-in-the-alphabet-route-0", "orders-first-in-the-alphabet-route-1"];
    assert_eq!(routes, [second, (first[0], 1), (first[1], 1)], "the order of the file");
    assert_eq!(orders.routes[2].destination_path.as_deref(), Some("/v2"));
    let rule = &orders.routes[1].rules[0];
    assert!(rule.host.as_ref().unwrap().is_match("API.example.com"));
    assert_eq!((rule.headers[0].0.as_str(), rule.headers[0].1.source()), ("x-kind", "a|b"));
}

#[test]
fn policies() {
    let config = flex();
    let orders = &config.apis[1];
    let names: Vec<_> = orders.policies.iter().map(|binding| binding.name.as_str()).collect();
    assert_eq!(names, ["http-basic-authentication-flex", "http-basic-authentication-flex-2"]);
    let Policy::HttpBasicAuthentication(first) = &orders.policies[0].policy else { panic!() };
    assert_eq!((first.username.as_str(), first.password.expose()), ("chris", "$5"));
    let Policy::HttpBasicAuthentication(second) = &orders.policies[1].policy else { panic!() };
    assert_eq!(second.password.expose(), "0123", "a number is the text as written");
}

#[test]
fn an_empty_folder_is_a_gateway_without_apis() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(&[folder.path().to_owned()], &|_| None).unwrap();
    assert_eq!(config, GatewayConfig::default());
}

/// Two resources on the addresses; whether they can both be.
fn together(first: &str, second: &str) -> Result<Vec<Api>, String> {
    let api = |name: &str, address: &str| {
        format!(
            "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {{name: {name}}}\n\
             spec: {{address: \"{address}\", services: {{s: {{address: http://b}}}}}}\n---\n"
        )
    };
    let text = api("a", first) + &api("b", second);
    load_text("x.yaml".as_ref(), &text, &|_| None).map(|config| config.apis).map_err(|errors| errors.to_string())
}

#[test]
fn ports_are_shared_when_base_paths_do_not_overlap() {
    for (first, second) in [
        ("http://0.0.0.0:1/cats", "http://0.0.0.0:1/dogs"),
        ("http://0.0.0.0:1/cats", "http://0.0.0.0:1/catsup"),
        ("http://0.0.0.0:1/cats", "http://0.0.0.0:2/cats"),
        ("http://127.0.0.1:1/cats", "http://127.0.0.2:1/cats"),
    ] {
        assert_eq!(together(first, second).map(|apis| apis.len()), Ok(2), "{first} {second}");
    }
    for (first, second, why) in [
        ("http://0.0.0.0:1/cats", "http://0.0.0.0:1/cats/", "base path `/cats` clashes with `/cats`"),
        ("http://0.0.0.0:1/cats/dogs", "http://0.0.0.0:1/cats", "base path `/cats` clashes with `/cats/dogs`"),
        ("http://0.0.0.0:1", "http://0.0.0.0:1/cats", "base path `/cats` clashes with `/`"),
        ("http://0.0.0.0:1/a", "http://127.0.0.1:1/b", "overlaps with `0.0.0.0:1`"),
        ("http://0.0.0.0:1/a", "https://0.0.0.0:1/b", "port 1 is used with another scheme"),
        ("http://0.0.0.0:1/a", "http://127.0.0.1:9901/b", "that of the admin listener, set by default"),
    ] {
        let reported = together(first, second).unwrap_err();
        assert!(reported.contains(why), "{first} {second}: {reported}");
    }
}

#[test]
fn aliases_are_values() {
    let text = "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {name: a}\nspec:\n  \
                address: http://0.0.0.0:1\n  services:\n    one: &one {address: \"http://b\"}\n    two: *one\n";
    let config = load_text("x.yaml".as_ref(), text, &|_| None).unwrap();
    assert_eq!(config.apis[0].services[1].endpoints, config.apis[0].services[0].endpoints);
}

#[test]
fn a_port_for_metrics_has_an_address_of_its_own() {
    let load = |metrics: &str| {
        let yaml = format!(
            "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: a}}\nspec:\n  metrics: {metrics}\n---\n\
             apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {{name: a}}\nspec:\n  \
             address: http://0.0.0.0:8081\n"
        );
        load_text(std::path::Path::new("x.yaml"), &yaml, &|name| {
            (name == "TOKEN").then(|| "hunter2-hunter2".to_owned())
        })
    };
    let config = load("{address: \"0.0.0.0:9902\", token: $TOKEN}").unwrap();
    assert_eq!(config.startup.metrics.unwrap().to_string(), "0.0.0.0:9902");
    assert_eq!(config.scraping.token.as_ref().unwrap().expose(), "hunter2-hunter2");
    let view = weir_config::view::settings(&config);
    assert_eq!(view["metrics"]["token"], "(redacted)");
    for (metrics, error) in [
        ("{token: $TOKEN}", "metrics.token: has no effect without `metrics.address`; add it, as in `0.0.0.0:9902`"),
        ("{address: \"127.0.0.1:9901\"}", "metrics.address: port 9901 is that of the admin listener, set by default"),
        ("{address: \"0.0.0.0:8081\"}", "port 8081 is that of the metrics port, set at x.yaml:5"),
        ("{address: \"9902\"}", "metrics.address: "),
        ("{address: \"0.0.0.0:9902\", tls: {}}", "metrics.tls"),
    ] {
        let errors = load(metrics).unwrap_err().to_string();
        assert!(errors.contains(error) && errors.lines().count() == 1, "{metrics}: {errors}");
    }
}

#[test]
fn a_service_has_several_addresses_and_what_holds_for_them_together() {
    let read = |spec: &str| {
        let yaml = format!(
            "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\nspec: {{address: \
             \"http://127.0.0.1:8080\", services: {{s: {spec}}}}}\n"
        );
        load_text(Path::new("service.yaml"), &yaml, &|_| None).unwrap().apis[0].services[0].clone()
    };
    let seconds = Duration::from_secs;
    let one = read("{address: \"http://a:1\"}");
    assert_eq!((one.endpoints.len(), &one.cluster), (1, &Cluster::default()));
    assert_eq!(one.cluster.retries.attempts, 0, "there is no other address");
    let two = read("{addresses: [\"http://a:1/base\", {address: \"http://b:1/base\", weight: 3}]}");
    let shown: Vec<_> = two.endpoints.iter().map(|at| (at.address.to_string(), at.weight)).collect();
    assert_eq!(shown, [("http://a:1".into(), 1), ("http://b:1".into(), 3)]);
    assert_eq!(two.cluster, Cluster { retries: Retries { attempts: 1, ..Retries::default() }, ..Cluster::default() });
    let all = read(
        "{addresses: [\"http://a:1\", \"http://b:1\"], balancing: {algorithm: hash, hashOn: header, hashKey: X-Tenant}, \
         retries: {attempts: 3, on: [timeout], statuses: [503, 502, 503], budgetPercent: 50, attemptTimeout: 2s}, \
         maxConnectionAge: 1h, dnsTtl: 30s, healthChecks: {path: /up, interval: 10s, timeout: 1s, \
         unhealthyThreshold: 4, healthyThreshold: 5, statuses: [204]}, outlierEjection: {consecutiveFailures: 7, \
         ejectionTime: 1m, maxEjectedPercent: 10}}",
    );
    let expected = Cluster {
        balancing: Balancing::Hash(HashKey::Header("x-tenant".parse().unwrap())),
        retries: Retries {
            attempts: 3,
            on_connect_failure: false,
            on_reset: false,
            on_timeout: true,
            statuses: vec![502, 503],
            budget_percent: 50,
            attempt_timeout: Some(seconds(2)),
        },
        max_connection_age: seconds(3600),
        dns_ttl: Some(seconds(30)),
        health: Some(HealthCheck {
            path: Some("/up".into()),
            interval: seconds(10),
            timeout: seconds(1),
            unhealthy_threshold: 4,
            healthy_threshold: 5,
            statuses: vec![204],
        }),
        ejection: Some(OutlierEjection {
            consecutive_failures: 7,
            ejection_time: seconds(60),
            max_ejected_percent: 10,
        }),
    };
    assert_eq!(all.cluster, expected);
}
