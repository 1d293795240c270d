//! `weir validate`: the checks of a load, offline.

use crate::exit;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_proxy::{Registry, Snapshot};

/// Loads and compiles as `weir run` would, and says what it found.
pub fn validate(dirs: &[PathBuf]) -> ExitCode {
    let config = match weir_config::load(dirs, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return exit::WRONG;
        }
    };
    if let Err(error) = Snapshot::compile(&config, 1, &Registry::new(1)) {
        eprintln!("{error}");
        return exit::WRONG;
    }
    let routes: usize = config.apis.iter().map(|api| api.routes.len()).sum();
    println!("the configuration is right: {} APIs with {routes} routes", config.apis.len());
    exit::WELL
}
