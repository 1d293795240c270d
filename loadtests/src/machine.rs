//! What the figures are of: the machine, the versions and the date.

use crate::child::installed;
use crate::contenders;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// A machine and what was run on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub system: String,
    pub commit: String,
    pub versions: Vec<String>,
    /// Of a minute, when the bench began: above 0.5 others were at work.
    pub load: f64,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| -> Option<String> {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line[key.len()..].trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned())
        };
        let system = field(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_default();
        Self {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            // Not `available_parallelism`: this program keeps to one of them.
            cores: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
            kernel: said("uname", &["-r"]),
            system,
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            versions: versions(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }

    pub fn line(&self) -> String {
        format!(
            "{}, commit {}; {} cores ({}), {}, Linux {}; load average before: {:.2}; {}",
            self.date,
            self.commit,
            self.cores,
            self.cpu,
            self.system,
            self.kernel,
            self.load,
            self.versions.join(", ")
        )
    }
}

fn versions() -> Vec<String> {
    let ask = |name: &str, argument: &str| Some(said(&installed(name)?.to_string_lossy(), &[argument]));
    let mut all = vec![said("rustc", &["--version"])];
    all.extend(["nginx", "haproxy", "wrk"].iter().filter_map(|name| ask(name, "-v")));
    all.extend(ask("h2load", "--version"));
    let envoy = contenders::ALL.iter().find(|contender| contender.name == "envoy");
    if let Some(contenders::Presence::Here(path)) = envoy.map(|contender| (contender.presence)()) {
        all.push(format!("envoy {}", envoy_version(&path)));
    }
    all
}

/// Of `… version: HASH/1.40.0/Clean/RELEASE/BoringSSL`, the number.
fn envoy_version(path: &Path) -> String {
    let text = said(&path.to_string_lossy(), &["--version"]);
    text.split('/')
        .find(|part| part.starts_with(|first: char| first.is_ascii_digit()) && part.contains('.'))
        .map_or(text.clone(), str::to_owned)
}

/// The first line that a program says with these arguments, whichever way it says it.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.is_empty()).unwrap_or_default().trim().to_owned()
}
