//! `weirctl spool`: what a gateway's spool holds, and what to do with the chunks in it that cannot be shipped.
//!
//! Works on the folder itself, which only the gateway's own user may write to, whether the gateway runs or not: a
//! request to retry or drop a chunk is a file beside it, which the gateway acts on within seconds, or at its next
//! start. Each request leaves a line in `audit.log` of the spool.

use crate::spool_args::{Chunks, DropOptions, ExportOptions, ListOptions, SpoolCommand, SpoolOptions};
use crate::terminal::{ask, json as json_text, say, say_json, tell};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_event::chunk::Chunk;
use weir_event::json::to_json;

/// Does what is asked.
pub fn spool(options: &SpoolOptions) -> Result<Outcome, Failure> {
    let spool = Spool { path: options.path.clone() };
    match &options.command {
        SpoolCommand::List(list) => spool.list(list),
        SpoolCommand::Retry(chunks) => spool.request(chunks, "retry"),
        SpoolCommand::Export(export) => spool.export(export),
        SpoolCommand::Drop(drop) => spool.give_up(drop),
    }
}

struct Spool {
    path: PathBuf,
}

/// A chunk that is set aside.
struct Aside {
    file: String,
    /// What the gateway noted beside it; empty of one that an earlier version set aside.
    note: Value,
    bytes: u64,
    /// `retry` or `drop`, where it is asked for and not yet done.
    requested: Option<&'static str>,
}

impl Aside {
    fn text(&self, key: &str) -> &str {
        self.note[key].as_str().unwrap_or("?")
    }

    /// Worker, first and last sequence number, as the file's name says: `BOOT-WORKER-FIRST-LAST.chunk`.
    fn range(&self) -> Option<(u16, u64, u64)> {
        let mut parts = self.file.strip_suffix(".chunk")?.split('-').skip(1);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    fn since(&self) -> Option<Duration> {
        let at = Duration::from_micros(self.note["at_us"].as_u64()?);
        SystemTime::now().duration_since(UNIX_EPOCH + at).ok()
    }

    fn json(&self) -> Value {
        let range = self.range();
        json!({
            "file": self.file, "worker": range.map(|range| range.0), "first": range.map(|range| range.1),
            "last": range.map(|range| range.2), "bytes": self.bytes,
            "boot": self.note["boot"], "site": self.note["site"], "gateway": self.note["gateway"],
            "replica": self.note["replica"], "reason": self.note["reason"], "error": self.note["error"],
            "at_us": self.note["at_us"], "requested": self.requested,
        })
    }
}

/// What waits in the folder of one life.
struct Life {
    boot: String,
    identity: Value,
    chunks: u64,
    bytes: u64,
}

impl Spool {
    fn failed(&self, error: io::Error) -> Failure {
        Failure::Spool { path: self.path.clone(), error }
    }

    fn folder(&self) -> PathBuf {
        self.path.join("set-aside")
    }

    fn asides(&self) -> Result<Vec<Aside>, Failure> {
        let mut files = BTreeMap::new();
        let listed = fs::read_dir(self.folder()).map_err(|error| self.failed(error))?;
        for entry in listed {
            let entry = entry.map_err(|error| self.failed(error))?;
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            files.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
        }
        let aside = |file: &String, bytes: u64| {
            let note = fs::read(self.folder().join(format!("{file}.json"))).unwrap_or_default();
            let asked = |what: &&str| files.contains_key(&format!("{file}.{what}"));
            Aside {
                file: file.clone(),
                note: serde_json::from_slice(&note).unwrap_or_default(),
                bytes,
                requested: ["drop", "retry"].into_iter().find(asked),
            }
        };
        Ok(files.iter().filter(|(file, _)| file.ends_with(".chunk")).map(|(file, bytes)| aside(file, *bytes)).collect())
    }

    fn lives(&self) -> Result<Vec<Life>, Failure> {
        let mut lives = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| self.failed(error))? {
            let path = entry.map_err(|error| self.failed(error))?.path();
            let boot = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Ok(identity) = fs::read(path.join("identity.json")) else { continue };
            let (mut chunks, mut bytes) = (0, 0);
            for file in fs::read_dir(path.join("chunks")).into_iter().flatten().flatten() {
                if file.path().extension().is_some_and(|extension| extension == "chunk") {
                    chunks += 1;
                    bytes += file.metadata().map_or(0, |metadata| metadata.len());
                }
            }
            let identity = serde_json::from_slice(&identity).unwrap_or_default();
            lives.push(Life { boot, identity, chunks, bytes });
        }
        lives.sort_by(|a, b| a.boot.cmp(&b.boot));
        Ok(lives)
    }

    fn list(&self, options: &ListOptions) -> Result<Outcome, Failure> {
        let (lives, asides) = (self.lives()?, self.asides()?);
        if options.json {
            let life = |life: &Life| {
                json!({
                    "boot": life.boot, "site": life.identity["site"], "gateway": life.identity["gateway"],
                    "replica": life.identity["replica"], "chunks": life.chunks, "bytes": life.bytes,
                })
            };
            let lives: Vec<_> = lives.iter().map(life).collect();
            let asides: Vec<_> = asides.iter().map(Aside::json).collect();
            say_json(json!({"path": self.path, "lives": lives, "set_aside": asides}))?;
        } else {
            say(render(&lives, &asides).trim_end())?;
        }
        Ok(Outcome::Well)
    }

    /// The chunks that are meant, of those that are set aside.
    fn chosen(&self, chunks: &[String]) -> Result<Vec<Aside>, Failure> {
        let all = self.asides()?;
        if chunks == ["all"] {
            return Ok(all);
        }
        let mut chosen = Vec::new();
        let mut all: BTreeMap<String, Aside> = all.into_iter().map(|aside| (aside.file.clone(), aside)).collect();
        for chunk in chunks {
            chosen.push(all.remove(chunk).ok_or_else(|| Failure::NoSuchChunk(chunk.clone()))?);
        }
        Ok(chosen)
    }

    fn request(&self, chunks: &Chunks, what: &str) -> Result<Outcome, Failure> {
        let chosen = self.chosen(&chunks.chunk)?;
        for aside in &chosen {
            self.audit(&format!("{what} {}", aside.file))?;
            fs::write(self.folder().join(format!("{}.{what}", aside.file)), "").map_err(|error| self.failed(error))?;
        }
        say(format!("{} chunks: the gateway acts on it within seconds, or at its next start", chosen.len()))?;
        Ok(Outcome::Well)
    }

    fn give_up(&self, options: &DropOptions) -> Result<Outcome, Failure> {
        let chosen = self.chosen(&options.chunks.chunk)?;
        if !options.yes
            && !confirmed(&format!("give up {} chunks for good; the loss stays in the ledger", chosen.len()))?
        {
            return Ok(Outcome::No);
        }
        self.request(&options.chunks, "drop")
    }

    fn export(&self, options: &ExportOptions) -> Result<Outcome, Failure> {
        let mut out: Box<dyn Write> = match &options.output {
            Some(path) => {
                let failed = |error| Failure::File { path: path.clone(), error };
                Box::new(private_file(path).map_err(failed)?)
            }
            None => Box::new(io::stdout().lock()),
        };
        let mut outcome = Outcome::Well;
        for aside in self.chosen(&options.chunks.chunk)? {
            let bytes = fs::read(self.folder().join(&aside.file)).map_err(|error| self.failed(error))?;
            match Chunk::decode(&bytes) {
                Ok(chunk) => {
                    let name = |id| chunk.header.name(id).map(str::to_owned);
                    for event in chunk.events() {
                        writeln!(out, "{}", json_text(&to_json(&event, &chunk.header.stream, name).to_string()))?;
                    }
                }
                Err(error) => {
                    tell(format_args!("{} cannot be read: {error}", aside.file));
                    outcome = Outcome::No;
                }
            }
        }
        out.flush()?;
        Ok(outcome)
    }

    /// One line in the spool's own record of what operators did to it.
    fn audit(&self, what: &str) -> Result<(), Failure> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let user = weir_program::operator::user();
        let path = self.path.join("audit.log");
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = json!({"at": at, "user": user, "request": what});
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(|error| self.failed(error))
    }
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Events say who called what.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn confirmed(what: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Unconfirmed);
    }
    ask(format_args!("{what}. Continue? [y/N] "));
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn render(lives: &[Life], asides: &[Aside]) -> String {
    let mut out = format!("{:<32} {:<24} {:>8} {:>12}\n", "life", "site/gateway", "waiting", "bytes");
    for life in lives {
        let text = |key: &str| life.identity[key].as_str().unwrap_or("?").to_owned();
        let place = format!("{}/{}", text("site"), text("gateway"));
        let _ = writeln!(out, "{:<32} {place:<24} {:>8} {:>12}", life.boot, life.chunks, life.bytes);
    }
    if asides.is_empty() {
        return out + "\nnothing is set aside\n";
    }
    let _ = writeln!(out, "\nset aside (see `weirctl spool retry`, `export` and `drop`):");
    for aside in asides {
        let range = aside
            .range()
            .map_or_else(|| "?".to_owned(), |(worker, first, last)| format!("worker {worker}, {first} to {last}"));
        let since = aside.since().map_or_else(String::new, |age| format!(", {} ago", short(age)));
        let requested = aside.requested.map_or_else(String::new, |what| format!(", {what} requested"));
        let _ = writeln!(
            out,
            "{}\n  {}/{} {range}, {} bytes: {}{since}{requested}\n  {}",
            aside.file,
            aside.text("site"),
            aside.text("gateway"),
            aside.bytes,
            aside.text("reason"),
            aside.text("error"),
        );
    }
    out
}

fn short(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "2e854db04e4da183770aac23e6435577-00001-00000000000000000033-00000000000000000046.chunk";

    fn set_aside(root: &Path) -> Spool {
        let folder = root.join("set-aside");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), "WEIRCHNK").unwrap();
        let note = json!({"site": "here", "gateway": "edge", "reason": "rejected", "error": "422 no", "at_us": 1});
        fs::write(folder.join(format!("{FILE}.json")), note.to_string()).unwrap();
        Spool { path: root.to_owned() }
    }

    #[test]
    fn what_is_set_aside_is_listed_with_why() {
        let root = tempfile::tempdir().unwrap();
        let spool = set_aside(root.path());
        let out = render(&spool.lives().unwrap(), &spool.asides().unwrap());
        assert!(out.contains(&format!("{FILE}\n  here/edge worker 1, 33 to 46, 8 bytes: rejected, ")), "{out}");
        assert_eq!(spool.asides().unwrap()[0].json()["last"], 46);
    }

    #[test]
    fn a_request_is_a_file_and_leaves_a_line() {
        let root = tempfile::tempdir().unwrap();
        let spool = set_aside(root.path());
        let chunks = |chunk: &str| Chunks { chunk: vec![chunk.to_owned()] };
        assert!(matches!(spool.request(&chunks("other.chunk"), "retry"), Err(Failure::NoSuchChunk(_))));
        spool.request(&chunks("all"), "retry").unwrap();
        assert_eq!(spool.asides().unwrap()[0].requested, Some("retry"));
        let audit = fs::read_to_string(root.path().join("audit.log")).unwrap();
        assert!(audit.contains(&format!("\"request\":\"retry {FILE}\"")) && audit.lines().count() == 1, "{audit}");
        // Not from a terminal, and not confirmed.
        let drop = DropOptions { chunks: chunks(FILE), yes: false };
        if !io::stdin().is_terminal() {
            assert!(matches!(spool.give_up(&drop), Err(Failure::Unconfirmed)));
        }
        spool.give_up(&DropOptions { yes: true, ..drop }).unwrap();
        assert_eq!(spool.asides().unwrap()[0].requested, Some("drop"));
    }
}
