//! TLS of ports: what is read, and what is refused with its place. X.509 is not looked at, so any base64 will do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use weir_config::policy::{Alpn, Cipher, ClientCertificates, TlsVersion};
use weir_config::{
    Candidate, ConfigErrors, Content, Folders, GatewayConfig, Origin, Scheme, Start, Taker, Verdict, Waiting, Watcher,
    load_text,
};

const CRT: &str = "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n";

fn api(name: &str, version: &str, address: &str, config: &str) -> String {
    let policies = match config {
        "" => String::new(),
        config => format!(", policies: [{{policyRef: {{name: tls}}, config: {{{config}}}}}]"),
    };
    format!(
        "apiVersion: gateway.{version}\nkind: ApiInstance\nmetadata: {{name: {name}}}\n\
         spec: {{address: \"{address}\", services: {{s: {{address: http://b}}}}{policies}}}\n---\n"
    )
}

fn load(text: &str) -> Result<GatewayConfig, ConfigErrors> {
    load_text("x.yaml".as_ref(), text, &|name| (name == "KEY").then(|| KEY.replace("\\n", "\n")))
}

const FLEX: &str = "mulesoft.com/v1alpha1";
const WEIR: &str = "weir.dev/v1";

fn refused(config: &str) -> String {
    load(&api("a", WEIR, "https://0.0.0.0:1", config)).unwrap_err().to_string()
}

#[test]
fn a_port_has_one_tls_for_all_its_apis() {
    let config = format!(
        "certificate: {{crt: \"{CRT}{CRT}\", key: $KEY}}, minversion: \"1.3\", alpn: [http/1.1], \
         requireClientCertificate: true, trustedCA: \"{CRT}\", ciphers: [TLS_AES_128_GCM_SHA256]"
    );
    let text = api("a", FLEX, "https://0.0.0.0:1/a", &config) + &api("b", FLEX, "https://0.0.0.0:1/b", "");
    let config = load(&text).unwrap();
    let tls = config.apis[1].tls.as_ref().unwrap();
    assert_eq!(config.apis[0].tls.as_ref().unwrap(), tls);
    assert_eq!((tls.certificates.len(), tls.certificates[0].chain.len()), (1, 2));
    assert_eq!(tls.certificates[0].key.secret_der(), [0, 0, 0]);
    assert_eq!((tls.offer.min, tls.offer.max), (TlsVersion::Tls13, TlsVersion::Tls13));
    assert_eq!((tls.offer.alpn.as_slice(), tls.offer.ciphers.as_slice()), ([Alpn::Http11].as_slice(), [].as_slice()));
    assert!(matches!(&tls.client, ClientCertificates::Required(trusted) if trusted.certificates.len() == 1));
    assert!(!format!("{config:?}").contains("[0, 0, 0]"), "a key is not shown");
}

#[test]
fn defaults_are_those_of_flex() {
    let config =
        load(&api("a", FLEX, "https://0.0.0.0:1", &format!("certificate: {{crt: \"{CRT}\", key: \"{KEY}\"}}")));
    let config = config.unwrap();
    let tls = config.apis[0].tls.as_ref().unwrap();
    assert_eq!(tls.offer.alpn, [Alpn::H2, Alpn::Http11]);
    assert_eq!((tls.offer.min, tls.offer.max), (TlsVersion::Tls12, TlsVersion::Tls13));
    assert_eq!(tls.offer.ciphers, Cipher::NAMES.map(|(_, cipher)| cipher));
    assert_eq!(tls.client, ClientCertificates::Ignored);
}

#[test]
fn what_is_wrong_is_reported_without_the_key() {
    let pair = format!("certificate: {{crt: \"{CRT}\", key: \"{KEY}\"}}");
    for (config, said) in [
        ("x: 1".to_owned(), "policies[0].config.certificate: is missing; add `{crt, key}`"),
        (format!("certificate: {{crt: \"{CRT}\"}}"), "certificate.key: is missing"),
        (format!("certificate: {{crt: hello, key: \"{KEY}\"}}"), "certificate.crt: holds no certificate"),
        (format!("certificate: {{crt: \"{KEY}\", key: \"{KEY}\"}}"), "certificate.crt: holds no certificate"),
        (format!("certificate: {{crt: \"{CRT}\", key: \"{CRT}\"}}"), "certificate.key: holds no private key"),
        (format!("certificate: {{crt: \"{CRT}\", key: \"{KEY}{KEY}\"}}"), "certificate.key: holds more than one key"),
        (format!("certificate: {{crt: \"{CRT}\", key: \"{}\"}}", KEY.replace("AAAA", "s3cr*t")), "key: is not base64"),
        (format!("certificate: {{crt: \"{CRT}\", key: \"{}\"}}", &KEY[..30]), "certificate.key: "),
        (
            format!("certificate: {{crt: \"{CRT}\", key: \"{}\"}}", KEY.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            "is an encrypted key",
        ),
        (format!("{pair}, minversion: \"1.3\", maxversion: \"1.2\""), "swap `minversion` and `maxversion`"),
        (format!("{pair}, minversion: \"1.3\", minVersion: \"1.2\""), "is the same as `minversion`"),
        (format!("{pair}, requireClientCertificate: true"), "trustedCA: is missing; add the authorities"),
        (format!("{pair}, alpn: [h3]"), "alpn[0]: `h3` is unknown; write `h2`, `http/1.1`"),
        (format!("{pair}, ciphers: [TLS_AES_128_GCM_SHA256]"), "names no suite of TLS 1.2"),
        (format!("{pair}, trustedCA: \"{CRT}\", trustedCAFile: /x"), "is here beside `trustedCA`"),
        (format!("certificate: {{crtFile: x, key: \"{KEY}\"}}"), "crtFile: is not an absolute path"),
        (format!("certificate: {{crtFile: /dev/zero, key: \"{KEY}\"}}"), "`/dev/zero` is no file"),
        (
            format!("certificate: {{crtFile: /nowhere/x, key: \"{KEY}\"}}"),
            "`/nowhere/x` names a file that is not there",
        ),
    ] {
        let reported = refused(&config);
        assert!(reported.contains(said), "{config}: {reported}");
        assert!(!reported.contains("AAAA") && !reported.contains("s3cr*t"), "{reported}");
        assert!(!reported.contains("needs a `tls` policy"), "it has one, though it is wrong: {reported}");
    }
}

#[test]
fn tls_and_scheme_must_agree() {
    let pair = |der: &str| format!("certificate: {{crt: \"{}\", key: \"{KEY}\"}}", CRT.replace("AAAA", der));
    let reported = load(&api("a", FLEX, "https://0.0.0.0:1", "")).unwrap_err().to_string();
    assert!(reported.contains("needs a `tls` policy"), "{reported}");
    let encrypted = load(&api("a", FLEX, "http://0.0.0.0:1", &pair("AAAA"))).unwrap();
    assert!(encrypted.apis[0].listen.scheme == Scheme::Https && encrypted.warnings.len() == 1);
    let two = |a: &str, b: &str| {
        api("a", FLEX, "https://0.0.0.0:1/a", &pair(a)) + &api("b", FLEX, "https://0.0.0.0:1/b", &pair(b))
    };
    load(&two("AAAA", "AAAA")).unwrap();
    let reported = load(&two("AAAA", "BBBB")).unwrap_err().to_string();
    assert!(reported.contains("x.yaml:9:") && reported.contains("port 1 has another `tls` at x.yaml:4"), "{reported}");
    let reported =
        load(&api("a", FLEX, "https://0.0.0.0:1", "certificate: {crtFile: /x, key: $KEY}")).unwrap_err().to_string();
    assert!(reported.contains("crtFile: is not a key of Flex; write `apiVersion: gateway.weir.dev/v1`"), "{reported}");
}

/// A certificate renewed in its file is a change of the configuration, though no YAML changed.
/// Hands on what is loaded.
struct Renewals {
    running: Arc<GatewayConfig>,
    send: Sender<Result<GatewayConfig, ConfigErrors>>,
}

impl Taker for Renewals {
    fn running(&self) -> Arc<GatewayConfig> {
        Arc::clone(&self.running)
    }

    fn take(&mut self, candidate: &Candidate, _again: bool) -> Verdict {
        self.running = Arc::new(candidate.config.clone());
        drop(self.send.send(Ok(candidate.config.clone())));
        Verdict::Taken(2)
    }

    fn refuse(&mut self, errors: &ConfigErrors) {
        drop(self.send.send(Err(errors.clone())));
    }

    fn waits(&mut self, _waiting: Option<&Waiting>, _still: bool) {}
}

#[test]
fn a_file_that_is_named_is_watched() {
    let (conf, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pem = |der: &str| CRT.replace("\\n", "\n").replace("AAAA", der);
    let crt = elsewhere.path().join("crt.pem");
    std::fs::write(&crt, pem("AAAA")).unwrap();
    let config = format!("certificate: {{crtFile: {}, key: \"{KEY}\"}}", crt.display());
    std::fs::write(conf.path().join("a.yaml"), api("a", WEIR, "https://0.0.0.0:1", &config)).unwrap();
    let dirs = vec![conf.path().to_owned()];
    let folder = Arc::new(Content::read(&dirs));
    let first = folder.load(&|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let (send, loads) = std::sync::mpsc::channel();
    let taker = Renewals { running: Arc::new(first.clone()), send };
    let start = Start { source: Folders::new(dirs), running: Arc::clone(&folder), folder, origin: Origin::Folder };
    let watcher = Watcher::start(start, |_| None, taker).unwrap();
    let renew = |path: &Path, der: &str| {
        std::fs::write(path, pem(der)).unwrap();
        loads.recv_timeout(Duration::from_secs(20)).unwrap().map(|config| config.apis[0].tls.clone().unwrap())
    };
    let second = renew(&crt, "BBBB").unwrap();
    assert_ne!(Some(&second), first.apis[0].tls.as_ref());
    assert!(renew(&crt, "*").is_err(), "a bad one is reported");
    assert_eq!(renew(&crt, "BBBB").unwrap(), second);
    drop(watcher);
}

fn shipping(analytics: &str) -> String {
    format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: g}}\nspec: {{analytics: {{{analytics}}}}}\n"
    )
}

#[test]
fn an_ingestor_is_believed_by_authorities_of_ones_own() {
    let tls = format!("tls: {{trustedCA: \"{CRT}\", certificate: {{crt: \"{CRT}\", key: $KEY}}}}");
    let config = load(&shipping(&format!("endpoint: \"https://a\", token: t, {tls}"))).unwrap();
    let analytics = config.startup.analytics.as_ref().unwrap();
    assert_eq!(analytics.tls.authorities.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(analytics.tls.certificate.as_ref().unwrap().chain.len(), 1);
    assert!(!format!("{config:?}").contains("[0, 0, 0]"), "a key is not shown");
    let config = load(&shipping("endpoint: \"https://a\", token: t")).unwrap();
    assert_eq!(config.startup.analytics.unwrap().tls, weir_config::AnalyticsTls::default());
    let reported = |analytics: &str| load(&shipping(analytics)).unwrap_err().to_string();
    let plain = reported(&format!("endpoint: \"http://127.0.0.1:1\", token: t, {tls}"));
    assert!(plain.contains("has no effect, since the endpoint is plain http"), "{plain}");
    assert!(reported("endpoint: \"https://a\", token: t, tls: {trustedCAFile: /nowhere}").contains("/nowhere"));
    let half = reported(&format!("endpoint: \"https://a\", token: t, tls: {{certificate: {{crt: \"{CRT}\"}}}}"));
    assert!(half.contains("`key` is missing") || half.contains("key: is missing"), "{half}");
    assert!(reported("endpoint: \"https://a\", token: t, tls: {trustedCa: x}").contains("trustedCA"), "a misspelt key");
}
