//! Which API and which route a request belongs to, and which path it is forwarded with.
//!
//! Compiled at load from checked configuration, so that it cannot fail; pure, so that it can be fuzzed. Patterns of
//! the usual shapes (`/api/.*`, `/api(/.*)`, `GET|POST`) are compared as text; the regular expression is the fallback,
//! and a test holds one against the other. Of many routes, those are tried whose patterns begin as the path does.
//!
//! The border: it never changes a request, resolves no name and knows no policy - only the rules under which one
//! applies.

#[cfg(test)]
mod equal;
mod index;
mod normal;
mod path;
mod router;
mod rules;
mod text;

pub use normal::{PathError, normalize};
pub use path::Forwarded;
pub use router::{Matched, Router};
pub use rules::{PolicyRules, Request};
