//! For development only: what the tests, the demo and the benches need to be sure of what they see.
//!
//! - [`upstream`]: an HTTP server whose endpoints differ in speed, size and failure, and do exactly what they say.
//! - [`witness`]: a client that keeps a log of its own of every request that it sends.
//! - [`compare`]: holds that log against what ClickHouse has stored: completed ⊆ events ⊆ sent, none twice.
//! - [`fault_proxy`]: a network between two of the programs that misbehaves as it is reported.
//! - [`holding_proxy`]: a proxy that keeps a request back and delivers it when its sender has gone.
//! - [`rollups`]: what differs between the raw table and what is rolled up of it.
//! - [`ports`]: addresses that stay free until the program listens that is reported them.
//! - [`browser`]: a real Chromium, for pages.
//! - [`process`]: the programs of the workspace as children that end with their handle.
//!
//! The border: nothing here is part of the product, and nothing of the product is reimplemented here: the witness
//! is independent so that it can be believed.

pub mod browser;
pub mod compare;
pub mod delay_proxy;
pub mod fault_proxy;
mod fetch;
pub mod holding_proxy;
pub mod otlp;
pub mod ports;
pub mod process;
pub mod rollups;
pub mod upstream;
pub mod witness;

pub use fetch::{get, get_with, post};
