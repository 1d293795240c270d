//! A mapping with known keys: what nobody asks for is a mistake.

use std::rc::Rc;

use super::{ANY, Cursor, MAX_ERRORS, NOT_SUPPORTED_YET, Place, Shape, did_you_mean, show};
use crate::tree::{Key, Node, Value};

/// The keys of one mapping. Ask for each known one, then [`Mapping::finish`].
pub(crate) struct Mapping<'a> {
    at: Cursor<'a>,
    entries: Vec<(&'a Key, &'a Rc<Node>)>,
    taken: Vec<bool>,
    known: Vec<&'static str>,
}

impl<'a> Mapping<'a> {
    /// Tells keys that are there twice; only the first counts.
    pub(super) fn new(at: &Cursor<'a>) -> Option<Self> {
        if at.describe(Shape::object) {
            return Some(Self { at: at.clone(), taken: Vec::new(), entries: Vec::new(), known: Vec::new() });
        }
        let Value::Map(all) = at.value else {
            return at.refuse(format!("is {}; write a mapping, `key: value`", at.value.describe()));
        };
        let mut entries: Vec<(&Key, &Rc<Node>)> = Vec::with_capacity(all.len());
        let mut first_lines = std::collections::HashMap::with_capacity(all.len());
        for (key, node) in all {
            match first_lines.get(key.text.as_str()) {
                None => {
                    first_lines.insert(key.text.as_str(), key.mark.line);
                    entries.push((key, node));
                }
                Some(line) => at_key(at, key)
                    .refuse::<()>(format!("is here twice, first in line {line}; remove one"))
                    .unwrap_or_default(),
            }
        }
        Some(Self { at: at.clone(), taken: vec![false; entries.len()], entries, known: Vec::new() })
    }

    /// The value of `name`, unless it is absent or null.
    pub fn take(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        let (at, node) = self.find(name)?;
        (!matches!(node.value, Value::Null)).then_some(at)
    }

    /// As [`Mapping::take`], for what Flex has no word for: refused under its `apiVersion`.
    pub fn take_weir(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        let at = self.take(name)?;
        at.describe(Shape::weir);
        if at.is_weir() {
            return Some(at);
        }
        at.refuse("is not a key of Flex; write `apiVersion: gateway.weir.dev/v1` for it")
    }

    /// As [`Mapping::take`], for what Flex spells in two ways. Tells when both are there.
    pub fn take_either(&mut self, name: &'static str, other: &'static str) -> Option<Cursor<'a>> {
        match (self.take(name), self.take(other)) {
            (Some(_), Some(at)) => at.refuse(format!("is the same as `{name}`, which is here too; remove one")),
            (one, other) => one.or(other),
        }
    }

    pub fn optional<T>(&mut self, name: &'static str, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Option<T> {
        self.take(name).and_then(|at| read(&at))
    }

    /// Tells when `name` is absent or null.
    pub fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Option<T> {
        self.at.describe(|shape| shape.require(name));
        match self.take(name) {
            Some(at) => read(&at),
            None => self.missing(name, "add it"),
        }
    }

    /// The mapping `name`, or an empty one in its place, so that what is missing in it is reported.
    pub fn take_map(&mut self, name: &'static str) -> Cursor<'a> {
        const EMPTY: &Value = &Value::Map(Vec::new());
        self.take(name).unwrap_or_else(|| Cursor { path: self.at.join(name), value: EMPTY, ..self.at.clone() })
    }

    /// What keys mean, for the description.
    pub fn mean<const N: usize>(&self, meanings: [(&'static str, &'static str); N]) {
        for (name, meaning) in meanings {
            Cursor { path: self.at.join(name), ..self.at.clone() }.means(meaning, None);
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.text == name)
    }

    /// Where `name` is, or would be.
    pub fn place_of(&self, name: &'static str) -> Place {
        let found = self.entries.iter().find(|(key, _)| key.text == name);
        let node = found.map(|(_, node)| *node);
        let path = self.at.join(name);
        node.map_or_else(|| Cursor { path: path.clone(), ..self.at.clone() }, |node| self.at.child(node, path.clone()))
            .place()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tells that `name` is not there.
    pub fn missing<T>(&self, name: &str, fix: &str) -> Option<T> {
        let mut at = self.at.clone();
        at.path = self.at.join(name);
        at.missing(fix);
        None
    }

    /// Known, and refused when it is there.
    pub fn refuse(&mut self, name: &'static str, why: &str) {
        if self.at.describe(|_| {}) {
            return;
        }
        if let Some((at, _)) = self.find(name) {
            at.refuse::<()>(why);
        }
    }

    /// Keys of Flex that this version cannot honour, and will not ignore.
    pub fn not_yet(&mut self, names: &[&'static str]) {
        for name in names {
            self.refuse(name, &format!("is {NOT_SUPPORTED_YET}; remove it"));
        }
    }

    /// Refuses every key that was not asked for.
    pub fn finish(self) {
        let unknown = self.entries.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        for ((key, _), _) in unknown.take(MAX_ERRORS) {
            let hint = did_you_mean(&key.text, self.known.iter().copied());
            let hint = if hint.starts_with("did") { hint } else { self.at.elsewhere(&key.text).unwrap_or(hint) };
            at_key(&self.at, key).refuse::<()>(format!("unknown key `{}`; {hint}", show(&key.text)));
        }
    }

    /// Every key with its value, null or not.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, Cursor<'a>)> {
        self.entries.iter().map(|(key, node)| (key.text.as_str(), self.at.child(node, self.at.join(&key.text))))
    }

    fn find(&mut self, name: &'static str) -> Option<(Cursor<'a>, &'a Node)> {
        if self.at.describe(|shape| shape.field(name, self.at.join(name))) {
            return Some((self.at.child(ANY, self.at.join(name)), ANY));
        }
        self.known.push(name);
        let index = self.entries.iter().position(|(key, _)| key.text == name)?;
        self.taken[index] = true;
        let node = self.entries[index].1;
        Some((self.at.child(node, self.at.join(name)), node))
    }
}

/// The place of the key itself.
fn at_key<'a>(at: &Cursor<'a>, key: &Key) -> Cursor<'a> {
    let mut place = at.clone();
    (place.mark, place.path) = (key.mark, at.join(&key.text));
    place
}
