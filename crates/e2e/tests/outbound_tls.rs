//! An `https` upstream is spoken to if the system's roots vouch for it, and not otherwise. The upstream is OpenSSL's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually, off_by, reserve};
use weir_testkit::get;
use weir_testkit::process::Process;

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of its own as `<name>.pem`.
fn authority(dir: &Path, name: &str) {
    let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject];
    openssl(dir, &[&make[..], &["-keyout", &key, "-out", &pem]].concat());
}

/// A certificate for `localhost` by the authority `known`, as `leaf.pem`.
fn leaf(dir: &Path) {
    std::fs::write(dir.join("leaf.ext"), "subjectAltName=DNS:localhost\n").unwrap();
    let ask =
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "leaf.key", "-out", "leaf.csr"];
    openssl(dir, &ask);
    let sign = ["x509", "-req", "-in", "leaf.csr", "-CA", "known.pem", "-CAkey", "known.key", "-CAcreateserial"];
    openssl(dir, &[&sign[..], &["-days", "2", "-extfile", "leaf.ext", "-out", "leaf.pem"]].concat());
}

/// OpenSSL's server, which answers with the files of its folder.
async fn upstream(site: &Site, dir: &Path, more: &[&str]) -> (Process, SocketAddr) {
    upstream_of("leaf", site, dir, more).await
}

/// With the certificate of that name.
async fn upstream_of(name: &str, site: &Site, dir: &Path, more: &[&str]) -> (Process, SocketAddr) {
    let address = reserve().unwrap();
    let mut command = Command::new("openssl");
    command.current_dir(dir).args([
        "s_server",
        "-accept",
        &address.to_string(),
        "-cert",
        &format!("{name}.pem"),
        "-key",
        &format!("{name}.key"),
    ]);
    command.arg("-WWW").args(more);
    let process = Process::start("openssl", command, &site.path("openssl.log")).unwrap();
    eventually("openssl listens", async || TcpStream::connect(address).ok().map(drop)).await;
    (process, address)
}

/// A service of its own, and a `tls-outbound` bound to it.
fn bound(name: &str, upstream: SocketAddr, config: &str) -> GatewaySpec {
    let mut spec = GatewaySpec::new("here", name, upstream);
    spec.apis.clear();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata: {{name: backend}}
spec: {{address: \"https://127.0.0.1:{}\"}}
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: backend-tls}}
spec:
  targetRef: {{kind: Service, name: backend}}
  policyRef: {{name: tls-outbound}}
  config:
{config}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: secure}}
spec:
  address: http://127.0.0.1:0
  policies: [{{policyRef: {{name: route}}, config: {{destinationRef: {{name: backend}}}}}}]
",
        upstream.port()
    );
    spec
}

fn pem(dir: &Path, file: &str, indent: usize) -> String {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    text.lines().fold("|\n".to_owned(), |yaml, line| yaml + &" ".repeat(indent) + line + "\n")
}

fn spec(name: &str, upstream: SocketAddr) -> GatewaySpec {
    let mut spec = GatewaySpec::new("here", name, upstream);
    spec.apis.clear();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: secure}}
spec:
  address: http://127.0.0.1:0
  services:
    main: {{address: \"https://localhost:{}\"}}
",
        upstream.port()
    );
    spec
}

#[tokio::test]
async fn an_upstream_is_believed_if_the_roots_vouch_for_it() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    authority(&dir, "known");
    authority(&dir, "stranger");
    leaf(&dir);
    std::fs::write(dir.join("hello.txt"), "hello over TLS").unwrap();
    let (_upstream, address) = upstream(&site, &dir, &[]).await;

    let roots = dir.join("known.pem").to_string_lossy().into_owned();
    let trusting =
        Gateway::start_with(&site, &spec("trusting", address), &[("SSL_CERT_FILE", &roots), ("WEIR_LOG", "debug")])
            .unwrap();
    let (status, body) = get(&format!("http://{}/hello.txt", trusting.address)).await.unwrap();
    assert_eq!((status, body.as_str()), (200, "hello over TLS"), "{}", site.log("trusting"));

    let others = dir.join("stranger.pem").to_string_lossy().into_owned();
    let wary = Gateway::start_with(&site, &spec("wary", address), &[("SSL_CERT_FILE", &others)]).unwrap();
    let (status, body) = get(&format!("http://{}/hello.txt", wary.address)).await.unwrap();
    assert_eq!(status, 502);
    assert!(body.contains("\"reason\":\"tls_certificate_error\""), "{body}");
}

/// A service with a `tls-outbound` of its own: who vouches for it, what the gateway proves itself by, which name it asks.
#[tokio::test]
async fn a_service_is_spoken_to_as_its_binding_says() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    authority(&dir, "known");
    authority(&dir, "stranger");
    leaf(&dir);
    std::fs::write(dir.join("hello.txt"), "hello over TLS").unwrap();
    let (_upstream, address) =
        upstream(&site, &dir, &["-Verify", "2", "-verify_return_error", "-CAfile", "known.pem"]).await;

    let trusted = |name: &str| format!("    trustedCA: {}", pem(&dir, &format!("{name}.pem"), 6));
    let proof =
        format!("    certificate:\n      crt: {}      key: {}", pem(&dir, "leaf.pem", 8), pem(&dir, "leaf.key", 8));
    // Both are offered; the server chooses neither, which is HTTP/1.1.
    let named = "    sni: localhost\n    alpn: [h2, http/1.1]\n";
    let cases = [
        ("whole", format!("{}{named}{proof}", trusted("known")), None),
        ("anybody", format!("    skipValidation: true\n{proof}"), None),
        // The certificate is for `localhost`, and the address is a number.
        ("unnamed", format!("{}{proof}", trusted("known")), Some("tls_certificate_error")),
        ("mistrusted", format!("{}{named}{proof}", trusted("stranger")), Some("tls_certificate_error")),
        ("unproven", format!("{}{named}", trusted("known")), Some("")),
    ];
    for (name, config, reason) in cases {
        let gateway = Gateway::start(&site, &bound(name, address, &config)).unwrap();
        let (status, body) = get(&format!("http://{}/hello.txt", gateway.address)).await.unwrap();
        match reason {
            None => assert_eq!((status, body.as_str()), (200, "hello over TLS"), "{name}: {}", site.log(name)),
            Some(reason) => assert!(status == 502 && body.contains(reason), "{name}: {status} {body}"),
        }
    }
}

/// What `openssl req -x509` makes: a certificate that is its own authority. Whoever names it in `trustedCA` trusts it, as
/// OpenSSL does; but not for another name, another use or out of its time, and not another one of the same name.
#[tokio::test]
async fn a_service_may_be_its_own_authority() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("hello.txt"), "hello over TLS").unwrap();
    let own = |time: &str, name: &str, more: &[&str]| {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=own"];
        let args = [&make[..], &["-keyout", &key, "-out", &pem], more].concat();
        let mut command = Command::new("openssl");
        off_by(&mut command, time).unwrap();
        let output = command.args(args).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let localhost = ["-addext", "subjectAltName=DNS:localhost"];
    own("+0d", "named", &localhost);
    own("+0d", "nameless", &[]);
    own("+0d", "other", &localhost);
    own("-9d", "expired", &localhost);
    own("+0d", "client", &[&localhost[..], &["-addext", "extendedKeyUsage=clientAuth"]].concat());
    own("+0d", "signer", &[&localhost[..], &["-addext", "keyUsage=critical,keyCertSign"]].concat());
    for (name, trusted, sni, taken) in [
        ("named", "named", "localhost", true),
        ("nameless", "nameless", "localhost", true),
        ("named", "named", "elsewhere", false),
        ("named", "other", "localhost", false),
        ("expired", "expired", "localhost", false),
        ("client", "client", "localhost", false),
        ("signer", "signer", "localhost", false),
    ] {
        let (_upstream, address) = upstream_of(name, &site, &dir, &[]).await;
        let config = format!("    sni: {sni}\n    trustedCA: {}", pem(&dir, &format!("{trusted}.pem"), 6));
        let gateway = Gateway::start(&site, &bound("edge", address, &config)).unwrap();
        let (status, body) = get(&format!("http://{}/hello.txt", gateway.address)).await.unwrap();
        match taken {
            true => assert_eq!((status, body.as_str()), (200, "hello over TLS"), "{name}: {}", site.log("edge")),
            false => assert!(status == 502 && body.contains("tls_certificate_error"), "{name} {sni}: {status} {body}"),
        }
    }
}

/// Signed with a key that is nowhere else, and what verifies it.
const TOKEN: &str = include_str!("../../proxy/tests/common/token.txt");
const KEYS: &str = include_str!("../../proxy/tests/common/keys.json");

/// The key set of `jwt-validation-flex`, by the gateway itself, from a server that the system's roots vouch for. The gateway
/// starts, reloads and ends whether that server is there or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_tokens_are_read_over_https_from_whom_the_system_trusts() {
    let site = Site::new().unwrap();
    let pki = site.path("pki");
    std::fs::create_dir_all(&pki).unwrap();
    authority(&pki, "known");
    authority(&pki, "other");
    leaf(&pki);
    std::fs::write(pki.join("keys.json"), KEYS).unwrap();
    let (keys, keys_at) = upstream(&site, &pki, &[]).await;
    let plain = weir_testkit::upstream::spawn("127.0.0.1:0").await.unwrap();
    let of = |name: &str| {
        let mut spec = GatewaySpec::new("here", name, plain);
        spec.more_yaml = format!(
            "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {{name: tokens}}\n\
             spec: {{targetRef: {{name: api-0}}, policyRef: {{name: jwt-validation-flex}}, config: {{jwtKeyOrigin: jwks, \
             jwksUrl: \"https://localhost:{}/keys.json\", skipClientIdValidation: true, jwksServiceConnectionTimeout: 3000}}}}\n",
            keys_at.port()
        );
        spec
    };
    let status = |gateway: &Gateway, header: &str| {
        let mut command = Command::new("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header]);
        let output = command.arg(format!("http://{}/fast", gateway.address)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let bearer = format!("authorization: Bearer {TOKEN}");
    let trusting = |name: &str| pki.join(name).to_string_lossy().into_owned();

    let gateway = Gateway::start_with(&site, &of("trusts"), &[("SSL_CERT_FILE", &trusting("known.pem"))]).unwrap();
    assert_eq!(status(&gateway, &bearer), "200", "{}", site.log("trusts"));
    assert_eq!(status(&gateway, "authorization: Bearer x.y.z"), "401");
    assert_eq!(status(&gateway, "x: y"), "400");
    let distrusting =
        Gateway::start_with(&site, &of("distrusts"), &[("SSL_CERT_FILE", &trusting("other.pem"))]).unwrap();
    assert_eq!(status(&distrusting, &bearer), "503");
    let log = site.logged("distrusts", "a key set cannot be read").await;
    assert!(log.contains("certificate"), "{log}");

    // The server goes: what was read stays in use, also by the next configuration.
    keys.stop(std::time::Duration::from_secs(10)).unwrap();
    let text = std::fs::read_to_string(gateway.conf.join("gateway.yaml")).unwrap();
    std::fs::write(gateway.conf.join("gateway.yaml"), text + "# again\n").unwrap();
    eventually("the edit is loaded", async || {
        (gateway.status().await.ok()?["serving"]["generation"] == 2).then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &bearer), "200");
    for gateway in [gateway, distrusting] {
        let ended = gateway.process.stop(std::time::Duration::from_secs(20)).unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}
