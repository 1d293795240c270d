//! Where lines are written: standard output, or a file that somebody rotates while it is written.
//!
//! A file that was moved away, or that is gone, is opened anew under its name, as `logrotate` expects of a program that gets
//! no signal; one that was cut in place goes on at its new end, for every write appends.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is seen whether a file is still the one under its name.
const LOOK: Duration = Duration::from_secs(1);
/// Of its owner, and to be read by its group: lines are about people.
const MODE: u32 = 0o640;

/// An open output.
pub(crate) enum Output {
    /// Not by the lock of the standard library, which whoever prints would wait for.
    Stdout(File),
    File(LogFile),
}

impl Output {
    /// A file, or standard output.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        match file {
            None => io::stdout().as_fd().try_clone_to_owned().map(|out| Self::Stdout(out.into())),
            Some(path) => LogFile::open(path).map(Self::File),
        }
    }

    /// Writes whole lines. After an error a part of them may be there.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(lines),
            Self::File(file) => file.write(lines),
        }
    }
}

/// A file, by its name.
pub(crate) struct LogFile {
    path: PathBuf,
    /// `None` after an error: it is opened anew.
    file: Option<File>,
    looked: Instant,
    /// Whether the last write broke off within a line.
    is_torn: bool,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = Some(append_to(path)?);
        Ok(Self { path: path.to_owned(), file, looked: Instant::now(), is_torn: false })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.file = self.file.take().filter(|file| is_at(file, &self.path));
        }
        if self.file.is_none() {
            self.file = Some(append_to(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut rest = lines;
        if std::mem::take(&mut self.is_torn) {
            file.write_all(b"\n")?;
        }
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => return self.fail(lines.len() - rest.len(), lines, io::ErrorKind::WriteZero.into()),
                Err(error) => return self.fail(lines.len() - rest.len(), lines, error),
            }
        }
        Ok(())
    }

    fn fail(&mut self, written: usize, lines: &[u8], error: io::Error) -> io::Result<()> {
        self.is_torn = written > 0 && lines[written - 1] != b'\n';
        self.file = None;
        Err(error)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = || Some((file.metadata().ok()?, std::fs::metadata(path).ok()?));
    same().is_some_and(|(open, there)| (open.dev(), open.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

    use super::*;
    use std::fs::{read_to_string, rename};

    /// As after the time between two looks.
    fn write(file: &mut LogFile, line: &str) {
        file.looked = Instant::now().checked_sub(LOOK).unwrap();
        file.write(line.as_bytes()).unwrap();
    }

    #[test]
    fn a_file_that_is_rotated_goes_on_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut file = LogFile::open(&at("log")).unwrap();
        write(&mut file, "1\n");
        rename(at("log"), at("log.1")).unwrap();
        write(&mut file, "2\n");
        // Cut in place.
        File::options().write(true).truncate(true).open(at("log")).unwrap();
        write(&mut file, "3\n");
        std::fs::remove_file(at("log")).unwrap();
        write(&mut file, "4\n");
        assert_eq!(
            (read_to_string(at("log")).unwrap(), read_to_string(at("log.1")).unwrap()),
            ("4\n".to_owned(), "1\n".to_owned())
        );
        assert_eq!(std::fs::metadata(at("log")).unwrap().mode() & 0o7177, 0o0040);
    }

    #[test]
    fn after_a_torn_line_the_next_begins_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = LogFile::open(&path).unwrap();
        file.write(b"1\n2").unwrap();
        file.fail(3, b"1\n2\n", io::ErrorKind::StorageFull.into()).unwrap_err();
        file.write(b"3\n").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("within");
        assert!(LogFile::open(&within.join("log")).is_err());
        std::fs::create_dir(&within).unwrap();
        let mut file = LogFile::open(&within.join("log")).unwrap();
        std::fs::remove_dir_all(&within).unwrap();
        file.looked = Instant::now().checked_sub(LOOK).unwrap();
        assert!(file.write(b"1\n").is_err());
        std::fs::create_dir(&within).unwrap();
        write(&mut file, "2\n");
        assert_eq!(read_to_string(within.join("log")).unwrap(), "2\n");
    }
}
