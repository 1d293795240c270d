//! Every mistake of a folder is reported at once, each with its place and its fix.

use expect_test::expect_file;
use std::path::PathBuf;

use weir_config::load;

/// What users read, to the letter. `UPDATE_EXPECT=1 cargo test -p weir-config` writes it anew; read the difference.
#[test]
fn every_mistake_is_reported() {
    let folder = PathBuf::from("tests/conf.d/mistakes");
    let reported = load(&[folder], &|_| None).unwrap_err().to_string() + "\n";
    expect_file!["conf.d/mistakes.txt"].assert_eq(&reported);
}

#[test]
fn the_environment_is_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let env = |name: &str| match name {
        "FLEX_REWRITE_HOST_HEADER" => Some("maybe".to_owned()),
        "FLEX_STREAM_IDLE_TIMEOUT_SECONDS" => Some("0".to_owned()),
        _ => None,
    };
    let reported = load(&[folder.path().to_owned()], &env).unwrap_err().to_string();
    assert_eq!(
        reported,
        "environment: FLEX_REWRITE_HOST_HEADER: `maybe` cannot be used; write true or false\n\
         environment: FLEX_STREAM_IDLE_TIMEOUT_SECONDS: `0` cannot be used; write a number of seconds from 1"
    );
}

#[test]
fn files_that_cannot_be_read_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("binary.yaml"), b"a: b\n\xff").unwrap();
    let gone = folder.path().join("gone");
    let errors = load(&[folder.path().to_owned(), gone], &|_| None).unwrap_err();
    let reported = errors.to_string();
    assert_eq!(errors.len(), 2, "{reported}");
    assert!(reported.contains("binary.yaml:2: is not UTF-8"), "{reported}");
    assert!(reported.contains("gone: cannot be read: entity not found; create it"), "{reported}");
}

/// A secret is never in a message, not even when its field is wrong.
#[test]
fn secrets_stay_secret() {
    let text = "{apiVersion: gateway.weir.dev/v1, kind: Configuration, metadata: {name: a}, \
                spec: {analytics: {endpoint: $URL, token: $URL}}}";
    let env = |name: &str| (name == "URL").then(|| "hunter2 hunter2".to_owned());
    let reported = weir_config::load_text("x".as_ref(), text, &env).unwrap_err().to_string();
    assert!(!reported.contains("hunter2"), "{reported}");
    assert!(reported.contains("the value of `$URL`"), "{reported}");
}

/// A file that is something else altogether is reported in a screenful, at bounded cost.
#[test]
fn a_hopeless_file_is_reported_shortly() {
    let texts = [
        "a: [\n---\n".repeat(500_000),
        "a\n---\n".repeat(500_000),
        format!("{{apiVersion: gateway.weir.dev/v1, kind: Configuration, metadata: {{name: a}}, spec: {{{}}}}}", {
            let keys: Vec<_> = (0..300_000).map(|n| format!("k{n}: 1")).collect();
            keys.join(", ")
        }),
        "[".repeat(1 << 20),
        "- ".repeat(1 << 20),
        "?".repeat(1 << 20),
    ];
    for text in texts {
        let errors = weir_config::load_text("x".as_ref(), &text, &|_| None).unwrap_err();
        assert!((1..=101).contains(&errors.len()), "{}", errors.len());
    }
}

/// Thousands of resources that name each other, or nobody: bounded in time, memory and what is reported.
#[test]
fn many_references_are_reported_shortly() {
    let resource = |kind: &str, n: usize, spec: &str| {
        format!(
            "{{apiVersion: gateway.mulesoft.com/v1alpha1, kind: {kind}, metadata: {{name: n{n}}}, spec: {{{spec}}}}}\n---\n"
        )
    };
    let policy = "policyRef: {name: http-basic-authentication-flex}, config: {username: u, password: p}";
    let api = |n| {
        resource(
            "ApiInstance",
            n,
            &format!("address: \"http://0.0.0.0:80/n{n}\", services: {{s: {{address: http://b}}}}"),
        )
    };
    let selector =
        |n| resource("PolicyBinding", n, &format!("targetRef: {{kind: Selector, selector: {{}}}}, {policy}"));
    let nowhere = |n| resource("PolicyBinding", n, &format!("targetRef: {{name: m{n}}}, {policy}"));
    let contract = |n| resource("Contract", n, &format!("apiId: n0, client: {{id: c{n}, secret: s}}"));
    let service = |n| resource("Service", n, "address: http://b");
    let reported = |resources: Vec<String>| {
        weir_config::load_text("x".as_ref(), &resources.concat(), &|_| None).map_err(|errors| errors.to_string())
    };

    let all = (0..2_000).map(api).chain((0..2_000).map(selector)).collect();
    let errors_of_all = reported(all).unwrap_err();
    assert!(errors_of_all.contains("all selectors together bind more than 200000 policies"), "{errors_of_all:.500}");

    let lost = (0..2_000).map(api).chain((0..2_000).map(nowhere)).chain((0..2_000).map(service)).collect();
    let errors_of_lost = reported(lost).unwrap_err();
    assert!(errors_of_lost.lines().count() <= 1_000, "{}", errors_of_lost.lines().count());
    assert!(errors_of_lost.contains("there is no ApiInstance `m0` in namespace `default`; did you mean `n0`?"));

    let signed = reported((0..1).map(api).chain((0..10_000).map(contract)).collect()).unwrap();
    assert_eq!(signed.apis[0].contracts.len(), 10_000);
}
