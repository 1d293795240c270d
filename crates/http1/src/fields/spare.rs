//! Memory of lists that are not used any more, for the next ones of the same thread.
//!
//! A message's list is made and thrown away with its message: growing it anew costs 1,500 instructions each time.

use super::list::{Entry, Fields};
use std::cell::RefCell;

/// Lists whose memory a thread keeps.
const MOST_KEPT: usize = 64;
/// Memory of larger ones is given back: lines, and bytes of what was added.
const MOST_LINES: usize = 128;
const MOST_ADDED: usize = 8 * 1024;

type Memory = (Vec<Entry>, Vec<u8>);

thread_local! {
    static KEPT: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

impl Fields {
    /// Gives an empty list memory, where there is some.
    #[inline]
    pub(super) fn furnish(&mut self) {
        if self.entries.capacity() == 0 && self.store.added.capacity() == 0 {
            // Nothing is kept by a thread that ends.
            let kept = KEPT.try_with(|kept| kept.borrow_mut().pop()).ok().flatten();
            if let Some((entries, added)) = kept {
                (self.entries, self.store.added) = (entries, added);
            }
        }
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        let (lines, added) = (self.entries.capacity(), self.store.added.capacity());
        if lines == 0 || lines > MOST_LINES || added > MOST_ADDED {
            return;
        }
        let (mut entries, mut added) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.store.added));
        entries.clear();
        added.clear();
        let keep = |kept: &RefCell<Vec<Memory>>| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MOST_KEPT {
                kept.push((entries, added));
            }
        };
        KEPT.try_with(keep).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_nothing_of_what_was_in_it() {
        let mut first = Fields::new();
        first.append("x-secret", b"1").unwrap();
        let (entries, added) = (first.entries.as_ptr(), first.store.added.as_ptr());
        drop(first);
        let mut second = Fields::new();
        second.append("x", b"2").unwrap();
        assert_eq!((second.entries.as_ptr(), second.store.added.as_ptr()), (entries, added));
        assert_eq!((second.len(), second.get("x-secret"), second.get("x")), (1, None, Some(&b"2"[..])));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let large = |bytes: usize| {
            let mut fields = Fields::new();
            fields.append("x", &vec![b'x'; bytes]).unwrap();
            fields
        };
        drop((0..2 * MOST_KEPT).map(|_| large(10)).collect::<Vec<_>>());
        assert_eq!(KEPT.with_borrow(Vec::len), MOST_KEPT);
        KEPT.with_borrow_mut(Vec::clear);
        drop(large(MOST_ADDED + 1));
        assert_eq!(KEPT.with_borrow(Vec::len), 0);
    }
}
