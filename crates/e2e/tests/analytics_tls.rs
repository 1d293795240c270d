//! weir-analytics over TLS: gateways ship through it, whoever has no certificate stays outside, and certificates are
//! replaced under a running server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually, reserve};
use weir_testkit::process::{Process, program};
use weir_testkit::witness::{Plan, Witness};
use weir_testkit::{get, upstream};

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn authority(dir: &Path) {
    let make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    openssl(dir, &[&make[..], &["-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"]].concat());
}

/// A certificate that the authority vouches for, as `NAME.pem` and `NAME.key`, each replaced at once.
fn leaf(dir: &Path, name: &str, serial: &str) {
    let make = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj"];
    openssl(dir, &[&make[..], &["/CN=leaf", "-keyout", "next.key", "-out", "next.csr"]].concat());
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    let sign =
        ["x509", "-req", "-in", "next.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2", "-extfile", "ext"];
    openssl(dir, &[&sign[..], &["-set_serial", serial, "-out", "next.pem"]].concat());
    for ending in ["key", "pem"] {
        std::fs::rename(dir.join(format!("next.{ending}")), dir.join(format!("{name}.{ending}"))).unwrap();
    }
}

struct Secure {
    site: Site,
    dir: PathBuf,
    engine: Process,
    analytics: Process,
    authority: String,
}

/// Engine and analytics; every client must show a certificate.
async fn start() -> Secure {
    let site = Site::new().unwrap();
    let dir = site.path("certificates");
    std::fs::create_dir_all(&dir).unwrap();
    authority(&dir);
    leaf(&dir, "server", "11");
    leaf(&dir, "client", "12");
    let path = |name: &str| site.path(name).to_string_lossy().into_owned();
    let mut engine =
        site.start("engine", "weir-chdb", &["--listen", "127.0.0.1:0", "--path", &path("e")], &[]).unwrap();
    let engine_at = engine.wait_until_listening(DEADLINE).unwrap();
    std::fs::write(site.path("tokens"), "token-edge acme test here edge\n").unwrap();
    let (url, listen) = (format!("http://{engine_at}"), reserve().unwrap().to_string());
    let in_dir = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (certificate, key, authority) = (in_dir("server.pem"), in_dir("server.key"), in_dir("ca.pem"));
    let args = ["--listen", &listen, "--clickhouse", &url, "--tokens", &path("tokens"), "--state", &path("a")];
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key, "--tls-client-ca", &authority];
    let args = [&args[..], &tls].concat();
    let mut analytics = site.start("analytics", "weir-analytics", &args, &[]).unwrap();
    let said = |line: &str| line.split_once("listening on https://").map(|(_, rest)| rest.trim().to_owned());
    let authority = analytics.wait_for(DEADLINE, said).unwrap();
    Secure { site, dir, engine, analytics, authority }
}

impl Secure {
    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// `weirctl ledger`, with or without a certificate: exit code and what it said.
    fn ledger(&self, with_certificate: bool) -> (i32, String) {
        let mut command = Command::new(program("weirctl").unwrap());
        command.args([
            "ledger",
            "--analytics",
            &format!("https://{}", self.authority),
            "--tls-ca",
            &self.file("ca.pem"),
        ]);
        if with_certificate {
            command.args(["--tls-certificate", &self.file("client.pem"), "--tls-key", &self.file("client.key")]);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// The serial number of the certificate that a client is shown.
    fn serial(&self) -> Option<String> {
        let shaken = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &self.authority,
                "-cert",
                &self.file("client.pem"),
                "-key",
                &self.file("client.key"),
            ])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let mut read = Command::new("openssl");
        read.args(["x509", "-noout", "-serial"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut read = read.spawn().ok()?;
        std::io::Write::write_all(&mut read.stdin.take()?, &shaken.stdout).ok()?;
        let said = read.wait_with_output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).trim().trim_start_matches("serial=").to_owned())
    }

    /// A gateway that ships here, with these members of `analytics.tls`.
    async fn gateway(&self, called: &'static str, tls: &str) -> Gateway {
        let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
        spec.called = Some(called);
        spec.more_yaml = format!(
            "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: shipping}}
spec:
  analytics: {{endpoint: \"https://{}\", token: token-edge, tls: {{{tls}}}}}
",
            self.authority
        );
        Gateway::start(&self.site, &spec).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_ship_through_it_and_nobody_comes_in_without_a_certificate() {
    let secure = start().await;
    let (ca, client, key) = (secure.file("ca.pem"), secure.file("client.pem"), secure.file("client.key"));
    let stranger = secure.gateway("stranger", &format!("trustedCAFile: {ca}")).await;
    let tls = format!("trustedCAFile: {ca}, certificate: {{crtFile: {client}, keyFile: {key}}}");
    let gateway = secure.gateway("edge", &tls).await;
    for to in [&stranger, &gateway] {
        let plan = Plan {
            target: to.address,
            connections: 2,
            rate: None,
            requests: Some(50),
            duration: Some(DEADLINE),
            mix: vec![("/fast".to_owned(), 1)],
            log: secure.site.path("witness.ndjson"),
        };
        assert_eq!(Witness::start(plan).unwrap().wait().await.unwrap().completed, 50);
    }
    let on_disk = async |gateway: &Gateway| gateway.status().await.unwrap()["spool"]["chunks"]["on_disk"].as_u64();
    let acknowledged = async |gateway: &Gateway| {
        let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap();
        let line = text.lines().find(|line| line.starts_with("weir_spool_chunks_acknowledged_total"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    eventually("everything is shipped", async || {
        (acknowledged(&gateway).await >= 1.0 && on_disk(&gateway).await? == 0).then_some(())
    })
    .await;
    eventually("the stranger's waits", async || (on_disk(&stranger).await? > 0).then_some(())).await;
    assert!(acknowledged(&stranger).await < 1.0);
    let (code, said) = secure.ledger(true);
    assert!((code == 0 || code == 4) && said.contains("edge"), "{code}: {said}");
    let (code, said) = secure.ledger(false);
    assert_eq!(code, 3, "{said}");
    secure.site.logged("analytics", "a TLS handshake failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_shown_and_one_that_cannot_be_used_is_not() {
    let mut secure = start().await;
    assert_eq!(secure.serial().as_deref(), Some("0B"));
    std::fs::write(secure.dir.join("server.pem"), "half a certificate").unwrap();
    eventually("the mistake is reported", async || {
        secure.site.log("analytics").contains("the certificates of before stay in force").then_some(())
    })
    .await;
    assert_eq!(secure.serial().as_deref(), Some("0B"), "what was there before goes on");
    leaf(&secure.dir, "server", "13");
    eventually("the new one is shown", async || (secure.serial()? == "0D").then_some(())).await;
    assert!(secure.analytics.ended().is_none() && secure.engine.ended().is_none());
}
