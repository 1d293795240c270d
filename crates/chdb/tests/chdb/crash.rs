//! What survives: kills in the middle of inserts, a full disk, broken parts, and the folder of an earlier version.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::engine::{DEADLINE, Engine, LOOK, SECRET, command, receive, refusal, send};

/// A raw table, a roll-up, and the view between them, synced as weir-analytics has its own.
const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS raw (block UInt64, n UInt64) ENGINE = MergeTree ORDER BY (block, n) SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1",
    "CREATE TABLE IF NOT EXISTS rolled (block UInt64, c UInt64) ENGINE = SummingMergeTree ORDER BY block SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS to_rolled TO rolled AS SELECT block, count() AS c FROM raw GROUP BY block",
];
const ROWS: u64 = 500;

/// One insert of a block under its token; whether it was acknowledged. The server may die meanwhile.
fn insert(address: &str, block: u64) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    if stream.set_read_timeout(Some(DEADLINE)).is_err() {
        return false;
    }
    let rows: String = (0..ROWS).map(|n| format!("{block}\t{n}\n")).collect();
    let head = format!(
        "POST /?query=INSERT%20INTO%20raw%20FORMAT%20TSV&insert_deduplication_token={block}&deduplicate_blocks_in_dependent_materialized_views=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{rows}",
        rows.len()
    );
    stream.write_all(head.as_bytes()).is_ok() && receive(&mut BufReader::new(stream)).status == 200
}

/// Four writers insert, and the program is killed at a random moment, again and again; each time every block that was
/// acknowledged is there, whole, in both tables, and one that was not can be sent again and is in raw once. Where the kill
/// fell between the two tables its view lacks it for good, which is why weir-analytics holds its roll-ups against raw after
/// an insert of unknown outcome.
#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let rounds = std::env::var("WEIR_CHDB_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut folder = TempDir::new().expect("folder");
    let (acknowledged, doubtful) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let (mut next, mut again) = (0, Vec::new());
    for round in 0..rounds {
        let engine = Engine::on(folder, &[]);
        TABLES.iter().for_each(|sql| drop(engine.sql(sql)));
        let (address, after) = (engine.address.clone(), Duration::from_millis(fastrand::u64(50..1500)));
        let began = Instant::now();
        let before = acknowledged.lock().expect("a lock").len();
        folder = std::thread::scope(|scope| {
            for writer in 0..4 {
                let (address, acknowledged, doubtful) = (&address, &acknowledged, &doubtful);
                scope.spawn(move || {
                    for block in (0..).map(|count| next + 4 * count + writer) {
                        if !insert(address, block) {
                            doubtful.lock().expect("a lock").push(block);
                            return;
                        }
                        acknowledged.lock().expect("a lock").push(block);
                    }
                });
            }
            // Not before something is acknowledged, and then at a moment that nobody chose.
            while began.elapsed() < after || acknowledged.lock().expect("a lock").len() == before {
                std::thread::park_timeout(LOOK);
            }
            engine.kill()
        });
        next += 1_000_000;
        let engine = Engine::on(folder, &[]);
        let mut known = acknowledged.lock().expect("a lock").clone();
        known.sort_unstable();
        let whole = |table: &str, count: &str| {
            let sql =
                format!("SELECT block FROM {table} GROUP BY block HAVING {count} = {ROWS} ORDER BY block FORMAT TSV");
            engine.sql(&sql).lines().map(|line| line.parse().expect("a number")).collect::<Vec<u64>>()
        };
        for (table, count) in [("raw", "uniqExact(n)"), ("rolled", "sum(c)")] {
            let whole = whole(table, count);
            let lost: Vec<_> = known.iter().filter(|block| whole.binary_search(block).is_err()).collect();
            assert!(
                lost.is_empty(),
                "round {round}, killed after {after:?}: {table} lacks {lost:?} of {}",
                known.len()
            );
        }
        // An acknowledged block that is sent again is not there twice, whether its token was remembered in memory or not.
        assert!(insert(&engine.address, known[known.len() - 1]));
        // A block in doubt is sent again, as weir-analytics does.
        for block in doubtful.lock().expect("a lock").drain(..) {
            assert!(insert(&engine.address, block), "block {block}");
            again.push(block);
        }
        assert_eq!(engine.sql("SELECT count() - uniqExact(block, n) FROM raw"), "0", "rows that are there twice");
        let wanted = (acknowledged.lock().expect("a lock").len() + again.len()) as u64 * ROWS;
        assert_eq!(engine.sql("SELECT count() FROM raw"), wanted.to_string());
        let odd = format!("SELECT count() FROM (SELECT block FROM rolled GROUP BY block HAVING sum(c) != {ROWS})");
        assert_eq!(engine.sql(&odd), "0", "blocks that the roll-up has in part, or twice");
        let lacking =
            engine.sql("SELECT DISTINCT block FROM raw WHERE block NOT IN (SELECT block FROM rolled) FORMAT TSV");
        let lacking: Vec<u64> = lacking.lines().map(|line| line.parse().expect("a number")).collect();
        assert!(lacking.iter().all(|block| again.contains(block)), "{lacking:?} were acknowledged");
        folder = engine.kill();
    }
}

/// Mounts a small disk that nobody else sees, and becomes weir-chdb on it.
fn on_disk(size: &str, fill: bool, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let fill = if fill { "; dd if=/dev/zero of=\"$0/filler\" bs=4k 2>/dev/null" } else { "" };
    let script = format!("mount -t tmpfs -o size={size} none \"$0\" || exit 9{fill}; exec \"$@\"");
    command.args(["--mount", "--", "sh", "-c", &script]).arg(folder);
    command.arg(env!("CARGO_BIN_EXE_weir-chdb")).args(["--listen", "127.0.0.1:0", "--path"]).arg(folder);
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn a_full_disk_refuses_inserts_and_loses_none() {
    let folder = TempDir::new().expect("folder");
    let engine = Engine::run(on_disk("64m", false, folder.path()), folder, TempDir::new().expect("folder"));
    TABLES.iter().for_each(|sql| drop(engine.sql(sql)));
    for block in 0..5 {
        assert!(insert(&engine.address, block));
    }
    // The disk as the process sees it: in its own mount namespace.
    let inside = engine.folder.path().strip_prefix("/").expect("an absolute path");
    let filler = PathBuf::from(format!("/proc/{}/root", engine.pid())).join(inside).join("filler");
    let mut file = File::create(&filler).expect("created");
    let mut piece = vec![0; 1 << 20];
    while !piece.is_empty() {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(_) => piece.truncate(piece.len() / 2),
        }
    }
    drop(file);
    let refused = engine.post("/?query=INSERT%20INTO%20raw%20SELECT%2077,%20number%20FROM%20numbers(100000)", "");
    assert!(refused.status >= 500 && refused.text().contains("space"), "{} {}", refused.status, refused.text());
    assert_eq!(engine.sql("SELECT count() FROM raw"), (5 * ROWS).to_string());
    std::fs::remove_file(filler).expect("removed");
    for block in 5..8 {
        assert!(insert(&engine.address, block), "it stores again by itself");
    }
    assert_eq!(engine.sql("SELECT count() FROM raw"), (8 * ROWS).to_string());
    assert_eq!(engine.sql("SELECT sum(c) FROM rolled"), (8 * ROWS).to_string());
}

#[test]
fn a_start_on_a_full_disk_says_so() {
    let folder = TempDir::new().expect("folder");
    let said = refusal(&mut on_disk("1m", true, folder.path()));
    assert!(said.contains("weir-chdb: the disk of") && said.contains("is full; make room"), "{said}");
}

/// Truncates the data of one part of a table.
fn break_a_part(folder: &Path) {
    let mut stack = vec![folder.join("store")];
    while let Some(path) = stack.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("data.bin") if path.to_string_lossy().contains("all_2_2_0") => {
                    let file = File::options().write(true).open(&path).expect("opened");
                    return file.set_len(10).expect("truncated");
                }
                _ if path.is_dir() => stack.push(path),
                _ => {}
            }
        }
    }
    panic!("no such part");
}

#[test]
fn a_broken_part_is_said_and_hides_no_other() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    engine.sql("SYSTEM STOP MERGES t");
    for from in ["0", "100", "200"] {
        engine.sql(&format!("INSERT INTO t SELECT number + {from} FROM numbers(100)"));
    }
    let folder = engine.kill();
    break_a_part(folder.path());
    let engine = Engine::on(folder, &[]);
    assert_eq!(engine.sql("SELECT count(), min(a), max(a) FROM t"), "200\t0\t299");
    let log = engine.logged("ERROR a part of a table is broken and was set aside");
    assert!(log.contains("all_2_2_0"), "{log}");
    let engine = Engine::on(engine.kill(), &[]);
    let log = engine.logged("WARN parts that earlier starts found broken are still set aside");
    assert!(!log.contains("ERROR"), "{log}");
}

fn unpacked() -> TempDir {
    let folder = TempDir::new().expect("folder");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/folder-of-the-first-release.tar.xz");
    let done = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().expect("tar runs");
    assert!(done.success(), "{archive:?}: install tar and xz");
    folder
}

/// Each answer is what the earlier version gave.
#[test]
fn a_folder_of_the_first_release_opens_with_every_row() {
    let mut folder = unpacked();
    for _ in 0..2 {
        let engine = Engine::on(folder, &[]);
        for (sql, wanted) in [
            ("SELECT count(), sum(n), sum(sipHash64(*)) FROM weir.raw", "2000\t1999000\t259076032862966734"),
            ("SELECT sum(n), sum(arraySum(mapValues(hist))) FROM weir.rolled", "2000\t2000"),
            (
                "SELECT groupArray(toString(trim(TRAILING '\\0' FROM s))) FROM (SELECT argMaxMerge(slow) AS s FROM weir.rolled GROUP BY api ORDER BY api)",
                "['1998','1999','1997']",
            ),
            (
                "SELECT count(), sum(a), uniq(s), sum(sipHash64(a, s)) FROM default.plain",
                "999\t499493\t250\t10189180165891881457",
            ),
            ("SELECT count() FROM system.tables WHERE database IN ('weir', 'default')", "4"),
        ] {
            assert_eq!(engine.sql(sql), wanted, "{sql}");
        }
        // What it remembers of tokens it still remembers.
        engine.sql(
            "INSERT INTO weir.raw SELECT toDateTime64('2026-11-20 00:00:00', 6, 'UTC'), '', '', map(), 1 SETTINGS insert_deduplication_token = 'block-1'",
        );
        assert_eq!(engine.sql("SELECT count() FROM weir.raw"), "2000");
        assert!(!engine.folder.path().join("weir-chdb-rights.xml").exists(), "an earlier version's file");
        engine.sql("OPTIMIZE TABLE weir.rolled FINAL");
        folder = engine.kill();
    }
}

#[test]
fn a_folder_of_a_newer_engine_is_refused_and_left_as_it_is() {
    let folder = unpacked();
    let note = folder.path().join("weir-chdb.engine");
    std::fs::write(&note, "99.1.0\n").expect("written");
    let list = || {
        let output = Command::new("find").arg(folder.path()).args(["-type", "f", "-printf", "%P %s %T@\\n"]).output();
        let mut lines: Vec<_> =
            String::from_utf8(output.expect("find runs").stdout).expect("text").lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = list();
    assert!(before.len() > 20, "{before:?}");
    let said = refusal(&mut command(folder.path()));
    assert!(said.contains("was written by ClickHouse's engine 99.1.0, which is newer than 26."), "{said}");
    assert_eq!(list(), before);
}

/// What only the start needs is not there for statements of users, nor for anyone else.
#[test]
fn no_password_stays_in_the_folder() {
    let engine = Engine::of_users(&[("writer", "full")], &[]);
    engine.ask("writer", "/", "SELECT 1");
    let found = Command::new("grep").args(["-r", "-l", SECRET]).arg(engine.folder.path()).output().expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    let mut stream = engine.connect();
    send(&mut stream, "GET", "/ping", &[], b"");
    assert_eq!(receive(&mut BufReader::new(stream)).status, 200);
}
