//! Somebody who waits, and is woken by others of the same thread.

use std::cell::RefCell;
use std::task::Waker;

pub(in crate::connection) fn remember(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}

pub(in crate::connection) fn wake(kept: &RefCell<Option<Waker>>) {
    if let Some(waker) = kept.borrow().as_ref() {
        waker.wake_by_ref();
    }
}
