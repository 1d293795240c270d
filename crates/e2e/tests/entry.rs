//! A request that passes two chained gateways entered the fleet at the first of them, and only there; what comes to the
//! second from elsewhere entered at it, whatever its headers say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_event::Schema;
use weir_event::chunk::Chunk;
use weir_testkit::get;
use weir_testkit::process::program;

/// Programs of one machine connect from 127.0.0.1 unless they are asked to do otherwise: so does the first gateway.
const PEERS: &str = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: fleet}
spec: {peerGateways: [127.0.0.1]}
";
const STRANGER: &str = "127.0.0.2:0";
/// Of each kind of request.
const REQUESTS: usize = 10;

/// An upstream that tells what it was sent.
async fn telling() -> (SocketAddr, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, reported) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, tell.clone()));
        }
    });
    (address, reported)
}

async fn answer(mut stream: TcpStream, tell: UnboundedSender<String>) -> io::Result<()> {
    loop {
        let head = read_head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        drop(tell.send(head));
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Sends `request` from the address of a client that is no gateway, and answers the status.
async fn ask_as_a_stranger(to: SocketAddr, request: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(STRANGER.parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    head.split(' ').nth(1).unwrap().to_owned()
}

/// `entry` by gateway and path, with how many events say it.
type Entries = BTreeMap<(String, String, bool), usize>;

fn count(entries: &mut Entries, gateway: &str, path: &str, entry: bool) {
    *entries.entry((gateway.to_owned(), path.to_owned(), entry)).or_default() += 1;
}

/// What the chunk files of a spool say.
fn spooled(spool: &Path, entries: &mut Entries) {
    let lives = std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path().join("chunks"));
    for chunks in lives.filter(|chunks| chunks.exists()) {
        for file in std::fs::read_dir(chunks).unwrap() {
            let chunk = Chunk::decode(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
            assert_eq!(chunk.header.schema, Schema::NEWEST);
            let gateway = &chunk.header.stream.identity.gateway;
            chunk
                .events()
                .for_each(|event| count(entries, gateway, &String::from_utf8_lossy(event.path), event.entry()));
        }
    }
}

#[tokio::test]
async fn a_request_through_two_gateways_enters_the_fleet_once() {
    let site = Site::new().unwrap();
    let (upstream, mut sent) = telling().await;
    let mut core = GatewaySpec::new("cloud", "core", upstream);
    core.more_yaml = PEERS.to_owned();
    let second = Gateway::start(&site, &core).unwrap();
    let edge = GatewaySpec::new("on-prem", "edge", second.address);
    let first = Gateway::start(&site, &edge).unwrap();

    for _ in 0..REQUESTS {
        assert_eq!(get(&format!("http://{}/chained", first.address)).await.unwrap().0, 200);
        // What the second gateway sends on has every header that a gateway sends, of two gateways even.
        let head = sent.recv().await.unwrap();
        let forged = head.replace("/chained", "/forged");
        for header in ["via:", "traceparent:", "x-request-id:", "x-forwarded-for:", "x-forwarded-host:"] {
            assert!(forged.to_ascii_lowercase().contains(header), "no {header} in {forged}");
        }
        assert_eq!(ask_as_a_stranger(second.address, &forged).await, "200");
        sent.recv().await.unwrap();
        assert_eq!(ask_as_a_stranger(second.address, "GET /refused HTTP/1.1\r\n\r\n").await, "400");
    }
    first.process.stop(DEADLINE).unwrap();
    second.process.stop(DEADLINE).unwrap();

    let mut entries = Entries::new();
    [&edge, &core].into_iter().for_each(|spec| spooled(&spec.spool_path(&site), &mut entries));
    let said = [
        ("core", "/chained", false),
        ("core", "/forged", true),
        ("core", "/refused", true),
        ("edge", "/chained", true),
    ];
    let expected: Entries =
        said.map(|(gateway, path, entry)| ((gateway.to_owned(), path.to_owned(), entry), REQUESTS)).into();
    assert_eq!(entries, expected);
}

/// And a reload of the second says so of the connections that the first one keeps.
#[tokio::test]
async fn a_gateway_becomes_a_peer_by_a_reload() {
    let site = Site::new().unwrap();
    let (upstream, _sent) = telling().await;
    let second = Gateway::start(&site, &GatewaySpec::new("cloud", "core", upstream)).unwrap();
    let first = Gateway::start(&site, &GatewaySpec::new("on-prem", "edge", second.address)).unwrap();
    let url = format!("http://{}/chained", first.address);
    for (generation, entry) in [(1, 1), (2, 0)] {
        if generation == 2 {
            std::fs::write(second.conf.join("fleet.yaml"), PEERS).unwrap();
        }
        eventually("the configuration is taken", async || {
            (second.status().await.ok()?["serving"]["generation"] == generation).then_some(())
        })
        .await;
        let mut tail = Command::new(program("weirctl").unwrap())
            .args(["--admin", &format!("http://{}", second.admin), "tail", "--json", "--count", "5"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // What passes before the tail is there is not shown: ask until it has seen enough.
        eventually("the tail shows five events", async || {
            assert_eq!(get(&url).await.unwrap().0, 200);
            tail.try_wait().unwrap().map(drop)
        })
        .await;
        let output = String::from_utf8(tail.wait_with_output().unwrap().stdout).unwrap();
        let events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 5, "{output}");
        assert!(events.iter().all(|event| event["entry"] == entry), "{entry}: {output}");
    }
}
