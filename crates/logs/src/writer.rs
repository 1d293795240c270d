//! The outputs, each with a thread of its own: one that hangs holds up no other, and no request.

use crate::entry::Entry;
use crate::lane::{Counts, Ends, Lane, Sender, Shared};
use crate::line::Lines;
use crate::output::Output;
use crate::records::{self, RecordError, RecordSink};
use crate::sink::Sink;
use crate::text::TextSink;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing::error;
use weir_config::{LogOutput, LogTarget};
use weir_event::clock::system_us;
use weir_event::{Identity, Names};
use weir_otlp::ClientError;

/// How long entries gather before they are written: what comes in that time is one write.
const GATHER: Duration = Duration::from_millis(20);
/// How often an output says how many lines are not in it, at most.
const LOSSES: Duration = Duration::from_secs(1);

/// Why an output cannot be used.
#[derive(Debug)]
pub enum StartError {
    /// `path` is where it is, if it is a file.
    Open { output: String, path: Option<PathBuf>, error: io::Error },
    /// Nothing can be sent to it.
    Client { output: String, error: ClientError },
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
            Self::Client { output, error } => write!(
                f,
                "log output `{output}`: {error}; correct its `parameters`, or the OTEL_EXPORTER_OTLP_ variables"
            ),
            Self::Thread(error) => write!(f, "a log output gets no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running outputs.
#[derive(Debug)]
pub struct Logs {
    outputs: Vec<Running>,
    /// The id of this life of the process.
    boot: Arc<OnceLock<String>>,
}

#[derive(Debug)]
struct Running {
    name: String,
    shared: Arc<Shared>,
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    ends: Arc<Ends>,
    ended: Mutex<Receiver<()>>,
}

impl Logs {
    /// Opens every output and starts its thread; an output that cannot be opened is an error. Each has one line format.
    /// `version` is that of the program.
    pub fn start(
        outputs: impl Iterator<Item = LogOutput>,
        identity: &Identity,
        names: &Arc<Names>,
        version: &'static str,
    ) -> Result<Self, StartError> {
        // One that two kinds of lines go to is opened once.
        let wanted: BTreeMap<_, _> = outputs.map(|output| (output.name.clone(), output)).collect();
        let boot = Arc::default();
        let sender = records::Sender { identity: identity.clone(), version, boot: Arc::clone(&boot) };
        let start = |output: LogOutput| {
            let (shared, ends) = (Arc::new(Shared::default()), Arc::new(Ends::default()));
            let lines = Lines::new(&output.format, identity.clone(), Arc::clone(names));
            let sink = sink(&output, lines, &sender, &shared, &ends)?;
            Running::start(&output.name, sink, shared, ends).map_err(StartError::Thread)
        };
        Ok(Self { outputs: wanted.into_values().map(start).collect::<Result<_, _>>()?, boot })
    }

    /// Says what this life of the process is called, for records that are sent.
    pub fn lives_as(&self, boot: &str) {
        // It has one.
        drop(self.boot.set(boot.to_owned()));
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
        self.outputs.iter().map(|running| (&*running.name, &*running.shared.counts))
    }

    /// Writes what waits and ends the threads; one that has not ended by `deadline` is left behind.
    pub fn end(&self, deadline: Instant) {
        for output in &self.outputs {
            output.ends.by(deadline);
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

/// What the output's thread does with entries.
fn sink(
    output: &LogOutput,
    lines: Lines,
    sender: &records::Sender,
    shared: &Shared,
    ends: &Arc<Ends>,
) -> Result<Box<dyn Sink>, StartError> {
    let name = &output.name;
    let open = |path: Option<&PathBuf>| {
        let failed = |error| StartError::Open { output: name.clone(), path: path.cloned(), error };
        Output::open(path.map(PathBuf::as_path)).map_err(failed)
    };
    let path = match &output.target {
        LogTarget::Stdout => None,
        LogTarget::File(path) => Some(path),
        LogTarget::Otlp(export) => {
            let sent = Arc::default();
            shared.counts.are_sent(Arc::clone(&sent));
            let sink = RecordSink::new(lines, export, sender.clone(), sent, Arc::clone(ends));
            return match sink {
                Ok(sink) => Ok(Box::new(sink)),
                Err(RecordError::Client(error)) => Err(StartError::Client { output: name.clone(), error }),
                Err(RecordError::Runtime(error)) => Err(StartError::Thread(error)),
            };
        }
    };
    Ok(Box::new(TextSink::new(name, open(path)?, lines, Arc::clone(&shared.counts))))
}

impl Running {
    fn start(name: &str, sink: Box<dyn Sink>, shared: Arc<Shared>, ends: Arc<Ends>) -> io::Result<Self> {
        let lanes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let mut writer = Writer {
            sink,
            shared: Arc::clone(&shared),
            lanes: Arc::clone(&lanes),
            ends: Arc::clone(&ends),
            empty: Vec::new(),
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
    sink: Box<dyn Sink>,
    shared: Arc<Shared>,
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    ends: Arc<Ends>,
    /// Swapped for what waits.
    empty: Vec<u8>,
    /// How many lines were reported to be missing: left out, and without room.
    told: (u64, u64),
    told_at: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        loop {
            // Asked before it is looked: what was sent before the end is written.
            let ends = self.ends.deadline().is_some();
            let took = self.take_all();
            let has_untold = self.tell_losses(ends);
            self.sink.flush(ends);
            if ends {
                return;
            }
            if took || self.sink.has_some() {
                // Nobody wakes it meanwhile.
                std::thread::park_timeout(GATHER);
                continue;
            }
            self.shared.sleep_begins();
            if self.has_none() && self.ends.deadline().is_none() {
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

    /// Takes what waits. Answers whether there was anything.
    fn take_all(&mut self) -> bool {
        let (mut any, mut empty) = (false, std::mem::take(&mut self.empty));
        for lane in self.lanes() {
            lane.take(&mut empty, |mut entries| {
                any = true;
                while let Some(entry) = Entry::take(&mut entries) {
                    self.sink.put(&entry);
                }
            });
        }
        self.empty = empty;
        any
    }

    /// Says how many lines are not there. Answers whether that is still to be done.
    fn tell_losses(&mut self, ends: bool) -> bool {
        let counts = &self.shared.counts;
        let (left_out, no_room) = (counts.left_out(), counts.no_room());
        if (left_out, no_room) == self.told {
            return false;
        }
        if !ends && self.told_at.is_some_and(|at| at.elapsed() < LOSSES) {
            return true;
        }
        let at_us = system_us();
        for (count, why) in [
            (left_out - self.told.0, "more than `perSecond` in a second"),
            (no_room - self.told.1, "this output is slower than they come"),
        ] {
            if count > 0 {
                self.sink.put_loss(at_us, count, why);
            }
        }
        (self.told, self.told_at) = ((left_out, no_room), Some(Instant::now()));
        false
    }
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
        let logs = Logs::start(outputs.iter().cloned(), &Identity::default(), &names, "1").unwrap();
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
        // What one sender sends keeps its order; of two nobody knows whose is taken first.
        let left_out = "3 lines are not here: more than `perSecond` in a second";
        let place = |said: &str| b.iter().position(|line| line == said).unwrap();
        assert!(place("alone") < place(left_out), "{b:?}");
        let written: Vec<_> = logs.counts().map(|(name, counts)| (name.to_owned(), counts.written())).collect();
        assert_eq!(written, [("a".to_owned(), 100), ("b".to_owned(), 102)]);
    }

    #[test]
    fn an_output_that_cannot_be_opened_is_named() {
        let path = Path::new("/nonexistent/log");
        let error =
            Logs::start([file("a", path)].into_iter(), &Identity::default(), &Arc::new(Names::new()), "1").unwrap_err();
        assert!(error.to_string().starts_with("log output `a`: /nonexistent/log: No such file"), "{error}");
    }
}
