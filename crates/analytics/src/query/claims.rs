//! The accounts that the ledger is made of.

use super::account::Account;
use super::facts::Owner;

/// A stream with its account.
pub struct Accounted {
    pub id: u64,
    pub owner: Owner,
    pub account: Account,
    pub reported_ms: Option<i64>,
    pub counted_ms: Option<i64>,
    pub closed: bool,
    pub held: Option<String>,
}
