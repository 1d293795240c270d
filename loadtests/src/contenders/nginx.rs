//! nginx: as a contender, and as the upstream of all.

use super::accounts::Accounts;
use super::proxy::{Proxy, Reload};
use super::template::{Ports, fill, routes};
use super::{Presence, Setup};
use crate::child::{Child, installed};
use rustix::process::Signal;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

const GIB: u64 = 1 << 30;

pub fn presence() -> Presence {
    installed("nginx").map_or_else(|| Presence::Missing("not installed; `make tools` does it".into()), Presence::Here)
}

pub fn plain(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, false)
}

pub fn logging(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, true)
}

fn start(program: &Path, setup: &Setup, logs: bool) -> io::Result<Proxy> {
    let (ports, log) = (Ports::free()?, setup.dir.join("access.json"));
    let target = if logs { format!("{} json buffer=64k flush=1s", log.display()) } else { "off".to_owned() };
    let routes = routes(setup, |name| format!("        location /bench/{name}/ {{ proxy_pass http://u/{name}/; }}"));
    let more = [("LOG", target.as_str()), ("ROUTES", &routes)];
    let text = fill(include_str!("../../configs/nginx.conf"), setup, &ports, &more);
    let child = run(program, "0", setup.dir, &text)?;
    let mut proxy = Proxy::new(child, None, &ports);
    proxy.reload = Some(Reload::Signal(Signal::HUP));
    if logs {
        proxy.accounts = Accounts::Lines(log);
    }
    Ok(proxy)
}

fn run(program: &Path, core: &str, dir: &Path, text: &str) -> io::Result<Child> {
    std::fs::create_dir_all(dir)?;
    let conf = dir.join("nginx.conf");
    std::fs::write(&conf, text)?;
    let (dir_text, conf) = (dir.to_string_lossy(), conf.to_string_lossy());
    Child::start(core, program, &["-c", &conf, "-p", &dir_text], &dir.join("out"))
}

/// The upstream of all, on core 1: 1 KiB from memory, `files/1m` and `files/1g` by sendfile.
pub fn upstream(dir: &Path) -> io::Result<(Child, SocketAddr)> {
    let Presence::Here(program) = presence() else {
        return Err(io::Error::other("nginx is the upstream of all and is not installed; run `make tools`"));
    };
    let files = dir.join("files");
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("1m"), vec![b'm'; 1 << 20])?;
    // Holes: a gibibyte that takes no room on the disk.
    std::fs::File::create(files.join("1g"))?.set_len(GIB)?;
    let address = Ports::free()?.http;
    let filled = [
        ("DIR", dir.to_string_lossy().into_owned()),
        ("FILES", dir.to_string_lossy().into_owned()),
        ("HTTP", address.to_string()),
        ("BODY", "u".repeat(1024)),
    ];
    let template = include_str!("../../configs/upstream.conf").to_owned();
    let text = filled.iter().fold(template, |text, (name, value)| text.replace(&format!("@{name}@"), value));
    Ok((run(&program, "1", dir, &text)?, address))
}
