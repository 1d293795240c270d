//! The engine's threads may open files of its folder, of the folders that the operator names, and what the system shows
//! to everyone; nothing else, whatever a statement asks for.
//!
//! ClickHouse's server keeps `file()`, templates and schemas of formats within a folder of their own; its embeddable
//! form does not, and asks for no right. So Landlock does: the kernel refuses, for all threads that begin below the one
//! that calls [`confine`]. What the program reads for itself (library, users) it has read before.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus,
};

/// What the engine reads of the system: how much memory and CPU there is, names of hosts, certificates, time zones. Its
/// threads are in `/proc/self/task`, each with the environment, of which [`crate::environment`] leaves nothing to hide.
const READ: [&str; 28] = [
    "/dev/null",
    "/dev/urandom",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl",
    "/etc/pki",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net",
    "/proc/pressure",
    "/proc/self/loginuid",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/self/task",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/sys",
    "/usr/lib",
    "/usr/share",
];

/// Why the kernel does not confine.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("this kernel has no Landlock, or it is switched off")]
    Missing,
    #[error("{0}")]
    Refused(#[from] RulesetError),
}

/// Confines this thread, and those that begin below it, to `folders` and what the system shows to everyone.
///
/// # Errors
/// The kernel has no Landlock that lets files move between folders (from 5.19 on), as the engine moves them.
pub fn confine(folders: &[PathBuf]) -> Result<(), ConfineError> {
    let all = AccessFs::from_all(ABI::V3);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V2))?.set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(all)?.create()?;
    let ruleset = folders.iter().try_fold(ruleset, |ruleset, folder| allow(ruleset, folder, all))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = READ.iter().try_fold(ruleset, |ruleset, path| allow(ruleset, Path::new(path), read))?;
    let RestrictionStatus { ruleset, .. } = ruleset.restrict_self()?;
    if ruleset == RulesetStatus::NotEnforced { Err(ConfineError::Missing) } else { Ok(()) }
}

/// A path that is not there needs no rule.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: impl Into<landlock::BitFlags<AccessFs>>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    let is_folder = path.is_dir();
    let access = access.into();
    // Rights on what is in a folder mean nothing to a file.
    let access = if is_folder { access } else { access & AccessFs::from_file(ABI::V3) };
    ruleset.add_rule(PathBeneath::new(opened, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confined_thread_reads_its_folder_and_nothing_beside_it() {
        let root = tempfile::tempdir().expect("folder");
        let (inside, beside) = (root.path().join("in"), root.path().join("beside"));
        std::fs::create_dir(&inside).expect("folder");
        for path in [inside.join("a"), beside.clone()] {
            std::fs::write(path, "x").expect("written");
        }
        let confined = std::thread::spawn(move || {
            confine(std::slice::from_ref(&inside)).expect("a kernel with Landlock");
            let own = std::fs::read_to_string(inside.join("a")).expect("read");
            std::fs::write(inside.join("b"), own).expect("written");
            std::fs::read_to_string("/proc/meminfo").expect("read");
            [beside, "/proc/1/status".into(), "/etc/passwd".into()].map(|path| std::fs::read(path).is_err())
        });
        assert_eq!(confined.join().expect("ended"), [true; 3]);
        assert!(std::fs::read("/etc/passwd").is_ok(), "other threads are as they were");
    }
}
