use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than a test takes.
const NEVER: &str = "1h";

/// What was reported to a taker.
#[derive(Debug, PartialEq)]
enum Reported {
    Took(String),
    Failed,
    Refused(String),
    Waits(Option<WaitsFor>, Vec<String>),
}

struct Fake {
    running: Arc<GatewayConfig>,
    reported: Sender<Reported>,
    /// Candidates that it refuses, for a reason that passes.
    failures: Arc<Mutex<u32>>,
    generation: u32,
}

impl Taker for Fake {
    fn running(&self) -> Arc<GatewayConfig> {
        Arc::clone(&self.running)
    }

    fn take(&mut self, candidate: &Candidate, _again: bool) -> Verdict {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            self.reported.send(Reported::Failed).unwrap_or_default();
            return Verdict::Refused { error: "not now".to_owned(), passing: true };
        }
        self.running = Arc::new(candidate.config.clone());
        self.generation += 1;
        self.reported.send(Reported::Took(self.running.startup.identity.site.clone())).unwrap_or_default();
        Verdict::Taken(self.generation)
    }

    fn refuse(&mut self, errors: &ConfigErrors) {
        self.reported.send(Reported::Refused(errors.to_string())).unwrap_or_default();
    }

    fn waits(&mut self, waiting: Option<&Waiting>, _still: bool) {
        let removals = waiting.map_or_else(Vec::new, |waiting| waiting.removals.clone());
        self.reported.send(Reported::Waits(waiting.map(|waiting| waiting.waits_for), removals)).unwrap_or_default();
    }
}

/// A watched folder.
struct Watched {
    watcher: Watcher,
    reported: Receiver<Reported>,
    failures: Arc<Mutex<u32>>,
}

impl Watched {
    fn start(dir: &Path, events: bool) -> Self {
        let dirs = vec![dir.to_owned()];
        Self::start_from(if events { Folders::new(dirs) } else { Folders::without_events(dirs) })
    }

    fn start_from(mut source: impl Source) -> Self {
        let (reported, receiver) = channel();
        let failures = Arc::default();
        let folder = Arc::new(source.read());
        let running = Arc::new(folder.load(&|_| None).unwrap_or_default());
        let taker = Fake { running, reported, failures: Arc::clone(&failures), generation: 1 };
        let start = Start { source, running: Arc::clone(&folder), folder, origin: Origin::Folder };
        let watcher = Watcher::start(start, |_| None, taker).unwrap();
        Self { watcher, reported: receiver, failures }
    }

    /// What is reported next but that a change waits for the quiet period, or no more.
    fn next(&self) -> Reported {
        loop {
            match self.reported.recv_timeout(DEADLINE).unwrap() {
                Reported::Waits(None | Some(WaitsFor::Quiet), _) => {}
                reported => return reported,
            }
        }
    }

    fn took(&self, site: &str) {
        assert_eq!(self.next(), Reported::Took(site.to_owned()));
    }

    fn reload(&self) -> Answer {
        let (send, answer) = channel();
        self.watcher.handle().reload(move |said| send.send(said).unwrap());
        answer.recv_timeout(DEADLINE).unwrap()
    }
}

fn settings(site: &str, reload: &str) -> String {
    format!(
        "{{apiVersion: gateway.weir.dev/v1, kind: Configuration, metadata: {{name: a}}, \
         spec: {{identity: {{site: {site}}}, reload: {{{reload}}}}}}}\n"
    )
}

fn site(name: &str) -> String {
    settings(name, "quietPeriod: 100ms, removalPeriod: 300ms")
}

const API: &str = "{apiVersion: gateway.mulesoft.com/v1alpha1, kind: ApiInstance, metadata: {name: orders}, \
    spec: {address: \"http://0.0.0.0:1\", services: {s: {address: \"http://b\"}}}}\n";
const BASIC: &str = "{apiVersion: gateway.mulesoft.com/v1alpha1, kind: PolicyBinding, metadata: {name: basic}, \
    spec: {targetRef: {kind: ApiInstance, name: orders}, policyRef: {name: http-basic-authentication-flex}, \
    config: {username: u, password: p}}}\n";

/// Documents that somebody else sends.
#[derive(Clone, Default)]
struct Sent {
    text: Arc<Mutex<String>>,
    wake: Arc<Mutex<Option<Wake>>>,
}

impl Sent {
    fn send(&self, text: String) {
        *self.text.lock().unwrap() = text;
        if let Some(wake) = &*self.wake.lock().unwrap() {
            wake();
        }
    }
}

impl Source for Sent {
    fn read(&mut self) -> Content {
        Content::of([(PathBuf::from("sent.yaml"), self.text.lock().unwrap().clone())])
    }

    fn watch(&mut self, wake: Wake) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

#[test]
fn documents_of_another_source_are_taken_as_files_are() {
    let sent = Sent::default();
    sent.send(site("one"));
    let watched = Watched::start_from(sent.clone());
    sent.send(site("two"));
    watched.took("two");
    sent.send("a: [".to_owned());
    let Reported::Refused(errors) = watched.next() else { panic!("a mistake is reported") };
    assert!(errors.contains("sent.yaml"), "{errors}");
    sent.send(site("three"));
    assert_eq!(watched.reload(), Answer::Taken(3));
}

fn see_changes(events: bool) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, site("one")).unwrap();
    let watched = Watched::start(dir.path(), events);
    fs::write(dir.path().join("notes.txt"), "no resource").unwrap();
    fs::write(&file, site("one")).unwrap();
    fs::write(&file, site("two")).unwrap();
    watched.took("two");
    fs::write(&file, "a: [").unwrap();
    let Reported::Refused(errors) = watched.next() else { panic!("a mistake is reported") };
    assert!(errors.contains("a.yaml"));
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("b.yml"), site("three")).unwrap();
    fs::remove_file(&file).unwrap();
    loop {
        match watched.next() {
            Reported::Took(site) => break assert_eq!(site, "three"),
            reported => assert!(!matches!(reported, Reported::Failed), "{reported:?}"),
        }
    }
}

#[test]
fn changes_are_seen_by_events() {
    see_changes(true);
}

#[test]
fn changes_are_seen_without_events() {
    see_changes(false);
}

/// The links of a ConfigMap: `a.yaml` → `..data/a.yaml`, `..data` → `..1`, swapped by a rename. Links of new files come
/// after the swap, and the set is whole before. The quiet period is longer than the test: a swap does not wait for it.
#[cfg(unix)]
#[test]
fn a_swap_is_taken_at_once_and_whole() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let sites = [("..1", "one"), ("..2", "two")].map(|(version, name)| {
        fs::create_dir(at(version)).unwrap();
        let text = settings(name, &format!("quietPeriod: {NEVER}"));
        fs::write(at(version).join("a.yaml"), &text).unwrap();
    });
    assert_eq!(sites.len(), 2);
    fs::write(at("..2").join("new.yaml"), API).unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let watched = Watched::start(dir.path(), true);
    symlink("..2", at("..new")).unwrap();
    fs::rename(at("..new"), at("..data")).unwrap();
    watched.took("two");
    let content = Content::read(&[dir.path().to_owned()]);
    let names: Vec<_> = content.texts().map(|(path, _)| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["a.yaml", "new.yaml"], "by the names that the folder will show");
    symlink("..data/new.yaml", at("new.yaml")).unwrap();
    assert_eq!(watched.reload(), Answer::Unchanged, "the link of the new file is no change");
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_a_link_is_swapped_too() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["one", "two", "three"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("a.yaml"), settings(name, &format!("quietPeriod: {NEVER}"))).unwrap();
    }
    symlink(at("one"), at("conf.d")).unwrap();
    let watched = Watched::start(&at("conf.d"), true);
    for name in ["two", "three"] {
        symlink(at(name), at("new")).unwrap();
        fs::rename(at("new"), at("conf.d")).unwrap();
        watched.took(name);
    }
    // A change within the folder is no swap.
    fs::write(at("three/a.yaml"), settings("edited", &format!("quietPeriod: {NEVER}"))).unwrap();
    assert!(matches!(
        watched.reported.recv_timeout(DEADLINE).unwrap(),
        Reported::Waits(None | Some(WaitsFor::Quiet), _)
    ));
    assert_eq!(watched.reload(), Answer::Taken(4), "and who asks gets it at once");
    watched.took("edited");
}

#[test]
fn in_explicit_mode_only_a_reload_is_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let explicit = |site| settings(site, "mode: explicit, quietPeriod: 50ms");
    fs::write(&file, explicit("one")).unwrap();
    let watched = Watched::start(dir.path(), true);
    assert_eq!(watched.reload(), Answer::Unchanged);
    fs::write(&file, explicit("two")).unwrap();
    assert_eq!(watched.next(), Reported::Waits(Some(WaitsFor::Reload), Vec::new()));
    assert_eq!(watched.reload(), Answer::Taken(2));
    loop {
        match watched.next() {
            Reported::Waits(Some(WaitsFor::Reload), _) => {}
            reported => break assert_eq!(reported, Reported::Took("two".to_owned())),
        }
    }
    fs::write(&file, "a: [").unwrap();
    assert!(matches!(watched.reload(), Answer::Refused(errors) if errors.contains("a.yaml")));
}

#[test]
fn what_removes_protection_waits_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.yaml"), site("one")).unwrap();
    fs::write(at("api.yaml"), API).unwrap();
    fs::write(at("basic.yaml"), BASIC).unwrap();
    let watched = Watched::start(dir.path(), true);
    fs::remove_file(at("basic.yaml")).unwrap();
    let gone = "API `orders` would lose its policy `http-basic-authentication-flex`";
    assert_eq!(watched.next(), Reported::Waits(Some(WaitsFor::Removal), vec![gone.to_owned()]));
    // Unchanged for the removal period: it is what is wanted.
    watched.took("one");
    fs::write(at("api.yaml"), "# nothing\n").unwrap();
    let Reported::Waits(Some(WaitsFor::Removal), reported) = watched.next() else { panic!("it waits") };
    assert!(
        reported[0] == "every API would go: `orders`" && reported[1].ends_with("api.yaml` had resources and has none")
    );
    // And whoever asks has it at once.
    assert_eq!(watched.reload(), Answer::Taken(3));
    watched.took("one");
}

#[test]
fn what_comes_back_in_time_was_never_gone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.yaml"), settings("one", &format!("quietPeriod: 50ms, removalPeriod: {NEVER}"))).unwrap();
    fs::write(at("api.yaml"), API).unwrap();
    fs::write(at("basic.yaml"), BASIC).unwrap();
    let watched = Watched::start(dir.path(), true);
    fs::remove_file(at("basic.yaml")).unwrap();
    assert!(matches!(watched.next(), Reported::Waits(Some(WaitsFor::Removal), _)));
    fs::write(at("basic.yaml"), BASIC).unwrap();
    assert_eq!(watched.reported.recv_timeout(DEADLINE).unwrap(), Reported::Waits(None, Vec::new()));
    assert_eq!(watched.reload(), Answer::Unchanged);
}

#[test]
fn a_folder_that_is_away_is_not_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let (conf, away) = (dir.path().join("conf.d"), dir.path().join("away"));
    fs::create_dir(&conf).unwrap();
    fs::write(conf.join("a.yaml"), site("one") + "---\n" + API).unwrap();
    let watched = Watched::start(&conf, true);
    fs::rename(&conf, &away).unwrap();
    assert!(matches!(watched.next(), Reported::Refused(errors) if errors.contains("create it")));
    fs::rename(&away, &conf).unwrap();
    watched.took("one");
}

#[test]
fn what_failed_for_a_passing_reason_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, site("one")).unwrap();
    let watched = Watched::start(dir.path(), true);
    *watched.failures.lock().unwrap() = 2;
    fs::write(&file, site("two")).unwrap();
    assert_eq!((watched.next(), watched.next()), (Reported::Failed, Reported::Failed));
    watched.took("two");
    *watched.failures.lock().unwrap() = 1;
    fs::write(&file, site("three")).unwrap();
    assert_eq!(watched.next(), Reported::Failed);
    assert_eq!(watched.reload(), Answer::Taken(3), "and at once where somebody asks");
}

#[test]
fn a_generation_that_is_brought_back_stays_until_the_folder_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, site("one") + "---\n" + API).unwrap();
    let watched = Watched::start(dir.path(), true);
    let kept = Arc::new(Content::of([(file.clone(), site("kept") + "---\n" + API)]));
    let roll_back = |content: &Arc<Content>, confirmed| {
        let (send, answer) = channel();
        let reply = move |said| send.send(said).unwrap();
        watched.watcher.handle().roll_back(Arc::clone(content), 7, confirmed, reply);
        answer.recv_timeout(DEADLINE).unwrap()
    };
    let bare = Arc::new(Content::of([(file.clone(), site("bare"))]));
    assert_eq!(roll_back(&bare, false), Answer::Unconfirmed(vec!["every API would go: `orders`".to_owned()]));
    assert_eq!(roll_back(&kept, false), Answer::Taken(2));
    watched.took("kept");
    fs::write(&file, site("two") + "---\n" + API).unwrap();
    watched.took("two");
    assert_eq!(roll_back(&kept, false), Answer::Taken(4));
    watched.took("kept");
    assert_eq!(watched.reload(), Answer::Taken(5), "who asks for the folder's content gets it");
    watched.took("two");
}

#[test]
fn a_dropped_watcher_ends_its_thread() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Watched::start(dir.path(), true);
    drop(watched.watcher);
    let ended = watched.reported.recv_timeout(DEADLINE);
    assert_eq!(ended.unwrap_err(), std::sync::mpsc::RecvTimeoutError::Disconnected);
}

#[test]
fn a_folder_that_comes_later_is_seen() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("conf.d");
    let watched = Watched::start(&dir, true);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), site("late")).unwrap();
    watched.took("late");
}
