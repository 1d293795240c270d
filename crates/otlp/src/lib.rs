//! What is sent to an OpenTelemetry Collector, or to anything else that speaks OTLP: spans made of finished requests,
//! metrics, and log records.
//!
//! A worker hands over the record of a request whose spans are kept and goes on; everything else happens on the thread for
//! what is not a request's own. Nothing here waits for a request, and no request waits for anything here: what there is no
//! room for is dropped and counted.

mod answer;
mod attributes;
mod client;
mod exporter;
mod kept;
mod logs;
mod metrics;
mod probes;
mod protobuf;
mod queue;
mod resource;
mod sending;
mod span;

pub use client::{ClientError, tls};
pub use exporter::Exporter;
pub use kept::KeptRequest;
pub use logs::{LogExporter, Record, RecordAttributes, Severity};
pub use metrics::{Collection, GivenUp, MetricExporter};
pub use probes::{Probes, Progress};
pub use queue::{Counts, Loss, Queue, Sender, queue};
