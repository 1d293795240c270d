//! The YAML files of the folders that were given: found, bounded, read.
//!
//! Hidden entries are passed over: editors' swap files, and the `..data` folders behind which Kubernetes keeps what the
//! links beside them show.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// The most that one file may hold, in bytes.
const MAX_FILE: u64 = 8 << 20;
/// The most files of one load.
const MAX_FILES: usize = 10_000;
/// How deep folders may nest.
const MAX_FOLDERS: usize = 16;

/// What was found, in the order of the paths, each file once; and what is wrong with the folders.
#[derive(Hash)]
pub(crate) struct Files {
    pub files: Vec<File>,
    pub errors: Vec<ConfigError>,
}

/// A file, and its text or why it cannot be had.
#[derive(Hash)]
pub(crate) struct File {
    pub path: PathBuf,
    pub text: Result<String, ConfigError>,
}

/// Reads every `*.yaml` and `*.yml` below `dirs`.
pub(crate) fn read(dirs: &[PathBuf]) -> Files {
    let mut found = Found::default();
    for dir in dirs {
        found.look(dir, 0);
    }
    let read = |path: PathBuf| File { text: read_file(&path), path };
    Files { files: found.files.into_iter().map(read).collect(), errors: found.errors }
}

#[derive(Default)]
struct Found {
    files: BTreeSet<PathBuf>,
    errors: Vec<ConfigError>,
}

impl Found {
    fn look(&mut self, path: &Path, depth: usize) {
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            // A file that goes away while we look, or a dangling link of an update under way.
            Err(error) if depth > 0 && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.errors.push(unreadable(path, &error)),
        };
        if kind.is_dir() {
            self.look_into(path, depth);
        } else if kind.is_file() && (depth == 0 || is_yaml(path)) {
            self.add(path);
        }
    }

    fn look_into(&mut self, dir: &Path, depth: usize) {
        if depth > MAX_FOLDERS {
            let message = format!("folders nest more than {MAX_FOLDERS} deep; is there a link to a parent?");
            return self.errors.push(mistake(dir, 0, message));
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(unreadable(dir, &error)),
        };
        for entry in entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
            self.look(&entry.path(), depth + 1);
        }
    }

    fn add(&mut self, path: &Path) {
        if self.files.len() < MAX_FILES {
            self.files.insert(path.to_owned());
        } else if self.files.len() == MAX_FILES && !self.errors.iter().any(|error| error.message.contains("more than"))
        {
            self.errors.push(mistake(path, 0, format!("there are more than {MAX_FILES} files; use fewer")));
        }
    }
}

/// Files that the resources name, read once each and remembered by what was in them, so that a change is seen.
#[derive(Debug, Default)]
pub(crate) struct Outside(RefCell<BTreeMap<PathBuf, Result<String, String>>>);

impl Outside {
    /// The text of a file, or what is wrong with it and how to mend it.
    pub fn read(&self, path: &Path) -> Result<String, String> {
        let mut seen = self.0.borrow_mut();
        if seen.len() >= MAX_FILES && !seen.contains_key(path) {
            return Err(format!("is one of more than {MAX_FILES} files; use fewer"));
        }
        seen.entry(path.to_owned()).or_insert_with(|| read_outside(path)).clone()
    }

    /// What was read, by the hash of it.
    pub fn seen(&self) -> Seen {
        let hashed = |(path, text): (&PathBuf, &Result<String, String>)| (path.clone(), hash(text));
        Seen(self.0.borrow().iter().map(hashed).collect())
    }
}

/// The files that a configuration was made from besides those of its folders, and what was in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen(BTreeMap<PathBuf, u64>);

impl Seen {
    /// Whether any of them now says something else. Costs a read of each.
    pub(crate) fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| hash(&read_outside(path)) != *seen)
    }
}

fn hash(text: &Result<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A folder, a device or a pipe is refused before it is opened: opening one could wait for ever.
fn read_outside(path: &Path) -> Result<String, String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => read_file(path).map_err(|error| error.message),
        Ok(_) => Err("is no file; name one".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("names a file that is not there; create it".to_owned())
        }
        Err(error) => Err(unreadable(path, &error).message),
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(mistake(path, 0, format!("is larger than {MAX_FILE} bytes; split it")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        mistake(path, line, "is not UTF-8 here; save the file as UTF-8".to_owned())
    })
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "create it, or name another with `--config`",
        io::ErrorKind::PermissionDenied => "let the gateway's user read it",
        _ => "see whether its file system is well",
    };
    mistake(path, 0, format!("cannot be read: {}; {cure}", error.kind()))
}

fn mistake(path: &Path, line: usize, message: String) -> ConfigError {
    ConfigError { file: path.to_owned(), line, column: 0, resource: String::new(), path: String::new(), message }
}
