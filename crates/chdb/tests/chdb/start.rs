//! How it starts, and each way in which a start can fail, in one sentence.

use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::engine::{Engine, SECRET, command, refusal};

fn refused(command: &mut Command) -> String {
    let text = refusal(command);
    let said: Vec<_> = text.lines().filter(|line| line.starts_with("weir-chdb: ")).collect();
    assert!(said.len() == 1 && said[0].contains("; "), "{text}");
    said[0].to_owned()
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let engine = Engine::start();
    let other = TempDir::new().expect("folder");
    let beside = TempDir::new().expect("folder");
    let file = |name: &str, text: &str| {
        let path = beside.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let plain = || command(other.path());
    let port = engine.address.rsplit_once(':').expect("a port").1;
    // A library that can be loaded, and is another.
    let old = file("old.c", "int chdb_connect(void) { return 0; }\n");
    let built = beside.path().join("old.so");
    let cc = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&built).arg(&old).status().expect("cc runs");
    assert!(cc.success());
    let built = built.to_string_lossy().into_owned();
    let bad_users = file("users", &format!("a:{SECRET}:admin\n"));
    let own_name = file("own", &format!("default:{SECRET}:full\n"));
    for (command, parts) in [
        (plain().args(["--listen", &engine.address]), &["cannot listen on", "in use", "--listen"][..]),
        (plain().args(["--tcp-port", port]), &["cannot listen on", "--tcp-port"]),
        (&mut command(engine.folder.path()), &["in use by another weir-chdb"]),
        (plain().env("WEIR_CHDB_LIB", "/nowhere/libchdb.so"), &["WEIR_CHDB_LIB names `/nowhere/libchdb.so`"]),
        (plain().env("WEIR_CHDB_LIB", "/etc/hostname"), &["cannot use `/etc/hostname`", "npm ci"]),
        (plain().env("WEIR_CHDB_LIB", &built), &["it has no `chdb_query_cmdline`", "26.7"]),
        (plain().args(["--listen", "0.0.0.0:0"]), &["no --users are given", "--users FILE"]),
        (plain().args(["--users", "/nowhere"]), &["cannot read the users file `/nowhere`"]),
        (plain().args(["--users", &bad_users]), &["users:1: the right is neither"]),
        (plain().args(["--users", &own_name]), &["own:1: `default` is the engine's own name"]),
        (plain().args(["--files", "/nowhere"]), &["cannot use the folder `/nowhere` of --files"]),
        (&mut command(std::path::Path::new(&old)), &["cannot use the folder"]),
    ] {
        let said = refused(command);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    // Nothing is beside a copy of the program in an empty folder.
    let alone = other.path().join("weir-chdb");
    std::fs::copy(env!("CARGO_BIN_EXE_weir-chdb"), &alone).expect("copied");
    let nowhere = refused(Command::new(&alone).arg("--path").arg(other.path()));
    assert!(nowhere.contains("libchdb.so is not beside this program"), "{nowhere}");
    for wrong in [&["--memory", "2GB"][..], &["--memory", "1MiB"], &["--max-queries", "0"], &["--tcp-port", "0"]] {
        assert_eq!(plain().args(wrong).output().expect("runs").status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(Command::new(&alone).output().expect("runs").status.code(), Some(2));
}

/// Two that start at the same moment: one has the folder.
#[test]
fn two_on_one_folder_never_both_start() {
    let folder = TempDir::new().expect("folder");
    let starts: Vec<_> = (0..2)
        .map(|_| command(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned"))
        .collect();
    let mut said = Vec::new();
    let mut up = Vec::new();
    for mut child in starts {
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("read");
        match line.is_empty() {
            true => said.push(child.wait_with_output().expect("ended")),
            false => up.push(child),
        }
    }
    assert_eq!((said.len(), up.len()), (1, 1));
    let text = String::from_utf8_lossy(&said[0].stderr).into_owned();
    assert!(text.contains("in use by another weir-chdb"), "{text}");
    up.iter_mut().for_each(|child| child.kill().and_then(|()| child.wait().map(drop)).expect("ended"));
}

#[test]
fn a_stray_configuration_is_not_picked_up() {
    let stray = TempDir::new().expect("folder");
    std::fs::create_dir(stray.path().join(".clickhouse-local")).expect("folder");
    let config = "<clickhouse><profiles><default><max_threads>3</max_threads></default></profiles><not closed";
    for path in ["config.xml", ".clickhouse-local/config.xml"] {
        std::fs::write(stray.path().join(path), config).expect("written");
    }
    let folder = TempDir::new().expect("folder");
    let mut command = command(folder.path());
    command.current_dir(stray.path()).env("HOME", stray.path());
    let engine = Engine::run(command, folder, TempDir::new().expect("folder"));
    assert_eq!(engine.sql("SELECT 1"), "1");
}

/// Statements may read what the kernel shows of the process; of its environment nothing is left to see.
#[test]
fn the_environment_is_not_there_for_statements() {
    let folder = TempDir::new().expect("folder");
    let mut command = command(folder.path());
    command.env("SOMEBODYS_TOKEN", "classified");
    let engine = Engine::run(command, folder, TempDir::new().expect("folder"));
    let environ = std::fs::read_to_string(format!("/proc/{}/environ", engine.pid())).expect("read");
    assert!(environ.contains("JE_MALLOC_CONF=") && !environ.contains("classified"), "{environ}");
}

#[test]
fn files_of_named_folders_are_open_to_those_who_may_do_all() {
    let beside = TempDir::new().expect("folder");
    std::fs::write(beside.path().join("rows.tsv"), "1\n2\n").expect("written");
    let path = beside.path().to_string_lossy().into_owned();
    let sql = format!("SELECT sum(a) FROM file('{path}/rows.tsv', 'TSV', 'a UInt64')");
    let engine = Engine::start();
    assert_eq!(engine.post("/", &sql).code(), "76");
    let engine = Engine::with(&["--files", &path]);
    assert_eq!(engine.sql(&sql), "3");
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    engine.sql("INSERT INTO t VALUES (5)");
    engine.sql(&format!("INSERT INTO FUNCTION file('{path}/out.tsv', 'TSV', 'a UInt64') SELECT a FROM t"));
    assert_eq!(std::fs::read_to_string(beside.path().join("out.tsv")).expect("read"), "5\n");
}

#[test]
fn it_serves_on_every_address_of_a_machine_when_asked_to() {
    let engine = Engine::of_users(&[("writer", "full")], &["--listen", "0.0.0.0:0"]);
    let port = engine.address.strip_prefix("0.0.0.0:").expect("what was asked for").to_owned();
    let curl = Command::new("curl")
        .args(["-sS", &format!("http://127.0.0.1:{port}/?user=writer&password=secret"), "-d", "SELECT 1 + 1"])
        .output();
    assert_eq!(String::from_utf8_lossy(&curl.expect("curl runs").stdout), "2\n");
}
