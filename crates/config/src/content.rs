//! The files of the folders as they were read at one moment: what a configuration is loaded from, and what is kept of it.

use std::path::{Path, PathBuf};

use crate::error::ConfigErrors;
use crate::files::{self, FileHashes, Files};
use crate::load::{load_files, spool_path};
use crate::model::GatewayConfig;
use crate::read::Env;

/// A set of files, read.
#[derive(Debug)]
pub struct Content {
    pub(crate) files: Files,
    pub(crate) hash: u64,
}

impl Content {
    /// Reads every `*.yaml` and `*.yml` below `dirs`, recursively.
    pub fn read(dirs: &[PathBuf]) -> Self {
        Self::from(files::read(dirs))
    }

    /// Texts that were kept, as [`Content::texts`] gave them.
    pub fn of(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        Self::from(Files::of(texts))
    }

    /// The files that could be read, and what they say: `$NAME` stands there as it was written.
    pub fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files.files.iter().filter_map(|(path, file)| Some((path.as_path(), file.text.as_deref().ok()?)))
    }

    /// Whether the texts are the same, file by file.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.texts().eq(other.texts())
    }

    /// See [`load`](crate::load).
    ///
    /// # Errors
    /// Every mistake of every file at once.
    pub fn load(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<GatewayConfig, ConfigErrors> {
        self.load_seeing(env).0
    }

    /// Where the files say that the spool is, as far as they can be read.
    pub fn spool_path(&self, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
        spool_path(&self.files, env)
    }

    pub(crate) fn load_seeing(&self, env: Env<'_>) -> (Result<GatewayConfig, ConfigErrors>, FileHashes) {
        load_files(&self.files, env)
    }
}

impl From<Files> for Content {
    fn from(files: Files) -> Self {
        Self { hash: files.hash(), files }
    }
}
