//! That the process ends: what signals tell it, and that it is gone at its deadline, whatever hangs.
//!
//! Signals are heard on a thread of its own, so that they are heard whatever the others do. With the first SIGTERM or
//! SIGINT the deadline is known. The second one says to wait for nothing more, which gets a moment; a third gets none.
//! Past that the process leaves as a kill would make it, but for its exit code: nothing is unwound, nothing flushed.

use rustix::process::{WaitOptions, wait};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, warn};

/// The exit code of a process that something kept from ending.
pub const FORCED: u8 = 4;
/// What is left of the time to end once requests are done: to put in order what is on disk.
pub const LAST: Duration = Duration::from_secs(5);
/// What who is asked to end twice gets, unless it asks for more.
const MOMENT: Duration = Duration::from_secs(2);
/// For the last line of the log, which nobody may be reading.
const SAY: Duration = Duration::from_millis(200);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    End,
    Reload,
}

/// What the process is asked by signals: SIGTERM and SIGINT end it, SIGHUP loads anew, and SIGUSR1 and SIGUSR2 do nothing,
/// where the system's own way would be to end it.
pub struct Signals {
    reported: mpsc::UnboundedReceiver<Asked>,
    ending: Ending,
}

impl Signals {
    /// From now on none of these signals ends the process by itself.
    ///
    /// # Errors
    /// There are no more threads, or open files.
    pub fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let heard = Heard::new(&runtime)?;
        let (sender, reported) = mpsc::unbounded_channel();
        let ending = Ending::default();
        let own = ending.clone();
        let orphans = if is_init() { Some(adopt(&runtime)?) } else { None };
        let body = move || runtime.block_on(hear(heard, orphans, &own, &sender));
        std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
        Ok(Self { reported, ending })
    }

    /// Until the process is sent something.
    pub async fn next(&mut self) -> Asked {
        match self.reported.recv().await {
            Some(reported) => reported,
            None => std::future::pending().await,
        }
    }

    /// Until the process is asked to end; each time anew.
    pub async fn end(&mut self) {
        while self.next().await != Asked::End {}
    }

    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }
}

/// How the process ends. A handle: clones share one end.
#[derive(Clone, Default)]
pub struct Ending(Arc<State>);

#[derive(Default)]
struct State {
    allowed_ms: AtomicU64,
    /// Beyond [`MOMENT`].
    hurry_ms: AtomicU64,
    deadline: Mutex<Option<Instant>>,
    hurried: AtomicBool,
    stage: Mutex<&'static str>,
}

impl Ending {
    /// What the end may take, besides [`LAST`].
    pub fn allow(&self, time: Duration) {
        self.0.allowed_ms.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What the end may take beyond a moment once it is hurried.
    pub fn allow_in_a_hurry(&self, time: Duration) {
        self.0.hurry_ms.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When the process is gone, once it was asked to end.
    pub fn deadline(&self) -> Option<Instant> {
        *self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was asked twice: nothing is waited for any more.
    pub fn is_hurried(&self) -> bool {
        self.0.hurried.load(Ordering::Relaxed)
    }

    /// What is done from now on, to be named if it hangs.
    pub fn stage(&self, stage: &'static str) {
        *self.0.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Takes note that the process is asked to end.
    fn asked(&self, now: Instant) {
        let mut deadline = self.0.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = Some(match *deadline {
            None => now + Duration::from_millis(self.0.allowed_ms.load(Ordering::Relaxed)) + LAST,
            Some(_) if self.is_hurried() => now,
            Some(deadline) => {
                self.0.hurried.store(true, Ordering::Relaxed);
                deadline.min(now + MOMENT + Duration::from_millis(self.0.hurry_ms.load(Ordering::Relaxed)))
            }
        });
    }

    fn force(&self) -> ! {
        let stage = *self.0.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let hurried = self.is_hurried();
        // On a thread of its own: what hangs may hold the log.
        let (done, said) = sync_channel(1);
        let say = move || {
            let why = if hurried { "a second signal to end came" } else { "the time to end is over" };
            error!(stage, "{why}: the process ends by force, with exit code {FORCED}");
            crate::log::flush(SAY);
            done.send(()).ok();
        };
        if std::thread::Builder::new().spawn(say).is_ok() {
            said.recv_timeout(SAY).ok();
        }
        leave(FORCED)
    }
}

/// Ends the process without running anything that was registered for its end, which may wait for what hangs.
#[expect(unsafe_code, reason = "the standard library runs what was registered")]
fn leave(code: u8) -> ! {
    // SAFETY: ends the process; there is nothing that it could break.
    unsafe { libc::_exit(i32::from(code)) }
}

struct Heard {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    _ignored: [Signal; 2],
}

impl Heard {
    fn new(runtime: &Runtime) -> io::Result<Self> {
        let _within = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _ignored: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }
}

/// Whether this is the first process of its container, which inherits those whose parents have ended.
fn is_init() -> bool {
    std::process::id() == 1
}

fn adopt(runtime: &Runtime) -> io::Result<Signal> {
    let _within = runtime.enter();
    signal(SignalKind::child())
}

/// Takes note of every child that has ended: until somebody does it stays a process. None is started here that anybody else
/// waits for.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

async fn next_orphan(orphans: &mut Option<Signal>) {
    match orphans {
        Some(orphans) => drop(orphans.recv().await),
        None => std::future::pending().await,
    }
}

/// For as long as the process runs.
async fn hear(mut heard: Heard, mut orphans: Option<Signal>, ending: &Ending, sender: &mpsc::UnboundedSender<Asked>) {
    if orphans.is_some() {
        reap();
    }
    loop {
        let reported = tokio::select! {
            _ = heard.terminate.recv() => Asked::End,
            _ = heard.interrupt.recv() => Asked::End,
            _ = heard.hangup.recv() => Asked::Reload,
            () = next_orphan(&mut orphans) => {
                reap();
                continue;
            }
            () = over(ending.deadline()) => ending.force(),
        };
        if reported == Asked::End {
            ending.asked(Instant::now());
        }
        // Nobody listens any more: the deadline stays.
        sender.send(reported).ok();
    }
}

async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What a program says when it is asked to end once more.
pub fn tell_hurry() {
    warn!("a second signal to end: open requests are cut off");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_brings_the_end_nearer() {
        let (ending, start) = (Ending::default(), Instant::now());
        ending.allow(Duration::from_secs(25));
        assert_eq!(ending.deadline(), None);
        ending.asked(start);
        assert_eq!(ending.deadline(), Some(start + Duration::from_secs(30)));
        assert!(!ending.is_hurried());
        let later = start + Duration::from_secs(2);
        ending.asked(later);
        assert_eq!(ending.deadline(), Some(later + MOMENT));
        assert!(ending.is_hurried());
        ending.asked(later);
        assert_eq!(ending.deadline(), Some(later));
    }

    #[test]
    fn the_second_signal_never_prolongs() {
        let (ending, start) = (Ending::default(), Instant::now());
        ending.asked(start);
        let late = start + LAST - Duration::from_millis(1);
        ending.asked(late);
        assert_eq!(ending.deadline(), Some(start + LAST));
    }
}
