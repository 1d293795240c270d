//! A minimal proxy on Pingora: `loadtests/pingora`, which `make bench` builds outside the workspace.

use super::proxy::Proxy;
use super::template::Ports;
use super::{Presence, Setup};
use crate::child::Child;
use std::io;
use std::path::Path;

pub fn presence() -> Presence {
    let built = std::env::current_dir().map(|dir| dir.join("target/pingora/release/bench-pingora")).ok();
    built.filter(|path| path.is_file()).map_or_else(
        || Presence::Missing("not built; `make bench` does it, and it is run from the repository's folder".into()),
        Presence::Here,
    )
}

pub fn start(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    let ports = Ports::free()?;
    let (http, https, upstream) = (ports.http.to_string(), ports.https.to_string(), setup.upstream.to_string());
    let args = [http.as_str(), &https, &upstream, &setup.dir.to_string_lossy()];
    let child = Child::start("0", program, &args, &setup.dir.join("out"))?;
    Ok(Proxy::new(child, None, &ports))
}
