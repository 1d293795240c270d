//! What is said over and over is said ten times, then counted, and the count is reported when the period ends.
//!
//! The layer that asks [`Repeats`], with a thread that is there only once something is held back. What is asked for by
//! `debug` or `trace` is asked for in full.

use super::repeats::{Held, PERIOD, Repeats};
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

thread_local! {
    /// Set while this thread tells what was held back: that is never held back itself.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// The layer. A handle: clones share one count.
#[derive(Clone)]
pub struct RateLimit(Arc<Shared>);

struct Shared {
    now: Box<dyn Fn() -> Instant + Send + Sync>,
    state: Mutex<State>,
    held: Condvar,
    /// Whether a thread tells what is due. A test tells it itself.
    by_thread: bool,
}

#[derive(Default)]
struct State {
    repeats: Repeats,
    thread_runs: bool,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::with_clock(Box::new(Instant::now), true)
    }
}

impl RateLimit {
    fn with_clock(now: Box<dyn Fn() -> Instant + Send + Sync>, by_thread: bool) -> Self {
        Self(Arc::new(Shared { now, state: Mutex::default(), held: Condvar::new(), by_thread }))
    }

    /// Tells everything that is held back, at once.
    pub fn tell_all(&self) {
        let far = (self.0.now)() + PERIOD;
        let (due, _) = self.0.lock().repeats.due(far);
        due.iter().for_each(tell);
    }

    /// Tells what is due; answers when the next is.
    fn tell_due(&self) -> Option<Instant> {
        let (due, next) = self.0.lock().repeats.due((self.0.now)());
        due.iter().for_each(tell);
        next
    }

    /// For as long as the process runs. Only sleeps while nothing is held back.
    fn watch(&self) {
        loop {
            let next = self.tell_due();
            let state = self.0.lock();
            match next {
                // Bounded: a clock that is not the system's is no business of this thread.
                Some(next) => drop(self.0.held.wait_timeout(state, next.saturating_duration_since((self.0.now)()))),
                None if state.repeats.holds() => {}
                None => drop(self.0.held.wait(state)),
            }
        }
    }

    fn start_thread(&self, state: &mut State) {
        let me = self.clone();
        let started = std::thread::Builder::new().name("weir-log".to_owned()).spawn(move || me.watch());
        // Without a thread the count is reported with the end of the program.
        state.thread_runs = started.is_ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO || TELLING.get() {
            return true;
        }
        let mut state = self.0.lock();
        let say = state.repeats.may_say(event, (self.0.now)());
        if !say && self.0.by_thread {
            if state.thread_runs {
                self.0.held.notify_one();
            } else {
                self.start_thread(&mut state);
            }
        }
        say
    }
}

/// Says it as the place that was held back would: its level, its target.
fn tell(held: &Held) {
    let times = if held.count == 1 { "once more" } else { "times more" };
    let count = if held.count == 1 { String::new() } else { format!("{} ", held.count) };
    let text = format!("{} … repeated {count}{times}", held.message);
    let fields = held.metadata.fields();
    let Some(message) = fields.field("message") else { return };
    TELLING.set(true);
    Event::dispatch(held.metadata, &fields.value_set(&[(&message, Some(&text as &dyn tracing::Value))]));
    TELLING.set(false);
}

#[cfg(test)]
mod tests {
    use super::super::repeats::DIFFERENT;
    use super::*;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    /// Everything that gets through.
    #[derive(Clone, Default)]
    struct Through(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Through {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let line = format!("{} {}", event.metadata().level(), super::super::Texts::of(event).message);
            self.0.lock().unwrap().push(line);
        }
    }

    impl Through {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    /// Runs `test` under a clock that it moves itself.
    fn under(test: impl FnOnce(&RateLimit, &Through, &dyn Fn(Duration))) {
        let clock = Arc::new(Mutex::new(Instant::now()));
        let read = Arc::clone(&clock);
        let hold = RateLimit::with_clock(Box::new(move || *read.lock().unwrap()), false);
        let through = Through::default();
        let subscriber = tracing_subscriber::registry().with(through.clone()).with(hold.clone());
        tracing::subscriber::with_default(subscriber, || {
            test(&hold, &through, &|by| *clock.lock().unwrap() += by);
        });
    }

    fn flood(times: usize) {
        (0..times).for_each(|number| tracing::warn!(number, "the disk is slow"));
    }

    #[test]
    fn ten_are_said_and_the_others_counted_when_the_period_ends() {
        under(|hold, through, pass| {
            flood(47);
            assert_eq!(through.take(), vec!["WARN the disk is slow"; 10]);
            pass(PERIOD - Duration::from_millis(1));
            let next = hold.tell_due();
            assert!(through.take().is_empty() && next.is_some());
            pass(Duration::from_millis(1));
            assert_eq!(hold.tell_due(), None);
            assert_eq!(through.take(), ["WARN the disk is slow … repeated 37 times more"]);
            flood(1);
            assert_eq!(through.take(), ["WARN the disk is slow"]);
        });
    }

    #[test]
    fn a_period_that_ends_while_nobody_looks_is_reported_all_the_same() {
        under(|hold, through, pass| {
            flood(11);
            pass(PERIOD * 3);
            flood(11);
            assert_eq!(through.take().len(), 20);
            hold.tell_due();
            assert_eq!(through.take(), ["WARN the disk is slow … repeated once more"]);
            hold.tell_all();
            assert_eq!(through.take(), ["WARN the disk is slow … repeated once more"]);
        });
    }

    #[test]
    fn a_flood_of_one_error_hides_no_other() {
        under(|hold, through, _| {
            let fail = |cause: &str| tracing::error!(cause, "cannot write");
            (0..50).for_each(|_| fail("disk full"));
            fail("read-only");
            assert_eq!(through.take().len(), 11);
            // More different errors than are distinguished: each still costs nothing but its place's turn.
            (0..DIFFERENT * 2).for_each(|number| fail(&number.to_string()));
            assert!(through.take().len() >= DIFFERENT - 2);
            assert!(hold.0.lock().repeats.known() <= DIFFERENT + 1);
        });
    }

    #[test]
    fn what_is_asked_for_in_full_is_given_in_full() {
        under(|_, through, _| {
            (0..40).for_each(|_| tracing::debug!("detail"));
            assert_eq!(through.take().len(), 40);
        });
    }

    #[test]
    fn a_thread_tells_it_where_nobody_else_does() {
        let clock = Arc::new(Mutex::new(Instant::now()));
        let read = Arc::clone(&clock);
        let hold = RateLimit::with_clock(Box::new(move || *read.lock().unwrap()), true);
        let subscriber = tracing_subscriber::registry().with(hold.clone());
        tracing::subscriber::with_default(subscriber, || flood(11));
        assert!(hold.0.lock().thread_runs);
        *clock.lock().unwrap() += PERIOD;
        // Wakes the thread as another repeat would; it takes what is due.
        let deadline = Instant::now() + Duration::from_secs(20);
        while hold.0.lock().repeats.holds() {
            hold.0.held.notify_one();
            assert!(Instant::now() < deadline, "the thread does not tell");
            std::thread::yield_now();
        }
    }
}
