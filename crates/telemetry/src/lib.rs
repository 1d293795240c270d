//! What the outside sees of a request besides its answer: the trace context that travels on, and the figures.
//!
//! The border: nothing here decides anything about a request, and nothing here blocks or allocates on its path
//! but for the one header that it sends.

mod access_log;
pub mod degradation;
pub mod metrics;
pub mod sampling;
pub mod trace_context;

pub use access_log::{LineDecision, LineRule};
pub use sampling::Sampler;
pub use trace_context::{Continuation, SpanSource};
