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
        let told = warnings(&config);
        assert_eq!(told.len(), encrypted, "{told:?}");
        assert!(told[0].starts_with("x.yaml:4:17: ApiInstance \"a\": address: port 1 speaks TLS"), "{}", told[0]);
    }
    // Also where the policy cannot be read: one mistake, and nothing of clear text.
    let broken = apis + &selector("", "policyRef: {name: tls}, config: {certificate: {crt: x, key: y}}");
    let told = load(&broken).unwrap_err();
    assert!(told.lines().all(|line| line.contains("config.certificate")), "{told}");
}

#[test]
fn a_selector_that_matches_nobody_is_told() {
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
        let told = load(&text).unwrap_err();
        assert!(told.contains("ApiInstance `a` bears `secured: ") && told.lines().count() == 1, "{told}");
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
