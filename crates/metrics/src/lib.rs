//! Metrics, as every program of Weir has them: a catalogue that names each once, cells that one thread writes and any thread
//! reads, and Prometheus' text format, written by the `prometheus` crate.
//!
//! A family knows its kind and the number of its labels: a sample of another kind, or with a label too few, does not compile.
//! What is counted, and where the cells are, is each program's own.

mod catalogue;
mod exposition;
mod histogram;
pub mod process;

pub use catalogue::{Counter, Family, Gauge, HistogramKind, Kind, Metric, check, markdown};
pub use exposition::{CONTENT_TYPE, Exposition, Families};
pub use histogram::{Histogram, Reading, add};
