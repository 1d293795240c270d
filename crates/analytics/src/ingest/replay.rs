//! Dead letters that are in range by now - because the clock or the retention was wrong when they came - are stored
//! after all, each once.
//!
//! The chunks that they came in were kept whole. A replay is an offer of such a chunk in which the dead numbers count as
//! new; what is stored then is no dead letter any more. Interrupted anywhere, the next replay goes on: a number that is
//! stored is never taken again.

use super::Refusal;
use super::offer::Ingest;
use crate::store::{Store, StoreError};
use weir_api::query::Replayed;
use weir_event::{Ranges, StreamId};

impl Ingest {
    /// Offers every kept chunk again whose dead letters are not stored.
    pub async fn replay(&self) -> Result<Replayed, Refusal> {
        let store = self.store();
        let (chunks, mut done) = (store.schema().all("dead_chunks"), Replayed::default());
        let sql = format!("SELECT DISTINCT stream, first, last FROM {chunks} ORDER BY stream, first, last");
        for (stream, first, last) in store.rows::<(u64, u64, u64)>(&sql, &[]).await? {
            let dead = dead(store, stream, first, last).await?;
            let mut wanted = dead.clone();
            wanted.subtract(&stored(store, stream, first, last).await?);
            if !wanted.is_empty() {
                let sql = format!(
                    "SELECT hex(any(chunk)) FROM {chunks} WHERE stream = {stream} AND first = {first} AND last = {last}"
                );
                let hex = store.rows::<String>(&sql, &[]).await?.pop().unwrap_or_default();
                self.offer_again(StreamId(stream), &wanted, unhex(&hex)).await?;
            }
            let now_stored = dead.intersection(&stored(store, stream, first, last).await?);
            remove(store, stream, &now_stored).await?;
            done.stored += now_stored.count();
            done.dead_letters += dead.count() - now_stored.count();
        }
        Ok(done)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

async fn dead(store: &Store, stream: u64, first: u64, last: u64) -> Result<Ranges, StoreError> {
    let table = store.schema().all("dead_letters");
    let sql = format!(
        "SELECT DISTINCT seq FROM {table} WHERE stream = {stream} AND seq BETWEEN {first} AND {last} ORDER BY seq"
    );
    let mut found = Ranges::default();
    store.rows::<u64>(&sql, &[]).await?.into_iter().for_each(|seq| found.add(seq));
    Ok(found)
}

async fn stored(store: &Store, stream: u64, first: u64, last: u64) -> Result<Ranges, StoreError> {
    let table = store.schema().all("stored_seqs");
    let sql = format!(
        "SELECT t.first, t.last FROM {table} AS t WHERE t.stream = {stream} AND t.last >= {first} AND t.first <= {last} \
         ORDER BY t.first"
    );
    Ok(store.rows::<(u64, u64)>(&sql, &[]).await?.into_iter().collect())
}

async fn remove(store: &Store, stream: u64, seqs: &Ranges) -> Result<(), StoreError> {
    if seqs.is_empty() {
        return Ok(());
    }
    let ranges: Vec<_> = seqs.iter().map(|(first, last)| format!("seq BETWEEN {first} AND {last}")).collect();
    let sql = format!(
        "ALTER TABLE {} DELETE WHERE stream = {stream} AND ({}) SETTINGS mutations_sync = 2",
        store.schema().local("dead_letters"),
        ranges.join(" OR ")
    );
    store.execute(&sql).await
}
