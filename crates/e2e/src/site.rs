//! A folder for one test, in which its programs keep their configuration, data and logs.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use weir_testkit::process::{Process, program};

/// A folder that goes with the test, with a log for each program.
pub struct Site {
    dir: TempDir,
}

impl Site {
    pub fn new() -> io::Result<Self> {
        Ok(Self { dir: tempfile::tempdir()? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program wrote to its standard error.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts a program whose log goes by `name`.
    pub fn start(&self, name: &str, executable: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<Process> {
        let mut command = Command::new(program(executable)?);
        command.args(args).envs(env.iter().copied());
        Process::start(name, command, &self.path(&format!("{name}.log")))
    }
}
