//! What is taken with a word of warning: where it stands, and what it then does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use weir_config::{GatewayConfig, Scheme, load_text};

const PAIR: &str = "certificate: {crt: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n\", \
                    key: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n\"}";
const BASIC: &str = "policyRef: {name: http-basic-authentication-flex}, config: {username: u, password: p}";

fn load(text: &str) -> Result<GatewayConfig, String> {
    load_text("x.yaml".as_ref(), text, &|_| None).map_err(|errors| errors.to_string())
}

fn well(text: &str) -> GatewayConfig {
    load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn warnings(config: &GatewayConfig) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}

fn document(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn api(metadata: &str, address: &str) -> String {
    document("ApiInstance", metadata, &format!("address: \"{address}\", services: {{s: {{address: http://b}}}}"))
}

fn selector(labels: &str, policy: &str) -> String {
    let target = format!("targetRef: {{kind: Selector, selector: {{kind: ApiInstance{labels}}}}}");
    document("PolicyBinding", "name: bound", &format!("{target}, {policy}"))
}

/// Flex's own sample: a port that was asked to speak TLS never serves clear text, however its address is written.
#[test]
fn tls_bound_to_an_http_address_makes_its_port_speak_tls() {
    let tls = format!("policyRef: {{name: tls}}, config: {{{PAIR}}}");
    let apis = api("name: a", "http://0.0.0.0:1/a") + &api("name: b", "http://0.0.0.0:1/b");
    let other = api("name: c", "http://0.0.0.0:2");
    let named = document("PolicyBinding", "name: bound", &format!("targetRef: {{name: b}}, {tls}"));
    let within =
        format!("address: \"http://0.0.0.0:1/d\", services: {{s: {{address: http://b}}}}, policies: [{{{tls}}}]");
    for (binding, encrypted) in [(selector("", &tls), 3), (named, 2), (document("ApiInstance", "name: d", &within), 3)]
    {
        let config = well(&(apis.clone() + &other + &binding));
        for api in config.apis.iter().filter(|api| api.listen.address.port() == 1 || encrypted == 3 && api.name == "c")
        {
            if api.name == "c" && !binding.contains("Selector") {
                continue;
            }
            assert_eq!(api.listen.scheme, Scheme::Https, "{}", api.name);
            assert!(api.tls.is_some());
        }
        let reported = warnings(&config);
        assert_eq!(reported.len(), encrypted, "{reported:?}");
        assert!(
            reported[0].starts_with("x.yaml:4:17: ApiInstance \"a\": address: port 1 speaks TLS"),
            "{}",
            reported[0]
        );
    }
    // Also where the policy cannot be read: one mistake, and nothing of clear text.
    let broken = apis + &selector("", "policyRef: {name: tls}, config: {certificate: {crt: x, key: y}}");
    let reported = load(&broken).unwrap_err();
    assert!(reported.lines().all(|line| line.contains("config.certificate")), "{reported}");
}

#[test]
fn a_selector_that_matches_nobody_is_reported() {
    let apis = api("name: a, labels: {team: red}", "http://0.0.0.0:1");
    let config = well(&(apis.clone() + &selector(", labels: {team: blue, tier: 1}", BASIC)));
    assert!(config.apis[0].policies.is_empty());
    assert_eq!(
        warnings(&config),
        ["x.yaml:9:7: PolicyBinding \"bound\": the selector of `bound` matches no API: there is no ApiInstance with \
             `team: blue`, `tier: 1`; the policy protects nothing"]
    );
    assert!(well(&(apis + &selector(", labels: {team: red}", BASIC))).warnings.is_empty());
    assert_eq!(well(&selector("", BASIC)).warnings.len(), 1);
}

/// `yes` is a boolean to one reader of YAML and a text to another: an API must not be open because of that.
#[test]
fn spelling_of_booleans_decides_nothing_in_silence() {
    for (borne, asked) in [("yes", "\"true\""), ("true", "yes"), ("\"on\"", "True"), ("No", "off"), ("TRUE", "true")] {
        let text = api(&format!("name: a, labels: {{secured: {borne}, team: red}}"), "http://0.0.0.0:1")
            + &selector(&format!(", labels: {{secured: {asked}, team: red}}"), BASIC);
        let reported = load(&text).unwrap_err();
        assert!(reported.contains("ApiInstance `a` bears `secured: ") && reported.lines().count() == 1, "{reported}");
    }
    for (borne, asked) in [("yes", "\"false\""), ("yes", "maybe")] {
        let text = api(&format!("name: a, labels: {{secured: {borne}}}"), "http://0.0.0.0:1")
            + &selector(&format!(", labels: {{secured: {asked}}}"), BASIC);
        assert_eq!(well(&text).warnings.len(), 1);
    }
    let other_team = api("name: a, labels: {secured: yes, team: red}", "http://0.0.0.0:1")
        + &selector(", labels: {secured: true, team: blue}", BASIC);
    assert_eq!(well(&other_team).warnings.len(), 1);
}

/// As Flex users have them in one folder: what the platform, the cluster and other tools put there.
#[test]
fn what_others_left_in_the_folder_is_taken() {
    let registration = document(
        "Configuration",
        "name: r",
        "platformConnection: {agentId: a, certificateRef: {kind: Secret, name: c}}",
    ) + "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Secret\nmetadata: {name: c}\nspec: {tls.crt: x, tls.key: y}\n---\n";
    let reported = warnings(&well(&registration));
    assert_eq!(reported.len(), 2, "{reported:?}");
    assert!(
        reported[0].contains("platformConnection: has no effect")
            && reported[1].contains("Secret \"c\": has no effect"),
        "{reported:?}"
    );

    let foreign = "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n---\napiVersion: apps/v1\nkind: Deployment\nspec: {}\n---\n\
                   apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: []}\n---\n";
    let config = well(&(foreign.to_owned() + &api("name: a", "http://0.0.0.0:1")));
    let reported = warnings(&config);
    assert_eq!((config.apis.len(), reported.len()), (1, 3), "{reported:?}");
    assert!(
        reported[1].contains("is of `apps/v1`, which is no resource of the gateway; it is passed over"),
        "{reported:?}"
    );
    let misspelt =
        load("apiVersion: gateway.mulesoft.com/v2\nkind: ApiInstance\nmetadata: {name: a}\nspec: {}\n").unwrap_err();
    assert!(misspelt.contains("unknown apiVersion"), "{misspelt}");
}

#[test]
fn what_kubectl_writes_is_taken() {
    let of_the_cluster = "uid: u, generation: 3, resourceVersion: '7', creationTimestamp: '2026-01-01T00:00:00Z', \
                          finalizers: [f], ownerReferences: [{kind: K}], managedFields: [], annotations: {a: 1}";
    let one =
        api(&format!("name: a, {of_the_cluster}"), "http://0.0.0.0:1").replace("---\n", "status: {ready: true}\n---\n");
    assert!(well(&one).warnings.is_empty());
    let indented = api("name: b", "http://0.0.0.0:2").replace("---\n", "").replace('\n', "\n  ");
    let list = format!("{one}apiVersion: v1\nkind: List\nitems:\n- {indented}\n");
    let config = well(&list);
    assert_eq!((config.apis.len(), config.warnings.len()), (2, 0));
}

#[test]
fn a_kind_with_a_capital_is_taken_with_a_word() {
    let text = api("name: a", "http://0.0.0.0:1").replace("kind: ApiInstance", "Kind: ApiInstance");
    let reported = warnings(&well(&text));
    assert!(reported.len() == 1 && reported[0].contains("Kind: is written `kind`"), "{reported:?}");
    let both = text.replace("Kind: ApiInstance", "Kind: ApiInstance\nkind: ApiInstance");
    assert!(load(&both).unwrap_err().contains("which is here too"));
}

#[test]
fn an_api_without_a_service_is_taken() {
    for services in ["", ", services: {}"] {
        let config = well(&document("ApiInstance", "name: a", &format!("address: \"http://0.0.0.0:1\"{services}")));
        let reported = warnings(&config);
        assert!(config.apis.len() == 1 && config.apis[0].routes.is_empty(), "{config:?}");
        assert!(reported.len() == 1 && reported[0].contains("every request is answered 404"), "{reported:?}");
    }
}

#[test]
fn a_policy_without_effect_is_named_once() {
    let text =
        api("name: a", "http://0.0.0.0:1") + &selector("", "policyRef: {name: api-context-flex}, config: {any: thing}");
    let config = well(&text);
    let reported = warnings(&config);
    assert!(config.apis[0].policies.is_empty() && reported.len() == 1, "{reported:?}");
    assert!(reported[0].contains("`api-context-flex` has no effect yet"), "{reported:?}");
    let inbound = api("name: a", "http://0.0.0.0:1") + &selector("", "policyRef: {name: tls-inbound}, config: {}");
    assert!(load(&inbound).unwrap_err().contains("did you mean `tls`?"));
}

/// The list that Flex's documentation prints: the port speaks, and nothing weak.
#[test]
fn weak_tls_is_left_out_with_one_warning() {
    let tls = |more: &str| selector("", &format!("policyRef: {{name: tls}}, config: {{{PAIR}, {more}}}"));
    let weak = "TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    let apis = api("name: a", "https://0.0.0.0:1");
    for (more, offered) in [
        (format!("minversion: '1.1', ciphers: [{weak}]"), 6),
        (format!("ciphers: [{weak}, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"), 1),
        ("minVersion: '1.1'".to_owned(), 6),
    ] {
        let config = well(&(apis.clone() + &tls(&more)));
        let reported = warnings(&config);
        assert!(reported.len() == 1 && reported[0].contains("is taken otherwise than written"), "{reported:?}");
        let offer = &config.apis[0].tls.as_ref().unwrap().offer;
        assert_eq!((offer.min, offer.ciphers.len()), (weir_config::policy::TlsVersion::Tls12, offered), "{more}");
    }
    let unknown = load(&(apis + &tls("ciphers: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]"))).unwrap_err();
    assert!(unknown.contains("is unknown"), "{unknown}");
}

#[test]
fn a_misplaced_key_is_reported_where_it_belongs() {
    let limit = "policyRef: {name: rate-limiting-flex}, config: {rateLimits: [{maximumRequests: 3, \
                 timePeriodInMilliseconds: 6000, exposeHeaders: true}]}";
    let reported = warnings(&well(&(api("name: a", "http://0.0.0.0:1") + &selector("", limit))));
    assert!(
        reported.len() == 1
            && reported[0].contains("exposeHeaders: has no effect here: it belongs beside `rateLimits`"),
        "{reported:?}"
    );
}

#[test]
fn the_path_of_a_service_goes_before_that_of_its_requests() {
    let services = "s: {address: 'http://b/v1/'}, t: {address: 'http://b/v1', routes: [{rules: [{path: /t}], \
                    config: {destinationPath: /x}}, {rules: [{path: /u}]}]}, u: {address: 'http://b/'}";
    let config =
        well(&document("ApiInstance", "name: a", &format!("address: \"http://0.0.0.0:1\", services: {{{services}}}")));
    let paths: Vec<_> = config.apis[0].routes.iter().map(|route| route.destination_path.as_deref()).collect();
    assert_eq!(paths, [Some("/v1"), Some("/v1/x"), Some("/v1"), None]);
    let reported = warnings(&config);
    assert!(reported.len() == 2 && reported[0].contains("carries the path `/v1`"), "{reported:?}");
    // Of a resource of its own, too, whoever goes there, and how.
    let shared = document("Service", "name: shared", "address: 'http://b/v2'");
    let to = |more: &str| {
        format!(
            "{{policyRef: {{name: route}}, config: {{destinationRef: {{name: shared}}{more}}}, rules: [{{path: /{}}}]}}",
            more.len()
        )
    };
    let policies = format!("policies: [{}, {}]", to(""), to(", destinationPath: /x"));
    let api = document("ApiInstance", "name: a", &format!("address: \"http://0.0.0.0:1\", {policies}"));
    let config = well(&(shared + &api));
    let paths: Vec<_> = config.apis[0].routes.iter().map(|route| route.destination_path.as_deref()).collect();
    assert_eq!(paths, [Some("/v2"), Some("/v2/x")]);
    assert!(warnings(&config)[0].contains("Service \"shared\": address: carries the path `/v2`"));
}

/// What may be secret is in no message: they go to logs, to `/status` and to the readiness probe.
#[test]
fn what_may_be_secret_is_not_quoted() {
    let service = |address: &str| document("Service", "name: s", &format!("address: \"{address}\""));
    let endpoint = |url: &str| {
        document("Configuration", "name: c", &format!("analytics: {{endpoint: \"{url}\"}}"))
            .replace("mulesoft.com/v1alpha1", "weir.dev/v1")
    };
    let basic = |password: &str| {
        api("name: a", "http://0.0.0.0:1")
            + &selector(
                "",
                &format!(
                    "policyRef: {{name: http-basic-authentication-flex}}, config: {{username: u, password: {password}}}"
                ),
            )
    };
    for text in [
        service("http://svc:hunter2@10.0.0.1"),
        service("http://svc:hun@ter2@10.0.0.1/hunter2"),
        service("http://10.0.0.1/?key=hunter2"),
        service("ftp://10.0.0.1/#hunter2"),
        api("name: a", "http://u:hunter2@0.0.0.0:1"),
        endpoint("https://u:hunter2@analytics.example"),
        endpoint("http://analytics.example/?token=hunter2"),
        basic("$hunter2"),
        basic("[hunter2]"),
    ] {
        let reported = load(&text).expect_err(&text);
        // The second has it in its path, too, which is none of a secret's places.
        assert!(!reported.replace("/hunter2", "").contains("hunter2") && !reported.contains("ter2@"), "{reported}");
    }
    assert!(load(&basic("$PASSWORD")).unwrap_err().contains("environment variable `PASSWORD` is not set"));
}

/// What Flex runs as WebAssembly is reported as that, once, with the places that bind it.
#[test]
fn a_custom_policy_is_reported_once() {
    let extension = document("Extension", "name: my-wasm-v1", "extends: [{name: extension-definition}]");
    let binding = |name: &str, policy: &str| {
        document(
            "PolicyBinding",
            &format!("name: {name}"),
            &format!("targetRef: {{name: a}}, policyRef: {{name: {policy}}}"),
        )
    };
    let served = api("name: a", "http://0.0.0.0:1");
    let config = well(&(served.clone() + &extension));
    let [reported] = &warnings(&config)[..] else { panic!("{:?}", warnings(&config)) };
    assert!(reported.contains("Extension \"my-wasm-v1\"") && reported.contains("nothing binds it"), "{reported}");

    let two = binding("one", "my-wasm-v1") + &binding("two", "my-wasm-v1");
    for text in [served.clone() + &two + &extension, served.clone() + &extension + &two] {
        let reported = load(&text).unwrap_err();
        assert_eq!(reported.lines().count(), 1, "{reported}");
        assert!(reported.contains("Extension \"my-wasm-v1\": metadata.name: is a custom policy"), "{reported}");
        assert!(
            reported.contains("remove it and what binds it: x.yaml:") && reported.matches("x.yaml:").count() == 3,
            "{reported}"
        );
    }
    let reported = load(&(served.clone() + &two)).unwrap_err();
    assert_eq!(reported.lines().count(), 1, "{reported}");
    assert!(
        reported.contains("unknown policy `my-wasm-v1`; ") && reported.contains("it is bound by x.yaml:"),
        "{reported}"
    );

    // A slip is one for each.
    let slips = binding("one", "rate-limiting-felx") + &binding("two", "rate-limiting-felx");
    let reported = load(&(served + &slips)).unwrap_err();
    assert_eq!(reported.matches("did you mean `rate-limiting-flex`?").count(), 2, "{reported}");
}

/// A password that a template left behind is a password that everybody knows.
#[test]
fn a_secret_that_looks_like_a_placeholder_is_reported_and_not_quoted() {
    for (password, reported) in [
        ("'{{ basic_password }}'", true),
        ("'<your-password>'", true),
        ("correct-horse", false),
        ("$FROM_A_VARIABLE", false),
    ] {
        let policy = format!(
            "policyRef: {{name: http-basic-authentication-flex}}, config: {{username: u, password: {password}}}"
        );
        let text = api("name: a", "http://0.0.0.0:1") + &selector("", &policy);
        let filled = |name: &str| (name == "FROM_A_VARIABLE").then(|| "{{ it is what it is }}".to_owned());
        let config = load_text("x.yaml".as_ref(), &text, &filled).unwrap();
        let warned = warnings(&config);
        let about: Vec<_> = warned.iter().filter(|warning| warning.contains("placeholder")).collect();
        assert_eq!(about.len(), usize::from(reported), "{password}: {warned:?}");
        assert!(about.iter().all(|warning| warning.contains("config.password") && !warning.contains("basic_password")));
    }
}
