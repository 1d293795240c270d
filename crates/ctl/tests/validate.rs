//! What `weirctl` says of a configuration, as its users read it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::Command;

fn weirctl(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weirctl")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Ten mistakes of ten kinds in one file.
const TEN: &str = r#"apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: orders}
spec:
  adress: http://0.0.0.0:8080
  services: {main: {address: "ftp://backend"}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: stock}
spec:
  address: http://0.0.0.0:8081
  services: {main: {address: "http://stock", routes: [{rules: [{path: "/a(.*"}]}]}}
  policies: [{policyRef: {name: rate-limiting-felx}}]
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: auth}
spec:
  targetRef: {name: stok}
  policyRef: {name: client-id-enforcement-flex}
  config: {clientIdExpression: client_id}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Contract
metadata: {name: mobile}
spec: {apiId: stock, client: {id: mobile}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Configuration
metadata: {name: timeouts}
spec: {timeouts: {upstreamResponseSeconds: 15s}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstances
metadata: {name: mine}
spec: {}
"#;

#[test]
fn ten_mistakes_are_named_all_ten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ten.yaml"), TEN).unwrap();
    let (code, _, said) = weirctl(&["validate", "--config", &folder.path().to_string_lossy()]);
    assert_eq!(code, Some(1));
    let named = [
        (5, "address: is missing"),
        (5, "unknown key `adress`; did you mean `address`?"),
        (6, "`ftp://backend` has an unknown scheme"),
        (13, "unclosed group"),
        (14, "unknown policy `rate-limiting-felx`; did you mean `rate-limiting-flex`?"),
        (20, "there is no ApiInstance `stok` in namespace `default`; did you mean `stock`?"),
        (22, "`client_id` is no expression that this version of weir knows"),
        (27, "client.secret: is missing"),
        (32, "`15s` is not a whole number"),
        (35, "unknown kind `ApiInstances`; did you mean `ApiInstance`?"),
    ];
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), named.len(), "{said}");
    for (line, (number, words)) in lines.iter().zip(named) {
        assert!(
            line.contains(&format!("ten.yaml:{number}:")) && line.contains(words),
            "{line}\nwanted {number}: {words}"
        );
    }
}

#[test]
fn the_schema_is_the_one_of_the_loader() {
    let (code, said, _) = weirctl(&["schema"]);
    assert_eq!(code, Some(0));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/schema/weir.schema.json");
    assert_eq!(said, std::fs::read_to_string(golden).unwrap());
}
