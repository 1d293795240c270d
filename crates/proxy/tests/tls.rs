//! TLS from the client's side: real clients (OpenSSL, curl, rustls), certificates by OpenSSL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{DEADLINE, Gateway, Upstream, pki};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use weir_event::Instant;
use weir_event::{Outcome, Protocol, Reason, Scheme, TlsVersion};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An authority `known` that vouches for `leaf`, which is `localhost`.
fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    pki::authority(dir.path(), "known");
    pki::leaf(dir.path(), "leaf", "localhost", "known");
    dir
}

/// An API on a port of TLS, with more of the policy's configuration, each line indented by eight blanks.
fn api(dir: &Path, name: &str, upstream: SocketAddr, more: &str) -> String {
    let certificate = pki::block(dir, &format!("{name}.pem"), 12);
    let key = pki::block(dir, &format!("{name}.key"), 12);
    format!(
        "
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: orders}}
spec:
  address: https://127.0.0.1:0
  services:
    main: {{address: \"http://{upstream}\"}}
  policies:
    - policyRef: {{name: tls}}
      config:
        certificate:
          crt: {certificate}          key: {key}{more}"
    )
}

/// curl, which must succeed: what it printed.
fn curl(dir: &Path, gateway: &Gateway, args: &[&str]) -> String {
    let port = gateway.address.port();
    let (connect, url) = (format!("localhost:{port}:127.0.0.1"), format!("https://localhost:{port}/"));
    let output = Command::new("curl")
        .current_dir(dir)
        .args(["--silent", "--show-error", "--cacert", "known.pem", "--resolve", &connect])
        .args(args)
        .arg(url)
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// OpenSSL's client: one request, everything that it said.
fn s_client(dir: &Path, gateway: &Gateway, args: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .current_dir(dir)
        .args(["s_client", "-connect", &gateway.address.to_string()])
        .args(if args.contains(&"-noservername") { &[][..] } else { &["-servername", "localhost"] })
        .args(["-CAfile", "known.pem", "-ign_eof"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    // A handshake that failed leaves nobody to write to.
    drop(child.stdin.take().unwrap().write_all(request));
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn client(dir: &Path, groups: &[&'static dyn rustls::crypto::SupportedKxGroup]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("known.pem")).unwrap()).unwrap();
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups.to_vec();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

/// One request by rustls: the session it was made in, and the name on the certificate that it saw.
fn ask(gateway: &Gateway, config: &Arc<ClientConfig>, name: &'static str) -> std::io::Result<ClientConnection> {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
    let tcp = TcpStream::connect(gateway.address)?;
    tcp.set_read_timeout(Some(DEADLINE))?;
    let mut stream = StreamOwned::new(session, tcp);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(stream.conn)
}

/// Waits until so many handshakes have failed: the client may see the end of its connection before it is counted.
fn until_failed(gateway: &Gateway, wanted: u64) {
    let failed = || -> u64 { gateway.proxy.as_ref().unwrap().stats().map(|stats| stats.handshakes()[2].1).sum() };
    let deadline = Instant::now() + DEADLINE;
    while failed() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted}", failed());
        std::thread::yield_now();
    }
    assert_eq!(failed(), wanted);
}

#[test]
fn curl_speaks_either_http_over_tls_and_the_event_knows() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    let cases = [("--http1.1", "1.1", Protocol::Http11), ("--http2", "2", Protocol::Http2)];
    for (flag, version, protocol) in cases {
        assert_eq!(curl(dir.path(), &gateway, &[flag, "--write-out", " %{http_version}"]), format!("ok {version}"));
        assert!(upstream.request().to_ascii_lowercase().contains("x-forwarded-proto: https"));
        let event = gateway.event();
        assert_eq!((event.protocol, event.scheme, event.status), (protocol, Scheme::Https, 200));
        assert_eq!((event.tls_version, event.tls_cipher), (TlsVersion::Tls13, "TLS_AES_256_GCM_SHA384"));
    }
}

/// One key ring for all workers: a session resumes wherever its next connection lands.
#[test]
fn a_session_resumes_on_any_worker() {
    for version in ["-tls1_3", "-tls1_2"] {
        let dir = place();
        let upstream = Upstream::answering(OK);
        let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
        let first = s_client(dir.path(), &gateway, &[version, "-sess_out", "session"]);
        assert!(first.contains("New, TLSv1") && first.contains("200 OK"), "{first}");
        let resumed = |gateway: &Gateway| -> Vec<u64> {
            gateway.proxy.as_ref().unwrap().stats().map(|stats| stats.handshakes()[1].1).collect()
        };
        // The kernel spreads connections over the workers as it likes: until both have resumed one.
        let mut asked = 0;
        while resumed(&gateway).contains(&0) {
            let again = s_client(dir.path(), &gateway, &[version, "-sess_in", "session"]);
            assert!(again.contains("Reused, TLSv1") && again.contains("200 OK"), "{again}");
            asked += 1;
            assert!(asked < 60, "one worker got all of {asked} connections");
        }
        assert_eq!(resumed(&gateway).iter().sum::<u64>(), asked, "each of them was resumed");
    }
}

#[test]
fn the_key_exchange_is_hybrid_where_the_client_can() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    let both: [&dyn rustls::crypto::SupportedKxGroup; 2] = [kx_group::X25519MLKEM768, kx_group::X25519];
    let alone: [&dyn rustls::crypto::SupportedKxGroup; 1] = [kx_group::X25519MLKEM768];
    for (groups, expected) in [
        (&alone[..], NamedGroup::X25519MLKEM768),
        (&[kx_group::X25519 as _][..], NamedGroup::X25519),
        (&both[..], NamedGroup::X25519MLKEM768),
    ] {
        let session = ask(&gateway, &client(dir.path(), groups), "localhost").unwrap();
        assert_eq!(session.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name), Some(expected));
    }
}

#[test]
fn a_version_below_the_lowest_is_refused() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, "        minversion: \"1.3\"\n"));
    let said = s_client(dir.path(), &gateway, &["-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
    assert!(s_client(dir.path(), &gateway, &["-tls1_3"]).contains("200 OK"));
}

fn asks_for_certificates_of(dir: &Path, authority: &str) -> String {
    let trusted = pki::block(dir, &format!("{authority}.pem"), 10);
    format!("        requireClientCertificate: true\n        trustedCA: {trusted}")
}

/// And a session that was made when others were trusted is not resumed.
#[test]
fn clients_prove_themselves_where_the_port_asks_for_it() {
    let dir = place();
    for (authority, leaf) in [("staff", "alice"), ("guests", "bob")] {
        pki::authority(dir.path(), authority);
        pki::leaf(dir.path(), leaf, leaf, authority);
    }
    let upstream = Upstream::answering(OK);
    let config = |trusted| api(dir.path(), "leaf", upstream.address, &asks_for_certificates_of(dir.path(), trusted));
    let mut gateway = Gateway::start(&config("staff"));
    let alice = ["-cert", "alice.pem", "-key", "alice.key"];
    let passes = |said: &str| said.contains("200 OK");
    assert!(!passes(&s_client(dir.path(), &gateway, &[])), "without a certificate");
    assert!(!passes(&s_client(dir.path(), &gateway, &["-cert", "bob.pem", "-key", "bob.key"])), "of another authority");
    assert!(passes(&s_client(dir.path(), &gateway, &[&alice[..], &["-sess_out", "session"]].concat())));
    let resumed = s_client(dir.path(), &gateway, &["-sess_in", "session"]);
    assert!(passes(&resumed) && resumed.contains("Reused"), "{resumed}");
    gateway.reload(&config("guests"));
    let after = s_client(dir.path(), &gateway, &[&alice[..], &["-sess_in", "session"]].concat());
    assert!(!passes(&after), "{after}");
    until_failed(&gateway, 3);
}

/// Also in a session that is resumed, and as a reload says it for connections that come after.
#[test]
fn a_gateway_of_the_fleet_is_known_by_its_certificate() {
    let dir = place();
    pki::authority(dir.path(), "staff");
    for name in ["edge.example.com", "other.example.com"] {
        pki::leaf(dir.path(), name, name, "staff");
    }
    let upstream = Upstream::answering(OK);
    let config = |peers: &str| {
        let api = api(dir.path(), "leaf", upstream.address, &asks_for_certificates_of(dir.path(), "staff"));
        format!(
            "{api}\n---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: fleet}}\n\
             spec: {{peerGateways: [{peers}]}}\n"
        )
    };
    let mut gateway = Gateway::start(&config("{certificate: edge.example.com}"));
    let entered_here = |gateway: &Gateway, name: &str, more: &[&str]| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let said = s_client(dir.path(), gateway, &[&["-cert", &certificate, "-key", &key], more].concat());
        assert!(said.contains("200 OK"), "{said}");
        gateway.event().entry
    };
    assert!(!entered_here(&gateway, "edge.example.com", &["-sess_out", "session"]));
    assert!(!entered_here(&gateway, "edge.example.com", &["-sess_in", "session"]), "resumed");
    assert!(entered_here(&gateway, "other.example.com", &[]));
    for (peers, elsewhere) in [
        ("{certificate: edge.example.com, network: 127.0.0.0/8}", true),
        ("{certificate: edge.example.com, network: 10.0.0.0/8}", false),
        ("{certificate: edge.example.com, port: 1}", false),
        ("10.0.0.0/8, {certificate: edge.example.com}", true),
        ("", false),
    ] {
        gateway.reload(&config(peers));
        assert_eq!(entered_here(&gateway, "edge.example.com", &[]), !elsewhere, "{peers}");
    }
}

#[test]
fn a_new_certificate_serves_new_connections_and_its_expiry_is_reported() {
    let dir = place();
    pki::leaf(dir.path(), "next", "localhost", "known");
    let upstream = Upstream::answering(OK);
    let mut gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    let config = client(dir.path(), &[kx_group::X25519]);
    let seen = |gateway: &Gateway| {
        let session = ask(gateway, &client(dir.path(), &[kx_group::X25519]), "localhost").unwrap();
        session.peer_certificates().unwrap()[0].clone()
    };
    let on_disk = |name: &str| CertificateDer::from_pem_file(dir.path().join(name)).unwrap();
    assert_eq!(seen(&gateway), on_disk("leaf.pem"));
    ask(&gateway, &config, "localhost").unwrap();
    gateway.reload(&api(dir.path(), "next", upstream.address, ""));
    assert_eq!(seen(&gateway), on_disk("next.pem"));
    let again = ask(&gateway, &config, "localhost").unwrap();
    assert_eq!(again.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "the ticket keys outlive the reload");

    let snapshot = gateway.proxy.as_ref().unwrap().snapshot();
    let validity = snapshot.certificates().next().unwrap().1[0];
    let expiry = i64::try_from(validity.not_after).unwrap();
    let in_two_days = i64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 2 * 86_400,
    );
    assert!((in_two_days.unwrap() - expiry).abs() < 600, "{expiry}, {}", pki::not_after(dir.path(), "next.pem"));
}

#[test]
fn the_server_name_picks_the_certificate() {
    let dir = place();
    pki::leaf(dir.path(), "shop", "shop.example", "known");
    let upstream = Upstream::answering(OK);
    let pair = |name: &str| {
        let crt = pki::block(dir.path(), &format!("{name}.pem"), 14);
        let key = pki::block(dir.path(), &format!("{name}.key"), 14);
        format!("          - crt: {crt}            key: {key}")
    };
    let one = api(dir.path(), "leaf", upstream.address, "");
    let head = one.split("        certificate:").next().unwrap();
    let several = format!("{head}        certificates:\n{}{}", pair("leaf"), pair("shop"));
    let gateway = Gateway::start(&several);
    for (name, file) in [("localhost", "leaf.pem"), ("shop.example", "shop.pem")] {
        let session = ask(&gateway, &client(dir.path(), &[kx_group::X25519]), name).unwrap();
        let expected = CertificateDer::from_pem_file(dir.path().join(file)).unwrap();
        assert_eq!(session.peer_certificates().unwrap()[0], expected);
    }
    // Whoever names none of them gets the first.
    assert!(s_client(dir.path(), &gateway, &["-noservername"]).contains("CN = localhost"));
}

#[test]
fn a_request_in_the_clear_is_informed() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    let answer = gateway.get("/secret");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS"), "{answer}");
    let event = gateway.event();
    assert_eq!(
        (event.reason, event.scheme, event.outcome),
        (Reason::MalformedRequest, Scheme::Http, Outcome::Completed)
    );
    assert!(upstream.try_request().is_none());
}

#[test]
fn what_is_neither_tls_nor_http_is_closed_and_counted() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    for bytes in [&[22, 3, 1, 0, 5, 0, 0, 0, 0, 0][..], &[0; 64], &[22, 3, 1, 255, 255]] {
        let mut client = gateway.connect();
        client.send(bytes);
        drop(client.stream.shutdown(std::net::Shutdown::Write));
        let answer = client.read_to_end();
        assert!(!answer.contains("HTTP"), "{answer}");
    }
    until_failed(&gateway, 3);
    assert!(gateway.events().is_empty(), "nobody asked for anything");
}

/// A key that is not the certificate's is found before anything changes.
#[test]
fn a_key_of_another_certificate_is_refused_with_its_place() {
    let dir = place();
    pki::leaf(dir.path(), "other", "other", "known");
    std::fs::copy(dir.path().join("other.key"), dir.path().join("leaf.key")).unwrap();
    let yaml = api(dir.path(), "leaf", "127.0.0.1:9".parse().unwrap(), "");
    let config = weir_config::load_text(Path::new("orders.yaml"), &yaml, &|_| None).unwrap();
    let error = weir_proxy::Snapshot::compile(&config, 1, &weir_proxy::Registry::new(1)).unwrap_err().to_string();
    assert!(error.starts_with("orders.yaml:") && error.contains("not that of the certificate"), "{error}");
}

/// A handshake that stands still holds nothing for long.
#[test]
fn a_handshake_that_never_ends_is_let_go() {
    let dir = place();
    let upstream = Upstream::answering(OK);
    let idle = |name: &str| (name == "FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS").then(|| "1".to_owned());
    let gateway = Gateway::start_with(&api(dir.path(), "leaf", upstream.address, ""), &idle);
    for bytes in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut client = gateway.connect();
        client.send(bytes);
        assert_eq!(client.read_to_end(), "");
    }
    assert!(gateway.events().is_empty());
}

/// A port that begins to ask for certificates lets go of who came in without one.
#[test]
fn who_came_in_on_other_terms_is_let_go() {
    let dir = place();
    pki::authority(dir.path(), "staff");
    let upstream = Upstream::answering(OK);
    let mut gateway = Gateway::start(&api(dir.path(), "leaf", upstream.address, ""));
    let config = client(dir.path(), &[kx_group::X25519]);
    let session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let tcp = TcpStream::connect(gateway.address).unwrap();
    tcp.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 200");
    gateway.reload(&api(dir.path(), "leaf", upstream.address, &asks_for_certificates_of(dir.path(), "staff")));
    // It is closed in order, and not by a timeout.
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// Over TLS a write is done when it is encrypted: a client that takes nothing is known by the flush.
#[test]
fn a_client_that_never_reads_is_let_go() {
    let dir = place();
    let upstream = Upstream::after_one(|stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"));
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).is_ok() {}
    });
    let gateway = Gateway::start(&(api(dir.path(), "leaf", upstream.address, "") + &common::timeouts(1, 5)));
    let config = client(dir.path(), &[kx_group::X25519]);
    let session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(gateway.address).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome), (Reason::ClientIdleTimeout, Outcome::Cancelled));
}

/// The last request and the end of TLS come in one packet, and the connection below stays open: nothing more is to come
/// from the socket that would tell of it.
#[test]
fn a_client_whose_tls_ends_with_its_request_has_left() {
    let dir = place();
    let held = Upstream::after_one(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::start(&api(dir.path(), "leaf", held.address, ""));
    let config = client(dir.path(), &[kx_group::X25519]);
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // Nothing behind it, the empty line of old clients, another request.
    for behind in ["", "\r\n", request] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut tcp = TcpStream::connect(gateway.address).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        session.writer().write_all([request, behind].concat().as_bytes()).unwrap();
        session.send_close_notify();
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        tcp.write_all(&flight).unwrap();
        let event = gateway.event();
        assert_eq!((event.reason, event.status), (Reason::ClientClosed, 499), "{behind:?}");
        drop(tcp);
    }
}
