//! Whether it is worth looking at lines again that were not whole before.

use memchr::{memchr, memchr_iter};

/// Follows a part of a buffer that ends with an empty line, as it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    tried: usize,
}

impl Section {
    /// Whether a line ends in what is new of `bytes`.
    pub(crate) fn has_new_line(self, bytes: &[u8]) -> bool {
        memchr(b'\n', &bytes[self.tried.min(bytes.len())..]).is_some()
    }

    /// Whether `bytes` may end the section, or were never looked at. They begin where they began the last time.
    pub(crate) fn may_be_whole(&mut self, bytes: &[u8]) -> bool {
        let before = std::mem::replace(&mut self.tried, bytes.len());
        // The empty line may have begun in what was looked at.
        before == 0 || has_empty_line(&bytes[before.min(bytes.len()).saturating_sub(3)..])
    }
}

/// An empty line, whether its ends are right or not.
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|at| matches!(bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_seen_however_it_is_cut() {
        for text in ["a\r\nb: c\r\n\r\nrest", "a\n\nrest", "a\r\n\nrest", "a\n\r\nrest"] {
            let end = text.find("rest").unwrap();
            for first in 1..end {
                let mut section = Section::default();
                assert!(section.may_be_whole(&text.as_bytes()[..first]));
                for at in first + 1..end {
                    assert!(!section.may_be_whole(&text.as_bytes()[..at]), "{first}, {at} of {text:?}");
                }
                assert!(section.may_be_whole(&text.as_bytes()[..end]), "{first} of {text:?}");
            }
        }
    }
}
