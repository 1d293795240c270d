//! From folders to one checked [`GatewayConfig`], or to every mistake in them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::build::build;
use crate::check;
use crate::custom;
use crate::environment::Variables;
use crate::error::{ConfigError, ConfigErrors, Warnings};
use crate::files::{self, FileHashes, Files, ReferencedFiles};
use crate::link::link;
use crate::model::GatewayConfig;
use crate::policy;
use crate::ports;
use crate::read::{Custom, Env, Errors, LoadContext};
use crate::resources::{self, Drafts, Settings};
use crate::tree::{self, Value};

/// How many mistakes of one file are reported: past that the file is of another kind altogether.
const MAX_MISTAKES: usize = 100;

/// Loads every `*.yaml` and `*.yml` below `dirs`, recursively and in the order of their paths.
///
/// `env` answers for environment variables: those that values name as `$NAME`, and Flex's own. What the YAML sets
/// counts before the environment, and that before the defaults.
///
/// # Errors
/// Every mistake of every file at once; then nothing of it may be used.
pub fn load(dirs: &[PathBuf], env: &dyn Fn(&str) -> Option<String>) -> Result<GatewayConfig, ConfigErrors> {
    load_files(&files::read(dirs), env).0
}

/// As [`load`], from files that are read already; and what was seen of those that they name.
pub(crate) fn load_files(files: &Files, env: Env<'_>) -> (Result<GatewayConfig, ConfigErrors>, FileHashes) {
    let errors = RefCell::new(files.errors.clone());
    let (outside, warnings) = (ReferencedFiles::default(), Errors::default());
    let custom = Custom::default();
    let world = LoadContext { env, outside: &outside, warnings: &warnings, custom: &custom };
    let mut drafts = Drafts::of_environment(env, &errors);
    for (path, file) in &files.files {
        match &file.text {
            Ok(text) => read_file(path, text, world, &errors, &mut drafts),
            Err(error) => errors.borrow_mut().push(error.clone()),
        }
    }
    (finish(drafts, world, errors), outside.seen())
}

/// Where the files say that the spool is, as far as they can be read: also of a configuration that is wrong.
pub(crate) fn spool_path(files: &Files, env: Env<'_>) -> PathBuf {
    let (errors, outside) = (Errors::default(), ReferencedFiles::default());
    let mut drafts = Drafts::default();
    for (path, file) in &files.files {
        if let Ok(text) = &file.text {
            let world =
                LoadContext { env, outside: &outside, warnings: &Errors::default(), custom: &Custom::default() };
            read_file(path, text, world, &errors, &mut drafts);
        }
    }
    drafts.settings.into_spool_path()
}

/// Loads the documents of one text, reported as `name` in mistakes: for what is not in a file yet.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<GatewayConfig, ConfigErrors> {
    let errors = Errors::default();
    let (outside, warnings) = (ReferencedFiles::default(), Errors::default());
    let custom = Custom::default();
    let world = LoadContext { env, outside: &outside, warnings: &warnings, custom: &custom };
    let mut drafts = Drafts::of_environment(env, &errors);
    read_file(name, text, world, &errors, &mut drafts);
    finish(drafts, world, errors)
}

impl Drafts {
    fn of_environment(env: Env<'_>, errors: &Errors) -> Self {
        Self { settings: Settings::of_environment(&Variables { env, errors }), ..Self::default() }
    }
}

fn read_file(path: &Path, text: &str, world: LoadContext<'_>, errors: &Errors, drafts: &mut Drafts) {
    let found = Errors::default();
    let parsed = tree::parse(text);
    for (mark, message) in parsed.mistakes {
        let message = format!("{}; fix the YAML", message.replace(['\n', '\r'], " "));
        let (file, resource) = (path.to_owned(), String::new());
        found.borrow_mut().push(ConfigError {
            file,
            line: mark.line,
            column: mark.column,
            resource,
            path: String::new(),
            message,
        });
    }
    for document in parsed.documents.iter().filter(|document| !matches!(document.value, Value::Null)) {
        resources::resource(path, document, world, &found, drafts);
    }
    let mut found = found.into_inner();
    found.sort();
    let more = found.len().saturating_sub(MAX_MISTAKES);
    found.truncate(MAX_MISTAKES);
    if let Some(last) = found.last().filter(|_| more > 0) {
        let message = format!("has at least {more} more errors that are not shown; fix these first");
        let (resource, path) = (String::new(), String::new());
        found.push(ConfigError { line: 0, column: 0, resource, path, message, ..last.clone() });
    }
    errors.borrow_mut().extend(found);
}

fn finish(mut drafts: Drafts, world: LoadContext<'_>, errors: Errors) -> Result<GatewayConfig, ConfigErrors> {
    errors.borrow_mut().extend(custom::mistakes(world.custom, &policy::names().collect::<Vec<_>>(), world.warnings));
    errors.borrow_mut().extend(link(&mut drafts, world.warnings));
    ports::settle(&mut drafts.apis, world.warnings);
    errors.borrow_mut().extend(check::check(&drafts));
    let peers = drafts.settings.place("peerGateways").cloned();
    let config = std::mem::take(&mut drafts.settings).into_config(&errors);
    if let Some(errors) = ConfigErrors::new(errors.into_inner()) {
        return Err(errors);
    }
    let apis = build(drafts);
    let unseen = peers.iter().flat_map(|place| check::unseen_peers(&config.peer_gateways, &apis, place));
    world.warnings.borrow_mut().extend(unseen);
    let warnings = Warnings::new(world.warnings.take());
    Ok(GatewayConfig { apis, outside: world.outside.seen(), warnings, ..config })
}
