//! Weir's data plane without its telemetry: what a worker records goes nowhere, no figure is counted, and no trace context
//! is read or sent on. No spool, no admin listener, no reloads.
//!
//! It stands beside `weir` in the rotation and under the guard, so that the difference is the price of telemetry. What is
//! left is what a request needs anyway: the record of it that policies and timeouts read, and ids for `x-request-id`. A
//! contender of the bench and nothing else: the product has no such switch, because every request is an event.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use weir_event::Exchange;
use weir_proxy::{EventSink, Proxy, Registry, Snapshot};

#[path = "../../../crates/gateway/src/allocator.rs"]
mod allocator;

/// Cells are made for so many workers: the only one there is has none, and counts nothing.
const WORKERS_WITH_FIGURES: u16 = 0;

struct Nowhere;

impl EventSink for Nowhere {
    fn record(&mut self, _: u64, _: &Exchange) {}
}

fn main() -> ExitCode {
    if !cfg!(feature = "no-trace-context") {
        eprintln!(
            "this build has trace context; `make bench` and `make guard ARGS=\"--with off\"` build the one without"
        );
        return ExitCode::from(2);
    }
    // The last argument, so that it can be started as `weir` is.
    let Some(folder) = std::env::args_os().skip(1).last().map(PathBuf::from) else {
        eprintln!("usage: weir-off CONFIG_FOLDER");
        return ExitCode::from(2);
    };
    match start(folder) {
        // Until it is killed: the bench ends what it starts.
        Ok(_proxy) => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(folder: PathBuf) -> Result<Proxy, Box<dyn std::error::Error>> {
    let config = weir_config::load(&[folder], &|name| std::env::var(name).ok())?;
    let registry = Registry::new(WORKERS_WITH_FIGURES);
    let snapshot = Snapshot::compile(&config, 1, &registry)?;
    Ok(Proxy::start(snapshot, 1, Arc::new(|_| Box::new(Nowhere)))?)
}
