//! The lines on standard output that say where the gateway listens. They are written by a thread of their own: standard output
//! may be a pipe that nobody reads, which lines of the access log fill, and the thread that serves the admin port must not
//! wait for it.

use std::fmt::Arguments;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use tracing::warn;

/// For whoever started the gateway; that nobody can read it stops nothing.
pub fn tell(line: Arguments<'_>) {
    static LINES: OnceLock<Option<Sender<String>>> = OnceLock::new();
    match LINES.get_or_init(writer) {
        Some(lines) => lines.send(line.to_string()).unwrap_or_default(),
        // The system has no thread left.
        None => write(&line.to_string()),
    }
}

fn writer() -> Option<Sender<String>> {
    let (lines, told) = channel::<String>();
    let run = move || told.iter().for_each(|line| write(&line));
    thread::Builder::new().name("start-lines".to_owned()).spawn(run).ok().map(|_| lines)
}

fn write(line: &str) {
    if let Err(error) = weir_program::say(format_args!("{line}")) {
        warn!(%error, "standard output cannot be written");
    }
}
