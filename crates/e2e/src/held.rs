//! A thread that stands still, as one does at a page that cannot be read.

use crate::{DEADLINE, eventually};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Holds one thread at its next call of a kind, until it is dropped.
pub struct Held(Child);

impl Held {
    /// By strace(1).
    pub fn at(thread: &str, call: &str) -> io::Result<Self> {
        let child = Command::new("strace")
            .args(["-p", thread, "-e", &format!("trace={call}"), "-e", &format!("inject={call}:delay_enter=600s")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let tracer = format!("TracerPid:\t{}\n", child.id());
        let (held, deadline) = (Self(child), Instant::now() + DEADLINE);
        while !std::fs::read_to_string(format!("/proc/{thread}/status"))?.contains(&tracer) {
            if Instant::now() >= deadline {
                return Err(io::Error::other(format!("strace does not hold {thread}")));
            }
            std::thread::yield_now();
        }
        Ok(held)
    }

    /// A worker of a gateway, by the process id of that; it stands still when this answers.
    pub async fn worker(process: u32, worker: u16) -> io::Result<Self> {
        let thread = thread(process, &format!("worker-{worker}"))?;
        let held = Self::at(&thread, "epoll_wait")?;
        eventually("the worker stands still", async || {
            // Each look of the worker, once a second, is a wait anew.
            let state = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).ok()?;
            state.contains("tracing stop").then_some(())
        })
        .await;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The id of the thread of this name.
pub fn thread(process: u32, name: &str) -> io::Result<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"))?.map_while(Result::ok).map(|task| task.path());
    let is_it = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|text| text.trim_end() == name);
    let found = tasks.filter(is_it).find_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no thread `{name}`")))
}
