//! What roll-ups say beside what raw says.

use crate::schema::Rollup;
use crate::store::{Store, StoreError};

/// What a roll-up says and what raw says of the same, check by check.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) table: &'static str,
    pub(super) rolled: Vec<u64>,
    pub(super) raw: Vec<u64>,
}

/// The sums of each roll-up in the rows `rolled`, and over those of `raw`, which is read once: each what follows `FROM`.
pub(super) async fn sums(
    store: &Store,
    rollups: impl Iterator<Item = &'static Rollup>,
    rolled: impl Fn(&'static str) -> String,
    raw: &str,
) -> Result<Vec<Sums>, StoreError> {
    let all: Vec<_> = rollups.map(|rollup| (rollup.table, (rollup.checks)())).collect();
    let of_raw: Vec<_> = all.iter().flat_map(|(_, checks)| checks).map(|check| check.raw.as_str()).collect();
    let raw = store.rows::<Vec<u64>>(&format!("SELECT [{}] FROM {raw}", of_raw.join(", ")), &[]).await?.concat();
    let (mut raw, mut sums) = (raw.into_iter(), Vec::new());
    for (table, checks) in &all {
        let of_rolled: Vec<_> = checks.iter().map(|check| check.rolled.as_str()).collect();
        let sql = format!("SELECT [{}] FROM {}", of_rolled.join(", "), rolled(table));
        let rolled = store.rows::<Vec<u64>>(&sql, &[]).await?.concat();
        sums.push(Sums { table, rolled, raw: raw.by_ref().take(checks.len()).collect() });
    }
    Ok(sums)
}
