//! What the API answers, from the roll-ups where they can say it and from raw rows where only those can.

pub mod ledger;
pub mod overview;
pub mod quantile;
pub mod streams;
pub mod trace;
