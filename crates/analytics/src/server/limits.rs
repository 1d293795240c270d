//! What a client may spend of the server, on a clock that the tests advance: no ClickHouse is needed for any of it.

use super::*;
use crate::ingest::Limits;
use crate::ingest::intent::Intents;
use crate::ingest::lease::Lease;
use crate::schema::Schema;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;
use weir_event::chunk::MAX_CHUNK;

const GATEWAY: &str = "authorization: Bearer a-token-of-acme";
const OPERATOR: &str = "authorization: Bearer the-token-of-the-operator";

struct Fixture {
    server: Arc<Server>,
    _state: TempDir,
    /// Takes connections, and answers none.
    _clickhouse: std::net::TcpListener,
    stop: watch::Sender<bool>,
}

impl Fixture {
    fn new() -> Self {
        let state = TempDir::new().unwrap();
        let clickhouse = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", clickhouse.local_addr().unwrap());
        let store = Store::new(&url, "", "", Schema::single("weir")).unwrap();
        let (tokens, operator) = (state.path().join("tokens"), state.path().join("operator"));
        std::fs::write(&tokens, "a-token-of-acme acme demo * *\n").unwrap();
        std::fs::write(&operator, "the-token-of-the-operator\n").unwrap();
        let intents = Arc::new(Intents::open(state.path()).unwrap());
        let lease = Lease::new(store.clone(), &intents.holder(), Duration::from_secs(10));
        let (ingest, _settled) = Ingest::start(store.clone(), lease, intents, Limits::default());
        let admin = Admin::new(Some(&operator), Vec::new(), state.path()).unwrap();
        let settings = Settings {
            max_clock_difference: Duration::from_secs(300),
            bounds: Bounds::default(),
            query_time: Duration::from_secs(30),
        };
        let tokens = watch::Sender::new(Arc::new(Tokens::load(&tokens).unwrap())).subscribe();
        let people = People { tokens, readers: None, admin, is_local: true };
        let server = Server::new(ingest, store, people, settings).unwrap();
        Self { server: Arc::new(server), _state: state, _clickhouse: clickhouse, stop: watch::Sender::new(false) }
    }

    /// A connection on which `text` was sent.
    async fn sent(&self, text: &str) -> DuplexStream {
        let (mut client, stream) = tokio::io::duplex(1 << 20);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = Arc::new(self.server.places.take(peer.ip()));
        tokio::spawn(connection(
            Arc::clone(&self.server),
            stream,
            Way { peer, over_tls: false },
            place,
            self.stop.subscribe(),
        ));
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }

    /// A `POST` with one more field and so many bytes announced.
    async fn posted(&self, path: &str, field: &str, length: usize) -> DuplexStream {
        let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{field}\r\ncontent-length: {length}\r\n\r\n");
        self.sent(&head).await
    }
}

/// All that comes before the connection ends.
async fn rest(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

/// The first bytes that come.
async fn answer(client: &mut DuplexStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = client.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_unavailable_after_a_minute() {
    let fixture = Fixture::new();
    for path in ["/v1/chunks", "/v1/streams"] {
        let mut client = fixture.posted(path, GATEWAY, 1000).await;
        client.write_all(b"half").await.unwrap();
        let began = Instant::now();
        let said = answer(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("the body did not come in time"), "{said}");
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_another_request_ends() {
    let fixture = Fixture::new();
    for next in ["", "GET / HTTP/1.1\r\nhost: 127"] {
        let mut client = fixture.sent("HEAD / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
        let first = answer(&mut client).await;
        assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
        client.write_all(next.as_bytes()).await.unwrap();
        let began = Instant::now();
        rest(&mut client).await;
        assert_eq!(began.elapsed().as_secs(), IDLE.as_secs(), "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_64_kib() {
    let fixture = Fixture::new();
    let mut client = fixture.sent(&format!("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}", "a".repeat(70_000))).await;
    let said = rest(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn bytes_of_chunks_are_bounded_and_their_room_comes_back() {
    let fixture = Fixture::new();
    let mut held = Vec::new();
    // One KiB more than its size is counted for each.
    for _ in 0..ROOM_KIB / (MAX_CHUNK / 1024 + 1) {
        held.push(fixture.posted("/v1/chunks", GATEWAY, MAX_CHUNK).await);
    }
    tokio::task::yield_now().await;
    let said = answer(&mut fixture.posted("/v1/chunks", GATEWAY, MAX_CHUNK).await).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\"busy\""), "{said}");
    let too_large = answer(&mut fixture.posted("/v1/chunks", GATEWAY, MAX_CHUNK + 1).await).await;
    assert!(too_large.starts_with("HTTP/1.1 413 "), "{too_large}");
    drop(held);
    while fixture.server.room.available_permits() < ROOM_KIB {
        tokio::task::yield_now().await;
    }
    let mut client = fixture.posted("/v1/chunks", GATEWAY, 4).await;
    client.write_all(b"none").await.unwrap();
    let said = answer(&mut client).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"malformed\""), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_short_and_comes_in_time() {
    let fixture = Fixture::new();
    let path = "/api/v1/ledger/acknowledge";
    let mut long = fixture.posted(path, OPERATOR, 64 * 1024 + 1).await;
    long.write_all(&vec![b' '; 64 * 1024 + 1]).await.unwrap();
    let said = answer(&mut long).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("length limit exceeded"), "{said}");
    let mut slow = fixture.posted(path, OPERATOR, 100).await;
    let began = Instant::now();
    let said = answer(&mut slow).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("the body did not come in time"), "{said}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn one_audit_of_every_day_runs_at_once() {
    let fixture = Fixture::new();
    let _first = fixture.posted("/api/v1/ledger/verify", OPERATOR, 0).await;
    while fixture.server.verifying.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let said = answer(&mut fixture.posted("/api/v1/ledger/verify", OPERATOR, 0).await).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 10"), "{said}");
}
