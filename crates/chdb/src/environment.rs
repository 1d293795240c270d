//! The environment that the engine sees: what it must not read is gone before anything of it is loaded.
//!
//! The kernel shows a process the environment that it was started with (`/proc/self/task/…/environ`), and statements
//! may read that. So the program starts itself once more, with what it needs and nothing else.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// What the engine's jemalloc reads as it is loaded.
const ALLOCATOR: &str = "JE_MALLOC_CONF";
/// Free memory goes back after 50 ms and not after 5 s. 0 would cost a heavy query twice the CPU; 50 costs nothing
/// that can be measured.
const GIVES_BACK: &str = "dirty_decay_ms:50,muzzy_decay_ms:0";
/// Where the engine would look for a configuration that is not ours.
const HOME: &str = "HOME";

const KEPT: [&str; 8] = [ALLOCATOR, HOME, "LANG", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ"];
const KEPT_FAMILIES: [&str; 4] = ["LC_", "RUST_", "WEIR_CHDB_", "WEIR_LOG"];

/// Why the program is not to go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot start itself with a clean environment: {0}; check that the program's file is still there")]
pub struct ClearError(std::io::Error);

/// Returns in a process whose environment holds what the engine needs and nothing else, with its home in `home`.
///
/// # Errors
/// The program cannot be started again.
pub fn clear(home: &Path) -> Result<(), ClearError> {
    let home = std::path::absolute(home).map_err(ClearError)?;
    let is_clean = std::env::vars_os().all(|(name, _)| is_kept(&name))
        && std::env::var_os(HOME).is_some_and(|set| set == home)
        && std::env::var_os(ALLOCATOR).is_some();
    if is_clean {
        return Ok(());
    }
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    let allocator = std::env::var_os(ALLOCATOR).unwrap_or_else(|| OsString::from(GIVES_BACK));
    let program = std::env::current_exe().map_err(ClearError)?;
    let mut again = Command::new(program);
    let mut arguments = std::env::args_os();
    again.arg0(arguments.next().unwrap_or_default()).args(arguments);
    Err(ClearError(again.env_clear().envs(kept).env(HOME, home).env(ALLOCATOR, allocator).exec()))
}

fn is_kept(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    KEPT.contains(&&*name) || KEPT_FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_program_s_own_is_kept() {
        for kept in ["WEIR_CHDB_PATH", "WEIR_LOG", "WEIR_LOG_FORMAT", "TZ", "LC_ALL"] {
            assert!(is_kept(OsStr::new(kept)), "{kept}");
        }
        for other in ["WEIR_ADMIN_TOKEN", "AWS_SECRET_ACCESS_KEY", "CLICKHOUSE_PASSWORD", "TZX"] {
            assert!(!is_kept(OsStr::new(other)), "{other}");
        }
    }
}
