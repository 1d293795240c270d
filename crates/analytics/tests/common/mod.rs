//! A real engine, a real ingestor on it, and chunks as gateways make them.

#![allow(dead_code, reason = "every test program uses a part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_api::gauges::Gauges;
use weir_event::chunk::{ChunkWriter, Gap, GapReason};
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::record::encode;
use weir_event::{BootId, Exchange, Identity, NameId, Outcome, RateLimitState, Reason, Stream, Turn, Verdict};
use weir_testkit::rollups;

/// The engine's program, built once if it is not there.
fn engine_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_weir-analytics")).with_file_name("weir-chdb");
        if !beside.exists() {
            let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "weir-chdb"]).status();
            assert!(beside.exists(), "weir-chdb is not built ({built:?}): cargo build -p weir-chdb");
        }
        beside
    })
}

/// A process that says where it listens; killed when this is dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start(mut command: Command, why: impl FnOnce() -> String) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line on stdout");
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let status = child.wait().expect("the program ends");
            panic!("{:?} did not start ({status}): {}", command.get_program(), why());
        };
        Self { child, address: address.to_owned() }
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    fn terminate(&mut self) -> Option<i32> {
        let reported = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(reported.expect("kill runs").success());
        self.child.wait().expect("ended").code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// The engine.
pub struct Engine {
    program: Program,
    folder: Folder,
}

/// A folder that goes with its engine, or one that the test keeps.
enum Folder {
    Own(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}

impl Engine {
    pub fn start() -> Self {
        Self::on(Folder::Own(TempDir::new().expect("a temporary folder")), "127.0.0.1:0")
    }

    /// With further arguments.
    pub fn with_args(args: &[&str]) -> Self {
        Self::with(Folder::Own(TempDir::new().expect("a temporary folder")), "127.0.0.1:0", args)
    }

    /// On the data in `folder`, which stays.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self::on(Folder::Kept(folder), "127.0.0.1:0")
    }

    fn on(folder: Folder, listen: &str) -> Self {
        Self::with(folder, listen, &[])
    }

    fn with(folder: Folder, listen: &str, args: &[&str]) -> Self {
        let mut command = Command::new(engine_program());
        command.args(["--listen", listen, "--path"]).arg(folder.path()).args(args).env("WEIR_LOG", "error");
        let fix = "if the engine is missing: npm ci --ignore-scripts --prefix crates/chdb/engine";
        Self { program: Program::start(command, || fix.to_owned()), folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.program.address)
    }

    /// Sends it a signal: `-STOP`, `-CONT`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.program.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Ends it as a crash would; [`Engine::start_again`] brings it back.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// The same data at the same address.
    pub fn start_again(self) -> Self {
        let Self { mut program, folder } = self;
        let address = program.address.clone();
        let _ended_already = program.child.kill();
        let _ended_already = program.child.wait();
        Self::on(folder, &address)
    }

    /// The result of a statement that must succeed, without its last line end.
    pub fn sql(&self, sql: &str) -> String {
        let reply = request(&self.program.address, "POST", "/", &[], sql.as_bytes());
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        reply.text().trim_end().to_owned()
    }

    /// The sums of every roll-up, per key and minute or hour, bucket by bucket, against raw: nothing may differ.
    pub fn assert_rolled_up(&self) {
        self.assert_rolled_up_in("weir");
    }

    /// As [`Engine::assert_rolled_up`], in another database.
    pub fn assert_rolled_up_in(&self, database: &str) {
        for (table, differs) in rollups::differences(database) {
            assert_eq!(self.sql(&differs), "", "{table} differs");
        }
        let doubled = format!("SELECT count() - uniqExact(stream, seq) FROM {database}.access_events");
        assert_eq!(self.number(&doubled), 0, "an event is there twice");
        let stored = format!(
            "SELECT (SELECT count() FROM {database}.access_events) - (SELECT sum(n) FROM {database}.stored_seqs)"
        );
        assert_eq!(self.sql(&stored), "0", "stored_seqs differs from raw");
    }

    pub fn number(&self, sql: &str) -> u64 {
        self.sql(sql).parse().expect("a number")
    }
}

/// Between two looks at another process, first and at most: a look is a query, which costs that process a core if it is
/// asked without a pause.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// Waits for what another process is about to make true.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let [mut look, most] = LOOKS;
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::park_timeout(look);
        look = most.min(look * 2);
    }
}

/// Reports `line` until samples of so many processes are stored. A sample that ClickHouse does not take at once is given up,
/// and a gateway sends the next one after ten seconds.
pub fn report_sample(analytics: &Analytics, engine: &Engine, line: &serde_json::Value, processes: u64) {
    let mut reported: Option<Instant> = None;
    until("the sample is stored", || {
        if reported.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            assert_eq!(analytics.report(&serde_json::json!([line])).status, 200);
            reported = Some(Instant::now());
        }
        engine.number("SELECT uniqExact(boot) FROM weir.gateway_gauges") == processes
    });
}

pub const TOKEN: &str = "a-token-of-acme";

/// The ingestor, with its state.
pub struct Analytics<State = TempDir> {
    program: Program,
    pub state: State,
}

/// A folder of state: one that goes with the test, or one that it keeps.
pub trait StateFolder {
    fn folder(&self) -> &Path;
}

impl StateFolder for TempDir {
    fn folder(&self) -> &Path {
        self.path()
    }
}

impl StateFolder for PathBuf {
    fn folder(&self) -> &Path {
        self
    }
}

impl Analytics {
    pub fn start(engine: &Engine) -> Self {
        Self::on(engine, TempDir::new().expect("a temporary folder"), &[])
    }

    pub fn on(engine: &Engine, state: TempDir, env: &[(&str, &str)]) -> Self {
        Self::started(Self::command(engine, state.path(), env), state)
    }

    /// With further arguments.
    pub fn with_args(engine: &Engine, state: TempDir, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Self::command(engine, state.path(), env);
        command.args(args);
        Self::started(command, state)
    }

    /// With so many open files at most.
    pub fn with_files(engine: &Engine, files: u32) -> Self {
        let state = TempDir::new().expect("a temporary folder");
        let command = Self::command(engine, state.path(), &[]);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        limited.arg(command.get_program()).args(command.get_args()).env("WEIR_LOG", "warn");
        Self::started(limited, state)
    }

    /// SIGKILL; gives the state.
    pub fn kill(mut self) -> TempDir {
        self.program.kill();
        self.state
    }

    /// Waits for an end that it brings on itself; gives the state.
    pub fn wait(mut self) -> TempDir {
        self.program.child.wait().expect("ended");
        self.state
    }

    pub fn terminate(mut self) -> (Option<i32>, TempDir) {
        (self.program.terminate(), self.state)
    }

    /// The program as the tests run it.
    pub fn command(engine: &Engine, state: &Path, env: &[(&str, &str)]) -> Command {
        let tokens = state.join("tokens");
        std::fs::write(&tokens, format!("{TOKEN} acme demo * *\nanother-token acme demo cloud core\n"))
            .expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-analytics"));
        command.args(["--listen", "127.0.0.1:0", "--clickhouse", &engine.url(), "--tokens"]).arg(&tokens);
        command.arg("--state").arg(state);
        command.env("WEIR_LOG", "warn").envs(env.iter().copied());
        command
    }
}

impl Analytics<PathBuf> {
    /// On a state folder that stays, with further arguments.
    pub fn with(engine: &Engine, state: &Path, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Analytics::command(engine, state, env);
        command.args(args);
        Self::started(command, state.to_owned())
    }
}

impl<State: StateFolder> Analytics<State> {
    fn started(mut command: Command, state: State) -> Self {
        let log_file = state.folder().join("log");
        command.stderr(std::fs::File::options().create(true).append(true).open(&log_file).expect("a log"));
        let program = Program::start(command, || std::fs::read_to_string(&log_file).expect("its log"));
        Self { program, state }
    }

    /// Waits until its log says `what`.
    pub fn await_log(&self, what: &str) {
        until(what, || std::fs::read_to_string(self.state.folder().join("log")).is_ok_and(|log| log.contains(what)));
    }

    pub fn post(&self, chunk: &[u8]) -> Reply {
        self.post_as(TOKEN, chunk)
    }

    pub fn post_as(&self, token: &str, chunk: &[u8]) -> Reply {
        let token = format!("Bearer {token}");
        request(&self.program.address, "POST", "/v1/chunks", &[("authorization", &token)], chunk)
    }

    /// Posts until it is stored, as a gateway does.
    pub fn store(&self, chunk: &[u8]) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let reply = self.post(chunk);
            match reply.status {
                200 => return reply.json(),
                503 if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(20)),
                status => panic!("{status}: {}", reply.text()),
            }
        }
    }

    pub fn report(&self, body: &serde_json::Value) -> Reply {
        let token = format!("Bearer {TOKEN}");
        let headers = [("authorization", token.as_str())];
        request(&self.program.address, "POST", "/v1/streams", &headers, body.to_string().as_bytes())
    }

    pub fn get(&self, target: &str) -> Reply {
        request(&self.program.address, "GET", target, &[], b"")
    }

    pub fn api(&self, what: &str) -> serde_json::Value {
        let reply = self.get(&format!("/api/v1/{what}"));
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        reply.json()
    }

    /// Audits every day and compacts, now.
    pub fn verify(&self) -> serde_json::Value {
        let reply = request(&self.program.address, "POST", "/api/v1/ledger/verify", &[], b"");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    pub fn address(&self) -> &str {
        &self.program.address
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.program.child.id()
    }
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// One request on a connection of its own. Status 0 when the server went away without an answer.
pub fn request(address: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout set");
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    // The answer may come before the body is written.
    let _answered_early = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut all = Vec::new();
    let _gone = stream.read_to_end(&mut all);
    let Some(at) = all.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Reply { status: 0, head: String::new(), body: Vec::new() };
    };
    let head = String::from_utf8_lossy(&all[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut body = all.split_off(at + 4);
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    Reply { status, head, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..at]), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
    out
}

/// The intent of everything that is stored, as if its outcome had not been seen.
pub fn forge_intent(engine: &Engine, state: &Path) {
    let facts = engine.sql(
        "SELECT any(block), any(toInt32(toDate(ts))), count(), min(toUnixTimestamp64Micro(ts)), \
         max(toUnixTimestamp64Micro(ts)), any(stream), max(seq) FROM weir.access_events",
    );
    let facts: Vec<_> = facts.split('\t').collect();
    let number = |at: usize| facts[at].parse::<i64>().expect("a number");
    let seqs =
        [(weir_event::StreamId(facts[5].parse().expect("a stream")), weir_event::Ranges::of(0, number(6) as u64))];
    let block = weir_analytics::block::BlockId::parse(facts[0]).expect("a block");
    let intent = weir_analytics::ingest::intent::Intent::new(
        block,
        number(1),
        number(2) as usize,
        (number(3), number(4)),
        &seqs,
    );
    weir_analytics::ingest::intent::Intents::open(state).expect("the state").write(&intent).expect("written");
}

/// Now, microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    weir_analytics::ingest::now_us()
}

pub fn stream(site: &str, gateway: &str, worker: u16) -> Stream {
    let identity = Identity {
        organization: "acme".into(),
        environment: "demo".into(),
        site: site.into(),
        gateway: gateway.into(),
        replica: "r1".into(),
    };
    Stream { identity, boot: BootId([9; 16]), worker }
}

pub fn name(id: NameId) -> Option<String> {
    ["orders", "orders.default", "list", "backend", "/orders/{id}", "basic-auth", "users"]
        .get((id.0 as usize).wrapping_sub(1))
        .map(|name| (*name).to_owned())
}

/// An exchange that differs from its neighbours in everything that roll-ups look at.
pub fn exchange(seq: u64, start_us: i64) -> Exchange {
    let now = weir_event::Instant::now();
    let mut exchange = Exchange::new(now, start_us);
    exchange.api = NameId(if seq.is_multiple_of(3) { 7 } else { 1 });
    exchange.api_instance = NameId(2);
    exchange.route = NameId(3);
    exchange.service = NameId(4);
    exchange.path_template = NameId(5);
    exchange.target = format!("/orders/{seq}?page={seq}").parse().expect("a target");
    exchange.host = Some("api.example".parse().expect("a value"));
    exchange.user_agent = Some(format!("client/{}", seq % 300).parse().expect("a value"));
    exchange.client = "192.0.2.7".parse().expect("an address");
    exchange.upstream = Some(([10, 0, 0, (seq % 5) as u8], 8080).into());
    (exchange.status, exchange.upstream_status) = (200, 200);
    if seq % 10 == 9 {
        exchange.status = 502;
        exchange.reason = Reason::ConnectionRefused;
    }
    exchange.entry = !seq.is_multiple_of(4);
    exchange.consumer = format!("client-{}", seq % 7).into();
    if seq % 10 == 7 {
        exchange.rate_limit = RateLimitState::Exceeded;
        exchange.link = Duration::from_micros(seq);
    }
    exchange.bytes_in = seq;
    exchange.bytes_out = seq * 7;
    exchange.trace.trace.0[..8].copy_from_slice(&(seq + 1).to_be_bytes());
    exchange.trace.span.0 = (seq + 1).to_be_bytes();
    let took = Duration::from_micros(seq + 3);
    exchange.policies.push(PolicyRun { took, ..PolicyRun::new(NameId(6), Verdict::Continue) });
    exchange.attempts.push(Attempt { address: exchange.upstream, first_byte: took, took, ..Attempt::new() });
    exchange.hand_to(Turn::Upstream, now + Duration::from_micros(50));
    exchange.hand_to(Turn::Client, now + Duration::from_micros(100 + seq * 13));
    exchange.finish(Outcome::Completed, now + Duration::from_micros(150 + seq * 13));
    exchange
}

/// A chunk of `seqs` of `stream`, one event each `step_us` from `start_us` on (as if number 0 were there).
pub fn chunk(stream: &Stream, seqs: std::ops::Range<u64>, start_us: i64, step_us: i64) -> Vec<u8> {
    chunk_of(stream, seqs.map(|seq| exchange_at(seq, start_us, step_us)), &[])
}

fn exchange_at(seq: u64, start_us: i64, step_us: i64) -> (u64, Exchange) {
    (seq, exchange(seq, start_us + seq as i64 * step_us))
}

/// A chunk of any exchanges, in order; gaps stand where their first number comes up.
pub fn chunk_of(stream: &Stream, events: impl IntoIterator<Item = (u64, Exchange)>, gaps: &[Gap]) -> Vec<u8> {
    let mut writer = ChunkWriter::new(stream.clone());
    let mut gaps = gaps.iter().peekable();
    for (seq, exchange) in events {
        while let Some(gap) = gaps.next_if(|gap| gap.first < seq) {
            writer.gap(*gap).expect("in order");
        }
        let mut record = Vec::new();
        encode(&exchange, seq, &mut record);
        writer.push(&record, name).expect("a record");
    }
    gaps.for_each(|gap| writer.gap(*gap).expect("in order"));
    writer.seal(now_us()).expect("sealed")
}

/// Events of `acme/demo` with everything that panels show: failures, gaps, a dead letter, a report with gauges.
pub fn filled(analytics: &Analytics, engine: &Engine) {
    let of = stream("on-prem", "edge", 0);
    let begin_us = now_us() - 20_000_000;
    let mut events: Vec<_> = (0..90).map(|seq| (seq, exchange(seq, begin_us + seq as i64 * 1000))).collect();
    // Long ago: kept apart.
    events.push((95, exchange(95, now_us() - 400 * 86_400_000_000)));
    let gap = Gap { first: 90, last: 94, reason: GapReason::RingFull };
    analytics.store(&chunk_of(&of, events, &[gap]));
    let gauges = Gauges { sampled_ms: now_us() / 1000 - 5000, ..Gauges::default() };
    let identity = &of.identity;
    let line = serde_json::json!({
        "stream": of.id().to_string(), "organization": identity.organization, "environment": identity.environment,
        "site": identity.site, "gateway": identity.gateway, "replica": identity.replica, "boot": of.boot.to_string(),
        "worker": 0, "accepted": 97, "counted_ms": now_us() / 1000, "gauges": gauges,
    });
    report_sample(analytics, engine, &line, 1);
    assert_eq!(engine.number("SELECT count() FROM weir.dead_letters"), 1);
    assert_eq!(engine.number("SELECT count() FROM weir.gaps"), 1);
}
