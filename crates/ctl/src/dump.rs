//! `weirctl dump`: what a gateway knows of itself, for a support case.
//!
//! The gateway redacts; what comes here holds no secret. Written to files it is still for its owner's eyes alone: it
//! names hosts, ports and clients.

use crate::args::DumpOptions;
use crate::terminal::{say_json, tell};
use crate::{Failure, Outcome, fetch};
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Asks every gateway, and only then writes: a dump is whole, or it is none.
pub async fn dump(admin: &[String], options: &DumpOptions) -> Result<Outcome, Failure> {
    let mut dumps = Vec::new();
    for base in admin {
        let (url, body) = fetch::get_ok(base, "/dump").await?;
        let dump: Map<String, Value> = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
        dumps.push(dump);
    }
    match (&options.output, &dumps[..]) {
        (None, [one]) => say_json(format_args!("{:#}", Value::Object(one.clone())))?,
        (None, several) => several.iter().try_for_each(|dump| say_json(Value::Object(dump.clone())))?,
        (Some(folder), [one]) => files(folder, one)?,
        (Some(folder), several) => {
            for (number, dump) in several.iter().enumerate() {
                files(&folder.join(number.to_string()), dump)?;
            }
        }
    }
    Ok(Outcome::Well)
}

/// One file for each part.
fn files(folder: &Path, dump: &Map<String, Value>) -> Result<(), Failure> {
    let failed = |path: &Path, error| Failure::File { path: path.to_owned(), error };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed(folder, error))?;
    for (name, part) in dump.iter().filter(|(name, _)| is_plain(name)) {
        let path = folder.join(format!("{name}.json"));
        write(folder, &path, part).map_err(|error| failed(&path, error))?;
    }
    tell(format_args!("written to {}", folder.display()));
    Ok(())
}

/// Puts a new file of this user alone at `path`, whatever is there: what others have open, or a link leads to, is not
/// written to.
fn write(folder: &Path, path: &Path, part: &Value) -> io::Result<()> {
    let new = folder.join(format!(".{:016x}.new", fastrand::u64(..)));
    // `O_EXCL`: it follows no link and takes no file of somebody else.
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| writeln!(file, "{part:#}")).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written
}

/// The name comes over the network: it shall lead nowhere else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn parts_become_files_of_their_owner_within_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("dump");
        let dump = serde_json::json!({"process": {"pid": 1}, "../out": 2, "": 3});
        files(&folder, dump.as_object().unwrap()).unwrap();
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["process.json"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let mode = fs::metadata(folder.join("process.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(fs::read_to_string(folder.join("process.json")).unwrap().contains("\"pid\": 1"));
    }

    #[test]
    fn what_was_there_before_is_replaced_and_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (dir.path().join("dump"), dir.path().join("elsewhere"));
        fs::create_dir(&folder).unwrap();
        fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.join("linked.json")).unwrap();
        fs::write(folder.join("open.json"), "old").unwrap();
        fs::set_permissions(folder.join("open.json"), fs::Permissions::from_mode(0o666)).unwrap();
        let mut held = fs::File::open(folder.join("open.json")).unwrap();
        let dump = serde_json::json!({"linked": {"pid": 1}, "open": {"pid": 2}});
        files(&folder, dump.as_object().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
        for name in ["linked.json", "open.json"] {
            let found = fs::symlink_metadata(folder.join(name)).unwrap();
            assert!(found.is_file(), "{name}");
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
        }
        let mut seen = String::new();
        std::io::Read::read_to_string(&mut held, &mut seen).unwrap();
        assert_eq!(seen, "old", "whoever had it open sees nothing of the new one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }
}
