//! The way of entries from one sender to the thread of one output.
//!
//! Two buffers, each behind its own lock, of which the thread holds at most one, and only to swap it for an empty one. So
//! one of the two is always free for the sender, which never waits; what it puts into the second is taken after the first,
//! and the order stays. Nothing is allocated once the buffers have grown to what a burst needs.

use crate::entry::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::thread::Thread;
use std::time::Instant;
use weir_otlp::Loss;

/// What may wait in one buffer, in bytes: some thousand lines.
const ROOM: usize = 2 * 1024 * 1024;

/// What became of the lines of one output.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    no_room: AtomicU64,
    left_out: AtomicU64,
    /// Of an output that is a receiver of log records.
    sent: OnceLock<Arc<weir_otlp::Counts>>,
}

impl Counts {
    /// Lines that were written, or that their receiver has acknowledged.
    pub fn written(&self) -> u64 {
        self.sent.get().map_or_else(|| self.written.load(Ordering::Relaxed), |sent| sent.exported())
    }

    /// Bytes of these lines; of records, those of all requests with them.
    pub fn bytes(&self) -> u64 {
        self.sent.get().map_or_else(|| self.bytes.load(Ordering::Relaxed), |sent| sent.bytes())
    }

    /// Lines that were not, each with why, in the words of metrics.
    pub fn dropped(&self) -> Vec<(&'static str, u64)> {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let mut dropped = vec![("queue_full", count(&self.no_room)), ("limit", count(&self.left_out))];
        match self.sent.get() {
            None => dropped.push(("write_failed", count(&self.failed))),
            Some(sent) => {
                let losses = Loss::ALL.into_iter().filter(|(_, why)| *why != Loss::QueueFull);
                dropped.extend(losses.map(|(word, why)| (word, sent.lost(why))));
            }
        }
        dropped
    }

    /// From now on they are those of records that are sent.
    pub(crate) fn are_sent(&self, sent: Arc<weir_otlp::Counts>) {
        // It is said once.
        drop(self.sent.set(sent));
    }

    pub(crate) fn write(&self, lines: u64, bytes: usize) {
        self.written.fetch_add(lines, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self, lines: u64) {
        self.failed.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn no_room(&self) -> u64 {
        self.no_room.load(Ordering::Relaxed)
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

/// Whether an output ends, and by when it must have.
#[derive(Debug, Default)]
pub(crate) struct Ends(OnceLock<Instant>);

impl Ends {
    pub(crate) fn by(&self, deadline: Instant) {
        // The first one counts.
        let _ = self.0.set(deadline);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// What the senders of an output and its thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) counts: Arc<Counts>,
    thread: OnceLock<Thread>,
    /// Whether the thread waits for somebody to wake it.
    waits: AtomicBool,
}

impl Shared {
    pub(crate) fn is_run_by(&self, thread: Thread) {
        // It is run once.
        drop(self.thread.set(thread));
    }

    /// Says that whoever puts something in has to wake the thread; it looks once more before it sleeps.
    pub(crate) fn sleep_begins(&self) {
        self.waits.store(true, Ordering::SeqCst);
    }

    pub(crate) fn sleep_ends(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }

    pub(crate) fn wake(&self) {
        if self.waits.load(Ordering::SeqCst)
            && self.waits.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// The two buffers of one sender.
#[derive(Debug)]
pub(crate) struct Lane {
    buffers: [Mutex<Vec<u8>>; 2],
    shared: Arc<Shared>,
}

impl Lane {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { buffers: Default::default(), shared })
    }

    /// Appends what waits to `out`, which is in the order in which it was put.
    pub(crate) fn take(&self, empty: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
        for buffer in &self.buffers {
            empty.clear();
            std::mem::swap(&mut *buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner), empty);
            if !empty.is_empty() {
                each(empty);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_empty =
            |buffer: &Mutex<Vec<u8>>| buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty();
        self.buffers.iter().all(is_empty)
    }

    fn put(&self, entry: &Entry<'_>) {
        let free = self.buffers.iter().find_map(|buffer| match buffer.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        match free {
            Some(mut buffer) if buffer.len() + entry.size() <= ROOM => entry.put(&mut buffer),
            _ => drop(self.shared.counts.no_room.fetch_add(1, Ordering::Relaxed)),
        }
        self.shared.wake();
    }
}

/// One sender's way to one or more outputs. Not to be shared: each worker has its own.
#[derive(Debug)]
pub struct Sender(Vec<Arc<Lane>>);

impl Sender {
    pub(crate) fn new(lanes: Vec<Arc<Lane>>) -> Self {
        Self(lanes)
    }

    /// Hands over what a line is made of. Never waits.
    pub fn send(&mut self, entry: &Entry<'_>) {
        self.0.iter().for_each(|lane| lane.put(entry));
    }

    /// Counts a line that a limit leaves out.
    pub fn leave_out(&mut self) {
        for lane in &self.0 {
            lane.shared.counts.left_out.fetch_add(1, Ordering::Relaxed);
            lane.shared.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lane: &Lane) -> Vec<String> {
        let mut found = Vec::new();
        lane.take(&mut Vec::new(), |mut bytes| {
            while let Some(Entry::Request(record)) = Entry::take(&mut bytes) {
                found.push(String::from_utf8(record.to_vec()).unwrap());
            }
        });
        found
    }

    #[test]
    fn while_one_buffer_is_held_the_other_is_free_and_the_order_stays() {
        let lane = Lane::new(Arc::default());
        let mut sender = Sender::new(vec![Arc::clone(&lane)]);
        sender.send(&Entry::Request(b"1"));
        let held = lane.buffers[0].lock().unwrap();
        sender.send(&Entry::Request(b"2"));
        drop(held);
        assert_eq!(taken(&lane), ["1", "2"]);
        let held = lane.buffers[1].lock().unwrap();
        sender.send(&Entry::Request(b"3"));
        drop(held);
        assert!(!lane.is_empty());
        assert_eq!(taken(&lane), ["3"]);
        assert!(lane.is_empty());
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let lane = Lane::new(Arc::default());
        let mut sender = Sender::new(vec![Arc::clone(&lane)]);
        let record = vec![0; 16 * 1024];
        (0..200).for_each(|_| sender.send(&Entry::Request(&record)));
        let kept = ROOM / (record.len() + 5);
        assert_eq!(lane.shared.counts.no_room(), 200 - kept as u64);
    }
}
