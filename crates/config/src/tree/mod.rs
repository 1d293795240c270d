//! The marked tree: a YAML document in which every value still knows its line and column.
//!
//! `serde` stops at the first mistake and forgets places; this tree is what lets all mistakes be reported at once. It is
//! bounded in nodes and depth with aliases counted as if written out, so walking it by recursion is safe. What a value
//! means - which keys a mapping may have, which text is a number - is not known here.

mod build;

use std::rc::Rc;

pub(crate) use build::{parse, placeholder};

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value with its place. An alias is the anchored node itself, with the anchored node's place.
#[derive(Debug)]
pub(crate) struct Node {
    pub mark: Mark,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    List(Vec<Rc<Node>>),
    /// Every field and no content: no document's, but what readers are described by.
    Any,
    /// In the order of the file, with keys that may repeat.
    Map(Vec<(Key, Rc<Node>)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub mark: Mark,
    pub text: String,
}

impl Value {
    /// For messages: `a list`.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null | Self::Any => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What could be read of one file: its documents, and the mistakes of those that could not.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub documents: Vec<Rc<Node>>,
    pub mistakes: Vec<(Mark, String)>,
}
