//! Any bytes as HTTP/1: no panic, one reading however they are cut, and the same reading as hyper's.
//!
//! Input: a byte that says into what pieces the rest is cut, and what the response answers; then what came on a connection.

mod codec;
mod hyper;
mod requests;
mod responses;

pub use requests::http1_requests;
pub use responses::http1_responses;
