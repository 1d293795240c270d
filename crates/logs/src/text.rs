//! Lines, written to a file or to standard output.

use crate::entry::Entry;
use crate::lane::Counts;
use crate::line::Lines;
use crate::output::Output;
use crate::sink::Sink;
use std::sync::Arc;
use tracing::{error, info};

/// Lines are written in pieces of about this size.
const PIECE: usize = 256 * 1024;

/// Lines on their way to where they are written.
pub(crate) struct TextSink {
    name: String,
    output: Output,
    lines: Lines,
    counts: Arc<Counts>,
    text: Vec<u8>,
    /// In `text`.
    count: u64,
    /// Whether the last write failed, which is reported already.
    fails: bool,
}

impl TextSink {
    pub(crate) fn new(name: &str, output: Output, lines: Lines, counts: Arc<Counts>) -> Self {
        Self { name: name.to_owned(), output, lines, counts, text: Vec::new(), count: 0, fails: false }
    }

    fn write(&mut self) {
        if self.text.is_empty() {
            return;
        }
        match self.output.write(&self.text) {
            Ok(()) => {
                self.counts.write(self.count, self.text.len());
                if std::mem::take(&mut self.fails) {
                    info!(output = self.name, "the log output takes lines again");
                }
            }
            Err(error) => {
                self.counts.fail(self.count);
                if !std::mem::replace(&mut self.fails, true) {
                    error!(output = self.name, %error, "a log output cannot be written: its lines are lost until it can");
                }
            }
        }
        self.text.clear();
        self.count = 0;
    }
}

impl Sink for TextSink {
    fn put(&mut self, entry: &Entry<'_>) {
        self.count += u64::from(self.lines.put(&mut self.text, entry));
        if self.text.len() >= PIECE {
            self.write();
        }
    }

    fn put_loss(&mut self, at_us: i64, count: u64, why: &str) {
        self.lines.put_loss(&mut self.text, at_us, count, why);
        self.count += 1;
    }

    fn flush(&mut self, _: bool) {
        self.write();
    }

    fn has_some(&self) -> bool {
        !self.text.is_empty()
    }
}
