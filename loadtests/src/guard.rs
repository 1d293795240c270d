//! The guard: instructions of the worker's thread, and its readings of the clock, for each of a fixed number of HTTP/1.1
//! requests, under valgrind.
//!
//! Neither depends on how busy the machine is, so that a few per cent mean something. A wait by the clock is few
//! instructions, because the clock runs on while valgrind is slow; it is seen by its readings. What both do not see is
//! time without instructions: a cache miss, a system call's inside, a sleep. `make bench` sees those.
//!
//! With signals it says what they cost: the same load with one of them on, beside the same load without.

use crate::child::{Child, installed, pause};
use crate::contenders::{self, Setup, Signals};
use crate::load::http;
use crate::sink::Sink;
use crate::tls::{Certificates, Key};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Requests that warm up and are not counted.
const WARM: u64 = 300;
const COUNTED: u64 = 2_000;
/// What may be over the recorded figure before the guard fails.
const ALLOWED: f64 = 0.01;

/// What waits for company is sent after five seconds (`OTEL_BSP_SCHEDULE_DELAY`), and the clock runs on while valgrind is
/// slow.
const SETTLE: Duration = Duration::from_secs(7);

/// What the guarded load is run with, in place of the recorded figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum With {
    /// OTLP traces of 1 % of all requests.
    #[value(name = "traces-1")]
    Traces1,
    /// OTLP traces of all requests.
    Traces,
    /// A JSON line for each request, in a file.
    AccessLog,
    /// `weir-off` beside the program: no events, no metrics, no trace context.
    Off,
}

/// How the program is built. What a release build links as a whole has fewer instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    Demo,
    Release,
}

impl Profile {
    fn file(self) -> &'static Path {
        Path::new(match self {
            Self::Demo => "loadtests/guard.json",
            Self::Release => "loadtests/guard-release.json",
        })
    }

    /// The command that records its figure.
    fn recording(self) -> &'static str {
        match self {
            Self::Demo => "make guard ARGS=--record",
            Self::Release => "make guard PROFILE=release ARGS=--record",
        }
    }
}

/// The recorded figures.
#[derive(Serialize, Deserialize)]
struct Recorded {
    instructions_a_request: u64,
    clock_readings_a_request: f64,
    requests: u64,
    compiler: String,
}

/// What was done for `COUNTED` requests.
struct Counted {
    /// By the worker's thread.
    instructions: u64,
    clock_readings: u64,
    /// By all threads.
    of_process: u64,
    /// That arrived meanwhile.
    spans: u64,
}

/// What is counted.
struct Load<'a> {
    program: &'a Path,
    signals: Signals,
    /// How long the program has for what it does after the requests.
    settle: Duration,
    keep: Option<&'a Path>,
}

/// Counts, and compares with the figure of `profile` or records it. False when there are too many.
pub fn run(record: bool, profile: Profile, program: Option<&Path>, keep: Option<&Path>) -> io::Result<bool> {
    let program = program.map_or_else(contenders::release, |path| Ok(path.to_owned()))?;
    let counted = count(&Load { program: &program, signals: Signals::Usual, settle: Duration::ZERO, keep })?;
    let compiler = String::from_utf8_lossy(&Command::new("rustc").arg("--version").output()?.stdout).trim().to_owned();
    if record {
        let recorded = Recorded {
            instructions_a_request: counted.instructions / COUNTED,
            clock_readings_a_request: (counted.clock_readings as f64 / COUNTED as f64 * 10.0).round() / 10.0,
            requests: COUNTED,
            compiler,
        };
        let text = serde_json::to_string_pretty(&recorded)?;
        std::fs::write(profile.file(), format!("{text}\n"))?;
        println!("recorded: {text}");
        return Ok(true);
    }
    let file = profile.file();
    let reported = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", file.display()));
    let recorded: Recorded = serde_json::from_slice(&std::fs::read(file).map_err(reported)?)?;
    let held = [
        held(profile, "instructions", counted.instructions, recorded.instructions_a_request as f64),
        held(profile, "readings of the clock", counted.clock_readings, recorded.clock_readings_a_request),
    ];
    if compiler != recorded.compiler {
        println!("note: recorded with {}, this is {compiler}", recorded.compiler);
    }
    Ok(held.into_iter().all(|held| held))
}

/// Says how `counted` stands to what is recorded; false when there are too many.
fn held(profile: Profile, what: &str, counted: u64, recorded: f64) -> bool {
    let each = counted as f64 / COUNTED as f64;
    let change = each / recorded - 1.0;
    let digits = if each < 1000.0 { 1 } else { 0 };
    println!("guard: {each:.digits$} {what} a request, {:+.1} % beside the recorded {recorded}", change * 100.0);
    if change > ALLOWED {
        println!(
            "more than {:.0} % over: fix it, or if it is worth its price record it: {}",
            ALLOWED * 100.0,
            profile.recording()
        );
    } else if change < -ALLOWED {
        println!("less than was recorded; keep it so: {}", profile.recording());
    }
    change <= ALLOWED
}

/// Counts without signals and with each of `with`, and says what they cost.
pub fn compare(with: &[With], program: Option<&Path>, keep: Option<&Path>) -> io::Result<bool> {
    let program = program.map_or_else(contenders::release, |path| Ok(path.to_owned()))?;
    let counted = |program: &Path, signals, name: &str| {
        let keep = keep.map(|keep| keep.join(name));
        count(&Load { program, signals, settle: SETTLE, keep: keep.as_deref() })
    };
    let plain = counted(&program, Signals::Usual, "plain")?;
    let each = |instructions: u64| instructions / COUNTED;
    println!(
        "guard: plain: {} instructions a request by the worker, {} by the process",
        each(plain.instructions),
        each(plain.of_process)
    );
    for with in with {
        let (name, signals) = match with {
            With::Traces1 => ("traces-1", Signals::Traces1),
            With::Traces => ("traces", Signals::Traces),
            With::AccessLog => ("access-log", Signals::AccessLog),
            With::Off => ("off", Signals::Usual),
        };
        let other = if *with == With::Off { program.with_file_name("weir-off") } else { program.clone() };
        let one = counted(&other, signals, name)?;
        let more = |one: u64, plain: u64| (one as i64 - plain as i64) / COUNTED as i64;
        println!(
            "guard: {name}: {} by the worker ({:+}), {} by the process ({:+}); {} spans",
            each(one.instructions),
            more(one.instructions, plain.instructions),
            each(one.of_process),
            more(one.of_process, plain.of_process),
            one.spans
        );
    }
    Ok(true)
}

fn count(load: &Load) -> io::Result<Counted> {
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
    let (ports, conf) = contenders::weir_configuration(&setup, load.signals)?;
    let counts = sink.fresh();
    let http = ports.http;
    let (out, program, conf) = (
        format!("--callgrind-out-file={}/callgrind", dir.path().display()),
        load.program.to_string_lossy(),
        conf.to_string_lossy(),
    );
    let args =
        ["--tool=callgrind", "--separate-threads=yes", &out, &program, "run", "--workers", "1", "--config", &conf];
    let child = Child::start("0", &valgrind, &args, &dir.path().join("valgrind"))?;
    wait_for(http)?;
    send(http, WARM)?;
    pause(load.settle);
    let before = counts.spans.load(Relaxed);
    control(&child, "--zero")?;
    send(http, COUNTED)?;
    pause(load.settle);
    control(&child, "--dump")?;
    let spans = counts.spans.load(Relaxed) - before;
    drop(child);
    if let Some(keep) = load.keep {
        std::fs::create_dir_all(keep)?;
        for path in profiles(dir.path())? {
            std::fs::copy(&path, keep.join(path.file_name().unwrap_or_default()))?;
        }
        println!("guard: the profiles are in {}, for callgrind_annotate", keep.display());
    }
    Ok(Counted { spans, ..of_threads(dir.path())? })
}

fn wait_for(address: SocketAddr) -> io::Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match http::get(address, "/bench/1k") {
            Ok((200, _)) => return Ok(()),
            Ok((status, _)) => return Err(io::Error::other(format!("answered {status}"))),
            Err(error) if std::time::Instant::now() > deadline => return Err(error),
            Err(_) => pause(Duration::from_millis(50)),
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

/// One a thread: of what it did from zeroing to dumping.
fn profiles(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>()?;
    // The dump is number 1; what the end of the program writes has no number.
    let is_dump = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("callgrind.1-"))
    };
    Ok(paths.into_iter().filter(is_dump).collect())
}

/// The thread that ran the pipeline is the worker's, and all together are the process.
fn of_threads(dir: &Path) -> io::Result<Counted> {
    let (mut most, mut of_process): (Option<Counted>, u64) = (None, 0);
    for path in profiles(dir)? {
        let text = std::fs::read_to_string(&path)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse::<u64>().ok());
        of_process += total.unwrap_or_default();
        if let Some(instructions) = total.filter(|_| text.contains("weir_proxy"))
            && most.as_ref().is_none_or(|most| most.instructions < instructions)
        {
            let clock_readings = calls(&text, "clock_gettime");
            most = Some(Counted { instructions, clock_readings, of_process: 0, spans: 0 });
        }
    }
    let worker = most.ok_or_else(|| {
        io::Error::other("callgrind wrote no thread that ran the pipeline; was the program stripped?")
    })?;
    Ok(Counted { of_process, ..worker })
}

/// How often functions with `name` in their names were called, by callgrind's profile format: `cfn=(7) name` names the
/// callee once and `cfn=(7)` ever after; `calls=3 …` follows.
fn calls(profile: &str, name: &str) -> u64 {
    let (mut numbers, mut is_callee, mut calls) = (HashSet::new(), false, 0);
    for line in profile.lines() {
        if let Some((id, named)) = line.split_once("fn=(").and_then(|(_, rest)| rest.split_once(')')) {
            if named.contains(name) {
                numbers.insert(id);
            }
            is_callee = line.starts_with('c') && numbers.contains(id);
        } else if let Some(count) = line.strip_prefix("calls=").filter(|_| is_callee) {
            calls += count.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_the_callees_name_or_number() {
        let profile = "fn=(1) main\n1 5\ncfn=(2) clock_gettime@@GLIBC_2.17\ncalls=3 10\n1 30\ncfn=(3) read\ncalls=7 1\n\
            1 7\nfn=(2)\n10 4\ncfn=(4) vdso\ncalls=3 1\n1 1\nfn=(5) poll\n+1 2\ncfn=(2)\ncalls=2 10\n1 20\n";
        assert_eq!(calls(profile, "clock_gettime"), 5);
        let both = format!("{profile}cfn=(9) rustix::vdso::clock_gettime_via_syscall\ncalls=4 1\n1 1\n");
        assert_eq!(calls(&both, "clock_gettime"), 9);
        assert_eq!((calls(profile, "read"), calls(profile, "nobody")), (7, 0));
    }
}
