//! What the tests of the spool share: records, an ingestor of a few lines, and waiting for a condition.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod ingestor;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::chunk::Chunk;
use weir_event::record::encode;
use weir_event::{Exchange, Identity, NameId, Names, Outcome};
use weir_spool::{Appended, RingWriter, Seal, Spool, SpoolConfig};

/// Long enough for a machine under load; a test that passes waits a small part of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub fn identity() -> Identity {
    Identity { site: "on-prem".into(), gateway: "edge".into(), ..Identity::default() }
}

/// A spool that seals only when it is asked to, or a ring is half full.
pub fn config(path: &Path) -> SpoolConfig {
    let seal = Seal { count: u32::MAX, bytes: usize::MAX, age: Duration::from_secs(3600), wire: 1 << 20 };
    SpoolConfig { ring_bytes: 1024 * 1024, seal, ..SpoolConfig::at(path) }
}

pub fn start(config: SpoolConfig) -> (Spool, RingWriter) {
    let (spool, mut rings) = Spool::start(config, identity(), 1, Arc::new(Names::new())).unwrap();
    (spool, rings.pop().unwrap())
}

/// The record of event `seq`, with a name in it.
pub fn record(seq: u64, api: NameId) -> Vec<u8> {
    let now = weir_event::Instant::now();
    let mut exchange = Exchange::new(now, 1_700_000_000_000_000 + seq as i64);
    exchange.api = api;
    exchange.target = format!("/orders/{seq}").parse().unwrap();
    exchange.finish(Outcome::Completed, now);
    let mut bytes = Vec::new();
    encode(&exchange, seq, &mut bytes);
    bytes
}

/// Appends events and expects each to find room.
pub fn append(ring: &mut RingWriter, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        assert_eq!(ring.append(seq, &record(seq, NameId::NONE)), Appended::Written, "event {seq}");
    }
}

/// All chunk files of the folder of `boot`, decoded, in the order of their names.
pub fn chunks(root: &Path, boot: &str) -> Vec<Chunk> {
    let folder = root.join(boot).join("chunks");
    let Ok(files) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "chunk"));
    paths.sort();
    paths.iter().map(|path| Chunk::decode(&std::fs::read(path).unwrap()).unwrap()).collect()
}

pub fn seqs(chunks: &[Chunk]) -> Vec<u64> {
    chunks.iter().flat_map(|chunk| chunk.events().map(|event| event.fixed.seq).collect::<Vec<_>>()).collect()
}
