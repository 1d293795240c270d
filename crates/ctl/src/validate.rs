//! `weirctl validate`: the mistakes that a load would tell, offline.

use std::path::PathBuf;
use std::process::ExitCode;

/// Loads as a gateway would, and says what it found.
pub fn validate(dirs: &[PathBuf]) -> ExitCode {
    match weir_config::load(dirs, &|name| std::env::var(name).ok()) {
        Ok(config) => {
            let routes: usize = config.apis.iter().map(|api| api.routes.len()).sum();
            println!("the configuration is right: {} APIs with {routes} routes", config.apis.len());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}
