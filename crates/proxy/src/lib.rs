//! The data plane: listeners, workers and the pipeline that every request goes through.
//!
//! One worker is one thread with a current-thread runtime of its own: its listeners (SO_REUSEPORT), its upstream
//! pools, its counters and its sink of events. On the path of a request nothing is shared between workers but
//! what is read only. [`Proxy`] is the handle for the rest of the process: publish a configuration, drain, stop.
//!
//! The life of a request is one list, in [`pipeline`]; each phase of it is one file of that name.
//!
//! The border: this crate never sees the spool, the ingestor or a control plane. Events leave through
//! [`EventSink`], configuration comes in as a [`Snapshot`].

mod accept;
mod answer;
mod attempt;
mod attempt_policies;
mod attempts;
mod body;
mod client;
mod connection;
mod connections;
mod cost;
mod escape;
mod event_loop;
mod exchange;
mod figures;
mod flow;
mod forwarded;
mod gate;
mod gather;
mod grpc;
mod headers;
mod link;
mod listener;
mod marks;
mod own_answer;
mod patience;
mod pipeline;
mod policy_run;
mod proxy;
mod pulse;
mod record;
mod registry;
mod reply;
mod request_id;
mod request_policies;
mod response_policies;
mod route;
mod running;
mod sink;
mod snapshot;
mod tls;
mod tracing;
mod upload;
mod upstream;
mod watchdog;
mod websocket;
mod welcome;
mod worker;

pub use figures::Figures;
pub use gate::Gates;
pub use listener::{BindError, Ports};
pub use marks::Marks;
pub use proxy::{Draining, OpenPorts, Proxy, ProxyError};
pub use registry::Registry;
pub use sink::{EventSink, OriginOf, SinkFactory, WorkerStats};
pub use snapshot::{Snapshot, SnapshotError};
pub use tls::Acceptors;
pub use watchdog::Change;
pub use weir_upstream::Descriptors;
pub use weir_upstream::upkeep;
