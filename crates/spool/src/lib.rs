//! The rings, the chunk files, the shipper: an event's way from the worker that recorded it to the ingestor's
//! acknowledgement.
//!
//! Each worker appends to its own [`RingWriter`], which never waits. One thread copies the rings to chunk files;
//! another ships them; the third, the housekeeper, removes what is acknowledged, keeps the spool within its bounds and
//! takes over what earlier lives of the gateway left. At every moment a recorded event is in a ring or in a file, or
//! its loss is reported with a reason: see [`Spool::ledger`].
//!
//! The border: records come in as bytes with their sequence number; what is in them is `weir_event`'s, where they
//! go is the ingestor's. Knows no proxy, no configuration, no metrics.

mod adopt;
mod adoption;
mod answer;
mod bound;
mod builder;
mod client;
mod config;
mod counters;
mod endpoint;
mod ends;
mod entry;
mod folder;
mod format;
mod housekeeper;
mod index;
mod ledger;
mod life;
mod lives;
mod machine;
mod map;
mod names;
mod progress;
mod recover;
mod report;
mod ring;
mod set_aside;
mod shared;
mod shipper;
mod spool;
mod spooler;
mod stream_writer;
mod tail;
mod trouble;

pub use config::{Seal, SpoolConfig, SpoolError};
pub use counters::{HeldLife, RingFill, ShedCounts, SpoolStats};
pub use endpoint::{Endpoint, EndpointError};
pub use ends::{OpenEnd, OpenEndReason};
pub use format::RingHeader;
pub use ledger::StreamLedger;
pub use names::read_names;
pub use recover::{Recovered, RingEnd};
pub use ring::{Appended, RingWriter};
pub use spool::Spool;
pub use tail::{Tail, TailItem};
