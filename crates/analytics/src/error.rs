//! What goes wrong with a statement, sorted by what to do about it.

use std::time::Duration;
use weir_transport::TlsError;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again: the network, load, a server on its way up.
    Transient,
    /// Somebody must fix it - credentials, schema, disk -: keep the data, try again slowly, say so.
    Operator,
    /// It is this data that is refused: trying again cannot help.
    Data,
    /// The lease of the insert has ended: another one writes. Nothing of it is stored, and none will be.
    Fenced,
}

/// What went wrong with one statement.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("ClickHouse at {url} cannot be reached: {text}")]
    Unreachable { url: String, text: String },
    #[error("ClickHouse at {url} did not answer within {} s", .after.as_secs())]
    TimedOut { url: String, after: Duration },
    #[error("ClickHouse refused the statement: {text}")]
    Refused { code: u32, text: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("ClickHouse's answer cannot be read: {text}")]
    Answer { text: String },
}

impl StoreError {
    /// By the code of the exception; a code that nobody sorted is the operator's, since then nothing is lost.
    pub fn class(&self) -> Class {
        let (code, text) = match self {
            Self::Refused { code, text } => (code, text),
            Self::Unreachable { .. } | Self::TimedOut { .. } => return Class::Transient,
            Self::Answer { .. } | Self::Tls(_) => return Class::Operator,
        };
        match code {
            395 if text.contains("weir: the lease") => Class::Fenced,
            // "Too many partitions for single INSERT block" has the code of "Too many parts": only that one is final.
            252 if text.contains("Too many partitions") => Class::Data,
            159 | 202 | 209 | 210 | 225 | 236 | 241 | 242 | 252 | 319 | 394 | 999 | 0 => Class::Transient,
            6 | 27 | 33 | 41 | 53 | 69 | 70 | 117 | 131 | 349 | 469 => Class::Data,
            _ => Class::Operator,
        }
    }
}
