//! Spans of what the programs do by themselves arrive, in clear text and by TLS with the certificates that the variables name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use weir_e2e::{Gateway, GatewaySpec, Part, Site, TestStack, eventually};
use weir_testkit::otlp::Receiver;
use weir_testkit::process::program;
use weir_testkit::{get, upstream};

const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and certificates by it: of the receiver, `localhost`, and of the program, `client`.
fn certificates(dir: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let make = ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "authority.key", "-out"];
    openssl(dir, &[&make[..], &["authority.pem"], &key].concat());
    for name in ["localhost", "client"] {
        std::fs::write(dir.join("extensions"), format!("subjectAltName=DNS:{name}\n")).unwrap();
        let (subject, key_file) = (format!("/CN={name}"), format!("{name}.key"));
        openssl(dir, &[&["req", "-subj", &subject, "-keyout", &key_file, "-out", "request"], &key[..]].concat());
        let sign = ["x509", "-req", "-in", "request", "-CA", "authority.pem", "-CAkey", "authority.key"];
        let out = format!("{name}.pem");
        let more = ["-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", &out];
        openssl(dir, &[&sign[..], &more].concat());
    }
}

/// Shows the certificate of `localhost`, and believes those whom the authority vouches for and nobody else.
fn server(dir: &Path) -> ServerConfig {
    let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("authority.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("localhost.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_client_cert_verifier(clients).with_single_cert(vec![certificate("localhost.pem")], key).unwrap()
}

/// What leads to such a receiver.
fn variables(dir: &Path, protocol: &str, receiver: &Receiver) -> Vec<(&'static str, String)> {
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    vec![
        (SOON.0, SOON.1.to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", receiver.address.port())),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", file("authority.pem")),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", file("client.pem")),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file("client.key")),
    ]
}

async fn named(receiver: &Receiver, name: &str) -> Span {
    let find = || receiver.spans().into_iter().find(|span| span.name == name);
    eventually(&format!("the span `{name}` arrives"), async || find()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weir_analytics_sends_spans_of_its_inserts() {
    let mut stack = TestStack::start(None).await.unwrap();
    let dir = stack.site.path("certificates");
    std::fs::create_dir_all(&dir).unwrap();
    certificates(&dir);
    for (protocol, is_tls) in [("http/protobuf", false), ("grpc", true), ("http/protobuf", true)] {
        let receiver = if is_tls {
            Receiver::start_tls("127.0.0.1:0", server(&dir)).await.unwrap()
        } else {
            Receiver::start("127.0.0.1:0").await.unwrap()
        };
        stack.stop(Part::Analytics).unwrap();
        stack.analytics_env = variables(&dir, protocol, &receiver);
        if !is_tls {
            stack.analytics_env[2].1 = format!("http://{}", receiver.address);
        }
        stack.start_part(Part::Analytics, None).unwrap();
        assert_eq!(get(&format!("http://{}/fast", stack.gateway_at)).await.unwrap().0, 200);
        let span = named(&receiver, "insert").await;
        let outcome = span.attributes.iter().find(|pair| pair.key == "outcome").and_then(|pair| pair.value.clone());
        assert!(outcome.is_some(), "{protocol} {is_tls}: {span:?}");
        let resource = receiver.received()[0].resource().unwrap().attributes.clone();
        let service = resource.iter().find(|pair| pair.key == "service.name").and_then(|pair| pair.value.clone());
        assert_eq!(service.unwrap().value, Some(Value::StringValue("weir-analytics".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_sends_its_own_spans_with_the_certificates_of_all_others() {
    for protocol in ["grpc", "http/protobuf"] {
        let site = Site::new().unwrap();
        let dir = site.path("certificates");
        std::fs::create_dir_all(&dir).unwrap();
        certificates(&dir);
        let receiver = Receiver::start_tls("127.0.0.1:0", server(&dir)).await.unwrap();
        let spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
        let env = variables(&dir, protocol, &receiver);
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
        assert_eq!(get(&format!("http://{}/fast", gateway.address)).await.unwrap().0, 200);
        named(&receiver, "GET /.*").await;
        let file = gateway.conf.join("gateway.yaml");
        let yaml = std::fs::read_to_string(&file).unwrap().replace("name: api-0", "name: api-renamed");
        std::fs::write(&file, yaml).unwrap();
        named(&receiver, "reload").await;
    }
}

/// A span that cannot be sent is no reason to end; a setting that cannot be meant is.
#[test]
fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let dir = Site::new().unwrap();
    std::fs::write(dir.path("empty.pem"), "").unwrap();
    let empty = dir.path("empty.pem").to_string_lossy().into_owned();
    for (name, value, said) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file", "OTEL_EXPORTER_OTLP_CERTIFICATE: `/no/such/file`"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &*empty, "has no certificate"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*empty, "OTEL_EXPORTER_OTLP_CLIENT_KEY is missing"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &*empty, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is missing"),
    ] {
        let mut command = Command::new(program("weir-analytics").unwrap());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1").env(name, value);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{name}: {error}");
    }
}
