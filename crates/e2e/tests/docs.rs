//! Every configuration in the README and in `examples/` is one that a gateway would take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whatever the documents ask of the environment.
fn env(name: &str) -> Option<String> {
    let known = ["ORDERS_PASSWORD", "WEIR_ANALYTICS_TOKEN", "MOBILE_CLIENT_SECRET", "STOCK_PASSWORD"];
    known.contains(&name).then(|| "secret".to_owned())
}

/// The blocks of a Markdown file that are fenced as YAML.
fn yaml_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_readmes_configurations_load() {
    let readme = root().join("README.md");
    let blocks = yaml_blocks(&std::fs::read_to_string(&readme).unwrap());
    assert!(!blocks.is_empty());
    for block in blocks {
        weir_config::load_text(&readme, &block, &env).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn the_examples_load() {
    let config = weir_config::load(&[root().join("examples/conf.d")], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.apis.len(), 1);
    assert_eq!(config.apis[0].routes.len(), 2);
}

/// As a gateway would run them, with certificates in the place of those that the examples name.
#[test]
fn the_examples_of_each_place_run() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"])
        .args(["-keyout", "x.key", "-out", "x.crt"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    for name in ["orders.crt", "orders.key", "client.crt", "client.key", "payments-ca.crt"] {
        let made = Path::new("x").with_extension(Path::new(name).extension().unwrap());
        std::fs::copy(dir.path().join(made), dir.path().join(name)).unwrap();
    }
    for (place, apis) in [("ingress", 1), ("egress", 1), ("sidecar", 1)] {
        let conf = dir.path().join(place);
        std::fs::create_dir(&conf).unwrap();
        for file in std::fs::read_dir(root().join("examples").join(place)).unwrap().map(Result::unwrap) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = text.replace("/etc/weir/tls", &dir.path().to_string_lossy());
            std::fs::write(conf.join(file.file_name()), text).unwrap();
        }
        let mut weir = Command::new(weir_testkit::process::program("weir").unwrap());
        weir.args(["validate", "--json", "--config"]).arg(&conf);
        weir.envs(["WEIR_ANALYTICS_TOKEN", "MOBILE_CLIENT_SECRET", "STOCK_PASSWORD"].map(|name| (name, "secret")));
        let said: serde_json::Value = serde_json::from_slice(&weir.output().unwrap().stdout).unwrap();
        assert_eq!((&said["valid"], &said["apis"]), (&true.into(), &apis.into()), "{place}: {said:#}");
    }
}

#[test]
fn a_block_with_a_mistake_is_found() {
    let blocks = yaml_blocks("text\n```yaml\nkind: Nothing\n```\nmore\n");
    assert_eq!(blocks, ["kind: Nothing\n"]);
    assert!(weir_config::load_text(Path::new("x"), &blocks[0], &env).is_err());
}
