//! Libraries of Python as the two sides of a gateway: `make tools` installs each in a folder of its own, and a test file
//! of the library's name has its scripts in a folder beside it.

use crate::{Site, eventually};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use weir_testkit::process::Process;

/// A script of `crates/e2e/tests/LIBRARY`, with the library at hand.
pub fn script(library: &str, name: &str, args: &[&str]) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("python3");
    command.arg(root.join("crates/e2e/tests").join(library).join(name)).args(args);
    command.env("PYTHONPATH", root.join(".tools").join(library)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Starts the library's `server.py`, whose log is `server.log` of the site, and waits until it has written its port there.
///
/// # Panics
///
/// Panics if the script cannot be started, or has no port within [`DEADLINE`](crate::DEADLINE).
pub async fn server(site: &Site, library: &str, args: &[&str]) -> (Process, SocketAddr) {
    let started = Process::start("python3", script(library, "server.py", args), &site.path("server.log"));
    let process = started.expect("python3 starts");
    let port: u16 = eventually("the server listens", async || {
        site.log("server").lines().find_map(|line| line.strip_prefix("port ")?.parse().ok())
    })
    .await;
    (process, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
