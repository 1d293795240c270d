//! Every configuration in the README and in `examples/` is one that a gateway would take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whatever the documents ask of the environment.
fn env(name: &str) -> Option<String> {
    ["ORDERS_PASSWORD", "WEIR_ANALYTICS_TOKEN"].contains(&name).then(|| "secret".to_owned())
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

#[test]
fn a_block_with_a_mistake_is_found() {
    let blocks = yaml_blocks("text\n```yaml\nkind: Nothing\n```\nmore\n");
    assert_eq!(blocks, ["kind: Nothing\n"]);
    assert!(weir_config::load_text(Path::new("x"), &blocks[0], &env).is_err());
}
