//! `weirctl dump`: what a gateway knows of itself, for a support case.
//!
//! The gateway redacts; what comes here holds no secret. Written to files it is still for its owner's eyes alone: it
//! names hosts, ports and clients.

use crate::args::DumpOptions;
use crate::{Failure, Outcome, fetch};
use serde_json::{Map, Value};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use weir_program::say;

/// Asks every gateway, and only then writes: a dump is whole, or it is none.
pub async fn dump(admin: &[String], options: &DumpOptions) -> Result<Outcome, Failure> {
    let mut dumps = Vec::new();
    for base in admin {
        let (url, body) = fetch::get_ok(base, "/dump").await?;
        let dump: Map<String, Value> = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
        dumps.push(dump);
    }
    match (&options.output, &dumps[..]) {
        (None, [one]) => say(format_args!("{:#}", Value::Object(one.clone())))?,
        (None, several) => several.iter().try_for_each(|dump| say(Value::Object(dump.clone())))?,
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
        let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| writeln!(file, "{part:#}")).map_err(|error| failed(&path, error))?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
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
}
