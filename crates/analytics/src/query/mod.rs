//! What the API answers, from the roll-ups where they can say it and from raw rows where only those can.

pub mod account;
pub mod acknowledge;
pub mod blame;
pub mod claims;
pub mod dashboards;
pub mod events;
pub mod facts;
pub mod ledger;
pub mod overview;
pub mod quantile;
pub mod streams;
pub mod trace;
pub mod wording;
