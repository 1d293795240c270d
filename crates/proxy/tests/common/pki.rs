//! Certificates made by OpenSSL, in a folder of the test's own.

use std::path::Path;
use std::process::Command;

fn openssl(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl is installed");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An authority, as `<name>.pem` and `<name>.key`.
pub fn authority(dir: &Path, name: &str) {
    let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    openssl(dir, &[&make[..], &["-subj", &subject, "-keyout", &key, "-out", &pem]].concat());
}

/// A certificate for the DNS name `host` by an authority, as `<name>.pem` and `<name>.key`.
pub fn leaf(dir: &Path, name: &str, host: &str, by: &str) {
    let file = |ending: &str| format!("{name}.{ending}");
    std::fs::write(dir.join(file("ext")), format!("subjectAltName=DNS:{host}\n")).unwrap();
    let subject = format!("/CN={host}");
    let ask = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", &subject];
    openssl(dir, &[&ask[..], &["-keyout", &file("key"), "-out", &file("csr")]].concat());
    let (ca, key) = (format!("{by}.pem"), format!("{by}.key"));
    let sign = ["x509", "-req", "-in", &file("csr"), "-CA", &ca, "-CAkey", &key, "-CAcreateserial", "-days", "2"];
    openssl(dir, &[&sign[..], &["-extfile", &file("ext"), "-out", &file("pem")]].concat());
}

/// A PEM file as a YAML block, indented by `indent` blanks.
pub fn block(dir: &Path, file: &str, indent: usize) -> String {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    let blanks = " ".repeat(indent);
    text.lines().fold("|\n".to_owned(), |yaml, line| yaml + &blanks + line + "\n")
}

/// When a certificate expires, in OpenSSL's words.
pub fn not_after(dir: &Path, file: &str) -> String {
    openssl(dir, &["x509", "-in", file, "-noout", "-enddate", "-dateopt", "iso_8601"])
}
