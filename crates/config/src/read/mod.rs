//! Reading specs from marked trees, with every mistake collected on the way.
//!
//! A reader is a function from a [`Cursor`] - a value and where it stands - to `Option<T>`: `None` means that the mistake
//! is already reported, so a reader goes on with the next field. Names of fields are written once, where they are read:
//! what [`Mapping`] was not asked for is refused.

mod custom;
mod describe;
mod elsewhere;
mod mapping;
mod nearest;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::json;

use crate::error::ConfigError;
use crate::files::ReferencedFiles;
use crate::tree::{Mark, Node, Value, placeholder};
use crate::units::Secret;

pub(crate) use custom::Custom;
pub(crate) use describe::Recorder;
use describe::Shape;
pub(crate) use mapping::Mapping;
pub(crate) use nearest::{did_you_mean, list};

/// Said of what Flex has and weir has not.
pub(crate) const NOT_SUPPORTED_YET: &str = "not supported yet by this version of weir";

/// How many mistakes of one file are kept.
pub(crate) const MAX_ERRORS: usize = 1_000;

/// Environment variables, by name.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What resources may ask for beyond their own text.
#[derive(Clone, Copy)]
pub(crate) struct LoadContext<'a> {
    pub env: Env<'a>,
    /// The files that they name.
    pub outside: &'a ReferencedFiles,
    /// What is taken, and yet worth a word.
    pub warnings: &'a Errors,
    /// The policies that are not known.
    pub custom: &'a Custom,
}

/// The mistakes of a load, as they are found.
pub(crate) type Errors = RefCell<Vec<ConfigError>>;

/// Where something was written, kept for mistakes that show only when it is held against something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub(crate) file: PathBuf,
    pub(crate) mark: Mark,
    pub(crate) resource: String,
    pub(crate) path: String,
}

impl Place {
    /// The whole of a file that is no resource.
    pub(crate) fn of_file(path: &str) -> Self {
        let mark = Mark { line: 0, column: 0 };
        Self { file: path.into(), mark, resource: String::new(), path: String::new() }
    }

    /// A mistake there. `message` is one line, says what is wrong and how to fix it.
    pub fn error(&self, message: String) -> ConfigError {
        let (Self { file, resource, path, .. }, Mark { line, column }) = (self.clone(), self.mark);
        ConfigError { file, line, column, resource, path, message }
    }
}

/// `conf.d/a.yaml:12`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.mark.line)
    }
}

/// What all values of one resource share.
pub(crate) struct Scope<'a> {
    pub file: &'a Path,
    /// `ApiInstance "orders"`, once known.
    pub resource: String,
    pub world: LoadContext<'a>,
    pub errors: &'a Errors,
    /// Whether its `apiVersion` is Weir's own.
    pub is_weir: Cell<bool>,
    /// Where readers that are run to be described say what they ask for.
    pub recorder: Option<&'a Recorder>,
    /// Reported by [`Scope::tell_missing`].
    pub keys: RefCell<Keys>,
}

/// Of one resource: the keys that are missing, and those that stand in the wrong place. One may be the other.
#[derive(Default)]
pub(crate) struct Keys {
    missing: Vec<ConfigError>,
    /// Paths.
    misplaced: Vec<String>,
}

impl Scope<'_> {
    /// Tells what is missing in the resource, when all of it is read. What is there in the wrong place is not missing.
    pub fn tell_missing(&self) {
        let Keys { missing, misplaced } = self.keys.take();
        let is_there = |error: &ConfigError| misplaced.iter().any(|path| explains(path, &error.path));
        let mut errors = self.errors.borrow_mut();
        let room = MAX_ERRORS.saturating_sub(errors.len());
        errors.extend(missing.into_iter().filter(|error| !is_there(error)).take(room));
    }
}

/// Whether a key that stands at `misplaced` may be what is missing at `missing`: the same key in the same item of a list.
fn explains(misplaced: &str, missing: &str) -> bool {
    let (within, key) = misplaced.rsplit_once('.').unwrap_or(("", misplaced));
    let item = within.rfind(']').map_or("", |end| &within[..=end]);
    missing.strip_prefix(item).is_some_and(|rest| rest.split('.').any(|step| step == key))
}

/// What readers are described by.
const ANY: &Node = &Node { mark: Mark { line: 0, column: 0 }, value: Value::Any };

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    scope: &'a Scope<'a>,
    value: &'a Value,
    mark: Mark,
    path: String,
    substitute: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(scope: &'a Scope<'a>, node: &'a Node) -> Self {
        Self { scope, value: &node.value, mark: node.mark, path: String::new(), substitute: false }
    }

    /// A value that has everything, for [`Scope::recorder`].
    pub fn any(scope: &'a Scope<'a>) -> Self {
        Self::new(scope, ANY)
    }

    /// Says in the description what is asked for. True while there is nothing to be read.
    fn describe(&self, write: impl FnOnce(&mut Shape)) -> bool {
        let Some(recorder) = self.scope.recorder else { return false };
        recorder.at(&self.path, write);
        true
    }

    /// Says in the description what it means, and what it is where nobody sets it.
    pub fn means(&self, meaning: &str, default: Option<serde_json::Value>) {
        self.describe(|shape| shape.means(meaning, default));
    }

    /// As [`Cursor::describe`], of a single value.
    fn describe_leaf(&self, words: impl FnOnce() -> serde_json::Value) -> bool {
        let substitute = self.substitute;
        self.describe(|shape| shape.leaf(if substitute { describe::or_variable(words()) } else { words() }))
    }

    /// The same value, in which (and under which) `$NAME` stands for an environment variable.
    pub fn with_env(mut self) -> Self {
        self.substitute = true;
        self
    }

    /// The same value with field names counted from here: `spec` is left out of what users read.
    pub fn rooted(mut self) -> Self {
        self.path.clear();
        self
    }

    pub fn place(&self) -> Place {
        let (file, resource) = (self.scope.file.to_owned(), self.scope.resource.clone());
        Place { file, mark: self.mark, resource, path: self.path.clone() }
    }

    /// Tells a mistake. Past [`MAX_ERRORS`] of them nobody reads on, and memory must not grow with them.
    pub fn refuse<T>(&self, message: impl Into<String>) -> Option<T> {
        if self.scope.recorder.is_some() {
            return None;
        }
        let mut message = message.into();
        if let Value::Scalar(text) = self.value
            && placeholder(text).is_some()
        {
            // Not quoted: the value may be a secret that only looks like one.
            message.push_str("; it contains what looks like a placeholder that nobody filled in");
        }
        let mut errors = self.scope.errors.borrow_mut();
        if errors.len() < MAX_ERRORS {
            errors.push(self.place().error(message));
        }
        None
    }

    /// Says of what is taken that it has no effect, or another one than it seems. As bounded as [`Cursor::refuse`].
    pub fn warn(&self, message: impl Into<String>) {
        if self.scope.recorder.is_some() {
            return;
        }
        let mut warnings = self.scope.world.warnings.borrow_mut();
        if warnings.len() < MAX_ERRORS {
            warnings.push(self.place().error(message.into()));
        }
    }

    /// A policy that is not known, which is reported when all files are read.
    pub fn unknown_policy<T>(&self, name: String) -> Option<T> {
        if self.scope.recorder.is_none() {
            self.scope.world.custom.bind(name, self.place());
        }
        None
    }

    /// An `Extension`, as [`Cursor::unknown_policy`].
    pub fn custom_policy(&self, name: String, place: Place) {
        self.scope.world.custom.define(name, place);
    }

    /// Whether it is written as `text`.
    pub fn says(&self, text: &str) -> bool {
        matches!(self.value, Value::Scalar(written) if written == text)
    }

    /// Whether it is a mapping.
    pub fn is_mapping(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Whether there is nothing to be read: what is asked for is only described.
    pub fn is_described(&self) -> bool {
        self.scope.recorder.is_some()
    }

    /// Whether its text is that of an environment variable.
    pub fn is_variable(&self) -> bool {
        self.substitute && matches!(self.value, Value::Scalar(text) if text.starts_with('$') && !text.starts_with("$$"))
    }

    /// What the environment variable `name` holds.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.scope.world.env)(name)
    }

    /// The text of a file that the configuration names.
    pub fn file(&self, path: &Path) -> Option<String> {
        let reported = |error| self.refuse(format!("`{}` {error}", show(&path.to_string_lossy())));
        self.scope.world.outside.read(path).map_or_else(reported, Some)
    }

    /// Whether the resource is under `gateway.weir.dev/v1`.
    pub fn is_weir(&self) -> bool {
        self.scope.is_weir.get()
    }

    pub fn set_weir(&self, is_weir: bool) {
        self.scope.is_weir.set(is_weir);
    }

    /// What is said of a key that is not known here, and is near to none that is: where else the resource has it.
    pub(super) fn elsewhere(&self, key: &str) -> Option<String> {
        let kind = self.scope.resource.split(' ').next().unwrap_or_default();
        let found = elsewhere::belongs(kind, &self.path, key)?;
        self.scope.keys.borrow_mut().misplaced.push(self.join(key));
        Some(found)
    }

    /// Tells, when the resource is read, that this is missing.
    pub(super) fn missing(&self, fix: &str) {
        if self.scope.recorder.is_some() {
            return;
        }
        let missing = &mut self.scope.keys.borrow_mut().missing;
        if missing.len() < MAX_ERRORS {
            missing.push(self.place().error(format!("is missing; {fix}")));
        }
    }

    fn child(&self, node: &'a Node, path: String) -> Self {
        Self { scope: self.scope, value: &node.value, mark: node.mark, path, substitute: self.substitute }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { show(name) } else { format!("{}.{}", self.path, show(name)) }
    }

    /// A single value as text, as written or from the environment. Numbers and `true` are text too.
    pub fn text(&self) -> Option<String> {
        if self.describe(|shape| shape.leaf(describe::text())) {
            return None;
        }
        match self.value {
            Value::Scalar(text) if self.substitute => self.substituted(text),
            Value::Scalar(text) => Some(text.clone()),
            Value::Null => self.refuse("has no value; write one"),
            Value::List(_) | Value::Map(_) | Value::Any => {
                self.refuse(format!("is {}; write a single value", self.value.describe()))
            }
        }
    }

    /// Text of at least one character.
    pub fn filled(&self) -> Option<String> {
        self.text().and_then(|text| if text.is_empty() { self.refuse("is empty; write a value") } else { Some(text) })
    }

    pub fn secret(&self) -> Option<Secret> {
        let text = self.filled()?;
        // Not what a variable holds.
        if self.says(&text) && placeholder(&text).is_some() {
            self.warn("looks like a placeholder that nobody filled in; it is taken as it is written");
        }
        Some(Secret::new(text))
    }

    /// Text read by `read`. Its error follows the value in the message: "`10x` has no known unit; `fix`".
    pub fn parse<T, E: fmt::Display>(&self, read: impl FnOnce(&str) -> Result<T, E>, fix: &str) -> Option<T> {
        self.describe(|shape| shape.leaf(json!({"description": fix})));
        self.parse_with_hint(|text| read(text).map_err(|error| format!("{error}; {fix}")))
    }

    /// As [`Cursor::parse`], for errors that say their own fix.
    pub fn parse_with_hint<T, E: fmt::Display>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        read(&text).map_or_else(|error| self.refuse(format!("{} {error}", self.quote(&text))), Some)
    }

    pub fn boolean(&self) -> Option<bool> {
        if self.describe_leaf(|| json!({"type": "boolean"})) {
            return None;
        }
        self.parse(read_bool, "write true or false")
    }

    pub fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        if self.describe_leaf(|| json!({"type": "integer", "minimum": least, "maximum": most})) {
            return None;
        }
        let text = self.text()?;
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = range.into_inner();
                self.refuse(format!("{} is not a whole number from {least} to {most}; write one", self.quote(&text)))
            }
        }
    }

    /// One of a closed set of names.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        if self.describe_leaf(|| describe::choice(choices.iter().map(|(name, _)| *name))) {
            return None;
        }
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        let names = || list(choices.iter().map(|(name, _)| *name));
        found.map_or_else(
            || self.refuse(format!("{} is unknown; write {}", self.quote(&text), names())),
            |(_, v)| Some(*v),
        )
    }

    /// A list, read item by item; what is wrong is left out and reported.
    pub fn items<T>(&self, mut read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        if self.describe(|shape| shape.items(format!("{}[0]", self.path))) {
            read(&self.child(ANY, format!("{}[0]", self.path)));
            return None;
        }
        let Value::List(items) = self.value else {
            return self.refuse(format!("is {}; write a list, each item after `- `", self.value.describe()));
        };
        let at = |(index, node): (usize, &'a Rc<Node>)| self.child(node, format!("{}[{index}]", self.path));
        Some(items.iter().enumerate().map(at).filter_map(|item| read(&item)).collect())
    }

    /// A mapping whose keys are the user's own, in the order of the file.
    pub fn entries<T>(&self, mut read: impl FnMut(&str, &Self) -> Option<T>) -> Option<Vec<T>> {
        if self.describe(|shape| shape.values(self.join("*"))) {
            read("name", &self.child(ANY, self.join("*")));
            return None;
        }
        let fields = self.fields()?;
        Some(fields.all().filter_map(|(name, at)| read(name, &at)).collect())
    }

    /// A mapping whose keys are known.
    pub fn fields(&self) -> Option<Mapping<'a>> {
        Mapping::new(self)
    }

    /// The value for a message. What came from the environment is never shown, only its variable's name; and of a URL
    /// neither its user nor its query, which may be secret.
    fn quote(&self, text: &str) -> String {
        match self.value {
            Value::Scalar(source) if source != text => format!("the value of `{}`", show(source)),
            _ => format!("`{}`", show(&without_secrets(text))),
        }
    }

    fn substituted(&self, text: &str) -> Option<String> {
        let Some(name) = text.strip_prefix('$') else { return Some(text.to_owned()) };
        if name.starts_with('$') {
            return Some(name.to_owned());
        }
        if !is_variable(name) {
            return self.refuse("begins with `$` but names no environment variable; write `$$` for a dollar sign");
        }
        // A password may begin with a dollar sign: what is no usual name of a variable is not shown.
        let usual = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let which =
            if usual { format!("environment variable `{name}`") } else { "the environment variable".to_owned() };
        let fix = || format!("{which} is not set; set it, or write `$$` for a dollar sign");
        (self.scope.world.env)(name).map_or_else(|| self.refuse(fix()), Some)
    }
}

/// A URL without its user, its query and its fragment; any other text as it is.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let authority = rest[..end].find('/').unwrap_or(end);
    // Of several `@` the last ends the user.
    let (user, from) = rest[..authority].rfind('@').map_or(("", 0), |at| ("…@", at + 1));
    let cut = if end < rest.len() { "?…" } else { "" };
    format!("{scheme}://{user}{}{cut}", &rest[from..end])
}

fn is_variable(name: &str) -> bool {
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

pub(crate) fn read_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

/// Text of a user within one line of a message: no control characters, at most 80 characters.
pub(crate) fn show(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(show_char).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

fn show_char(c: char) -> impl Iterator<Item = char> {
    let unseen = c.is_control()
        || matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    let escaped = unseen.then(|| c.escape_default());
    let plain = (!unseen).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}
