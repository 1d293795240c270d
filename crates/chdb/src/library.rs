//! Where `libchdb.so` is.

use std::path::{Path, PathBuf};

const NAME: &str = "libchdb.so";
const IN_REPOSITORY: &str = "crates/chdb/engine/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so";

/// The library was not found, or not where it was said to be.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("WEIR_CHDB_LIB names `{0}`, which is not a file; set it to the path of libchdb.so")]
    Named(PathBuf),
    #[error(
        "libchdb.so is not beside this program, nor in ../lib; run `npm ci --ignore-scripts --prefix crates/chdb/engine` in the repository, or set WEIR_CHDB_LIB to the path of libchdb.so"
    )]
    Missing,
}

/// Finds the library: where `named` says; beside the program; in `../lib`; in a repository above it.
///
/// # Errors
/// One sentence with the fix.
pub fn find(named: Option<&Path>, program: &Path) -> Result<PathBuf, LibraryError> {
    if let Some(named) = named {
        let path = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        return if path.is_file() { Ok(path) } else { Err(LibraryError::Named(named.to_owned())) };
    }
    let folder = program.parent().unwrap_or(Path::new("/"));
    let beside = [folder.join(NAME), folder.join("../lib").join(NAME)];
    let above = folder.ancestors().map(|folder| folder.join(IN_REPOSITORY));
    beside.into_iter().chain(above).find(|path| path.is_file()).ok_or(LibraryError::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_library_wins() {
        let root = tempfile::tempdir().expect("folder");
        let put = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(&path, "").expect("file");
            path
        };
        let program = root.path().join("target/debug/weir-chdb");
        assert!(matches!(find(None, &program), Err(LibraryError::Missing)));
        let above = put(IN_REPOSITORY);
        assert_eq!(find(None, &program).expect("found"), above);
        let beside = put("target/debug/libchdb.so");
        assert_eq!(find(None, &program).expect("found"), beside);
        assert!(matches!(find(Some(Path::new("/nowhere")), &program), Err(LibraryError::Named(_))));
    }
}
