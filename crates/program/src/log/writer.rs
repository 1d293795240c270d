//! Standard error, without waiting for whoever reads it: a pipe that nobody empties must not hold up the program.
//!
//! Lines wait in memory, so many and no more, for a thread that writes them; what comes when there is no room is dropped
//! and counted, and the count is reported when lines flow again. Where no thread can be had, lines are written at once.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// What may wait, in bytes: some thousand lines.
const ROOM: usize = 256 * 1024;

static STARTED: OnceLock<Writer> = OnceLock::new();

/// Where lines go. A handle: clones share one queue.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread is writing what it has taken.
    writing: bool,
    /// Dropped, and not reported yet.
    untold: u64,
    by_thread: bool,
}

/// Lines of the log that were dropped because standard error was not read.
pub fn dropped() -> u64 {
    STARTED.get().map_or(0, |writer| writer.0.dropped.load(Ordering::Relaxed))
}

/// Writes a line for the operator after all that was logged, and waits a moment for it to be read.
pub(super) fn complain(line: &str) {
    match STARTED.get() {
        Some(writer) => {
            writer.push(format!("{line}\n").as_bytes());
            writer.flush(super::FLUSH);
        }
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// Waits until all is written, for this long at most.
pub(super) fn flush(limit: Duration) {
    if let Some(writer) = STARTED.get() {
        writer.flush(limit);
    }
}

impl Writer {
    /// The one of the process.
    pub(super) fn started() -> Self {
        STARTED.get_or_init(|| Self::to(io::stderr())).clone()
    }

    fn to(out: impl Write + Send + 'static) -> Self {
        let writer =
            Self(Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), dropped: AtomicU64::new(0) }));
        let own = writer.clone();
        let thread = std::thread::Builder::new().name("weir-log-out".to_owned());
        writer.lock().by_thread = thread.spawn(move || own.run(out)).is_ok();
        writer
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        if !queue.by_thread {
            drop(queue);
            return drop(io::stderr().write_all(line));
        }
        if queue.bytes + line.len() > ROOM {
            queue.untold += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_owned());
        drop(queue);
        self.0.changed.notify_all();
    }

    /// For as long as the process runs.
    fn run(&self, mut out: impl Write) {
        loop {
            let mut queue = self.lock();
            queue.writing = false;
            self.0.changed.notify_all();
            while queue.lines.is_empty() {
                queue = self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.lines);
            queue.writing = true;
            drop(queue);
            for line in lines {
                // Where standard error is gone there is nobody to tell.
                drop(out.write_all(&line));
                self.lock().bytes -= line.len();
            }
            drop(out.flush());
            let untold = std::mem::take(&mut self.lock().untold);
            if untold > 0 {
                warn!(lines = untold, "lines of this log were dropped: nobody read standard error");
            }
        }
    }

    /// Waits until all is written, for this long at most.
    fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut queue = self.lock();
        while queue.by_thread && (queue.writing || !queue.lines.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One event is one write.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// What is written arrives at the test; each write waits for its leave.
    struct Slow(Sender<Vec<u8>>, Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_owned()).map_err(io::Error::other)?;
            self.1.recv().map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_writes_never_waits_and_what_has_no_room_is_counted() {
        let ((sender, written), (leave, leaves)) = (channel(), channel());
        let writer = Writer::to(Slow(sender, leaves));
        writer.push(b"first");
        // The thread is at it, and nobody reads.
        assert_eq!(written.recv().unwrap(), b"first");
        let line = [b'x'; 1024];
        (0..ROOM / 1024 + 9).for_each(|_| writer.push(&line));
        // The first line still takes its room.
        assert_eq!(writer.0.dropped.load(Ordering::Relaxed), 10);
        let began = Instant::now();
        writer.flush(Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50));
        (0..ROOM / 1024).for_each(|_| leave.send(()).unwrap());
        writer.flush(Duration::from_secs(60));
        assert_eq!(written.iter().take(ROOM / 1024 - 1).count(), ROOM / 1024 - 1);
        assert_eq!(writer.lock().bytes, 0);
    }
}
