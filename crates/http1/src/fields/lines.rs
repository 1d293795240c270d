//! Lines that are the same in many messages: made once, and added to each by one copy.

use super::list::{Entry, Fields, Names, Place};
use crate::known::KnownSet;

/// Lines to add to other lists.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    text: Box<[u8]>,
    /// Where they stand in the text.
    entries: Box<[Entry]>,
    names: Names,
}

impl Lines {
    /// The well-known names that they have.
    pub fn present(&self) -> KnownSet {
        self.names.present
    }
}

/// The lines that were added to a list; what came from the wire is no part of them.
impl From<&Fields> for Lines {
    fn from(fields: &Fields) -> Self {
        let mut only = Fields::new();
        for field in fields.iter() {
            let added = only.append(field.name, field.value);
            debug_assert!(added.is_ok(), "it is in a list");
        }
        Self { text: only.store.added.as_slice().into(), entries: only.entries.as_slice().into(), names: only.names }
    }
}

impl Fields {
    /// Adds the lines behind the others, whether or not there are such names already.
    pub fn append_lines(&mut self, lines: &Lines) {
        self.furnish();
        let at = self.store.added.len() as u32;
        if self.make_room(lines.text.len()).is_err() {
            debug_assert!(false, "a head of 4 GiB");
            return;
        }
        self.store.added.extend_from_slice(&lines.text);
        self.entries.extend(lines.entries.iter().map(|entry| entry.behind(at)));
        self.names.note_all(lines.names.present);
        self.names.repeated.add_all(lines.names.repeated);
    }
}

impl Entry {
    /// The same where its text stands `at` bytes later.
    #[inline]
    fn behind(mut self, at: u32) -> Self {
        debug_assert!(self.place == Place::Added);
        self.name.at += at;
        self.value.at += at;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::Known;
    use bytes::BytesMut;

    #[test]
    fn lines_that_were_made_once_are_as_those_that_are_added() {
        let mut made = Fields::new();
        made.append("via", b"1.1 a").unwrap();
        made.append("X-Other", b"").unwrap();
        let lines = Lines::from(&made);
        assert!(lines.present().has(Known::Via));
        let (mut fast, mut slow) = (Fields::new(), Fields::new());
        for _ in 0..2 {
            for fields in [&mut fast, &mut slow] {
                fields.append("host", b"b").unwrap();
            }
            fast.append_lines(&lines);
            slow.append("via", b"1.1 a").unwrap();
            slow.append("X-Other", b"").unwrap();
        }
        let written = |fields: &Fields| {
            let mut out = BytesMut::new();
            fields.write(&mut out);
            out
        };
        assert_eq!((written(&fast), fast.present()), (written(&slow), slow.present()));
        assert_eq!((fast.get("x-other"), fast.get_all("via").count()), (Some(&b""[..]), 2));
        assert!(fast.remove("via") && fast.get("via").is_none() && fast.len() == 4);
    }
}
