//! The pages' scripts against the documents that the server answers with: TypeScript's compiler reads both.
//!
//! `page/api.d.ts` is generated from `weir-api`, whose own test keeps it current. Together they refuse a field, a
//! parameter or a path that was renamed on one side alone.

#![allow(clippy::unwrap_used, reason = "tests")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

/// What the compiler finds wrong in the script that lies in `folder`, a line each.
fn mistakes(folder: &Path) -> String {
    let compiler = page().join("node_modules/typescript/bin/tsc");
    assert!(compiler.exists(), "{} is not there: npm ci --prefix crates/analytics/page", compiler.display());
    let checked = Command::new("node").arg(compiler).args(["--pretty", "false", "--project"]).arg(folder).output();
    let checked = checked.unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.success(), said.is_empty(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    said
}

#[test]
fn the_scripts_read_what_the_server_answers() {
    assert_eq!(mistakes(&page()), "");
    assert_eq!(mistakes(&page().join("pane")), "");
}

#[test]
fn what_is_built_is_current_and_small() {
    let folder = tempfile::tempdir().unwrap();
    let vite = page().join("node_modules/vite/bin/vite.js");
    let built =
        Command::new("node").arg(vite).arg("build").arg("--outDir").arg(folder.path()).current_dir(page()).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut compressed = 0;
    for file in ["pane.js", "pane.css"] {
        let made = fs::read(folder.path().join(file)).unwrap();
        let is_current = made == fs::read(page().join("built").join(file)).unwrap();
        assert!(is_current, "{file} is not current: crates/analytics/page/build");
        assert!(!String::from_utf8_lossy(&made).contains("</s"), "{file} would end the element that it stands in");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&made).unwrap();
        compressed += gzip.finish().unwrap().len();
    }
    println!("the page's script and style, compressed: {compressed} bytes");
    assert!(compressed < 400 * 1024, "{compressed} bytes");
}

#[test]
fn a_name_that_changed_on_the_server_is_found_in_the_script() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["page.js", "tsconfig.json"] {
        fs::copy(page().join(file), folder.path().join(file)).unwrap();
    }
    // One of each document, of the parameters, and of the paths: where it is declared, and what is said of its use.
    let renamed = [
        ("p95_us", "Property 'p95_us' does not exist on type 'Traffic'"),
        ("points", "Property 'points' does not exist on type 'TrafficSeries'"),
        ("silent_s", "Property 'silent_s' does not exist on type 'GatewayProcess'"),
        ("side", "Property 'side' does not exist on type 'RequestLine'"),
        ("sentence", "Property 'sentence' does not exist on type 'Ledger'"),
        ("advice", "Property 'advice' does not exist on type 'StreamAccount'"),
        ("link_us", "Property 'link_us' does not exist on type 'Event'"),
        ("events", "Property 'events' does not exist on type 'Trace'"),
        ("error", "Property 'error' does not exist on type 'ErrorDocument'"),
        ("limit?", "'limit' does not exist in type"),
        ("\"/api/v1/gateways\"", "\"/api/v1/gateways\"' is not assignable"),
    ];
    let mut types = fs::read_to_string(page().join("api.d.ts")).unwrap();
    for (name, _) in renamed {
        let before = types.clone();
        types = types.replace(&format!("{name}:"), &format!("{}:", name.to_uppercase()));
        assert_ne!(types, before, "{name} is no name of the API");
    }
    fs::write(folder.path().join("api.d.ts"), types).unwrap();
    let said = mistakes(folder.path());
    for (name, expected) in renamed {
        assert!(said.contains(expected), "nothing is said of {name}: {said}");
    }
}
