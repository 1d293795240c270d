//! A minimal proxy on Pingora: `loadtests/pingora`, which `make bench` builds outside the workspace.

use super::proxy::Proxy;
use super::template::Ports;
use super::{Presence, Setup, built};
use crate::child::Child;
use std::io;
use std::path::Path;

pub fn presence() -> Presence {
    built("target/pingora/release/bench-pingora", "make bench")
}

pub fn start(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    let ports = Ports::free()?;
    let (http, https, upstream) = (ports.http.to_string(), ports.https.to_string(), setup.upstream.to_string());
    let args = [http.as_str(), &https, &upstream, &setup.dir.to_string_lossy()];
    let child = Child::start("0", program, &args, &setup.dir.join("out"))?;
    Ok(Proxy::new(child, None, &ports))
}
