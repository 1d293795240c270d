//! Watches the folders and loads them anew when what is in them has changed.
//!
//! Events of the file system say *when* to look, a fingerprint of the content says whether anything changed: a `touch`,
//! an editor's temporary file or a Kubernetes update to the same text is no reload. Every two seconds it looks without
//! an event too, for file systems that send none (NFS, some container mounts), folders that come later, and certificates
//! and keys that the resources name elsewhere.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::error::ConfigErrors;
use crate::files::{self, Seen};
use crate::load::load_files;
use crate::model::GatewayConfig;

/// A change counts when nothing more has happened for this long: editors and `kubectl` write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// However much goes on, look at least this often.
const MOST_DEBOUNCE: Duration = Duration::from_secs(2);
/// How often to look without an event. Costs a read of all files, on this thread alone.
const POLL: Duration = Duration::from_secs(2);

/// What all files of the folders say, in 64 bits, and those that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    folders: u64,
    outside: Seen,
}

impl Fingerprint {
    /// Reads all files. Take it *before* the first [`load`](crate::load), so that no change in between is missed.
    pub fn of(dirs: &[PathBuf]) -> Self {
        Self { folders: hash(&files::read(dirs)), outside: Seen::default() }
    }

    /// With the files that the configuration loaded from there names, certificates and keys, so that they are watched.
    pub fn naming(self, config: &GatewayConfig) -> Self {
        Self { outside: config.outside.clone(), ..self }
    }
}

fn hash(files: &files::Files) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// Watches until it is dropped. Has a thread of its own, on which it calls back.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

impl Watcher {
    /// Calls `loaded` with the outcome of a load whenever the content of `dirs` is no longer the one `seen` last.
    /// A bad edit gives its mistakes once; what runs should go on running.
    ///
    /// # Errors
    /// The system has no thread left. A file system that cannot be watched is no error: it is polled.
    pub fn start(
        dirs: Vec<PathBuf>,
        seen: Fingerprint,
        env: impl Fn(&str) -> Option<String> + Send + 'static,
        loaded: impl FnMut(Result<GatewayConfig, ConfigErrors>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(dirs, seen, true, env, loaded)
    }

    fn start_with(
        dirs: Vec<PathBuf>,
        mut seen: Fingerprint,
        events: bool,
        env: impl Fn(&str) -> Option<String> + Send + 'static,
        mut loaded: impl FnMut(Result<GatewayConfig, ConfigErrors>) + Send + 'static,
    ) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = Self { stop: Arc::clone(&stop), wake: wake.clone() };
        let mut eyes = events.then(|| Eyes::new(wake)).flatten();
        let run = move || {
            loop {
                eyes.as_mut().into_iter().for_each(|eyes| eyes.open(&dirs));
                wait(&woken);
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let files = files::read(&dirs);
                let folders = hash(&files);
                if folders != seen.folders || seen.outside.has_changed() {
                    let (outcome, outside) = load_files(files, &env);
                    seen = Fingerprint { folders, outside };
                    loaded(outcome);
                }
            }
        };
        thread::Builder::new().name("weir-config".to_owned()).spawn(run)?;
        Ok(watcher)
    }
}

/// Asks the thread to end. It does so within a moment, or after the load under way.
impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel has already woken it.
        self.wake.try_send(()).unwrap_or_default();
    }
}

/// Until something has happened and calmed down, or it is time to look anyway.
fn wait(woken: &Receiver<()>) {
    if woken.recv_timeout(POLL).is_err() {
        return;
    }
    let since = Instant::now();
    while since.elapsed() < MOST_DEBOUNCE && woken.recv_timeout(DEBOUNCE).is_ok() {}
}

/// The file system's events.
struct Eyes {
    watcher: RecommendedWatcher,
    watched: Vec<PathBuf>,
}

impl Eyes {
    /// `None` where the system has no such thing, or no more of it.
    fn new(wake: SyncSender<()>) -> Option<Self> {
        let handler = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| may_change(event.kind)) {
                // A full channel has already woken the thread.
                wake.try_send(()).unwrap_or_default();
            }
        };
        let watcher = notify::recommended_watcher(handler).ok()?;
        Some(Self { watcher, watched: Vec::new() })
    }

    /// Watches the folders that are not watched yet. One that is missing is tried again at the next look.
    fn open(&mut self, dirs: &[PathBuf]) {
        let gone = |dir: &PathBuf| !dir.exists();
        self.watched.retain(|dir| !gone(dir));
        for dir in dirs {
            if !self.watched.contains(dir) && self.watcher.watch(dir, RecursiveMode::Recursive).is_ok() {
                self.watched.push(dir.clone());
            }
        }
    }
}

/// Our own reading is an event too, and must not wake us.
fn may_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    type Loads = Receiver<Result<GatewayConfig, ConfigErrors>>;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn site(name: &str) -> String {
        format!(
            "{{apiVersion: gateway.weir.dev/v1, kind: Configuration, metadata: {{name: a}}, \
             spec: {{identity: {{site: {name}}}}}}}\n"
        )
    }

    fn watch(dir: &Path, events: bool) -> (Watcher, Loads) {
        let (send, loads) = channel();
        let dirs = vec![dir.to_owned()];
        let seen = Fingerprint::of(&dirs);
        let loaded = move |outcome| send.send(outcome).unwrap_or_default();
        (Watcher::start_with(dirs, seen, events, |_| None, loaded).unwrap(), loads)
    }

    fn next_site(loads: &Loads) -> String {
        loads.recv_timeout(DEADLINE).unwrap().unwrap().identity.site
    }

    fn see_changes(events: bool) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        fs::write(&file, site("one")).unwrap();
        let (_watcher, loads) = watch(dir.path(), events);
        fs::write(dir.path().join("notes.txt"), "no resource").unwrap();
        fs::write(&file, site("one")).unwrap();
        fs::write(&file, site("two")).unwrap();
        assert_eq!(next_site(&loads), "two", "what is the same is not loaded again");
        fs::write(&file, "a: [").unwrap();
        assert!(loads.recv_timeout(DEADLINE).unwrap().unwrap_err().to_string().contains("a.yaml"));
        let below = dir.path().join("below");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&below).unwrap();
        fs::write(below.join("b.yml"), site("three")).unwrap();
        // The folder may be seen before the file in it.
        while next_site(&loads) != "three" {}
    }

    #[test]
    fn changes_are_seen_by_events() {
        see_changes(true);
    }

    #[test]
    fn changes_are_seen_without_events() {
        see_changes(false);
    }

    /// The links of a ConfigMap: `a.yaml` → `..data/a.yaml`, `..data` → `..1`, swapped by a rename.
    #[cfg(unix)]
    #[test]
    fn kubernetes_updates_are_one_change() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, name) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a.yaml"), site(name)).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        let (_watcher, loads) = watch(dir.path(), true);
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(next_site(&loads), "two");
    }

    #[test]
    fn a_dropped_watcher_ends_its_thread() {
        let dir = tempfile::tempdir().unwrap();
        let (watcher, loads) = watch(dir.path(), true);
        drop(watcher);
        let ended = loads.recv_timeout(DEADLINE);
        assert_eq!(ended.unwrap_err(), std::sync::mpsc::RecvTimeoutError::Disconnected);
    }

    #[test]
    fn a_folder_that_comes_later_is_seen() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("conf.d");
        let (_watcher, loads) = watch(&dir, true);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), site("late")).unwrap();
        while next_site(&loads) != "late" {}
    }
}
