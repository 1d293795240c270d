//! Listening to events as they pass, for `weirctl tail`.
//!
//! While nobody listens, this costs one load a copied record. A listener that is slow misses events and is informed how
//! many, for the spool waits for nobody.

use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for one listener.
const ROOM: usize = 1024;

/// What a listener gets.
#[derive(Clone, Debug)]
pub enum TailItem {
    /// One event, as [`weir_event::json::to_json`] shows it.
    Event(Arc<Value>),
    /// So many events went by while the listener was busy.
    Missed(u64),
}

/// A subscription; dropped, it ends.
pub struct Tail {
    receiver: Receiver<TailItem>,
}

impl Tail {
    /// The next item; none once the spool has stopped.
    pub async fn next(&mut self) -> Option<TailItem> {
        self.receiver.recv().await
    }

    /// The same, for a thread without a runtime.
    pub fn next_blocking(&mut self) -> Option<TailItem> {
        self.receiver.blocking_recv()
    }
}

struct Listener {
    sender: Sender<TailItem>,
    missed: u64,
}

#[derive(Default)]
pub(crate) struct Listeners {
    count: AtomicUsize,
    all: Mutex<Vec<Listener>>,
}

impl Listeners {
    pub(crate) fn subscribe(&self) -> Tail {
        let (sender, receiver) = channel(ROOM);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Listener { sender, missed: 0 });
        self.count.store(all.len(), Ordering::Relaxed);
        Tail { receiver }
    }

    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Hands out what `event` makes; it is not even made while no listener has room for it.
    pub(crate) fn publish(&self, event: impl FnOnce() -> Value) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(Listener::has_room) {
            let event = Arc::new(event());
            all.iter_mut().for_each(|listener| listener.offer(&event));
        } else {
            all.iter_mut().for_each(|listener| listener.missed += 1);
        }
        all.retain(|listener| !listener.sender.is_closed());
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.count.store(0, Ordering::Relaxed);
    }
}

impl Listener {
    /// Room for an event, and before it for how many were missed: that number is always reported before what follows.
    fn has_room(&self) -> bool {
        self.sender.capacity() >= if self.missed > 0 { 2 } else { 1 }
    }

    fn offer(&mut self, event: &Arc<Value>) {
        if !self.has_room() {
            self.missed += 1;
            return;
        }
        // Only the spool's thread sends, so that what has room is taken, unless the listener has just gone.
        if self.missed > 0 {
            self.sender.try_send(TailItem::Missed(std::mem::take(&mut self.missed))).ok();
        }
        self.sender.try_send(TailItem::Event(Arc::clone(event))).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_listener_is_reported_what_it_missed() {
        let listeners = Listeners::default();
        let mut tail = listeners.subscribe();
        for number in 0..ROOM + 5 {
            listeners.publish(|| number.into());
        }
        listeners.publish(|| unreachable!("there is no room for it"));
        for number in 0..ROOM {
            assert!(matches!(tail.next_blocking(), Some(TailItem::Event(event)) if *event == number));
        }
        listeners.publish(|| "after".into());
        assert!(matches!(tail.next_blocking(), Some(TailItem::Missed(6))));
        assert!(matches!(tail.next_blocking(), Some(TailItem::Event(event)) if *event == "after"));
        drop(tail);
        listeners.publish(|| "nobody".into());
        assert!(!listeners.any());
    }
}
