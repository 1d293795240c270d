//! A list of fields, and what is asked of it.
//!
//! An entry is two ranges and a number. What came from the wire stays where it came; what is added is appended to a
//! second buffer as a whole line. Nothing is allocated for a single field, and both buffers are used again for the next
//! message.

use crate::known::{Known, KnownSet};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use std::fmt;

/// A range of a buffer, of 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

/// Which buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// The head as it came.
    #[default]
    Head,
    /// What was added to it.
    Added,
}

impl Span {
    /// Heads are at most 4 GiB: they are parsed with a bound, and what is added is counted.
    #[inline]
    pub(crate) const fn new(at: usize, len: usize) -> Self {
        Self { at: at as u32, len: len as u32 }
    }

    pub(crate) const fn end(self) -> u32 {
        self.at + self.len
    }
}

/// The two buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) head: Bytes,
    pub(crate) added: Vec<u8>,
}

impl Store {
    #[inline]
    pub(crate) fn get(&self, place: Place, span: Span) -> &[u8] {
        let buffer = match place {
            Place::Head => &self.head[..],
            Place::Added => &self.added[..],
        };
        &buffer[span.at as usize..span.end() as usize]
    }

    /// The same without a copy where it came from the wire.
    pub(crate) fn share(&self, place: Place, span: Span) -> Bytes {
        match place {
            Place::Head => self.head.slice(span.at as usize..span.end() as usize),
            Place::Added => Bytes::copy_from_slice(self.get(place, span)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Span,
    pub(crate) value: Span,
    /// Of both.
    pub(crate) place: Place,
    pub(crate) known: Option<Known>,
    /// `name: value\r\n` stands in the buffer so, without other blanks: it can be written with its neighbours at once.
    pub(crate) is_plain: bool,
}

/// The fields of a message or a trailer section, in their order and with their names as they were written.
#[derive(Clone, Default)]
pub struct Fields {
    pub(crate) store: Store,
    pub(crate) entries: Vec<Entry>,
    pub(crate) names: Names,
}

/// Which well-known names a list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) present: KnownSet,
    /// Those that more than one line may have: of all others nobody looks for a second line.
    pub(crate) repeated: KnownSet,
}

impl Names {
    /// A line with this name is there, too.
    #[inline]
    pub(crate) fn note(&mut self, known: Known) {
        self.note_all(KnownSet::new(&[known]));
    }

    /// A line of each of these is there, too.
    #[inline]
    pub(crate) fn note_all(&mut self, names: KnownSet) {
        self.repeated.add_all(self.present.and(names));
        self.present.add_all(names);
    }

    /// No line has one of these names any more.
    #[inline]
    pub(crate) fn forget(&mut self, names: KnownSet) {
        self.present.remove(names);
        self.repeated.remove(names);
    }
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was written.
    pub name: &'a [u8],
    /// The number of the name, if it is a well-known one.
    pub known: Option<Known>,
    /// The value, without blanks at its ends.
    pub value: &'a [u8],
}

/// A name to look for, or to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// One that has a number.
    Known(Known),
    /// Any other, in any case.
    Other(&'a [u8]),
}

impl From<Known> for Name<'_> {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(name: &'a [u8]) -> Self {
        Self::Other(name)
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Self::Other(name.as_bytes())
    }
}

impl<'a> From<&'a HeaderName> for Name<'a> {
    fn from(name: &'a HeaderName) -> Self {
        Self::Other(name.as_str().as_bytes())
    }
}

impl Name<'_> {
    /// With its number, where it has one.
    #[inline]
    pub(crate) fn resolved(self) -> Self {
        match self {
            Self::Known(_) => self,
            Self::Other(name) => Known::of(name).map_or(self, Self::Known),
        }
    }
}

impl Fields {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All lines, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| self.field(entry))
    }

    /// The lines whose names have no number, in their order.
    pub fn others(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().filter(|entry| entry.known.is_none()).map(|entry| self.field(entry))
    }

    /// Whether a line has this name.
    #[inline]
    pub fn has(&self, name: Known) -> bool {
        self.names.present.has(name)
    }

    /// Which well-known names there are.
    pub fn present(&self) -> KnownSet {
        self.names.present
    }

    /// The value of the first line with this name.
    pub fn get<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.find(name.into().resolved()).map(|entry| self.value(entry))
    }

    /// The same as bytes of their own: a part of the head that came, without a copy, and a copy of what was added.
    pub fn get_shared<'n>(&self, name: impl Into<Name<'n>>) -> Option<Bytes> {
        self.find(name.into().resolved()).map(|entry| self.store.share(entry.place, entry.value))
    }

    /// Whether a line has this name, known or not.
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        self.find(name.into().resolved()).is_some()
    }

    /// The value of the first line with this name as the `http` crate has it, without a copy where it came from the wire.
    pub fn get_value<'n>(&self, name: impl Into<Name<'n>>) -> Option<HeaderValue> {
        // What is in the list is sound.
        self.get_shared(name).and_then(|value| HeaderValue::from_maybe_shared(value).ok())
    }

    /// The values of all lines with this name, in their order.
    pub fn get_all<'a, 'n: 'a>(&'a self, name: impl Into<Name<'n>>) -> impl Iterator<Item = &'a [u8]> {
        let name = name.into().resolved();
        let entries = if self.may_have(name) { &self.entries[..] } else { &[] };
        entries.iter().filter(move |entry| self.is(entry, name)).map(|entry| self.value(entry))
    }

    /// The members of a list: all lines with this name, divided at their commas (RFC 9110 5.6.1). Empty members are left
    /// out. Not for values that may have a comma in quotes.
    pub fn members(&self, name: Known) -> impl Iterator<Item = &[u8]> {
        let values = self.get_all(name).flat_map(|value| value.split(|byte| *byte == b','));
        values.map(crate::grammar::trimmed).filter(|member| !member.is_empty())
    }

    /// Forgets all lines, and the bytes in which they came. Memory for the next message is kept.
    pub fn clear(&mut self) {
        self.store.head = Bytes::new();
        self.store.added.clear();
        self.entries.clear();
        self.names = Names::default();
    }

    #[inline]
    fn find(&self, name: Name<'_>) -> Option<&Entry> {
        self.position(name).map(|at| &self.entries[at])
    }

    /// Which line is the first with this name.
    #[inline(always)]
    pub(super) fn position(&self, name: Name<'_>) -> Option<usize> {
        match name {
            Name::Known(known) if !self.has(known) => None,
            Name::Known(known) => self.position_of_known(known),
            Name::Other(_) => self.entries.iter().position(|entry| self.is(entry, name)),
        }
    }

    fn position_of_known(&self, known: Known) -> Option<usize> {
        self.entries.iter().position(|entry| entry.known == Some(known))
    }

    fn may_have(&self, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => self.names.present.has(known),
            Name::Other(_) => true,
        }
    }

    #[inline(always)]
    pub(crate) fn is(&self, entry: &Entry, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => entry.known == Some(known),
            Name::Other(text) => {
                entry.known.is_none()
                    && entry.name.len as usize == text.len()
                    && self.name(entry).eq_ignore_ascii_case(text)
            }
        }
    }

    pub(crate) fn field(&self, entry: &Entry) -> Field<'_> {
        Field { name: self.name(entry), known: entry.known, value: self.value(entry) }
    }

    #[inline]
    pub(crate) fn name(&self, entry: &Entry) -> &[u8] {
        self.store.get(entry.place, entry.name)
    }

    #[inline]
    pub(crate) fn value(&self, entry: &Entry) -> &[u8] {
        self.store.get(entry.place, entry.value)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|field| (text(field.name), text(field.value)))).finish()
    }
}
