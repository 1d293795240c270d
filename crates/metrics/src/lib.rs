//! Metrics, as every program of Weir has them: a catalogue that names each once, cells that one thread writes and any thread
//! reads, Prometheus' text format, written by the `prometheus` crate, OpenMetrics, protobuf with native histograms, and the
//! messages of OTLP.
//!
//! A family knows its kind and the number of its labels: a sample of another kind, or with a label too few, does not compile.
//! What is counted, and where the cells are, is each program's own.

mod catalogue;
mod cell;
mod exposition;
mod format;
mod histogram;
mod native;
mod openmetrics;
mod otlp;
pub mod process;
mod protobuf;
mod sample;

pub use catalogue::{Counter, Family, Gauge, HistogramKind, Info, Kind, Metric, check, markdown};
pub use cell::add;
pub use exposition::{Exposition, Families};
pub use format::{Format, Negotiated, negotiate, takes_gzip};
pub use histogram::{Exemplar, Histogram, Reading, WithExemplars};
pub use native::NativeReading;
pub use otlp::{otlp_label, otlp_name, otlp_unit};
