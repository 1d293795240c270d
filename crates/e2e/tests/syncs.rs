//! The order of writes, syncs, renames and unlinks that `docs/durability.md` promises, read from a trace of the running
//! programs (strace): what is acknowledged was synced before, by whom it is acknowledged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use weir_e2e::{DEADLINE, Part, TestStack, eventually};
use weir_testkit::process::Process;
use weir_testkit::witness::Witness;

/// One system call that did not fail, by its place in the trace: where it begins and where it has returned.
#[derive(Debug)]
struct Call {
    name: String,
    /// As strace writes them: descriptors with the path behind them.
    args: String,
    began: usize,
    ended: usize,
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    fn syncs(&self, path: &str) -> bool {
        self.is(&["fsync", "fdatasync"]) && self.args.contains(&format!("<{path}>"))
    }

    /// From and to.
    fn renamed(&self) -> Option<(&str, &str)> {
        let mut texts = self.args.split('"').skip(1).step_by(2);
        if self.is(&["rename", "renameat", "renameat2"]) { Some((texts.next()?, texts.next()?)) } else { None }
    }

    fn unlinked(&self) -> Option<&str> {
        if self.is(&["unlink", "unlinkat"]) { self.args.split('"').nth(1) } else { None }
    }
}

/// strace on a running process and all of its threads.
struct Trace {
    strace: Process,
    file: PathBuf,
}

const CALLS: &str = "trace=fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,write,writev,sendto,sendmsg";

impl Trace {
    async fn of(stack: &mut TestStack, part: Part) -> Self {
        let id = stack.process_id(part).unwrap().to_string();
        let (file, name) = (stack.site.path(&format!("{}.trace", part.name())), format!("strace-{}", part.name()));
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "4096", "-e", CALLS, "-o"]).arg(&file).args(["-p", &id]);
        let strace = Process::start("strace", command, &stack.site.path(&format!("{name}.log"))).unwrap();
        eventually("strace is attached", async || stack.site.log(&name).contains("attached").then_some(())).await;
        Self { strace, file }
    }

    fn calls(self) -> Vec<Call> {
        // It lets go of the process, which goes on.
        self.strace.stop(DEADLINE).unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(self.file).unwrap()).into_owned();
        let mut under_way: HashMap<&str, (&str, &str, usize)> = HashMap::new();
        let mut calls = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            let (name, args, began, result) = if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some((name, args, began)) = under_way.remove(thread) else { continue };
                (name, args.to_owned(), began, resumed.rsplit_once(" = "))
            } else {
                let Some((name, args)) = rest.split_once('(') else { continue };
                if let Some(args) = args.strip_suffix("<unfinished ...>") {
                    under_way.insert(thread, (name, args, at));
                    continue;
                }
                (name, args.to_owned(), at, args.rsplit_once(" = "))
            };
            if result.is_some_and(|(_, value)| !value.starts_with('-')) {
                calls.push(Call { name: name.to_owned(), args, began, ended: at });
            }
        }
        calls
    }
}

/// The last of `calls` that `wanted` holds for, and that had returned before `before` began.
fn last<'c>(calls: &'c [Call], before: &Call, wanted: impl Fn(&Call) -> bool) -> Option<&'c Call> {
    calls.iter().filter(|call| call.ended < before.began && wanted(call)).max_by_key(|call| call.ended)
}

async fn traffic(stack: &TestStack, name: &str) {
    let mut plan = stack.traffic(600, 300.0);
    plan.log = stack.site.path(&format!("{name}.ndjson"));
    Witness::start(plan).unwrap().wait().await.unwrap();
    stack.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_syncs_a_chunk_before_it_counts_and_its_progress_before_the_chunk_goes() {
    let mut stack = TestStack::start(None).await.unwrap();
    let trace = Trace::of(&mut stack, Part::Gateway).await;
    traffic(&stack, "witness").await;
    let calls = trace.calls();
    let mut chunks = 0;
    for renamed in calls.iter().filter(|call| call.renamed().is_some_and(|(_, to)| to.ends_with(".chunk"))) {
        let (from, to) = renamed.renamed().unwrap();
        assert!(last(&calls, renamed, |call| call.syncs(from)).is_some(), "{to}: renamed before it was synced");
        let folder = to.rsplit_once('/').unwrap().0;
        let unlinked = calls.iter().find(|call| call.unlinked() == Some(to));
        let unlinked = unlinked.unwrap_or_else(|| panic!("{to} is acknowledged and still there"));
        let within = |call: &&Call| call.began > renamed.ended && call.ended < unlinked.began;
        assert!(calls.iter().filter(within).any(|call| call.syncs(folder)), "{to}: its folder is not synced");
        let progress = format!("{}/progress", folder.rsplit_once('/').unwrap().0);
        let noted = calls.iter().filter(within).any(|call| call.syncs(&progress));
        assert!(noted, "{to}: unlinked before what was sealed is on disk");
        chunks += 1;
    }
    assert!(chunks > 1, "{chunks} chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weir_analytics_syncs_an_intent_before_its_insert_and_removes_it_after() {
    let mut stack = TestStack::start(None).await.unwrap();
    let trace = Trace::of(&mut stack, Part::Analytics).await;
    traffic(&stack, "witness").await;
    let calls = trace.calls();
    let mut intents = 0;
    for renamed in calls.iter().filter(|call| call.renamed().is_some_and(|(_, to)| to.contains("/intents/"))) {
        let (from, to) = renamed.renamed().unwrap();
        let block = to.rsplit_once('/').unwrap().1.trim_end_matches(".json");
        assert!(last(&calls, renamed, |call| call.syncs(from)).is_some(), "{to}: renamed before it was synced");
        let sends = |call: &&Call| call.is(&["write", "writev", "sendto", "sendmsg"]) && call.args.contains(block);
        let token = format!("insert_deduplication_token={block}");
        let insert = calls.iter().filter(sends).find(|call| call.args.contains(&token));
        let insert = insert.unwrap_or_else(|| panic!("{block}: no insert under its token"));
        let folder = to.rsplit_once('/').unwrap().0;
        let synced = last(&calls, insert, |call| call.syncs(folder)).is_some_and(|sync| sync.began > renamed.ended);
        assert!(synced, "{block}: inserted before its intent was on disk");
        let removed = calls.iter().find(|call| call.unlinked() == Some(to));
        assert!(removed.is_some_and(|call| call.began > insert.ended), "{block}: its intent goes after its insert");
        intents += 1;
    }
    assert!(intents > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_syncs_every_file_and_folder_of_a_part_before_it_answers() {
    let mut stack = TestStack::start(None).await.unwrap();
    // The first insert makes what is made once.
    traffic(&stack, "first").await;
    let trace = Trace::of(&mut stack, Part::Engine).await;
    traffic(&stack, "witness").await;
    let ids = "SELECT toString(uuid) FROM system.tables WHERE database = 'weir' AND engine LIKE '%MergeTree'";
    let tables = stack.client().query(ids).fetch_all::<String>().await.unwrap();
    let calls = trace.calls();
    let mut parts = 0;
    for call in &calls {
        let Some((from, to)) = call.renamed() else { continue };
        let of_ours = tables.iter().any(|id| from.contains(id.as_str()));
        // A merge writes what is there already.
        let Some((folder, part)) = from.trim_end_matches('/').rsplit_once('/').filter(|_| of_ours) else { continue };
        if !part.starts_with("tmp_insert_") {
            continue;
        }
        let path = format!("{folder}/{part}");
        let written =
            calls.iter().filter(|call| call.is(&["write", "writev"]) && call.args.contains(&format!("<{path}/")));
        let file = |call: &Call| call.args.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let mut files: Vec<_> = written.map(file).collect();
        files.sort_unstable();
        files.dedup();
        assert!(!files.is_empty(), "{path}");
        for file in files {
            let synced = calls.iter().any(|sync| sync.syncs(&file));
            assert!(synced, "{file} is never synced");
        }
        let moved = to.trim_end_matches('/');
        let folders = [path.as_str(), moved];
        let synced = calls.iter().any(|sync| folders.iter().any(|folder| sync.syncs(folder)));
        assert!(synced, "{moved} is never synced");
        parts += 1;
    }
    assert!(parts >= 4, "{parts} parts: raw and three tables that follow from it");
}
