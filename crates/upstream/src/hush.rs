//! The task of a connection, which is not woken for nothing.
//!
//! hyper's body wakes its connection's task whenever a frame is taken, the last one too, though nothing is left that
//! the task could do for it: a whole turn of the connection, one in five of those that a request costs. The waker
//! that the connection is polled with stands here in between: a wake during the taking of a last frame goes no further.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What stands between a connection and its task. Used by one thread; atomic because a waker must be.
#[derive(Default)]
pub(crate) struct Hush {
    task: Mutex<Option<Waker>>,
    holding: AtomicBool,
    held: AtomicBool,
}

impl Hush {
    /// Runs `take`, which says beside its result whether wakes meanwhile are for nothing.
    pub(crate) fn during<T>(&self, take: impl FnOnce() -> (T, bool)) -> T {
        let mut holding = Holding::begin(self);
        let (taken, for_nothing) = take();
        holding.for_nothing = for_nothing;
        taken
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            task.wake_by_ref();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

/// While it lives, wakes are held; where it ends by a panic, none of them was for nothing.
struct Holding<'h> {
    hush: &'h Hush,
    for_nothing: bool,
}

impl<'h> Holding<'h> {
    fn begin(hush: &'h Hush) -> Self {
        hush.holding.store(true, Relaxed);
        Self { hush, for_nothing: false }
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.hush.holding.store(false, Relaxed);
        if self.hush.held.swap(false, Relaxed) && !self.for_nothing {
            self.hush.wake_task();
        }
    }
}

impl Wake for Hush {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.holding.load(Relaxed) {
            self.held.store(true, Relaxed);
        } else {
            self.wake_task();
        }
    }
}

/// `future`, woken through `hush`.
pub(crate) struct Hushed<F> {
    future: F,
    hush: Arc<Hush>,
    waker: Waker,
}

impl<F> Hushed<F> {
    pub(crate) fn new(future: F, hush: &Arc<Hush>) -> Self {
        Self { future, hush: Arc::clone(hush), waker: Waker::from(Arc::clone(hush)) }
    }
}

impl<F: Future + Unpin> Future for Hushed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        this.hush.remember(cx.waker());
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn hushed(woken: &Arc<Count>) -> (Hushed<std::future::Pending<()>>, Arc<Hush>) {
        let hush: Arc<Hush> = Arc::default();
        let mut hushed = Hushed::new(std::future::pending(), &hush);
        let task = Waker::from(Arc::clone(woken));
        assert!(Pin::new(&mut hushed).poll(&mut Context::from_waker(&task)).is_pending());
        (hushed, hush)
    }

    #[test]
    fn a_panic_holds_nothing() {
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let (hushed, hush) = hushed(&woken);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hush.during(|| -> ((), bool) {
                hushed.waker.wake_by_ref();
                panic!("on purpose")
            });
        }));
        assert!(panicked.is_err());
        hushed.waker.wake_by_ref();
        assert_eq!(woken.0.load(Relaxed), 2);
    }

    #[test]
    fn only_what_is_for_nothing_is_held() {
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let (hushed, hush) = hushed(&woken);
        let wakes = |for_nothing| {
            let before = woken.0.load(Relaxed);
            hush.during(|| (hushed.waker.wake_by_ref(), for_nothing));
            woken.0.load(Relaxed) - before
        };
        assert_eq!((wakes(true), wakes(false), wakes(true)), (0, 1, 0));
        hushed.waker.wake_by_ref();
        assert_eq!(woken.0.load(Relaxed), 2, "behind it everything is heard again");
    }
}
