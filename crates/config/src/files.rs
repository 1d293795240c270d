//! The YAML files of the folders that were given: found, bounded, read.
//!
//! Hidden entries are passed over: editors' swap files, and the `..data` folders of Kubernetes. What a folder shows by
//! links through its `..data` is read behind it: a swap of that link is then one change, though the links of new files
//! come after it. A set of files that was swapped while it was read is read again.

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
/// How often a set is read again that is swapped while it is read.
const MAX_SWAPS: usize = 8;
/// The link behind which Kubernetes keeps a volume's files.
const DATA: &str = "..data";

/// Links to folders, by where they are, and where they lead.
type Links = BTreeMap<PathBuf, PathBuf>;

/// What was found, each file once; and what is wrong with the folders.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// In the order of the paths.
    pub files: BTreeMap<PathBuf, File>,
    pub errors: Vec<ConfigError>,
    links: Links,
}

/// A file: its text or why it cannot be had.
#[derive(Debug)]
pub(crate) struct File {
    pub text: Result<String, ConfigError>,
    /// The links to folders that lead to it.
    through: Vec<PathBuf>,
}

/// Reads every `*.yaml` and `*.yml` below `dirs`.
pub(crate) fn read(dirs: &[PathBuf]) -> Files {
    let mut files = read_once(dirs);
    for _ in 1..MAX_SWAPS {
        if !files.is_swapped() {
            break;
        }
        files = read_once(dirs);
    }
    files
}

fn read_once(dirs: &[PathBuf]) -> Files {
    let mut found = Found::default();
    dirs.iter().for_each(|dir| found.look_from(dir));
    let read = |(path, place): (PathBuf, Place)| {
        let text = read_file(&path, &place.real);
        (path, File { text, through: place.through })
    };
    Files { files: found.files.into_iter().map(read).collect(), errors: found.errors, links: found.links }
}

impl Files {
    /// Of texts that were kept.
    pub fn of(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let file = |(path, text)| (path, File { text: Ok(text), through: Vec::new() });
        Self { files: texts.into_iter().map(file).collect(), ..Self::default() }
    }

    /// What all of it says, in 64 bits. Where links lead does not count.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.files.len().hash(&mut hasher);
        self.files.iter().for_each(|(path, file)| (path, &file.text).hash(&mut hasher));
        self.errors.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether a link to a folder leads elsewhere by now.
    pub fn is_swapped(&self) -> bool {
        self.links.iter().any(|(path, target)| leads_to(path).as_ref() != Some(target))
    }

    /// Whether all that differs from `old` came by links that lead elsewhere: such a set is whole as it stands.
    pub fn is_swap_of(&self, old: &Self) -> bool {
        let moved = |link: &PathBuf| self.links.get(link) != old.links.get(link);
        if !self.errors.is_empty() || !self.links.keys().chain(old.links.keys()).any(moved) {
            return false;
        }
        let paths: BTreeSet<_> = self.files.keys().chain(old.files.keys()).collect();
        paths.into_iter().all(|path| {
            let (new, old) = (self.files.get(path), old.files.get(path));
            new.map(|file| &file.text) == old.map(|file| &file.text)
                || new.into_iter().chain(old).flat_map(|file| &file.through).any(moved)
        })
    }
}

/// A link that is part of a path counts too: the folder `current/conf.d` is swapped with `current`.
fn leads_to(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// Where a file is read, and through which links.
struct Place {
    real: PathBuf,
    through: Vec<PathBuf>,
}

#[derive(Default)]
struct Found {
    files: BTreeMap<PathBuf, Place>,
    errors: Vec<ConfigError>,
    links: Links,
    /// Of the folder that is looked into.
    through: Vec<PathBuf>,
}

impl Found {
    fn look_from(&mut self, dir: &Path) {
        let target = leads_to(dir);
        let linked = target.as_ref().is_some_and(|target| std::path::absolute(dir).is_ok_and(|dir| dir != *target));
        if let Some(target) = target.filter(|_| linked) {
            self.links.insert(dir.to_owned(), target.clone());
            self.within(dir, |found| found.look(dir, &target, 0));
        } else {
            self.look(dir, dir, 0);
        }
    }

    fn within(&mut self, link: &Path, look: impl FnOnce(&mut Self)) {
        self.through.push(link.to_owned());
        look(self);
        self.through.pop();
    }

    /// `path` is what it is called, `real` where it is read.
    fn look(&mut self, path: &Path, real: &Path, depth: usize) {
        let kind = match fs::metadata(real) {
            Ok(metadata) => metadata.file_type(),
            // A file that goes away while we look, or a dangling link of an update under way.
            Err(error) if depth > 0 && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.errors.push(unreadable(path, &error)),
        };
        if kind.is_dir() {
            let target = if depth > 0 && fs::read_link(real).is_ok() { leads_to(real) } else { None };
            match target {
                Some(target) => {
                    self.links.insert(real.to_owned(), target.clone());
                    self.within(real, |found| found.look_into(path, &target, depth));
                }
                None => self.look_into(path, real, depth),
            }
        } else if kind.is_file() && (depth == 0 || is_yaml(path)) {
            self.add(path, real);
        }
    }

    fn look_into(&mut self, dir: &Path, real: &Path, depth: usize) {
        if depth > MAX_FOLDERS {
            let message = format!("folders nest more than {MAX_FOLDERS} deep; is there a link to a parent?");
            return self.errors.push(mistake(dir, 0, message));
        }
        let data = real.join(DATA);
        let behind = leads_to(&data).filter(|target| fs::read_link(&data).is_ok() && target.is_dir());
        self.look_at_entries(dir, real, depth, behind.is_some());
        if let Some(target) = behind {
            self.links.insert(data.clone(), target.clone());
            self.within(&data, |found| found.look_at_entries(dir, &target, depth, false));
        }
    }

    fn look_at_entries(&mut self, dir: &Path, real: &Path, depth: usize, but_links_to_data: bool) {
        let entries = match fs::read_dir(real) {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(unreadable(dir, &error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                // What cannot be listed may be anything: never take it for absent.
                Err(error) => return self.errors.push(unreadable(dir, &error)),
            };
            let leads_to_data = || fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(DATA));
            if entry.file_name().as_encoded_bytes().starts_with(b".") || (but_links_to_data && leads_to_data()) {
                continue;
            }
            self.look(&dir.join(entry.file_name()), &entry.path(), depth + 1);
        }
    }

    fn add(&mut self, path: &Path, real: &Path) {
        if self.files.len() < MAX_FILES {
            let place = Place { real: real.to_owned(), through: self.through.clone() };
            self.files.insert(path.to_owned(), place);
        } else if self.files.len() == MAX_FILES && !self.errors.iter().any(|error| error.message.contains("more than"))
        {
            self.errors.push(mistake(path, 0, format!("there are more than {MAX_FILES} files; use fewer")));
        }
    }
}

/// Files that the resources name, read once each and remembered by what was in them, so that a change is seen.
#[derive(Debug, Default)]
pub(crate) struct ReferencedFiles(RefCell<BTreeMap<PathBuf, Result<String, String>>>);

impl ReferencedFiles {
    /// The text of a file, or what is wrong with it and how to fix it.
    pub fn read(&self, path: &Path) -> Result<String, String> {
        let mut seen = self.0.borrow_mut();
        if seen.len() >= MAX_FILES && !seen.contains_key(path) {
            return Err(format!("is one of more than {MAX_FILES} files; use fewer"));
        }
        seen.entry(path.to_owned()).or_insert_with(|| read_outside(path)).clone()
    }

    /// What was read, by the hash of it.
    pub fn seen(&self) -> FileHashes {
        let hashed = |(path, text): (&PathBuf, &Result<String, String>)| (path.clone(), hash(text));
        FileHashes(self.0.borrow().iter().map(hashed).collect())
    }
}

/// The files that a configuration was made from besides those of its folders, and what was in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileHashes(BTreeMap<PathBuf, u64>);

impl FileHashes {
    /// The same files, and what is in them now. Costs a read of each.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), hash(&read_outside(path)))).collect())
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
        Ok(metadata) if metadata.is_file() => read_file(path, path).map_err(|error| error.message),
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

/// `path` is what it is called.
fn read_file(path: &Path, real: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(real).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
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
    let fix = match error.kind() {
        io::ErrorKind::NotFound => "create it, or name another with `--config`",
        io::ErrorKind::PermissionDenied => "let the gateway's user read it",
        _ => "see whether its file system is well",
    };
    mistake(path, 0, format!("cannot be read: {}; {fix}", error.kind()))
}

fn mistake(path: &Path, line: usize, message: String) -> ConfigError {
    ConfigError { file: path.to_owned(), line, column: 0, resource: String::new(), path: String::new(), message }
}
