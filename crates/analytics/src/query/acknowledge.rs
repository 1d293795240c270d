//! An operator takes note of what is missing or unknown: it stays in the account, and no longer decides its state.

use super::ledger::{Accounted, accounts};
use crate::ingest::now_us;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Serialize;
use weir_api::ledger::{Acknowledge, Acknowledged, AcknowledgedKind, AcknowledgedPart};

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("`reason` is empty; say why this is accepted, for whoever reads the account later")]
    Reason,
    #[error("`stream` is neither `all` nor 16 digits of hex")]
    Stream,
    #[error("stream {0} is not in the ledger")]
    Unknown(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Of `acknowledgements`.
#[derive(Row, Serialize)]
struct AcknowledgementRow<'a> {
    stream: u64,
    kind: &'a str,
    first: u64,
    last: u64,
    what: &'a str,
    reason: &'a str,
    who: &'a str,
    /// Milliseconds since the Unix epoch.
    at: i64,
}

/// Whether it can be carried out.
pub fn check(request: &Acknowledge) -> Result<(), AcknowledgeError> {
    wanted(request).map(|_| ())
}

/// The stream that is meant; `None` for all.
fn wanted(request: &Acknowledge) -> Result<Option<u64>, AcknowledgeError> {
    if request.reason.trim().is_empty() {
        return Err(AcknowledgeError::Reason);
    }
    if request.stream == "all" {
        return Ok(None);
    }
    let hex = Some(&request.stream).filter(|text| text.len() == 16);
    hex.and_then(|text| u64::from_str_radix(text, 16).ok()).map(Some).ok_or(AcknowledgeError::Stream)
}

/// Acknowledges what is missing or unknown now, and nothing that comes later.
pub async fn acknowledge(store: &Store, request: &Acknowledge, who: &str) -> Result<Acknowledged, AcknowledgeError> {
    let wanted = wanted(request)?;
    let accounts = accounts(store).await?;
    if wanted.is_some_and(|id| accounts.iter().all(|one| one.id != id)) {
        return Err(AcknowledgeError::Unknown(request.stream.clone()));
    }
    let chosen = accounts.iter().filter(|one| wanted.is_none_or(|id| one.id == id));
    let notes: Vec<(u64, AcknowledgedPart)> = chosen.flat_map(notes).collect();
    let rows = notes.iter().map(|(stream, note)| AcknowledgementRow {
        stream: *stream,
        kind: note.kind.as_str(),
        first: note.first,
        last: note.last.unwrap_or(u64::MAX),
        what: &note.what,
        reason: request.reason.trim(),
        who,
        at: now_us() / 1000,
    });
    let rows: Vec<_> = rows.collect();
    store.insert_rows::<AcknowledgementRow<'_>>("acknowledgements", &rows).await?;
    Ok(Acknowledged { acknowledged: notes.into_iter().map(|(_, note)| note).collect() })
}

fn notes(one: &Accounted) -> Vec<(u64, AcknowledgedPart)> {
    let (stream, name) = (format!("{:016x}", one.id), super::wording::name(one));
    let note = |kind, what: String, first, last| {
        (one.id, AcknowledgedPart { stream: stream.clone(), name: name.clone(), kind, what, first, last })
    };
    let mut found = Vec::new();
    for part in &one.account.missing {
        let what = format!("{}: {}", part.class, part.reason);
        found.extend(
            part.seqs.iter().map(|(first, last)| note(AcknowledgedKind::Missing, what.clone(), first, Some(last))),
        );
    }
    let open = one.account.unknown.iter().filter(|unknown| !unknown.acknowledged);
    found.extend(open.map(|unknown| note(AcknowledgedKind::Unknown, unknown.reason.clone(), unknown.from, None)));
    found
}
