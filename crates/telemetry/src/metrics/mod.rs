//! The figures of the data plane: cells that one worker writes and any thread reads, and the catalogue of names.
//!
//! A route's counters start at 0 when a configuration is loaded, so that a rate has a point before the first request; its
//! histograms come with the first request, so that thousands of routes that nobody calls cost a scrape little. Each
//! worker has cells of its own: adding is a plain load and store of an atomic that no other thread writes. A scrape
//! reads them on another thread and adds them up; it takes no lock that a worker takes.

mod bounds;
mod cardinality;
pub mod catalogue;
mod chain;
mod expose;
mod route;

pub use cardinality::Cardinality;
pub use route::{Connects, RouteLabels, RouteMetrics};
pub use weir_metrics::{Exposition, Families, Format};
