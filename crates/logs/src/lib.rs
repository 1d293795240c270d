//! Lines of logs - of requests, of policies about requests, of the program itself - and the outputs that they go to.
//!
//! A worker copies the record of a finished request into memory that is shared with the thread of an output and goes on:
//! it takes no lock that anybody holds for longer than a swap, and never two tries. The thread makes lines of records and
//! writes them, or log records, and sends these by OTLP. What there is no room for is lost and counted, and the log says how much: a log never holds up a request.

mod entry;
mod escape;
mod lane;
mod line;
mod output;
mod record;
mod records;
mod sink;
mod text;
mod writer;

pub use entry::{Entry, PolicyMessage};
pub use lane::{Counts, Sender};
pub use writer::{Logs, StartError};
