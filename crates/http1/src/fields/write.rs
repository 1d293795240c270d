//! Fields into bytes: lines that were not changed and stand side by side are copied at once.

use super::list::{Entry, Fields, Place, Span};
use bytes::BytesMut;

impl Fields {
    /// Appends all lines to `out`, each with its CR LF. The empty line behind them is up to the caller.
    pub fn write(&self, out: &mut BytesMut) {
        let (mut place, mut run) = (Place::Head, Span::default());
        for entry in &self.entries {
            if !entry.is_plain {
                out.extend_from_slice(self.store.get(place, run));
                run.len = 0;
                out.extend_from_slice(self.name(entry));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.value(entry));
                out.extend_from_slice(b"\r\n");
            } else if run.len > 0 && place == entry.place && run.end() == entry.name.at {
                run.len += line(entry);
            } else {
                out.extend_from_slice(self.store.get(place, run));
                (place, run) = (entry.place, Span { at: entry.name.at, len: line(entry) });
            }
        }
        out.extend_from_slice(self.store.get(place, run));
    }

    /// An upper bound of the bytes that [`Self::write`] appends.
    pub fn room(&self) -> usize {
        self.entries.iter().map(|entry| line(entry) as usize).sum()
    }
}

/// Bytes of `name: value\r\n`.
fn line(entry: &Entry) -> u32 {
    entry.name.len + entry.value.len + 4
}
