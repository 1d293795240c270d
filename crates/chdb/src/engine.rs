//! The engine as a server: started on a thread of its own, held open by a pipe, ended by closing it.
//!
//! `chdb_query_cmdline` runs the statements of two files one after the other, and both are named pipes. The first gives
//! it the statements that open the listeners, so nothing listens before rights are loaded. It then waits at the second,
//! of which this program holds the other end, until that is closed: no statement runs meanwhile that a `KILL QUERY`
//! could end. Both pipes and both files of configuration are gone from the disk when the engine is ready.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::confine::{ConfineError, confine};
use crate::ffi::Library;
use crate::folder::{FolderError, Run};

/// Between two looks at something that has no signal of its own.
const LOOK: Duration = Duration::from_millis(5);
/// For an answer of the listener to this program.
const ANSWER: Duration = Duration::from_secs(5);
/// The engine cuts connections after 5 s, then writes down what it has.
pub const END: Duration = Duration::from_secs(20);

/// What the engine is started with.
pub struct Start<'a> {
    pub path: &'a Path,
    pub run: Run,
    pub config: PathBuf,
    pub tcp_port: Option<u16>,
    /// Seconds.
    pub receive_timeout: u64,
    pub log_level: &'a str,
    /// Folders beside `path` that statements may use.
    pub files: Vec<PathBuf>,
    /// There are users whom only the kernel keeps from reading files.
    pub must_confine: bool,
}

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("`{0}` is not usable as a path for the engine: it holds a NUL byte; choose another")]
    Nul(PathBuf),
    #[error("cannot start the engine's thread or pipe: {0}; raise the limits on threads and open files")]
    Thread(std::io::Error),
    #[error(
        "users who may only read cannot be kept from the files of this machine: {0}; run a kernel from 5.19 on with Landlock, or give these users the right `full`"
    )]
    Unconfined(ConfineError),
    #[error(
        "the engine cannot listen on port {0}: it was taken as the engine started; start it again, or give another --tcp-port"
    )]
    Taken(u16),
    #[error("the disk of `{0}` is full; make room on it, or give another --path")]
    Full(PathBuf),
    #[error(
        "the engine did not open `{path}`: {error}; check that the folder is of this engine, and that its files are readable and writable"
    )]
    Refused { path: PathBuf, error: String },
}

enum News {
    Unconfined(ConfineError),
    Ended(Option<String>),
}

/// The engine, serving.
pub struct Engine {
    pub address: SocketAddr,
    hold: OwnedFd,
    news: Receiver<News>,
}

impl Engine {
    /// Starts the engine and waits until it answers, however long it loads its tables.
    ///
    /// # Errors
    /// One sentence with the fix.
    pub fn start(library: Library, start: Start<'_>) -> Result<Self, OpenError> {
        let (gate, hold) = (start.run.pipe("open")?, start.run.pipe("hold")?);
        let arguments = arguments(&start, &gate, &hold)?;
        let (sender, news) = channel();
        let (mut folders, must_confine) = (start.files.clone(), start.must_confine);
        folders.push(start.path.to_owned());
        let thread = std::thread::Builder::new().name("engine".to_owned());
        // The engine's parser and planner recurse deeply.
        let thread = thread.stack_size(16 << 20).spawn(move || {
            let news = match confine(&folders) {
                Err(error) if must_confine => News::Unconfined(error),
                Err(error) => {
                    tracing::warn!(%error, "statements of users may read any file that this program may read");
                    News::Ended(library.run(&arguments))
                }
                Ok(()) => News::Ended(library.run(&arguments)),
            };
            // Nobody hears it when this program has given up waiting.
            let _unheard = sender.send(news);
        });
        thread.map_err(OpenError::Thread)?;
        let refused = |news| start.explain(news);
        let statements = if start.tcp_port.is_some() { TCP.to_owned() + HTTP } else { HTTP.to_owned() };
        let open = writer(&gate, &news, &refused)?;
        rustix::io::write(&open, statements.as_bytes()).map_err(|error| OpenError::Thread(error.into()))?;
        drop(open);
        let hold = writer(&hold, &news, &refused)?;
        let address = loop {
            match start.answering() {
                Some(address) => break address,
                None => wait(&news, &refused)?,
            }
        };
        Ok(Self { address, hold, news })
    }

    /// What the engine says as it ends by itself, if it has.
    pub fn has_ended(&self) -> Option<String> {
        match self.news.try_recv() {
            Ok(News::Ended(error)) => Some(error.unwrap_or_else(|| "its message is above".to_owned())),
            _ => None,
        }
    }

    /// How many queries run now, as the server's own figures say; none when it does not answer.
    pub fn running(&self) -> Option<u64> {
        let figures = get(self.address, "/metrics")?;
        figures.lines().find_map(|line| line.strip_prefix("ClickHouseMetrics_Query "))?.trim().parse().ok()
    }

    /// Closes the listeners and the folder. Connections that are busy after the engine's own 5 s are cut.
    pub fn end(self) -> bool {
        drop(self.hold);
        self.news.recv_timeout(END).is_ok()
    }
}

const HTTP: &str = "SYSTEM START LISTEN HTTP;";
const TCP: &str = "SYSTEM START LISTEN TCP;";

fn arguments(start: &Start<'_>, gate: &Path, hold: &Path) -> Result<Vec<CString>, OpenError> {
    let nul = |path: &Path| OpenError::Nul(path.to_owned());
    let text = |text: String| CString::new(text).map_err(|_| nul(start.path));
    [
        "clickhouse".to_owned(),
        format!("--path={}", start.path.display()),
        format!("--config-file={}", start.config.display()),
        format!("--log-level={}", start.log_level),
        format!("--http_receive_timeout={}", start.receive_timeout),
        "--http_port=0".to_owned(),
        format!("--tcp_port={}", start.tcp_port.unwrap_or(0)),
        "--queries-file".to_owned(),
        gate.display().to_string(),
        hold.display().to_string(),
    ]
    .into_iter()
    .map(text)
    .collect()
}

impl Start<'_> {
    /// Where the engine answers over HTTP, if it does by now: at a port that it chose itself.
    fn answering(&self) -> Option<SocketAddr> {
        let mut addresses = own_ports().into_iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        addresses.find(|address| get(*address, "/ping").is_some_and(|answer| answer.ends_with("Ok.\n")))
    }

    fn explain(&self, news: News) -> OpenError {
        let path = self.path.to_owned();
        let error = match news {
            News::Unconfined(error) => return OpenError::Unconfined(error),
            News::Ended(error) => error.unwrap_or_else(|| "its message is above".to_owned()),
        };
        // The first line: what follows is a stack of addresses.
        let error = error.lines().next().unwrap_or_default().split(", Stack trace").next().unwrap_or_default();
        match error {
            error if error.contains("Address already in use") => OpenError::Taken(self.tcp_port.unwrap_or_default()),
            error if error.contains("No space left on device") => OpenError::Full(path),
            error => OpenError::Refused { path, error: error.trim_end_matches(['.', ' ']).to_owned() },
        }
    }
}

/// Opens a pipe for writing, as soon as the engine reads from it.
fn writer(pipe: &Path, news: &Receiver<News>, refused: &impl Fn(News) -> OpenError) -> Result<OwnedFd, OpenError> {
    loop {
        match rustix::fs::open(pipe, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => return Ok(opened),
            Err(rustix::io::Errno::NXIO) => wait(news, refused)?,
            Err(error) => return Err(OpenError::Thread(error.into())),
        }
    }
}

/// Waits a little, unless the engine ends meanwhile.
fn wait(news: &Receiver<News>, refused: &impl Fn(News) -> OpenError) -> Result<(), OpenError> {
    match news.recv_timeout(LOOK) {
        Ok(news) => Err(refused(news)),
        Err(RecvTimeoutError::Timeout) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => Err(refused(News::Ended(None))),
    }
}

/// The ports that this process listens on.
fn own_ports() -> Vec<u16> {
    let links = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let links = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let own: Vec<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    lines.filter_map(listening).filter(|(inode, _)| own.contains(inode)).map(|(_, port)| port).collect()
}

/// Inode and port of a line of `/proc/net/tcp`, if it is a socket that listens.
fn listening(line: &str) -> Option<(String, u16)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (*state == "0A").then(|| ((*inode).to_owned(), port))
}

/// The answer of this machine's own server, or none if it has none in time.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let deadline = Instant::now() + ANSWER;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        stream.set_read_timeout(Some(deadline.checked_duration_since(Instant::now())?.max(LOOK))).ok()?;
        match stream.read(&mut piece).ok()? {
            0 => return Some(String::from_utf8_lossy(&answer).into_owned()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_ports_of_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        assert!(own_ports().contains(&port));
        drop(listener);
        assert!(!own_ports().contains(&port));
    }
}
