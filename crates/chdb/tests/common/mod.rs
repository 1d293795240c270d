//! A real `weir-chdb` on a free port and a folder of its own, and a plain HTTP client for it.

#![allow(dead_code, reason = "every test program uses a part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running engine; its process is killed when this is dropped.
pub struct Engine {
    child: Child,
    pub address: String,
    pub folder: TempDir,
}

/// The program under test, with the arguments that every test gives.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-chdb"));
    command.args(["--listen", "127.0.0.1:0", "--path"]).arg(folder);
    command.stdout(Stdio::piped());
    command
}

impl Engine {
    pub fn start() -> Engine {
        Engine::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Engine {
        Engine::on(TempDir::new().expect("temporary folder"), arguments)
    }

    pub fn on(folder: TempDir, arguments: &[&str]) -> Engine {
        let mut command = command(folder.path());
        command.args(arguments);
        Engine::run(command, folder)
    }

    /// An engine that kills itself at a named place (`name:nth`).
    pub fn dying_at(place: &str) -> Engine {
        let folder = TempDir::new().expect("temporary folder");
        let mut command = command(folder.path());
        command.env("WEIR_CHDB_FAILPOINT", place);
        Engine::run(command, folder)
    }

    fn run(mut command: Command, folder: TempDir) -> Engine {
        let mut child = command.spawn().expect("weir-chdb starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line on stdout");
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let status = child.wait().expect("weir-chdb ends");
            panic!(
                "weir-chdb did not start ({status}); if the engine is missing: npm ci --ignore-scripts --prefix crates/chdb/engine"
            );
        };
        Engine { child, address: address.to_owned(), folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a power cut would, and gives its folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        std::mem::replace(&mut self.folder, TempDir::new().expect("temporary folder"))
    }

    /// Waits until SIGKILL has ended the process, and gives its folder.
    pub fn await_death(mut self) -> TempDir {
        let status = self.child.wait().expect("ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        std::mem::replace(&mut self.folder, TempDir::new().expect("temporary folder"))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the end, and gives the folder.
    pub fn end(mut self) -> TempDir {
        self.child.wait().expect("ended");
        std::mem::replace(&mut self.folder, TempDir::new().expect("temporary folder"))
    }

    /// Waits for the end and gives the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("ended").code()
    }

    pub fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST", target, &[], body.as_ref())
    }

    /// The result of a statement that must succeed, without its last line end.
    pub fn sql(&self, sql: &str) -> String {
        let reply = self.post("/", sql);
        assert_eq!(reply.status, 200, "{sql}: {}", reply.text());
        reply.text().trim_end_matches('\n').to_owned()
    }

    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        send(&mut stream, method, target, headers, body);
        receive(&mut BufReader::new(stream))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout set");
        stream
    }

    /// Reads `/metrics` until it has the line `wanted`.
    pub fn await_metric(&self, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = self.get("/metrics").text();
            if text.lines().any(|line| line == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "no `{wanted}` in\n{text}");
            std::thread::yield_now();
        }
    }

    /// Asks `sql` until its result is `wanted`.
    pub fn await_sql(&self, sql: &str, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.sql(sql);
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}: `{found}` and not `{wanted}`");
            std::thread::yield_now();
        }
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

pub fn receive(reader: &mut BufReader<TcpStream>) -> Reply {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("head read");
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
        None if status == Some(100) => true,
        Some(length) => {
            body = vec![0; length];
            reader.read_exact(&mut body).is_ok()
        }
        None => chunks(reader, &mut body),
    };
    Reply { status: status.expect("a status line"), headers, body, complete }
}

fn chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> bool {
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
        body.extend(&chunk[..size]);
    }
}
