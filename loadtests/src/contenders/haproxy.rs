//! HAProxy: one thread; a log is JSON lines to a file, as raw messages of its standard output.

use super::accounts::Accounts;
use super::proxy::Proxy;
use super::template::{Ports, fill, routes};
use super::{Presence, Setup};
use crate::child::{Child, installed};
use std::io;
use std::path::Path;

const FORMAT: &str = r#"log global
    log-format '{"time":"%Ts.%ms","client":"%ci","method":%{+Q}HM,"uri":%{+Q}HU,"protocol":%{+Q}HV,"status":%ST,"bytes_in":%U,"bytes_out":%B,"total_ms":%Ta,"connect_ms":%Tc,"response_ms":%Tr,"backend":"%b","server":"%s","reason":"%tsc","retries":"%rc"}'"#;

pub fn presence() -> Presence {
    installed("haproxy").map_or_else(|| Presence::Missing("not installed; `make tools` does it".into()), Presence::Here)
}

pub fn plain(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, false)
}

pub fn logging(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, true)
}

fn start(program: &Path, setup: &Setup, logs: bool) -> io::Result<Proxy> {
    let (ports, out) = (Ports::free()?, setup.dir.join("out"));
    let map = setup.dir.join("routes.map");
    std::fs::write(&map, routes(setup, |name| format!("/{name}/ main")))?;
    let lookup = format!("    use_backend %[path,map_beg({},main)]", map.display());
    let more = [
        ("LOG_TARGET", if logs { "log stdout format raw local0" } else { "" }),
        ("LOG_FORMAT", if logs { FORMAT } else { "" }),
        ("ROUTES", if setup.routes > 0 { &lookup } else { "" }),
    ];
    let text = fill(include_str!("../../configs/haproxy.cfg"), setup, &ports, &more);
    let conf = setup.dir.join("haproxy.cfg");
    std::fs::write(&conf, text)?;
    // Without a master, so that the process that is started is the one that serves.
    let child = Child::start("0", program, &["-db", "-f", &conf.to_string_lossy()], &out)?;
    let mut proxy = Proxy::new(child, None, &ports);
    if logs {
        proxy.accounts = Accounts::Lines(out);
    }
    Ok(proxy)
}
