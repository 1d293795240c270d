//! The documents and paths of Weir's HTTP APIs, each written once.
//!
//! A server fills these types, `weirctl` reads them, and the page has them as TypeScript. The tests of this crate write
//! `openapi/gateway.json`, `openapi/analytics.json` and `crates/analytics/page/api.d.ts` from them. An operation
//! is a variant of an enum: a server that has none of its paths does not compile.
//!
//! Whoever reads a document ignores members that it does not know. A member that came later has a default.

pub mod admin;
pub mod dashboards;
pub mod gauges;
pub mod ingest;
pub mod ledger;
#[cfg(test)]
mod openapi;
pub mod operations;
pub mod query;
pub mod routes;
#[cfg(test)]
mod typescript;

use serde::{Deserialize, Serialize};

/// The description of weir-analytics' operations, OpenAPI 3.1.
pub const OPENAPI_ANALYTICS: &str = include_str!("../openapi/analytics.json");
/// The description of the operations of a gateway's admin port.
pub const OPENAPI_GATEWAY: &str = include_str!("../openapi/gateway.json");

/// Why a call was not carried out, and what to do. The answer to most calls that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ErrorDocument {
    pub error: String,
}
