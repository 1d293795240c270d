//! Weir, of the build that the bench is of.

use super::accounts::Accounts;
use super::proxy::{Proxy, Reload};
use super::template::{Ports, fill, routes};
use super::{Presence, Setup, built};
use crate::child::Child;
use std::io;
use std::path::{Path, PathBuf};
use weir_testkit::process::program;

pub fn presence() -> Presence {
    here("weir")
}

pub fn presence_without_events() -> Presence {
    here("weir-off")
}

/// As a package should have it.
pub fn presence_by_profile() -> Presence {
    built("target/pgo/weir", "make pgo")
}

fn here(name: &str) -> Presence {
    program(name).map_or_else(|error| Presence::Missing(error.to_string()), Presence::Here)
}

/// The program beside this one.
pub fn release() -> io::Result<PathBuf> {
    program("weir")
}

pub fn start(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    let (ports, conf) = configuration(setup)?;
    let args = ["run", "--workers", "1", "--config", &conf.to_string_lossy()];
    let child = Child::start("0", program, &args, &setup.dir.join("out"))?;
    let mut proxy = Proxy::new(child, Some("worker-"), &ports);
    proxy.accounts = Accounts::Weir(ports.admin);
    proxy.admin = Some(ports.admin);
    proxy.reload = Some(Reload::Rewrite(conf.join("bench.yaml")));
    Ok(proxy)
}

/// The pipeline with a sink that forgets: accounts for nothing.
pub fn start_without_events(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    let (ports, conf) = configuration(setup)?;
    let child = Child::start("0", program, &[&conf.to_string_lossy()], &setup.dir.join("out"))?;
    Ok(Proxy::new(child, Some("worker-"), &ports))
}

/// Writes its configuration, and says where it will be. The guard uses the same.
pub fn configuration(setup: &Setup) -> io::Result<(Ports, PathBuf)> {
    let (ports, conf) = (Ports::free()?, setup.dir.join("conf.d"));
    std::fs::create_dir_all(&conf)?;
    let routes = routes(setup, |name| format!("      - {{rules: [{{path: \"(/{name}/.*)\"}}]}}"));
    let yaml = fill(include_str!("../../configs/weir.yaml"), setup, &ports, &[("ROUTES", &routes)]);
    std::fs::write(conf.join("bench.yaml"), yaml)?;
    Ok((ports, conf))
}
