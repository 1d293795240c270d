//! The file system's events: they say *when* to look, never what changed.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Watches folders, and for each the folder above it, where a link or a name is swapped.
pub(super) struct FsEvents {
    watcher: RecommendedWatcher,
    /// The folders as they are watched: absolute, as events name them.
    dirs: Vec<PathBuf>,
    watched: Vec<PathBuf>,
}

impl FsEvents {
    /// `None` where the system has no such thing, or no more of it. Calls `wake` whenever something may have changed.
    pub fn new(dirs: &[PathBuf], wake: impl Fn() + Send + 'static) -> Option<Self> {
        let dirs: Vec<_> = dirs.iter().filter_map(|dir| std::path::absolute(dir).ok()).collect();
        let ours = dirs.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            let concerns = |event: notify::Event| {
                let below = |path: &PathBuf| ours.iter().any(|dir| path.starts_with(dir));
                event.need_rescan() || (may_change(event.kind) && event.paths.iter().any(below))
            };
            if event.map_or(true, concerns) {
                wake();
            }
        };
        Some(Self { watcher: notify::recommended_watcher(handler).ok()?, dirs, watched: Vec::new() })
    }

    /// Watches what is not watched yet. What is missing is tried again at the next look.
    pub fn open(&mut self) {
        self.watched.retain(|dir| dir.exists());
        for dir in self.dirs.clone() {
            self.watch(&dir, RecursiveMode::Recursive);
            if let Some(above) = dir.parent() {
                self.watch(above, RecursiveMode::NonRecursive);
            }
        }
    }

    /// After a swap: what is behind a link now is another folder.
    pub fn open_again(&mut self) {
        for dir in &self.dirs {
            // Fails for one that is gone, which needs no watch.
            self.watcher.unwatch(dir).unwrap_or_default();
        }
        let dirs = std::mem::take(&mut self.dirs);
        self.watched.retain(|path| !dirs.contains(path));
        self.dirs = dirs;
        self.open();
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) {
        if !self.watched.iter().any(|watched| watched == path) && self.watcher.watch(path, mode).is_ok() {
            self.watched.push(path.to_owned());
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
