//! The dashboards of `dashboards/`, for the page: which there are, and what their queries answer.
//!
//! The same files are provisioned into Grafana. Only their queries can be run: whoever asks names a panel and gives the
//! values of variables, and never text of SQL. Layout and drawing are the page's.

mod csv;
mod expand;
mod hours;
mod run;
mod shipped;

pub use csv::{csv, line as csv_line};
pub use expand::{Asked, ExpandError, Statement, expand};
pub use hours::by_hours;
pub use run::{answer, values};
pub use shipped::{FILES, find, read, shipped};
