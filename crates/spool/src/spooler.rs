//! The spool's thread: it empties the rings into chunk files, and does nothing else, so that nothing else delays it.
//!
//! One loop, woken by a command or every [`POLL`]. Trouble with the disk never ends it: rings fill up, what finds no
//! room is counted under the disk's name, and it goes on when there is room again.

use crate::counters::Counters;
use crate::shared::{Command, Shared, step_behind};
use crate::stream_writer::StreamWriter;
use crate::trouble::Trouble;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long an event may lie in a ring before it is copied: 40 wake-ups a second cost 0.1 % of a core.
const POLL: Duration = Duration::from_millis(25);

pub(crate) struct Spooler {
    shared: Arc<Shared>,
    writers: Vec<StreamWriter>,
    trouble: Trouble,
}

impl Spooler {
    pub(crate) fn new(shared: Arc<Shared>, writers: Vec<StreamWriter>) -> Self {
        Self { shared, writers, trouble: Trouble::default() }
    }

    pub(crate) fn run(mut self, commands: Receiver<Command>) {
        step_behind();
        let mut wait = POLL;
        loop {
            match commands.recv_timeout(wait) {
                Ok(Command::Flush(done)) => {
                    self.copy(true);
                    done.send(()).ok();
                }
                Ok(Command::Finish(done)) => {
                    self.copy(true);
                    self.shared.listeners.close();
                    done.send(self.writers.iter().all(|stream_writer| !stream_writer.is_stuck())).ok();
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.copy(true);
                    return self.shared.listeners.close();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let more = self.copy(false);
            wait = if more { Duration::ZERO } else { POLL };
        }
    }

    /// Empties the rings; answers whether there is more to do at once.
    fn copy(&mut self, all: bool) -> bool {
        let (mut failed, mut more) = (None, false);
        for stream_writer in &mut self.writers {
            match stream_writer.step(&self.shared, all) {
                Ok(of_writer) => more |= of_writer,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => failed = Some(error),
                // It waits for the time of its retry.
                Err(_) => {}
            }
        }
        let fills = self.writers.iter().map(StreamWriter::fill).collect();
        *self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner) = fills;
        match failed {
            Some(error) => {
                Counters::add(&self.shared.counters.write_failures, 1);
                let until = "until then events are kept in the rings, and shed when those are full";
                self.trouble.report(&self.shared, &error, "write a chunk file", until);
            }
            None if self.writers.iter().all(|stream_writer| !stream_writer.is_stuck()) => {
                self.trouble.over(&self.shared);
            }
            None => {}
        }
        more
    }
}
