//! Where a configuration comes from: the seam between the watcher, which decides when a change is complete and may be taken,
//! and what it reads. Folders of files are the one source today; a control plane would be another.

use std::path::PathBuf;

use super::fs_events::FsEvents;
use crate::content::Content;

/// What a source calls when something may have changed.
pub type Wake = Box<dyn Fn() + Send>;

/// A place that documents of a configuration are read from. It lives on the watcher's thread.
pub trait Source: Send + 'static {
    /// All documents as they are now, what cannot be read among them as errors.
    fn read(&mut self) -> Content;

    /// From now on `wake` is called whenever something may have changed. A source that cannot know that never calls it: it is
    /// read every two seconds all the same.
    fn watch(&mut self, wake: Wake);

    /// Called before each wait, so that what is there only now is watched, too.
    fn renew(&mut self) {}

    /// Called after a change that replaced what is watched.
    fn replaced(&mut self) {}
}

/// Every `*.yaml` and `*.yml` below some folders, recursively.
pub struct Folders {
    dirs: Vec<PathBuf>,
    /// `None` where the system has no events of files.
    events: Option<FsEvents>,
    /// Whether events are asked for.
    listens: bool,
}

impl Folders {
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs, events: None, listens: true }
    }

    /// As on a file system that sends no events.
    #[cfg(test)]
    pub(super) fn without_events(dirs: Vec<PathBuf>) -> Self {
        Self { listens: false, ..Self::new(dirs) }
    }
}

impl Source for Folders {
    fn read(&mut self) -> Content {
        Content::read(&self.dirs)
    }

    fn watch(&mut self, wake: Wake) {
        self.events = if self.listens { FsEvents::new(&self.dirs, wake) } else { None };
    }

    fn renew(&mut self) {
        self.events.iter_mut().for_each(FsEvents::open);
    }

    fn replaced(&mut self) {
        self.events.iter_mut().for_each(FsEvents::open_again);
    }
}
