//! Weir, of the build that the bench is of.

use super::accounts::{Accounts, Beside};
use super::proxy::{Proxy, Reload};
use super::template::{Ports, fill, routes};
use super::{Presence, Setup, built};
use crate::child::Child;
use std::io;
use std::path::{Path, PathBuf};
use weir_testkit::process::program;

const TRACES: &str = include_str!("../../configs/weir-traces.yaml");
const LOG: &str = include_str!("../../configs/weir-log.yaml");

/// What is switched on beside events, metrics and trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    Usual,
    Traces1,
    Traces,
    AccessLog,
}

impl Signals {
    /// What the configuration has more.
    fn yaml(self) -> String {
        match self {
            Self::Usual => String::new(),
            Self::Traces1 => TRACES.replace("@PERCENT@", "1"),
            Self::Traces => TRACES.replace("@PERCENT@", "100"),
            Self::AccessLog => LOG.to_owned(),
        }
    }

    fn beside(self, setup: &Setup) -> Beside {
        match self {
            Self::Usual => Beside::Nothing,
            Self::Traces1 => Beside::Spans(setup.sink.fresh(), 0.01),
            Self::Traces => Beside::Spans(setup.sink.fresh(), 1.0),
            Self::AccessLog => Beside::Line(setup.dir.join("access.log")),
        }
    }
}

pub fn presence() -> Presence {
    here("weir")
}

pub fn presence_without_telemetry() -> Presence {
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

pub fn usual(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, Signals::Usual)
}

pub fn tracing_1(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, Signals::Traces1)
}

pub fn tracing(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, Signals::Traces)
}

pub fn logging(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, Signals::AccessLog)
}

fn start(program: &Path, setup: &Setup, signals: Signals) -> io::Result<Proxy> {
    let beside = signals.beside(setup);
    let (ports, conf) = configuration(setup, signals)?;
    let args = ["run", "--workers", "1", "--config", &conf.to_string_lossy()];
    let child = Child::start("0", program, &args, &setup.dir.join("out"))?;
    let mut proxy = Proxy::new(child, Some("worker-"), &ports);
    proxy.accounts = Accounts::Weir { admin: ports.admin, beside };
    proxy.admin = Some(ports.admin);
    proxy.reload = Some(Reload::Rewrite(conf.join("bench.yaml")));
    Ok(proxy)
}

/// The pipeline with a sink that forgets: accounts for nothing.
pub fn without_telemetry(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    let (ports, conf) = configuration(setup, Signals::Usual)?;
    let child = Child::start("0", program, &[&conf.to_string_lossy()], &setup.dir.join("out"))?;
    Ok(Proxy::new(child, Some("worker-"), &ports))
}

/// Writes its configuration, and says where it will be. The guard uses the same.
pub fn configuration(setup: &Setup, signals: Signals) -> io::Result<(Ports, PathBuf)> {
    let (ports, conf) = (Ports::free()?, setup.dir.join("conf.d"));
    std::fs::create_dir_all(&conf)?;
    let routes = routes(setup, |name| format!("      - {{rules: [{{path: \"(/{name}/.*)\"}}]}}"));
    let template = include_str!("../../configs/weir.yaml").to_owned() + &signals.yaml();
    let yaml = fill(&template, setup, &ports, &[("ROUTES", &routes)]);
    std::fs::write(conf.join("bench.yaml"), yaml)?;
    Ok((ports, conf))
}
