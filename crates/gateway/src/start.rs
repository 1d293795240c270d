//! What a gateway starts with: the configuration of its folders, or, where it is asked to, the last that was good.

use crate::args::RunOptions;
use crate::error::RunError;
use crate::generations::{Generations, Kept, state_folder};
use crate::reload::{Cause, Fallback};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Handle;
use weir_config::{Content, GatewayConfig};
use weir_proxy::{Registry, Snapshot};

/// A configuration that was loaded and compiled.
pub struct Prepared {
    pub config: GatewayConfig,
    pub registry: Arc<Registry>,
    pub snapshot: Snapshot,
    /// What is in the folders.
    pub folder: Arc<Content>,
    /// What the configuration was loaded from.
    pub running: Arc<Content>,
    pub fallback: Option<Fallback>,
    pub state: PathBuf,
}

pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Takes seconds for thousands of APIs.
pub fn prepare(options: &RunOptions, workers: u16, background: &Handle) -> Result<Prepared, RunError> {
    let folder = Arc::new(Content::read(&options.config));
    let registry = |config: &GatewayConfig| {
        let registry = Registry::new(workers).with_background(background.clone());
        Arc::new(registry.with_spans(config.startup.spans.is_some()))
    };
    let why = match from_folder(options, &registry, &folder) {
        Ok(prepared) if !options.last_good || folder.texts().next().is_some() => return Ok(prepared),
        Ok(prepared) => match last_good(options, &registry, &folder, "the folders are empty") {
            Some(good) => return Ok(good),
            None => return Ok(prepared),
        },
        Err(error) => error,
    };
    let good = options.last_good.then(|| last_good(options, &registry, &folder, &why.to_string())).flatten();
    good.ok_or(why)
}

fn from_folder(
    options: &RunOptions,
    registry: &dyn Fn(&GatewayConfig) -> Arc<Registry>,
    folder: &Arc<Content>,
) -> Result<Prepared, RunError> {
    let config = folder.load(&env)?;
    let state = state_folder(options.state.as_deref(), &config.startup.spool.path);
    let registry = registry(&config);
    let number = Generations::below(&state).number_of(folder);
    let snapshot = Snapshot::compile(&config, number, &registry)?;
    let (folder, running) = (Arc::clone(folder), Arc::clone(folder));
    Ok(Prepared { config, registry, snapshot, folder, running, fallback: None, state })
}

/// The newest kept generation that can be run.
fn last_good(
    options: &RunOptions,
    registry: &dyn Fn(&GatewayConfig) -> Arc<Registry>,
    folder: &Arc<Content>,
    why: &str,
) -> Option<Prepared> {
    let state = state_folder(options.state.as_deref(), &folder.spool_path(&env));
    Generations::below(&state).newest_first().find_map(|Kept { number, content }| {
        let config = content.load(&env).ok()?;
        let registry = registry(&config);
        let snapshot = Snapshot::compile(&config, number, &registry).ok()?;
        let fallback = Some(Fallback { generation: number, cause: Cause::LastGood, why: why.to_owned() });
        let (folder, running) = (Arc::clone(folder), Arc::new(content));
        Some(Prepared { config, registry, snapshot, folder, running, fallback, state: state.clone() })
    })
}
