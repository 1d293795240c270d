//! Fields into bytes: lines that were not changed and stand side by side are copied at once.

use super::list::{Entry, Fields, Place, Span};
use bytes::BytesMut;

impl Fields {
    /// Appends all lines to `out`, each with its CR LF. The empty line behind them is up to the caller.
    pub fn write(&self, out: &mut BytesMut) {
        let mut run = Span::default();
        for entry in &self.entries {
            let next = run.place == entry.name.place && run.end() == entry.name.at;
            if entry.is_plain && next && run.len > 0 {
                run.len += line(entry);
                continue;
            }
            out.extend_from_slice(self.store.get(run));
            run = Span { at: entry.name.at, len: line(entry), place: entry.name.place };
            if !entry.is_plain {
                run = Span { at: 0, len: 0, place: Place::Head };
                for part in [self.store.get(entry.name), b": ", self.store.get(entry.value), b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(self.store.get(run));
    }

    /// An upper bound of the bytes that [`Self::write`] appends.
    pub(crate) fn room(&self) -> usize {
        self.entries.iter().map(|entry| line(entry) as usize).sum()
    }
}

/// Bytes of `name: value\r\n`.
fn line(entry: &Entry) -> u32 {
    entry.name.len + entry.value.len + 4
}
