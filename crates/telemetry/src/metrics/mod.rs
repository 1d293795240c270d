//! The figures of the data plane: cells that one worker writes and any thread reads, and the catalogue of names.
//!
//! A route's cells are made when a configuration is loaded, so that its series start at 0 and the request path only
//! adds to what is there. Each worker has cells of its own: adding is a plain load and store of an atomic that no
//! other thread writes. A scrape reads them on another thread and adds them up; it takes no lock that a worker takes.

pub mod catalogue;
mod chain;
mod exposition;
mod histogram;
mod route;

pub use catalogue::{Kind, Metric};
pub use exposition::{CONTENT_TYPE, Families};
pub use histogram::Histogram;
pub use route::{RouteLabels, RouteMetrics};
