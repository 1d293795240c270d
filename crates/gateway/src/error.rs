//! Why the gateway cannot run.

use crate::descriptors;
use std::io;
use std::path::PathBuf;
use weir_config::ConfigErrors;
use weir_program::operator::TokenError;
use weir_proxy::{ProxyError, SnapshotError};
use weir_spool::{EndpointError, SpoolError};

/// Why the gateway cannot run. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    #[error(transparent)]
    Operator(#[from] TokenError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{0}")]
    Log(weir_logs::StartError),
    #[error("spans cannot be sent: {0}; correct `spec.tracing.provider`, or the OTEL_EXPORTER_OTLP_ variables")]
    Spans(weir_otlp::ClientError),
    #[error("metrics cannot be sent: {0}; correct `spec.metrics.otlp`, or the OTEL_EXPORTER_OTLP_ variables")]
    Metrics(weir_otlp::ClientError),
    #[error(
        "spans of the gateway's own operations cannot be sent: {0}; correct `spec.tracing.provider`, or the OTEL_EXPORTER_OTLP_ variables"
    )]
    Operations(io::Error),
    #[error("cannot listen on {address} for `{what}`: {error}; change the address in the configuration")]
    Admin { what: &'static str, address: std::net::SocketAddr, error: io::Error },
    #[error("cannot listen on the socket `{}`: {error}; give another path by --admin-socket", path.display())]
    Socket { path: PathBuf, error: io::Error },
    #[error("cannot start a thread: {0}; raise the limit of threads (`ulimit -u`, the `pids` limit of the container)")]
    Thread(io::Error),
    #[error("cannot set up the gateway: {0}")]
    System(#[from] io::Error),
}

impl From<weir_logs::StartError> for RunError {
    fn from(error: weir_logs::StartError) -> Self {
        match error {
            weir_logs::StartError::Thread(error) => Self::Thread(error),
            other => Self::Log(other),
        }
    }
}
