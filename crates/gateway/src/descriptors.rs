//! File descriptors: as many as the system lets this process have, and some of them kept back from connections, so that
//! probes, scrapes and the spool work when clients have used up the rest.

use rustix::process::{Resource, getrlimit, setrlimit};
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

/// As many as the system lets this user have: each connection is one.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

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

/// Leaves connections of the data plane what is not needed otherwise. Called when all ports and files are open.
pub fn keep_back(descriptors: &Descriptors, limits: &Limits) {
    let kept = open().unwrap_or(64) + 2 * of_operators() + OTHERS;
    // Fewer than this would serve nobody; then it is the system that says no.
    let most = limit().saturating_sub(kept).max(8);
    descriptors.set_most(most);
    let (clients, wanted) = (most.div_ceil(2), limits.connections as usize);
    if clients < wanted {
        let limit = limit();
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
}
