//! A real `weir-chdb` on a free port and a folder of its own, and a plain HTTP client for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that anything here may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at it: a look is a query, which costs a core if it is asked without a pause.
pub const LOOK: Duration = Duration::from_millis(5);

/// SHA-256 of `secret`.
pub const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A running engine; its process is killed when this is dropped.
pub struct Engine {
    child: Child,
    pub address: String,
    pub folder: TempDir,
    /// Its log and its files beside the data.
    pub beside: TempDir,
}

/// The program under test, with the arguments that every test gives.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-chdb"));
    command.args(["--listen", "127.0.0.1:0", "--path"]).arg(folder);
    command
}

/// What a program says that must not start: its exit code is 1.
pub fn refusal(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weir-chdb runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
    if !line.is_empty() {
        child.kill().and_then(|()| child.wait().map(drop)).expect("ended");
        panic!("it started: {line}");
    }
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

fn temporary() -> TempDir {
    TempDir::new().expect("temporary folder")
}

impl Engine {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Self {
        Self::on(temporary(), arguments)
    }

    pub fn on(folder: TempDir, arguments: &[&str]) -> Self {
        let mut command = command(folder.path());
        command.args(arguments);
        Self::run(command, folder, temporary())
    }

    /// With a file of users.
    pub fn of_users(users: &[(&str, &str)], arguments: &[&str]) -> Self {
        let (folder, beside) = (temporary(), temporary());
        let lines = users.iter().map(|(name, right)| format!("{name}:{SECRET}:{right}\n"));
        let file = beside.path().join("users");
        std::fs::write(&file, lines.collect::<String>()).expect("written");
        let mut command = command(folder.path());
        command.arg("--users").arg(&file).args(arguments);
        Self::run(command, folder, beside)
    }

    pub fn run(mut command: Command, folder: TempDir, beside: TempDir) -> Self {
        let log = std::fs::File::create(beside.path().join("log")).expect("a log");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("weir-chdb starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line on stdout");
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let status = child.wait().expect("weir-chdb ends");
            let log = std::fs::read_to_string(beside.path().join("log")).unwrap_or_default();
            panic!(
                "weir-chdb did not start ({status}); if the engine is missing: npm ci --ignore-scripts --prefix crates/chdb/engine\n{log}"
            );
        };
        Self { child, address: address.to_owned(), folder, beside }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.beside.path().join("log")).unwrap_or_default()
    }

    /// Waits until the log has `words`, and answers the log: it is written a little after the event.
    pub fn logged(&self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let log = self.log();
            if log.contains(words) {
                return log;
            }
            assert!(Instant::now() < deadline, "no `{words}` in the log: {log}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that the process has in memory: a field of `/proc/…/status`.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Ends the process as a power cut would, and gives its folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        std::mem::replace(&mut self.folder, temporary())
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end; how it ended, its folder, and what it said.
    pub fn end(mut self) -> (ExitStatus, TempDir, String) {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            match self.child.try_wait().expect("asked") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it does not end: {}", self.log()),
                None => std::thread::park_timeout(LOOK),
            }
        };
        let log = self.log();
        (status, std::mem::replace(&mut self.folder, temporary()), log)
    }

    pub fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", target, &[], body.as_ref())
    }

    /// The result of a statement that must succeed, without its last line end.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_with("", sql)
    }

    /// With parameters of the URL.
    pub fn sql_with(&self, parameters: &str, sql: &str) -> String {
        let reply = self.post(&format!("/?{parameters}"), sql);
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        reply.text().trim_end_matches('\n').to_owned()
    }

    /// A statement of a user whose password is `secret`.
    pub fn ask(&self, user: &str, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", target, &[("x-clickhouse-user", user), ("x-clickhouse-key", "secret")], body.as_ref())
    }

    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        send(&mut stream, method, target, headers, body);
        receive(&mut BufReader::new(stream))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout set");
        stream
    }

    /// Asks `sql` until its result is `wanted`.
    pub fn await_sql(&self, sql: &str, wanted: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.sql(sql);
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: `{found}` and not `{wanted}`");
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits until so many queries run whose text holds `marker`.
    pub fn await_running(&self, marker: &str, count: u32) {
        let sql = format!(
            "SELECT count() FROM system.processes WHERE query LIKE '%{marker}%' AND query NOT LIKE '%system.processes%'"
        );
        self.await_sql(&sql, &count.to_string());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body ended as its framing said.
    pub complete: bool,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> &str {
        self.header("x-clickhouse-exception-code").unwrap_or("none")
    }
}

pub fn send(stream: &mut TcpStream, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1:8123\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("head written");
    // The answer may come, and the connection end, before the body is written.
    let _answered_early = stream.write_all(body);
}

/// Status 0 if the connection ends without an answer.
pub fn receive(reader: &mut BufReader<TcpStream>) -> Reply {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        let _reset = reader.read_line(&mut line);
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let status = head.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let fields = head.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    let complete = match length {
        None if status.is_none() || status == Some(100) => true,
        Some(length) => {
            body = vec![0; length];
            reader.read_exact(&mut body).is_ok()
        }
        None => chunks(reader, |piece| body.extend(piece)),
    };
    Reply { status: status.unwrap_or(0), headers, body, complete }
}

/// Reads a body in chunks, each of which `with` gets; whether it ended as it should.
pub fn chunks(reader: &mut BufReader<TcpStream>, mut with: impl FnMut(&[u8])) -> bool {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() {
            return false;
        }
        let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return false };
        let mut chunk = vec![0; size + 2];
        if reader.read_exact(&mut chunk).is_err() {
            return false;
        }
        if size == 0 {
            return true;
        }
        with(&chunk[..size]);
    }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
