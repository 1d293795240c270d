//! The last generations that were good, on disk: what a rollback loads, and a gateway that starts with a broken folder.
//!
//! One file a generation, for this user only, with the files as they were read: `$NAME` stands there as it was written.
//! Certificates and keys that the resources name elsewhere are not in it. Numbers go on over restarts of the gateway.

use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use weir_config::Content;

/// How many are kept.
const KEPT: usize = 3;

/// The folder of them.
#[derive(Clone)]
pub struct Generations {
    folder: PathBuf,
}

/// A generation that was kept.
pub struct Kept {
    pub number: u32,
    pub content: Content,
}

/// Where a gateway keeps what is its own, unless set: beside its spool.
pub fn state_folder(given: Option<&Path>, spool: &Path) -> PathBuf {
    given.map_or_else(
        || {
            let mut name = spool.file_name().unwrap_or_default().to_owned();
            name.push(".state");
            spool.with_file_name(name)
        },
        Path::to_owned,
    )
}

impl Generations {
    pub fn below(state: &Path) -> Self {
        Self { folder: state.join("generations") }
    }

    /// The numbers, the newest last.
    pub fn numbers(&self) -> Vec<u32> {
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut numbers: Vec<u32> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn get(&self, number: u32) -> io::Result<Kept> {
        let document: Value = serde_json::from_slice(&fs::read(self.path(number))?)?;
        let text = |file: &Value| Some((PathBuf::from(file["path"].as_str()?), file["text"].as_str()?.to_owned()));
        let files: Option<Vec<_>> = document["files"].as_array().and_then(|files| files.iter().map(text).collect());
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "it is not what a gateway wrote");
        Ok(Kept { number, content: Content::of(files.ok_or_else(broken)?) })
    }

    /// Those that can be read, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = Kept> {
        self.numbers().into_iter().rev().filter_map(|number| self.get(number).ok())
    }

    /// What `content` is called: as before if it was the last to be kept.
    pub fn number_of(&self, content: &Content) -> u32 {
        let newest = self.numbers().last().copied();
        let is_newest = |number: &u32| self.get(*number).is_ok_and(|kept| kept.content.says_the_same(content));
        newest.filter(is_newest).unwrap_or_else(|| newest.unwrap_or(0).saturating_add(1))
    }

    /// Keeps `content`, and no more than the last [`KEPT`].
    pub fn keep(&self, number: u32, content: &Content) -> io::Result<()> {
        if self.path(number).exists() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let files: Vec<_> =
            content.texts().map(|(path, text)| json!({"path": path.to_string_lossy(), "text": text})).collect();
        let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let document = json!({"generation": number, "taken": taken, "files": files}).to_string();
        let new = self.folder.join("new");
        // One that was left behind may be anybody's to read.
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(document.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path(number))?;
        File::open(&self.folder)?.sync_all()?;
        let numbers = self.numbers();
        let old = numbers.len().saturating_sub(KEPT);
        numbers[..old].iter().try_for_each(|number| fs::remove_file(self.path(*number)))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_last_three_are_kept_as_they_were_read_and_for_this_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let generations = Generations::below(dir.path());
        let content = |text: &str| Content::of([("a.yaml".into(), text.to_owned())]);
        assert_eq!(generations.number_of(&content("token: $TOKEN 1")), 1);
        for number in 1..=5 {
            generations.keep(number, &content(&format!("token: $TOKEN {number}"))).unwrap();
        }
        assert_eq!(generations.numbers(), [3, 4, 5]);
        let newest = generations.newest_first().next().unwrap();
        assert!(newest.number == 5 && newest.content.says_the_same(&content("token: $TOKEN 5")));
        assert_eq!(generations.number_of(&content("token: $TOKEN 5")), 5, "the same is called the same");
        assert_eq!(generations.number_of(&content("token: $TOKEN 4")), 6);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&generations.path(5)), mode(&generations.folder)), (0o600, 0o700));
        fs::write(generations.path(5), "{").unwrap();
        assert_eq!(generations.newest_first().next().unwrap().number, 4, "one that cannot be read is passed over");
    }

    #[test]
    fn state_is_beside_the_spool() {
        let spool = Path::new("/var/lib/weir/spool");
        assert_eq!(state_folder(None, spool), Path::new("/var/lib/weir/spool.state"));
        assert_eq!(state_folder(Some(Path::new("/x")), spool), Path::new("/x"));
    }
}
