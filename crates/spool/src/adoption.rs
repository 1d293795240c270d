//! Which lives this process takes over, and when it lets go of them.
//!
//! Those of its own gateway whose process has ended; and those of other gateways that share the spool, as long as none
//! of theirs lives: a gateway that lives again gets its own back. One lock an identity says who does it.

use crate::adopt::{self, OrphanRing};
use crate::counters::Counters;
use crate::folder::{BootFolder, lock_identity, others};
use crate::shared::Shared;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tracing::{info, warn};
use weir_event::{BootId, Identity};

#[derive(Default)]
pub(crate) struct Adoption {
    /// Rings of earlier lives that are not emptied yet.
    rings: VecDeque<OrphanRing>,
    /// The locks of the identities whose earlier lives are this process's to take over.
    locks: HashMap<Identity, File>,
    /// Folders of earlier lives that could not be taken over: logged once.
    left: HashSet<PathBuf>,
}

impl Adoption {
    /// Takes over the lives that are over: those of this gateway, and those of others of which none lives.
    pub(crate) fn look(&mut self, shared: &Shared) -> io::Result<()> {
        let found = others(&shared.config.path, &shared.boot)?;
        let (mut living, mut over) = (HashSet::new(), Vec::new());
        for path in found {
            match look_at(&path, shared) {
                Ok(Some((folder, true))) => drop(living.insert(without_replica(&folder.identity))),
                Ok(Some((folder, false))) => over.push(folder),
                Ok(None) => {}
                Err(error) => self.leave(path, &error, shared),
            }
        }
        self.hand_over(&living, shared);
        let own = without_replica(&shared.folder.identity);
        for folder in over {
            let identity = without_replica(&folder.identity);
            if identity == own || !living.contains(&identity) {
                self.take_over(folder, identity, shared);
            }
        }
        Ok(())
    }

    /// Lets go of the lives of identities that have a living process of their own again.
    fn hand_over(&mut self, living: &HashSet<Identity>, shared: &Shared) {
        let own = without_replica(&shared.folder.identity);
        let mut kept = HashSet::new();
        for (boot, identity) in shared.index.adopted(shared.boot) {
            let identity = without_replica(&identity);
            let has_rings = self.rings.iter().any(|ring| ring.boot() == boot);
            let is_theirs = identity != own && living.contains(&identity) && !has_rings;
            if !is_theirs || !shared.index.release(boot) {
                kept.insert(identity);
            }
        }
        self.locks.retain(|identity, _| *identity == own || kept.contains(identity));
    }

    fn take_over(&mut self, folder: BootFolder, identity: Identity, shared: &Shared) {
        let (boot, path) = (folder.boot, folder.path.clone());
        if let Entry::Vacant(vacant) = self.locks.entry(identity) {
            match lock_identity(&shared.config.path, vacant.key()) {
                Ok(Some(lock)) => drop(vacant.insert(lock)),
                // Another process of that gateway looks after it.
                Ok(None) => return,
                Err(error) => return self.leave(path, &error, shared),
            }
        }
        match adopt::take_over(folder, shared) {
            Ok(rings) => {
                Counters::add(&shared.counters.adopted, 1);
                info!(%boot, rings = rings.len(), "took over the spool of an earlier life");
                self.left.remove(&path);
                self.rings.extend(rings);
                shared.report_now.notify_one();
            }
            Err(error) => self.leave(path, &error, shared),
        }
    }

    /// Nothing is lost by waiting: it is tried again at the next round.
    fn leave(&mut self, path: PathBuf, error: &io::Error, shared: &Shared) {
        shared.counters.failed(format!("cannot take over `{}` yet: {error}", path.display()));
        if self.left.insert(path.clone()) {
            warn!(path = %path.display(), %error, "cannot take over the spool of an earlier life yet; it stays as it is and is tried again");
        }
    }

    /// Empties rings of earlier lives until `until`, one at least; without room on disk they wait, while the chunks that
    /// are there are shipped.
    pub(crate) fn empty_rings(&mut self, shared: &Shared, until: Instant) -> io::Result<()> {
        while let Some(ring) = self.rings.pop_front() {
            ring.empty(shared).inspect_err(|_| self.rings.push_back(ring))?;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }
}

/// A folder that is not in the index, and whether its process lives.
fn look_at(path: &Path, shared: &Shared) -> io::Result<Option<(BootFolder, bool)>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if BootId::from_hex(name.as_bytes()).is_some_and(|boot| shared.index.has_life(boot)) {
        return Ok(None);
    }
    let Some(folder) = adopt::open(path.to_owned())? else { return Ok(None) };
    let alive = folder.is_alive()?;
    Ok(Some((folder, alive)))
}

fn without_replica(identity: &Identity) -> Identity {
    Identity { replica: String::new(), ..identity.clone() }
}
