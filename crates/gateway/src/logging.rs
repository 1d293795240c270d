//! The gateway's logs: its own, which begins at the level that its configuration asks for unless the operator asks for
//! another, and that of requests.

use crate::error::RunError;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Level;
use weir_config::{LogLevel, OtlpProtocol, Startup, TraceExport, policy};
use weir_event::clock::system_us;
use weir_event::{Identity, Names};
use weir_logs::{Entry, Logs};
use weir_program::log::{Log, LogOptions, Take};
use weir_program::operations::{Operations, Protocol, Receiver};

/// Opens the outputs and starts the log. `--log` and `WEIR_LOG` win over the configured level.
pub fn start(
    options: &LogOptions,
    startup: &Startup,
    identity: &Identity,
    names: &Arc<Names>,
) -> Result<(Log, Arc<Logs>, Option<Operations>), RunError> {
    let (of_requests, of_program) = (startup.logging.of_requests(), startup.logging.of_program());
    let outputs = of_requests.into_iter().chain(of_program.iter().cloned());
    let logs = Logs::start(outputs, identity, names, env!("CARGO_PKG_VERSION"))?;
    let also = (!of_program.is_empty()).then(|| {
        let sender = Mutex::new(logs.sender(&of_program));
        let take: Take = Box::new(move |level, text| {
            let entry = Entry::Program { at_us: system_us(), level: level_of(level), text };
            sender.lock().unwrap_or_else(PoisonError::into_inner).send(&entry);
        });
        take
    });
    let level = match startup.log_level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Fatal => "error",
    };
    let operations = receiver(startup)?.map(|receiver| {
        let service =
            startup.spans.as_ref().and_then(|spans| spans.target.service_name.as_ref()).unwrap_or(&identity.gateway);
        let attributes = [
            ("service.namespace", &*identity.organization),
            ("deployment.environment.name", &*identity.environment),
            ("weir.site", &*identity.site),
            ("weir.replica", &*identity.replica),
        ];
        Operations::start(service, &attributes, &receiver)
    });
    let operations = operations.transpose().map_err(RunError::Operations)?;
    Ok((Log::start_with(options, level, also, operations.as_ref()), Arc::new(logs), operations))
}

/// Where spans of the gateway's own operations go: where those of requests do.
fn receiver(startup: &Startup) -> Result<Option<Receiver>, RunError> {
    let Some(TraceExport { target, .. }) = &startup.spans else { return Ok(None) };
    let protocol = match target.protocol {
        OtlpProtocol::Grpc => Protocol::Grpc,
        OtlpProtocol::HttpProtobuf => Protocol::Http,
    };
    let headers = target.headers.iter().map(|(name, value)| (name.to_string(), value.expose().to_owned())).collect();
    let tls = Arc::new(weir_otlp::tls(target).map_err(RunError::Spans)?);
    let (endpoint, timeout) = (target.endpoint.to_string(), target.timeout);
    Ok(Some(Receiver { protocol, endpoint, headers, timeout, tls }))
}

fn level_of(level: Level) -> policy::LogLevel {
    match level {
        Level::ERROR => policy::LogLevel::Error,
        Level::WARN => policy::LogLevel::Warn,
        Level::INFO => policy::LogLevel::Info,
        _ => policy::LogLevel::Debug,
    }
}
