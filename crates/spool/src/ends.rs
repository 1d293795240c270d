//! How the streams of a life that is over have ended, as far as that can be known: `ends.json` in its folder.

use crate::folder::{BootFolder, sync_folder, write_synced};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// From which number on nobody can say how many events a stream had, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenEnd {
    pub from: u64,
    pub reason: OpenEndReason,
}

/// Why the end of a stream is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenEndReason {
    /// The machine went down: what its ring held since the last sync is gone.
    Torn,
    /// The ring's header is damaged.
    RingDamaged,
    /// The ring is not there.
    RingMissing,
    /// The ring is of a version that this one cannot read: it is kept.
    RingUnreadable,
}

impl OpenEndReason {
    const ALL: [Self; 4] = [Self::Torn, Self::RingDamaged, Self::RingMissing, Self::RingUnreadable];

    /// The word that the ledger and people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::RingDamaged => "ring_damaged",
            Self::RingMissing => "ring_missing",
            Self::RingUnreadable => "ring_unreadable",
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) accepted: u64,
    pub(crate) open_end: Option<OpenEnd>,
}

impl BootFolder {
    /// The streams whose end is known: their rings are empty, or gone for a reason.
    pub(crate) fn ends(&self) -> io::Result<BTreeMap<u16, End>> {
        match fs::read(self.path.join("ends.json")) {
            Ok(text) => Ok(ends_from(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Notes how streams ended, beside what is noted already; durable when it returns.
    pub(crate) fn note_ends(&self, ends: &[(u16, End)]) -> io::Result<()> {
        let mut all = self.ends()?;
        all.extend(ends.iter().copied());
        let path = self.path.join("ends.json");
        let temporary = self.path.join("ends.tmp");
        write_synced(&temporary, ends_json(&all).to_string().as_bytes())?;
        fs::rename(&temporary, &path)?;
        sync_folder(&self.path)
    }
}

fn ends_json(ends: &BTreeMap<u16, End>) -> Value {
    let line = |(worker, end): (&u16, &End)| {
        let mut line = json!({"worker": worker, "accepted": end.accepted});
        if let Some(open) = end.open_end {
            line["unknown_from"] = open.from.into();
            line["unknown_reason"] = open.reason.as_str().into();
        }
        line
    };
    Value::Array(ends.iter().map(line).collect())
}

fn ends_from(text: &[u8]) -> Option<BTreeMap<u16, End>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let end = |line: &Value| {
        let reason = line.get("unknown_reason").and_then(Value::as_str);
        let reason = reason.and_then(|word| OpenEndReason::ALL.into_iter().find(|reason| reason.as_str() == word));
        let from = line.get("unknown_from").and_then(Value::as_u64);
        let open_end = reason.zip(from).map(|(reason, from)| OpenEnd { from, reason });
        let accepted = line.get("accepted")?.as_u64()?;
        Some((line.get("worker")?.as_u64()?.try_into().ok()?, End { accepted, open_end }))
    };
    value.as_array()?.iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_event::{BootId, Identity};

    #[test]
    fn ends_are_read_as_they_were_noted() {
        let root = tempfile::tempdir().unwrap();
        let folder = BootFolder::create(root.path(), BootId([1; 16]), Identity::default(), 2).unwrap();
        assert!(folder.ends().unwrap().is_empty());
        let torn = End { accepted: 7, open_end: Some(OpenEnd { from: 7, reason: OpenEndReason::Torn }) };
        folder.note_ends(&[(1, torn)]).unwrap();
        folder.note_ends(&[(0, End { accepted: 9, open_end: None })]).unwrap();
        let ends: Vec<_> = folder.ends().unwrap().into_iter().collect();
        assert_eq!(ends, [(0, End { accepted: 9, open_end: None }), (1, torn)]);
    }
}
