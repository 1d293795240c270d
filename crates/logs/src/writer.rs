//! The outputs, each with a thread of its own: one that hangs holds up no other, and no request.

use crate::entry::Entry;
use crate::lane::{Counts, Lane, Sender, Shared};
use crate::line::Lines;
use crate::output::Output;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, info};
use weir_config::{LogOutput, LogTarget};
use weir_event::clock::system_us;
use weir_event::{Identity, Names};

/// How long entries gather before they are written: what comes in that time is one write.
const GATHER: Duration = Duration::from_millis(20);
/// How often an output says how many lines are not in it, at most.
const LOSSES: Duration = Duration::from_secs(1);
/// A batch is written in pieces of about this size.
const PIECE: usize = 256 * 1024;

/// Why an output cannot be used.
#[derive(Debug)]
pub enum StartError {
    /// `path` is where it is, if it is a file.
    Open { output: String, path: Option<PathBuf>, error: io::Error },
    /// It has no thread.
    Thread(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open { output, path: Some(path), error } => write!(
                f,
                "log output `{output}`: {}: {error}; the gateway's user must be able to write there",
                path.display()
            ),
            Self::Open { output, path: None, error } => write!(f, "log output `{output}`: {error}"),
            Self::Thread(error) => write!(f, "a log output gets no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running outputs.
#[derive(Debug)]
pub struct Logs {
    outputs: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: String,
    shared: Arc<Shared>,
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    ends: Arc<AtomicBool>,
    ended: Mutex<Receiver<()>>,
}

impl Logs {
    /// Opens every output and starts its thread; an output that cannot be opened is an error. Each has one line format.
    pub fn start(
        outputs: impl Iterator<Item = LogOutput>,
        identity: &Identity,
        names: &Arc<Names>,
    ) -> Result<Self, StartError> {
        // One that two kinds of lines go to is opened once.
        let wanted: BTreeMap<_, _> = outputs.map(|output| (output.name.clone(), output)).collect();
        let start = |output: LogOutput| {
            let path = match &output.target {
                LogTarget::File(path) => Some(path.clone()),
                LogTarget::Stdout => None,
            };
            let failed = |error| StartError::Open { output: output.name.clone(), path, error };
            let lines = Lines::new(&output.format, identity.clone(), Arc::clone(names));
            let open = Output::open(&output.target).map_err(failed)?;
            Running::start(&output.name, open, lines).map_err(StartError::Thread)
        };
        Ok(Self { outputs: wanted.into_values().map(start).collect::<Result<_, _>>()? })
    }

    /// A way to these outputs, for one thread.
    pub fn sender(&self, outputs: &[LogOutput]) -> Sender {
        let wanted = self.outputs.iter().filter(|running| outputs.iter().any(|output| output.name == running.name));
        let lane = |running: &Running| {
            let lane = Lane::new(Arc::clone(&running.shared));
            running.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&lane));
            lane
        };
        Sender::new(wanted.map(lane).collect())
    }

    /// What became of the lines of each output, by its name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.outputs.iter().map(|running| (&*running.name, &running.shared.counts))
    }

    /// Writes what waits and ends the threads; one that has not ended by `deadline` is left behind.
    pub fn end(&self, deadline: Instant) {
        for output in &self.outputs {
            output.ends.store(true, Ordering::SeqCst);
            output.shared.wake();
        }
        for output in &self.outputs {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = output.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.recv_timeout(left).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout) {
                error!(output = output.name, "a log output takes no lines: what waits for it is lost");
            }
        }
    }
}

impl Running {
    fn start(name: &str, output: Output, lines: Lines) -> io::Result<Self> {
        let (shared, ends) = (Arc::new(Shared::default()), Arc::new(AtomicBool::new(false)));
        let lanes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let mut writer = Writer {
            name: name.to_owned(),
            output,
            lines,
            shared: Arc::clone(&shared),
            lanes: Arc::clone(&lanes),
            ends: Arc::clone(&ends),
            empty: Vec::new(),
            fails: false,
            told: (0, 0),
            told_at: None,
        };
        let thread = std::thread::Builder::new().name("weir-log-lines".to_owned()).spawn(move || {
            writer.run();
            // Nobody may wait for it any more.
            end.send(()).unwrap_or_default();
        })?;
        shared.is_run_by(thread.thread().clone());
        Ok(Self { name: name.to_owned(), shared, lanes, ends, ended: Mutex::new(ended) })
    }
}

/// The thread of one output.
struct Writer {
    name: String,
    output: Output,
    lines: Lines,
    shared: Arc<Shared>,
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    ends: Arc<AtomicBool>,
    /// Swapped for what waits.
    empty: Vec<u8>,
    /// Whether the last write failed, which is reported already.
    fails: bool,
    /// How many lines were reported to be missing: left out, and without room.
    told: (u64, u64),
    told_at: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            // Asked before it is looked: what was sent before the end is written.
            let ends = self.ends.load(Ordering::SeqCst);
            let wrote = self.write_all();
            let has_untold = self.tell_losses(ends);
            if ends {
                return;
            }
            if wrote {
                // Nobody wakes it meanwhile.
                std::thread::park_timeout(GATHER);
                continue;
            }
            self.shared.sleep_begins();
            if self.has_none() && !self.ends.load(Ordering::SeqCst) {
                // A wake that is missed costs no more than this.
                std::thread::park_timeout(if has_untold { GATHER } else { LOSSES * 10 });
            }
            self.shared.sleep_ends();
        }
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_none(&self) -> bool {
        self.lanes().iter().all(|lane| lane.is_empty())
    }

    /// Writes what waits. Answers whether there was anything.
    fn write_all(&mut self) -> bool {
        let (mut any, mut batch, mut empty) = (false, Batch::default(), std::mem::take(&mut self.empty));
        for lane in self.lanes() {
            lane.take(&mut empty, |mut entries| {
                any = true;
                while let Some(entry) = Entry::take(&mut entries) {
                    batch.lines += u64::from(self.lines.put(&mut batch.text, &entry));
                    if batch.text.len() >= PIECE {
                        self.write(&mut batch);
                    }
                }
            });
        }
        self.write(&mut batch);
        self.empty = empty;
        any
    }

    fn write(&mut self, batch: &mut Batch) {
        if batch.text.is_empty() {
            return;
        }
        match self.output.write(&batch.text) {
            Ok(()) => {
                self.shared.counts.write(batch.lines, batch.text.len());
                if std::mem::take(&mut self.fails) {
                    info!(output = self.name, "the log output takes lines again");
                }
            }
            Err(error) => {
                self.shared.counts.fail(batch.lines);
                if !std::mem::replace(&mut self.fails, true) {
                    error!(output = self.name, %error, "a log output cannot be written: its lines are lost until it can");
                }
            }
        }
        batch.text.clear();
        batch.lines = 0;
    }

    /// Writes how many lines are not there. Answers whether that is still to be done.
    fn tell_losses(&mut self, ends: bool) -> bool {
        let counts = &self.shared.counts;
        let (left_out, no_room) = (counts.left_out(), counts.no_room());
        if (left_out, no_room) == self.told {
            return false;
        }
        if !ends && self.told_at.is_some_and(|at| at.elapsed() < LOSSES) {
            return true;
        }
        let mut batch = Batch::default();
        let at_us = system_us();
        for (count, why) in [
            (left_out - self.told.0, "more than `perSecond` in a second"),
            (no_room - self.told.1, "this output is slower than they come"),
        ] {
            if count > 0 {
                self.lines.put_loss(&mut batch.text, at_us, count, why);
                batch.lines += 1;
            }
        }
        (self.told, self.told_at) = ((left_out, no_room), Some(Instant::now()));
        self.write(&mut batch);
        false
    }
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

    use super::*;
    use std::path::Path;
    use weir_config::LineFormat;
    use weir_config::policy::LogLevel;

    fn file(name: &str, path: &Path) -> LogOutput {
        LogOutput { name: name.to_owned(), target: LogTarget::File(path.to_owned()), format: LineFormat::default() }
    }

    fn says(text: &str) -> Entry<'_> {
        Entry::Program { at_us: 0, level: LogLevel::Info, text }
    }

    #[test]
    fn what_is_sent_before_the_end_is_written_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = [file("a", &folder.path().join("a")), file("b", &folder.path().join("b"))];
        let names = Arc::new(Names::new());
        let logs = Logs::start(outputs.iter().cloned(), &Identity::default(), &names).unwrap();
        let (mut both, mut one) = (logs.sender(&outputs), logs.sender(&outputs[1..]));
        (0..100).for_each(|n| both.send(&says(&n.to_string())));
        one.send(&says("alone"));
        (0..3).for_each(|_| one.leave_out());
        logs.end(Instant::now() + Duration::from_secs(60));
        let messages = |name: &str| -> Vec<String> {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            let of = |line: &str| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
            };
            text.lines().map(of).collect()
        };
        let numbers: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(messages("a"), numbers);
        let b = messages("b");
        assert_eq!(
            b.iter().filter(|line| line.parse::<u8>().is_ok()).collect::<Vec<_>>(),
            numbers.iter().collect::<Vec<_>>()
        );
        assert!(b.contains(&"alone".to_owned()));
        assert_eq!(b.last().unwrap(), "3 lines are not here: more than `perSecond` in a second");
        let written: Vec<_> = logs.counts().map(|(name, counts)| (name.to_owned(), counts.written())).collect();
        assert_eq!(written, [("a".to_owned(), 100), ("b".to_owned(), 102)]);
    }

    #[test]
    fn an_output_that_cannot_be_opened_is_named() {
        let path = Path::new("/nonexistent/log");
        let error =
            Logs::start([file("a", path)].into_iter(), &Identity::default(), &Arc::new(Names::new())).unwrap_err();
        assert!(error.to_string().starts_with("log output `a`: /nonexistent/log: No such file"), "{error}");
    }
}
