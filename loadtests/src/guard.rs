//! The guard: instructions of the worker's thread for each of a fixed number of HTTP/1.1 requests, under valgrind.
//!
//! Instructions do not depend on how busy the machine is, so that a few per cent mean something. What they do not see is
//! time without instructions: a cache miss, a system call's inside, a wait. `make bench` sees those.

use crate::child::{Child, installed};
use crate::contenders::{self, Setup};
use crate::load::http;
use crate::sink::Sink;
use crate::tls::{Certificates, Key};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Requests that warm up and are not counted.
const WARM: u64 = 300;
const COUNTED: u64 = 2_000;
/// What may be over the recorded figure before the guard fails.
const ALLOWED: f64 = 0.10;

/// The recorded figure.
#[derive(Serialize, Deserialize)]
struct Recorded {
    instructions_a_request: u64,
    requests: u64,
    compiler: String,
}

/// Counts, and compares with the figure in `file` or records it there. False when there are too many.
pub fn run(record: bool, file: &Path, program: Option<&Path>) -> io::Result<bool> {
    let program = program.map_or_else(contenders::release, |path| Ok(path.to_owned()))?;
    let counted = count(&program)?;
    let compiler = String::from_utf8_lossy(&Command::new("rustc").arg("--version").output()?.stdout).trim().to_owned();
    if record {
        let recorded = Recorded { instructions_a_request: counted, requests: COUNTED, compiler };
        std::fs::write(file, serde_json::to_string_pretty(&recorded)? + "\n")?;
        println!("recorded: {counted} instructions a request");
        return Ok(true);
    }
    let told = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", file.display()));
    let recorded: Recorded = serde_json::from_slice(&std::fs::read(file).map_err(told)?)?;
    let change = counted as f64 / recorded.instructions_a_request as f64 - 1.0;
    println!(
        "guard: {counted} instructions a request, {:+.1} % beside the recorded {}",
        change * 100.0,
        recorded.instructions_a_request
    );
    if compiler != recorded.compiler {
        println!("note: recorded with {}, this is {compiler}", recorded.compiler);
    }
    if change > ALLOWED {
        println!(
            "more than {:.0} % over: mend it, or if it is worth its price record it: make guard ARGS=--record",
            ALLOWED * 100.0
        );
    } else if change < -ALLOWED {
        println!("less than was recorded; keep it so: make guard ARGS=--record");
    }
    Ok(change <= ALLOWED)
}

fn count(program: &Path) -> io::Result<u64> {
    let Some(valgrind) = installed("valgrind") else {
        return Err(io::Error::other("valgrind is not installed; `make tools` does it"));
    };
    let dir = tempfile::tempdir()?;
    let (_upstream, upstream) = contenders::upstream(&dir.path().join("upstream"))?;
    let certificates = Certificates::make(&dir.path().join("certificates"), Key::P256)?;
    let sink = Sink::start()?;
    let setup = Setup { dir: &dir.path().join("weir"), upstream, routes: 0, certificates: &certificates, sink: &sink };
    std::fs::create_dir_all(setup.dir)?;
    certificates.copy_to(setup.dir)?;
    let (ports, conf) = contenders::weir_configuration(&setup)?;
    let http = ports.http;
    let (out, program, conf) = (
        format!("--callgrind-out-file={}/callgrind", dir.path().display()),
        program.to_string_lossy(),
        conf.to_string_lossy(),
    );
    let args =
        ["--tool=callgrind", "--separate-threads=yes", &out, &program, "run", "--workers", "1", "--config", &conf];
    let child = Child::start("0", &valgrind, &args, &dir.path().join("valgrind"))?;
    wait_for(http)?;
    send(http, WARM)?;
    control(&child, "--zero")?;
    send(http, COUNTED)?;
    control(&child, "--dump")?;
    drop(child);
    Ok(worker_instructions(dir.path())? / COUNTED)
}

fn wait_for(address: SocketAddr) -> io::Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        match http::get(address, "/bench/1k") {
            Ok((200, _)) => return Ok(()),
            Ok((status, _)) => return Err(io::Error::other(format!("answered {status}"))),
            Err(error) if std::time::Instant::now() > deadline => return Err(error),
            Err(_) => crate::child::pause(std::time::Duration::from_millis(50)),
        }
    }
}

/// One after the other over one connection, so that nothing depends on how they meet.
fn send(address: SocketAddr, requests: u64) -> io::Result<()> {
    let mut stream = http::connect(address)?;
    let request = http::request("/bench/1k");
    (0..requests).try_for_each(|_| one(&mut stream, &request))
}

fn one(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other("closed before its answer was whole")),
            read => answer.extend_from_slice(&buffer[..read]),
        }
        match http::head(&answer) {
            Some(head) if head.status != 200 => return Err(io::Error::other(format!("answered {}", head.status))),
            Some(head) if answer.len() as u64 >= head.bytes as u64 + head.body.unwrap_or(0) => return Ok(()),
            _ => {}
        }
    }
}

fn control(child: &Child, what: &str) -> io::Result<()> {
    let output = Command::new("callgrind_control").args([what, &child.id().to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains("OK") {
        return Ok(());
    }
    Err(io::Error::other(format!("callgrind_control {what}: {text}{}", String::from_utf8_lossy(&output.stderr))))
}

/// The thread that ran the pipeline is the worker's: what it ran from zeroing to dumping.
fn worker_instructions(dir: &Path) -> io::Result<u64> {
    let mut most = None;
    for file in std::fs::read_dir(dir)? {
        let path: PathBuf = file?.path();
        // The dump is number 1; what the end of the program writes has no number.
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("callgrind.1-")) {
            let text = std::fs::read_to_string(&path)?;
            let total = text.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse::<u64>().ok());
            if text.contains("weir_proxy") {
                most = most.max(total);
            }
        }
    }
    most.ok_or_else(|| io::Error::other("callgrind wrote no thread that ran the pipeline; was the program stripped?"))
}
