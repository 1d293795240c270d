//! The ingestor: chunks from gateways in, ClickHouse rows out, exactly once; and the answers made from them.
//!
//! A chunk comes in by HTTP ([`server`]), is decoded and held against what is stored ([`ingest::stored_seqs`]), its new
//! events are built into Native blocks of one UTC day each ([`block`]) and committed with an intent on disk
//! ([`ingest::commit`]); only then is it acknowledged. [`schema`] owns the tables, [`query`] reads them for the API
//! and the page.
//!
//! The border: gateways speak chunks of `weir-event`, ClickHouse is spoken to by [`store`] alone. Nothing here
//! knows how a gateway keeps its spool.

pub mod audit;
pub mod block;
mod error;
pub mod gauges;
pub mod ingest;
mod metrics;
pub mod query;
pub mod readers;
pub mod schema;
pub mod scope;
pub mod server;
pub mod store;
pub mod tokens;
