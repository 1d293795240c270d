//! A folder for one test, in which its programs keep their configuration, data and logs; and what the system around them
//! can be made to be: a small disk, permissions that count, a wall clock of their own.

use crate::{DEADLINE, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use weir_testkit::process::{Process, program};

/// A folder that goes with the test, with a log for each program.
pub struct Site {
    dir: TempDir,
    disks: BTreeMap<String, SmallDisk>,
    /// Programs that run without root's way around permissions.
    unprivileged: BTreeSet<String>,
    /// Programs whose wall clock is set by a file.
    clocks: BTreeMap<String, PathBuf>,
    /// Programs that others start, with the words of these.
    within: BTreeMap<String, Vec<String>>,
    /// Programs whose syncs and renames are noted in a file.
    traces: BTreeMap<String, PathBuf>,
}

/// A file system of its own for one program, which can be filled up. It is mounted in the mount namespace of a process
/// that does nothing else, so that it outlives the program.
struct SmallDisk {
    folder: PathBuf,
    holder: Process,
}

/// Mounts a disk of the size `$1` at `$2`, says so, and lives until it is ended.
const HOLD: &str = r#"mount -t tmpfs -o size="$1" none "$2" && echo mounted && exec sleep infinity"#;

impl Site {
    pub fn new() -> io::Result<Self> {
        let (disks, unprivileged, clocks, within, traces) = Default::default();
        Ok(Self { dir: tempfile::tempdir()?, disks, unprivileged, clocks, within, traces })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program wrote to its standard error.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits until a program's log has `words`, and answers the log: a program writes its log a little after the event.
    pub async fn logged(&self, name: &str, words: &str) -> String {
        eventually(&format!("`{words}` in the log of {name}"), async || {
            Some(self.log(name)).filter(|log| log.contains(words))
        })
        .await
    }

    /// Starts a program whose log goes by `name`.
    pub fn start(&self, name: &str, executable: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<Process> {
        let mut words: Vec<String> = Vec::new();
        if let Some(disk) = self.disks.get(name) {
            words.push("nsenter".to_owned());
            if !rustix::process::geteuid().is_root() {
                words.extend([
                    format!("--user=/proc/{}/ns/user", disk.holder.id()),
                    "--preserve-credentials".to_owned(),
                ]);
            }
            words.extend([format!("--mount=/proc/{}/ns/mnt", disk.holder.id()), "--".to_owned()]);
        }
        words.extend(self.within.get(name).into_iter().flatten().cloned());
        if self.unprivileged.contains(name) && rustix::process::geteuid().is_root() {
            words.extend(["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"].map(str::to_owned));
        }
        if let Some(trace) = self.traces.get(name) {
            // As a grandchild, so that the program keeps the process id that is started here.
            let calls = "trace=fsync,fdatasync,rename,renameat,renameat2";
            words.extend(["strace", "-D", "-f", "-qq", "-y", "--seccomp-bpf", "-e", calls, "-o"].map(str::to_owned));
            words.extend([trace.to_string_lossy().into_owned(), "--".to_owned()]);
        }
        let executable = program(executable)?;
        let mut command = match words.split_first() {
            None => Command::new(executable),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(executable);
                command
            }
        };
        if let Some(clock) = self.clocks.get(name) {
            // Only the wall clock is set, and never that of files: the monotonic clock of a machine does not jump.
            command.env("LD_PRELOAD", libfaketime()?).env("FAKETIME_TIMESTAMP_FILE", clock);
            command.envs([
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ("FAKETIME_CACHE_DURATION", "1"),
                ("NO_FAKE_STAT", "1"),
            ]);
        }
        command.args(args).envs(env.iter().copied());
        Process::start(name, command, &self.path(&format!("{name}.log")))
    }

    /// From its next start on, `program` has a disk of `size` (as mount(8) writes it) at `folder` of this site.
    pub fn small_disk(&mut self, program: &str, folder: &str, size: &str) -> io::Result<()> {
        let folder = self.path(folder);
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--", "sh", "-c", HOLD, "sh", size]).arg(&folder);
        let mut holder = Process::start("disk", command, &self.path("disk.log"))?;
        holder.wait_for(DEADLINE, |line| (line == "mounted").then_some(()))?;
        self.disks.insert(program.to_owned(), SmallDisk { folder, holder });
        Ok(())
    }

    /// Leaves a program no byte of its small disk. What was taken is given back by removing the file that this answers.
    pub fn fill_disk(&self, name: &str) -> io::Result<PathBuf> {
        let disk = self.disks.get(name).ok_or(io::ErrorKind::NotFound)?;
        let path = self.seen_by(name, disk.folder.join("filler"));
        let mut file = File::create(&path)?;
        let mut piece = vec![0; 1 << 20];
        while !piece.is_empty() {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
                Err(error) => return Err(error),
            }
        }
        Ok(path)
    }

    /// The place that a program knows as `path`: one on a small disk is in another mount namespace.
    pub fn seen_by(&self, name: &str, path: PathBuf) -> PathBuf {
        let Some(disk) = self.disks.get(name) else { return path };
        let root = PathBuf::from(format!("/proc/{}/root", disk.holder.id()));
        path.strip_prefix("/").map_or_else(|_| path.clone(), |path| root.join(path))
    }

    /// From its next start on, a program obeys the permissions of files, though the tests may run as root.
    pub fn unprivileged(&mut self, name: &str) {
        self.unprivileged.insert(name.to_owned());
    }

    /// From its next start on, a program is started by others: `words` before its own, as of prlimit(1). They must become
    /// the program in the end, so that it has the process id that is started here.
    pub fn within(&mut self, name: &str, words: &[&str]) {
        self.within.insert(name.to_owned(), words.iter().map(|word| (*word).to_owned()).collect());
    }

    /// From its next start on, a program asks the name server at `address`, port 53.
    pub fn name_server(&mut self, name: &str, address: IpAddr) -> io::Result<()> {
        let file = self.path(&format!("{name}.resolv.conf"));
        std::fs::write(&file, format!("nameserver {address}\n"))?;
        let bind = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", file.display());
        let user = if rustix::process::geteuid().is_root() { "--mount" } else { "--map-root-user" };
        self.within(name, &["unshare", user, "--mount", "--", "sh", "-c", &bind, "sh"]);
        Ok(())
    }

    /// From its next start on, what a program syncs and renames is noted by strace(1), in the file that this answers.
    pub fn trace(&mut self, name: &str) -> PathBuf {
        let path = self.path(&format!("{name}.trace"));
        self.traces.insert(name.to_owned(), path.clone());
        path
    }

    /// From its next start on, the wall clock of a program is set by [`Site::set_clock`]. The library of Debian's package
    /// `libfaketime` does it: as good as a wrong RTC for a program that asks the C library, as ours do.
    pub fn own_clock(&mut self, name: &str, offset: &str) -> io::Result<()> {
        libfaketime()?;
        self.clocks.insert(name.to_owned(), self.path(&format!("{name}.clock")));
        self.set_clock(name, offset)
    }

    /// How far a program's wall clock is off, in milliseconds.
    pub fn clock_ms(&self, name: &str) -> i64 {
        let offset = self.clocks.get(name).and_then(|path| std::fs::read_to_string(path).ok());
        offset.map_or(0, |offset| offset_ms(offset.trim()))
    }

    /// Sets how far a program's wall clock is off; it sees it within a second.
    pub fn set_clock(&self, name: &str, offset: &str) -> io::Result<()> {
        let path = self.clocks.get(name).ok_or(io::ErrorKind::NotFound)?;
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{offset}\n"))?;
        std::fs::rename(new, path)
    }
}

/// Sets how far the clock of a command is off, as `-10d`. Not by faketime(1), which fails now and then where it runs twice.
pub fn off_by(command: &mut Command, offset: &str) -> io::Result<()> {
    command.env("LD_PRELOAD", libfaketime()?).env("FAKETIME", offset);
    Ok(())
}

fn libfaketime() -> io::Result<PathBuf> {
    let lib = std::fs::read_dir("/usr/lib")?.map_while(Result::ok).map(|entry| entry.path());
    let mut found = lib.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no libfaketime; run `make tools`"))
}

/// `+7h`, `-2d`, `+0` in milliseconds.
pub(crate) fn offset_ms(text: &str) -> i64 {
    let (number, unit) = match text.strip_suffix(['d', 'h', 'm']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let unit = match unit {
        Some('d') => 86_400,
        Some('h') => 3600,
        Some('m') => 60,
        _ => 1,
    };
    number.parse::<i64>().unwrap_or_default() * unit * 1000
}

/// Milliseconds since the Unix epoch of `2026-11-23T09:05:00…Z`, by date(1).
pub(crate) fn utc_ms(text: &str) -> Option<i64> {
    let output = Command::new("date").args(["-u", "+%s", "-d", text]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().parse::<i64>().ok()? * 1000)
}
