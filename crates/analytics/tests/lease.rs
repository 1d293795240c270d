//! One writer: the holder of the lease is stopped in the middle of an insert, past the end of its lease, and goes on
//! when another one has taken over. Nothing is lost and nothing is stored twice, wherever it was stopped.
//!
//! Real processes (SIGSTOP, SIGCONT), each behind a proxy that keeps the rest of the insert back. Some seeds in
//! `make test`; `make soak` runs 1,000. `WEIR_LEASE_SEED=N` runs one, `WEIR_LEASE_SEEDS=N` the first N.

mod common;

use common::{Analytics, Engine, chunk, now_us, stream};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_analytics::ingest::intent::Intents;
use weir_analytics::ingest::lease::{Lease, Watching};
use weir_analytics::schema::{Schema, migrate};
use weir_analytics::store::Store;
use weir_event::Ranges;

/// Where in an insert of events its sender is stopped.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// The request's head has arrived, nothing of its body.
    Head,
    /// So many bytes have arrived, head and body; all of it, where it is shorter.
    Bytes(usize),
    /// All of it has arrived; its answer has not.
    Answer,
    /// So many microseconds after the chunk was posted, wherever the sender is then.
    Moment(u64),
}

impl Point {
    fn of(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(0..10) {
            0 => Self::Head,
            1..=4 => Self::Bytes(rng.usize(1..9000)),
            5..=7 => Self::Answer,
            _ => Self::Moment(rng.u64(0..60_000)),
        }
    }
}

/// Between one weir-analytics and ClickHouse: passes everything on, until an insert of events reaches the point that is
/// armed. Then nothing passes in either direction before [`Proxy::open`].
struct Proxy {
    address: String,
    gate: Arc<Gate>,
    /// The runs whose point was reached.
    reached: mpsc::Receiver<u64>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    armed: Option<Point>,
    closed: bool,
    /// The present run, from [`Proxy::arm`] to [`Proxy::open`]. An insert of an earlier one, which came too late to its point,
    /// closes nothing: nobody would open it again.
    run: u64,
}

impl Gate {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(state, |state| state.closed));
    }
}

impl Proxy {
    fn start(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address").to_string();
        let (gate, (reaches, reached)) = (Arc::<Gate>::default(), mpsc::channel());
        let (of_connections, engine) = (Arc::clone(&gate), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (gate, engine, reaches) = (Arc::clone(&of_connections), engine.clone(), reaches.clone());
                std::thread::spawn(move || pass(client, &engine, &gate, &reaches));
            }
        });
        Self { address, gate, reached }
    }

    /// Gives the number of the run.
    fn arm(&self, point: Point) -> u64 {
        self.gate.with(|state| {
            *state = State { armed: Some(point), closed: false, run: state.run + 1 };
            state.run
        })
    }

    fn open(&self) {
        self.gate.with(|state| *state = State { armed: None, closed: false, run: state.run + 1 });
        self.gate.opened.notify_all();
    }
}

/// The insert that is stopped at a point.
struct UnderWay {
    point: Point,
    run: u64,
    passed: usize,
    /// Its last bytes, by which its end is known.
    tail: Vec<u8>,
}

impl UnderWay {
    /// How many of the next `bytes` still pass, when the point lies in them.
    fn due(&mut self, bytes: &[u8]) -> Option<usize> {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(END.len()));
        let ends = self.tail == END;
        let before = self.passed;
        self.passed += bytes.len();
        match self.point {
            Point::Head => bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4),
            Point::Bytes(wanted) if wanted <= self.passed => Some(wanted.saturating_sub(before)),
            Point::Bytes(_) | Point::Answer => ends.then_some(bytes.len()),
            Point::Moment(_) => None,
        }
    }
}

fn pass(mut client: TcpStream, engine: &str, gate: &Arc<Gate>, reaches: &mpsc::Sender<u64>) {
    let Ok(mut server) = TcpStream::connect(engine) else { return };
    let (mut back, mut answers) = (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
    let gate_of_answers = Arc::clone(gate);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = answers.read(&mut buffer) {
            gate_of_answers.wait();
            if back.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _closed_already = back.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 16];
    let mut under_way: Option<UnderWay> = None;
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        gate.wait();
        let bytes = &buffer[..count];
        let insert = bytes.starts_with(b"POST") && String::from_utf8_lossy(bytes).contains("access_events");
        if insert {
            let armed = gate.with(|state| state.armed.take().map(|point| (point, state.run)));
            under_way = armed.map(|(point, run)| UnderWay { point, run, passed: 0, tail: Vec::new() }).or(under_way);
        }
        let due = under_way.as_mut().and_then(|insert| Some((insert.due(bytes)?, insert.run)));
        let (first, rest) = bytes.split_at(due.map_or(count, |(first, _)| first));
        let reached = due.map(|(_, run)| run);
        let closes = reached.is_some_and(|run| {
            gate.with(|state| {
                state.closed |= state.run == run;
                state.run == run
            })
        });
        if server.write_all(first).is_err() {
            break;
        }
        if let Some(run) = reached {
            under_way = None;
            if closes {
                let _test_is_over = reaches.send(run);
                gate.wait();
            }
        }
        if server.write_all(rest).is_err() {
            break;
        }
    }
    let _closed_already = server.shutdown(Shutdown::Both);
}

/// One weir-analytics of the two.
struct Member {
    analytics: Analytics,
    proxy: Proxy,
}

impl Member {
    fn start(engine: &Engine, database: &str) -> Self {
        let proxy = Proxy::start(engine.url().trim_start_matches("http://"));
        let at = format!("http://{}", proxy.address);
        let args = ["--clickhouse", &at, "--database", database];
        let state = TempDir::new().expect("a temporary folder");
        Self { analytics: Analytics::with_args(engine, state, &[("WEIR_ANALYTICS_LEASE", "1s")], &args), proxy }
    }

    fn signal(&self, name: &str) {
        let done = std::process::Command::new("kill").args([name, &self.analytics.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Whether it has stored something under the lease: one of two has.
    fn writes(&self) -> bool {
        self.analytics.get("/healthz").text().contains("writer")
    }
}

struct Pair<'e> {
    engine: &'e Engine,
    database: String,
    members: [Member; 2],
}

impl<'e> Pair<'e> {
    fn start(engine: &'e Engine, number: u64) -> Self {
        let database = format!("pair_{number}");
        let members = [Member::start(engine, &database), Member::start(engine, &database)];
        Self { engine, database, members }
    }

    /// Who writes, once the other one knows.
    fn holder(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let writers: Vec<_> = (0..2).filter(|member| self.members[*member].writes()).collect();
            if let [holder] = writers[..] {
                return holder;
            }
            assert!(Instant::now() < deadline, "two writers, or none:\n{}", self.state());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What both say, and what the engine does.
    fn state(&self) -> String {
        let of = |member: &Member| {
            let log = std::fs::read_to_string(member.analytics.state.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            format!("{}{}\n", member.analytics.get("/healthz").text(), last.join("\n"))
        };
        let running =
            "SELECT elapsed, substring(query, 1, 120) FROM system.processes WHERE query NOT LIKE '%processes%'";
        self.members.iter().map(of).collect::<String>() + &self.engine.sql(running)
    }

    /// One stop of whoever writes. Gives the point.
    fn stop_the_holder(&self, seed: u64) -> Point {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (point, events) = (Point::of(&mut rng), rng.u64(1..400));
        // On a busy machine the lease can move on before the chunk comes; then another stream's is stopped.
        for attempt in 0..20 {
            let gateway = format!("edge-{seed}-{attempt}");
            let edge = stream("on-prem", &gateway, 0);
            let of = |first: u64, end: u64| chunk(&edge, first..end, now_us(), 10);
            let stopped = self.stop_within(self.holder(), point, &of(0, events), &of(0, events + 100));
            // All once more, from whoever comes first; only who writes takes it.
            common::until("all is stored", || {
                let all = of(0, events + 150);
                self.members.iter().any(|member| member.analytics.post(&all).status == 200)
            });
            self.check(&gateway, point, events + 150);
            if stopped {
                return point;
            }
        }
        panic!("seed {seed}, {point:?}: no insert of the holder came to this point:\n{}", self.state());
    }

    /// Stops `holder` at `point` of its insert of `chunk`, while the other one takes over and stores `more`. False when
    /// `holder` did not write any more.
    fn stop_within(&self, holder: usize, point: Point, chunk: &[u8], more: &[u8]) -> bool {
        let (holder, other) = (&self.members[holder], &self.members[1 - holder]);
        let analytics = &holder.analytics;
        let run = holder.proxy.arm(point);
        std::thread::scope(|scope| {
            let posted = scope.spawn(|| analytics.post(chunk).status);
            let mut reached = matches!(point, Point::Moment(_));
            if let Point::Moment(after) = point {
                std::thread::park_timeout(Duration::from_micros(after));
            }
            while !reached && !posted.is_finished() {
                reached = holder.proxy.reached.recv_timeout(Duration::from_millis(20)) == Ok(run);
            }
            if !reached {
                holder.proxy.open();
                return false;
            }
            holder.signal("-STOP");
            // Its answer does not come: the balancer gives the same events, and later ones, to the other.
            other.analytics.store(more);
            // It goes on where it was, knowing nothing of it, and so do its bytes.
            holder.proxy.open();
            holder.signal("-CONT");
            let status = posted.join().expect("posted");
            assert!(matches!(status, 200 | 503), "{point:?}: {status}");
            true
        })
    }

    fn check(&self, gateway: &str, point: Point, events: u64) {
        let database = &self.database;
        let sql = format!(
            "SELECT count(), uniqExact(seq) FROM {database}.access_events WHERE gateway = '{gateway}' \
             UNION ALL SELECT sum(n), sum(arraySum(mapValues(hist))) FROM {database}.requests_1m WHERE gateway = '{gateway}' \
             UNION ALL SELECT sum(n), sum(arraySum(mapValues(hist))) FROM {database}.requests_1h WHERE gateway = '{gateway}'"
        );
        let found = self.engine.sql(&sql);
        let wanted = format!("{events}\t{events}");
        assert!(found.lines().all(|line| line == wanted), "{gateway}, {point:?}: {found} in place of {wanted}");
    }
}

/// Seeds and how many pairs share them.
fn seeds() -> (Ranges, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("WEIR_LEASE_SEED"), number("WEIR_LEASE_SEEDS")) {
        (Some(seed), _) => (Ranges::of(seed, seed), 1),
        (None, Some(count)) => (Ranges::of(0, count.saturating_sub(1)), 16),
        (None, None) => (Ranges::of(0, 15), 4),
    }
}

#[test]
fn a_holder_that_is_stopped_in_the_middle_of_an_insert_stores_nothing_twice() {
    // An insert of which half has arrived holds a take-over up for so long.
    let engine = Engine::with_args(&["--receive-timeout", "3"]);
    let (seeds, pairs) = seeds();
    let all: Vec<u64> = seeds.iter().flat_map(|(first, last)| first..=last).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for pair in 0..pairs {
            let (engine, all) = (&engine, &all);
            scope.spawn(move || {
                let two = Pair::start(engine, pair);
                for seed in all.iter().filter(|seed| *seed % pairs == pair || pairs == 1) {
                    let point = two.stop_the_holder(*seed);
                    println!("seed {seed}: {point:?}");
                }
                engine.assert_rolled_up_in(&two.database);
            });
        }
    });
    println!("{} stops in {:.0} s: nothing lost, nothing twice", all.len(), began.elapsed().as_secs_f64());
}

/// A claim of the holder's own next epoch is no loss of its lease, whenever it is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_claimed_again_is_not_taken_for_lost() {
    let (engine, state) = (Engine::start(), TempDir::new().expect("a folder"));
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).expect("a store");
    migrate(&store).await.expect("migrated");
    let intents = Intents::open(state.path()).expect("the state");
    let lease = Lease::new(store, &intents.holder(), Duration::from_secs(60));
    assert!(lease.campaign(&mut Watching::default(), &intents).await.expect("claimed"));
    let session = lease.session().expect("a session");
    let looking = {
        let (lease, session) = (lease.clone(), Arc::clone(&session));
        tokio::spawn(async move {
            while lease.is_current(&session) {
                lease.confirm(&session).await.expect("looked at");
            }
        })
    };
    for _ in 0..40 {
        let term = lease.again(&session).await.expect("claimed again");
        assert!(term.is_some() && lease.is_current(&session), "nobody else has claimed");
    }
    lease.lost(&session);
    looking.await.expect("it looks");
}

/// What becomes of the one statement that a [`Cutter`] waits for.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It does not arrive.
    Statement,
    /// It is done, and its answer does not arrive.
    Answer,
}

/// Between a client and ClickHouse: passes everything on but for one statement.
struct Cutter {
    address: String,
    armed: Arc<Mutex<Option<(&'static str, Cut)>>>,
}

impl Cutter {
    fn start(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address").to_string();
        let armed = Arc::<Mutex<Option<(&'static str, Cut)>>>::default();
        let (of_connections, engine) = (Arc::clone(&armed), engine.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (armed, server) = (Arc::clone(&of_connections), TcpStream::connect(&engine).expect("the engine"));
                std::thread::spawn(move || Self::pass(client, server, &armed));
            }
        });
        Self { address, armed }
    }

    fn pass(mut client: TcpStream, mut server: TcpStream, armed: &Mutex<Option<(&'static str, Cut)>>) {
        let (mut back, mut answers) = (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
        let is_cut = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let cuts = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = answers.read(&mut buffer) {
                if cuts.load(std::sync::atomic::Ordering::SeqCst) || back.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _closed_already = back.shutdown(Shutdown::Both);
        });
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).replace('+', " ").replace("%20", " ");
            let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
            let cut = armed.filter(|(statement, _)| text.contains(statement)).map(|(_, cut)| cut);
            if let Some(cut) = cut {
                *armed = None;
                is_cut.store(true, std::sync::atomic::Ordering::SeqCst);
                if matches!(cut, Cut::Statement) {
                    break;
                }
            }
            drop(armed);
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _closed_already = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
}

/// Whatever of a claim gets no answer, its epoch is this process's own: nobody waits for the end of the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_without_an_answer_is_not_that_of_another() {
    let (engine, state) = (Engine::start(), TempDir::new().expect("a folder"));
    let cutter = Cutter::start(engine.url().trim_start_matches("http://"));
    let store = Store::new(&format!("http://{}", cutter.address), "", "", Schema::single("weir")).expect("a store");
    migrate(&store).await.expect("migrated");
    let intents = Intents::open(state.path()).expect("the state");
    let lease = Lease::new(store, &intents.holder(), Duration::from_secs(600));
    assert!(lease.campaign(&mut Watching::default(), &intents).await.expect("claimed"));
    let session = lease.session().expect("a session");
    let claims = ["INSERT INTO `weir`.leases", "SELECT toString(lease) FROM `weir`.leases WHERE epoch ="];
    for (statement, cut) in claims.into_iter().flat_map(|claim| [(claim, Cut::Statement), (claim, Cut::Answer)]) {
        for looks_first in [false, true] {
            let what = format!("{statement} {cut:?}, looks first: {looks_first}");
            let before = session.term();
            *cutter.armed.lock().expect("armed") = Some((statement, cut));
            lease.again(&session).await.expect_err(&what);
            if looks_first {
                assert!(lease.confirm(&session).await.expect("looked at"), "{what}");
            }
            let term = lease.again(&session).await.expect("claimed").expect(&what);
            assert!(lease.is_current(&session) && session.term() == term && term.epoch > before.epoch, "{what}");
            assert!(lease.holds(term).await.expect("read"), "{what}");
        }
    }
    // The session is over meanwhile: the next one begins without waiting.
    *cutter.armed.lock().expect("armed") = Some((claims[1], Cut::Answer));
    lease.again(&session).await.expect_err("no answer");
    lease.lost(&session);
    assert!(lease.campaign(&mut Watching::default(), &intents).await.expect("claimed"), "it is its own claim");
    let leases = "SELECT count() - uniqExact(epoch) FROM weir.leases";
    assert_eq!(engine.number(leases), 0, "one lease an epoch");
}
