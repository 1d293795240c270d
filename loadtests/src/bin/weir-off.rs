//! Weir's data plane without its events: what a worker records goes nowhere. No spool, no admin listener, no reloads.
//!
//! It stands beside `weir` in the rotation, so that the difference is the price of the events. Metrics and trace context
//! are part of the pipeline and stay on. A contender of the bench and nothing else: the product has no such switch,
//! because every request is an event.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use weir_event::Exchange;
use weir_proxy::{EventSink, Proxy, Registry, Snapshot};

#[path = "../../../crates/gateway/src/allocator.rs"]
mod allocator;

struct Nowhere;

impl EventSink for Nowhere {
    fn record(&mut self, _: u64, _: &Exchange) {}
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
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
    let registry = Registry::new(1);
    let snapshot = Snapshot::compile(&config, 1, &registry)?;
    Ok(Proxy::start(snapshot, 1, Arc::new(|_| Box::new(Nowhere)))?)
}
