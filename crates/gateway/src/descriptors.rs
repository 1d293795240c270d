//! File descriptors: as many as the system lets this process have, and some of them kept back from connections, so that
//! probes, scrapes and the spool work when clients have used up the rest.

use rustix::process::{Resource, getrlimit};
use std::fs;
use tracing::{info, warn};
use weir_config::Limits;
use weir_proxy::Descriptors;

/// Connections of the admin port, and of the probe port, where the system lets the process have enough descriptors.
const OPERATORS: usize = 64;
/// Of a small number of descriptors, the part that each of these ports has.
const OPERATORS_PART: usize = 16;
/// For the spool's files, the connection to weir-analytics, names that are looked up and files that are loaded.
const OTHERS: usize = 16;

/// Beside those that are open, without these nobody is served: some connections, and some of the others.
const LEAST: usize = 16;
/// Connections of the data plane that are tried in any case; where the system has no descriptor for one, it says so.
const CONNECTIONS: usize = 4;

/// How many there may be.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many this process has open; `None` where the system does not say.
pub fn open() -> Option<usize> {
    fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// Connections that the admin port may have, and the probe port.
pub fn of_operators() -> usize {
    (limit() / OPERATORS_PART).clamp(4, OPERATORS)
}

/// The limit of open files leaves nothing to serve with.
#[derive(Debug, thiserror::Error)]
#[error("{open} files are open, and there may be {limit} (os error 24): at least {} are needed; raise the limit (`ulimit -n`, LimitNOFILE=)", open + LEAST)]
pub struct TooFew {
    open: usize,
    limit: usize,
}

/// Leaves connections of the data plane what is not needed otherwise. Called when all ports are open.
pub fn keep_back(descriptors: &Descriptors, limits: &Limits, operator_ports: usize) -> Result<(), TooFew> {
    let limit = limit();
    // To look takes one as well.
    let open = open().unwrap_or(limit);
    if open.saturating_add(LEAST) > limit {
        return Err(TooFew { open, limit });
    }
    let most = limit.saturating_sub(open + operator_ports * of_operators() + OTHERS).max(CONNECTIONS);
    descriptors.set_most(most);
    let (clients, wanted) = (most.div_ceil(2), limits.connections as usize);
    if clients < wanted {
        if limits.connections == Limits::default().connections {
            info!(
                limit,
                clients, "open files: a client and its upstream need one each, so there may be so many clients"
            );
        } else {
            warn!(
                limit,
                clients,
                "`limits.connections` is {wanted}, and the limit of open files is enough for fewer: raise it (`ulimit -n`, \
                 LimitNOFILE=)"
            );
        }
    }
    Ok(())
}
