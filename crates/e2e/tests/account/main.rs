//! The account is never wrong: what operators really meet, with real programs, and what the account says of it then. Each
//! row P1 to P42 of the list that issue 11 names is a test here; what is not stored, doubled or reported wrongly is found by
//! the witness, not by Weir.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod clock;
mod gateway;
mod ledger;
mod minute;
mod power;
mod spool;
mod store;
