//! For development only: what fuzzers feed. Each function takes what came from outside and panics when what must hold of it
//! does not.
//!
//! The same functions run three ways: over mutated samples in every run of the tests (`tests/samples.rs`), for 20 s each
//! under libFuzzer in `make test-kits`, for 60 s each in `make check`.

mod chunk;
mod http1;
mod load;
mod record;
mod ring;
mod route;
mod trace_context;

pub use chunk::chunk;
pub use http1::{http1_requests, http1_responses};
pub use load::load;
pub use record::record;
pub use ring::ring;
pub use route::route;
pub use trace_context::trace_context;
