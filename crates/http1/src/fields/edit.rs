//! Changes to a list of fields. What would make another message of it is refused (response splitting).

use super::list::{Entry, Field, Fields, Name, Names, Place, Span};
use crate::error::EditError;
use crate::grammar::{is_token, is_value, trimmed};
use crate::known::{Known, KnownSet};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

impl Extend<(HeaderName, HeaderValue)> for Fields {
    fn extend<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, lines: T) {
        lines.into_iter().for_each(|(name, value)| self.add(&name, &value));
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: T) -> Self {
        let mut fields = Self::new();
        fields.extend(lines);
        fields
    }
}

/// A value of a known length that is sound: looked at once, and put into many messages.
#[derive(Clone, Copy, Debug)]
pub struct SoundValue<const N: usize>([u8; N]);

impl<const N: usize> SoundValue<N> {
    /// # Errors
    /// It has a control character, or a blank at an end (RFC 9110 5.5).
    pub fn new(value: [u8; N]) -> Result<Self, EditError> {
        if is_value(&value) && trimmed(&value).len() == N { Ok(Self(value)) } else { Err(EditError::Value) }
    }
}

impl Fields {
    /// As [`Self::set`], with a value that is sound.
    pub fn put_sound<'n, const N: usize>(&mut self, name: impl Into<Name<'n>>, value: &SoundValue<N>) {
        self.put_line(name.into().resolved(), &value.0);
    }

    /// Adds a line behind the others. Blanks at the ends of the value are left out, as a reader would leave them.
    ///
    /// # Errors
    /// The name is no token, or the value has a control character (RFC 9110 5.1, 5.5).
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), EditError> {
        let entry = self.line(name.into().resolved(), value)?;
        self.push(entry);
        Ok(())
    }

    /// Makes this the only line with the name: in the place of the first, or behind all others.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), EditError> {
        let name = name.into().resolved();
        let entry = self.line(name, value)?;
        self.replace(name, entry);
        Ok(())
    }

    #[inline]
    fn replace(&mut self, name: Name<'_>, entry: Entry) {
        match self.position(name) {
            None => self.push(entry),
            Some(first) => {
                self.entries[first] = entry;
                self.remove_behind(first, name);
            }
        }
    }

    /// As [`Self::append`], with a value that is sound.
    pub fn add<'n>(&mut self, name: impl Into<Name<'n>>, value: &HeaderValue) {
        let added = self.sound_line(name.into().resolved(), trimmed(value.as_bytes()));
        debug_assert!(added.is_ok(), "a head of 4 GiB, or a name that is none");
        if let Ok(entry) = added {
            self.push(entry);
        }
    }

    /// As [`Self::set`], with a value that is sound.
    pub fn put<'n>(&mut self, name: impl Into<Name<'n>>, value: &HeaderValue) {
        self.put_line(name.into().resolved(), trimmed(value.as_bytes()));
    }

    #[inline]
    fn put_line(&mut self, name: Name<'_>, value: &[u8]) {
        let set = self.sound_line(name, value);
        debug_assert!(set.is_ok(), "a head of 4 GiB, or a name that is none");
        if let Ok(entry) = set {
            self.replace(name, entry);
        }
    }

    /// Removes all lines with this name. Answers the value of the first.
    pub fn take<'n>(&mut self, name: impl Into<Name<'n>>) -> Option<Bytes> {
        let name = name.into().resolved();
        let value = self.get_shared(name)?;
        self.remove(name);
        Some(value)
    }

    /// Inserts a line in front of the line with number `at`, or behind all where there are not as many.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn insert<'n>(&mut self, at: usize, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), EditError> {
        let entry = self.line(name.into().resolved(), value)?;
        self.push(entry);
        let at = at.min(self.entries.len() - 1);
        self.entries[at..].rotate_right(1);
        Ok(())
    }

    /// Removes all lines with this name. Answers whether there were any.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into().resolved();
        let Some(first) = self.position(name) else { return false };
        self.remove_behind(first, name);
        self.entries.remove(first);
        if let Name::Known(known) = name {
            self.names.forget(KnownSet::new(&[known]));
        }
        true
    }

    /// Removes all lines with one of these names, in one pass.
    pub fn remove_all(&mut self, names: KnownSet) {
        if self.names.present.meets(names) {
            self.entries.retain(|entry| !entry.known.is_some_and(|known| names.has(known)));
            self.names.forget(names);
        }
    }

    /// Removes the lines with these numbers.
    pub(crate) fn remove_lines(&mut self, lines: &[usize]) {
        if lines.is_empty() {
            return;
        }
        let mut at = 0;
        self.entries.retain(|_| {
            at += 1;
            !lines.contains(&(at - 1))
        });
        self.see_present();
    }

    fn see_present(&mut self) {
        self.names = Names::default();
        self.entries.iter().filter_map(|entry| entry.known).for_each(|known| self.names.note(known));
    }

    /// Keeps the lines of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keep(self.field(entry)));
        self.entries = entries;
        self.see_present();
    }

    /// Bytes that are not a field, for the first line of the message.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Result<Span, EditError> {
        let at = self.store.added.len();
        self.make_room(bytes.len())?;
        self.store.added.extend_from_slice(bytes);
        Ok(Span::new(at, bytes.len()))
    }

    fn line(&mut self, name: Name<'_>, value: &[u8]) -> Result<Entry, EditError> {
        let value = trimmed(value);
        if !is_value(value) {
            return Err(EditError::Value);
        }
        self.sound_line(name, value)
    }

    /// Of a value that is sound and has no blanks at its ends.
    #[inline]
    fn sound_line(&mut self, name: Name<'_>, value: &[u8]) -> Result<Entry, EditError> {
        self.furnish();
        let (known, start, colon): (_, _, &[u8]) = match name {
            Name::Known(known) => (Some(known), known.line_start().as_bytes(), b""),
            Name::Other(text) if is_token(text) => (None, text, b": "),
            Name::Other(_) => return Err(EditError::Name),
        };
        self.make_room(start.len() + value.len() + 4)?;
        let added = &mut self.store.added;
        let at = added.len() as u32;
        added.extend_from_slice(start);
        if !colon.is_empty() {
            added.extend_from_slice(colon);
        }
        let name = Span { at, len: added.len() as u32 - at - 2 };
        added.extend_from_slice(value);
        added.extend_from_slice(b"\r\n");
        let value = Span { at: name.end() + 2, len: value.len() as u32 };
        Ok(Entry { name, value, place: Place::Added, known, is_plain: true })
    }

    /// Ranges are of 32 bits.
    #[inline]
    pub(super) fn make_room(&mut self, more: usize) -> Result<(), EditError> {
        // No slice is longer than half of all memory, so that three of them do not overflow.
        if self.store.added.len().saturating_add(more) > u32::MAX as usize {
            return Err(EditError::TooLarge);
        }
        self.store.added.reserve(more);
        Ok(())
    }

    #[inline]
    fn push(&mut self, entry: Entry) {
        if let Some(known) = entry.known {
            self.names.note(known);
        }
        self.entries.push(entry);
    }

    /// Removes the lines with this name that stand behind the one with the number `first`.
    #[inline]
    fn remove_behind(&mut self, first: usize, name: Name<'_>) {
        if !matches!(name, Name::Known(known) if !self.names.repeated.has(known)) {
            self.remove_others(first, name);
        }
    }

    #[cold]
    fn remove_others(&mut self, first: usize, name: Name<'_>) {
        let mut kept = first + 1;
        for at in first + 1..self.entries.len() {
            let entry = self.entries[at];
            if !self.is(&entry, name) {
                self.entries[kept] = entry;
                kept += 1;
            }
        }
        self.entries.truncate(kept);
    }

    /// The value of the line with this name, if there is one such line.
    pub(crate) fn only(&self, name: Known) -> Option<&[u8]> {
        let at = self.position(Name::Known(name))?;
        let is_same = |entry: &Entry| entry.known == Some(name);
        let is_only = !self.names.repeated.has(name) || !self.entries[at + 1..].iter().any(is_same);
        is_only.then(|| self.value(&self.entries[at]))
    }
}
