//! A folder for one test, in which its programs keep their configuration, data and logs.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use weir_testkit::process::{Process, program};

/// A folder that goes with the test, with a log for each program.
pub struct Site {
    dir: TempDir,
    disks: Vec<SmallDisk>,
}

/// A file system of its own for one program, seen by nobody else, which can be filled up.
struct SmallDisk {
    program: String,
    folder: PathBuf,
    size: String,
}

/// Mounts what its first two arguments say, then becomes the rest of them.
const MOUNT: &str = r#"mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@""#;

impl Site {
    pub fn new() -> io::Result<Self> {
        Ok(Self { dir: tempfile::tempdir()?, disks: Vec::new() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program wrote to its standard error.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts a program whose log goes by `name`.
    pub fn start(&self, name: &str, executable: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<Process> {
        let disk = self.disks.iter().find(|disk| disk.program == name);
        let mut command = disk.map_or_else(|| Ok(Command::new(program(executable)?)), |disk| disk.run(executable))?;
        command.args(args).envs(env.iter().copied());
        Process::start(name, command, &self.path(&format!("{name}.log")))
    }

    /// From its next start on, `program` has a disk of `size` (as mount(8) writes it) at `folder` of this site.
    pub fn small_disk(&mut self, program: &str, folder: &str, size: &str) -> io::Result<()> {
        let folder = self.path(folder);
        std::fs::create_dir_all(&folder)?;
        self.disks.push(SmallDisk { program: program.to_owned(), folder, size: size.to_owned() });
        Ok(())
    }

    /// Leaves a running program, known by its process id, no byte of its small disk. What was taken is given back by removing the file that
    /// this answers.
    pub fn fill_disk(&self, name: &str, process: u32) -> io::Result<PathBuf> {
        let disk = self.disks.iter().find(|disk| disk.program == name).ok_or(io::ErrorKind::NotFound)?;
        let folder = disk.folder.strip_prefix("/").map_err(io::Error::other)?;
        // The disk as the process sees it: in its own mount namespace.
        let path = Path::new(&format!("/proc/{process}/root")).join(folder).join("filler");
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
}

impl SmallDisk {
    /// In a mount namespace of its own, which goes with the process; it keeps the process id that was started.
    fn run(&self, executable: &str) -> io::Result<Command> {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--", "sh", "-c", MOUNT, "sh", &self.size]);
        command.arg(&self.folder).arg(program(executable)?);
        Ok(command)
    }
}
