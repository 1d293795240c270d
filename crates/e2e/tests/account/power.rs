//! The account after a power failure of the gateway's machine, and with rings that are damaged, missing or of another
//! version: what nobody can count is unknown, and said to be unknown.

use std::fs;
use std::path::{Path, PathBuf};
use weir_e2e::{Account, Part, Setup, TestStack, eventually, fail_power};
use weir_testkit::fault_proxy::Mode;

/// Events stay in the ring until half of it is full.
const IN_THE_RING: &str = "maxBytes: 64MiB, maxAge: 1h, syncInterval: 1m";

/// Waits until every chunk of this life is acknowledged and unlinked; what the ring holds alone stays there.
async fn shipped(account: &Account) {
    eventually("all chunks are acknowledged", async || {
        let spool = account.status().await.ok()?["spool"].clone();
        (spool["chunks"]["acknowledged"].as_u64()? > 0 && spool["chunks"]["on_disk"] == 0).then_some(())
    })
    .await;
}

/// P7: the power of the gateway's machine fails, and the ring is as it was made, or a mix of old and new pages; a chunk that
/// was unlinked is there again. a23da7b had 1,200 rows of 1,300 answered requests and no gap, or said "balanced", or named
/// what was stored as `torn`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_ring_loses_with_the_power_is_torn_with_an_open_end() {
    let setup = Setup { bad_network: true, spool: Some(IN_THE_RING), ring: Some("128KiB"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    let mut rng = fastrand::Rng::with_seed(7);
    let mut lost = 0;
    for (life, kept) in [0, 5, 9].into_iter().enumerate() {
        account.set_network(Mode::Refuse);
        account.traffic(600).await;
        eventually("some are in chunk files", async || (!crate::spool::chunks(&account).is_empty()).then_some(()))
            .await;
        let unlinked: Vec<_> =
            crate::spool::chunks(&account).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        account.set_network(Mode::Pass);
        shipped(&account).await;
        let acknowledged = account.report().await.stored as u64;
        account.kill(Part::Gateway).unwrap();
        fail_power(&account.spool(), kept, &mut rng).unwrap();
        let (bytes, path) = &unlinked[0];
        fs::write(path, bytes).unwrap();
        account.start_part(Part::Gateway, None).unwrap();
        account.settle().await;
        let (claim, report) = account.claim().await;
        assert_eq!(claim.state(), if claim.count("missing") > 0 { "missing" } else { "unknown" }, "{}", claim.0);
        assert_eq!(claim.doubts("open_end"), vec!["torn"; life + 1], "{}", claim.0);
        assert_eq!(claim.count("missing"), claim.named("lost", "torn"), "for no other reason: {}", claim.0);
        assert!(report.stored as u64 >= acknowledged && (kept > 0 || report.lost.len() > lost), "{report}");
        lost = report.lost.len();
    }
    let (code, out) = account.weirctl(&["ledger"]).unwrap();
    assert!(matches!(code, 1 | 4) && out.contains("torn from number"), "{out}");
}

/// P32: a bit of a ring's header is flipped; the ring is removed; the ring is of another version. a23da7b lost 100 events
/// with each, and said "balanced".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_cannot_be_read_leaves_an_open_end() {
    let setup = Setup { spool: Some(IN_THE_RING), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    let mut doubts = Vec::new();
    let mut lost = 0;
    for (reason, harm, loses) in [("ring_damaged", flip as fn(&Path), 0), ("ring_missing", remove as fn(&Path), 100)] {
        account.traffic(100).await;
        let ring = ring(&mut account);
        harm(&ring);
        account.start_part(Part::Gateway, None).unwrap();
        account.settle().await;
        let (claim, report) = account.claim().await;
        lost += loses;
        doubts.push(reason.to_owned());
        let mut reported = claim.doubts("open_end");
        reported.sort();
        assert_eq!((claim.state(), &reported), ("unknown", &doubts), "{}", claim.0);
        assert_eq!(report.lost.len(), lost, "what the checksums prove is read: {report}");
    }
    // A newer version's ring is kept, and read when a version that can comes back.
    account.traffic(100).await;
    let ring = ring(&mut account);
    set_version(&ring, 3);
    account.start_part(Part::Gateway, None).unwrap();
    let (_, report) =
        account.claimed("it is said", |claim| claim.doubts("open_end").contains(&"ring_unreadable".to_owned())).await;
    assert_eq!(report.lost.len(), lost + 100);
    account.stop(Part::Gateway).unwrap();
    set_version(&ring, 2);
    account.start_part(Part::Gateway, None).unwrap();
    account.settle().await;
    let (claim, report) = account.claim().await;
    assert_eq!((claim.doubts("open_end").len(), report.lost.len()), (2, lost), "{}", claim.0);
}

/// Kills the gateway; the ring of the life that ends.
fn ring(account: &mut Account) -> PathBuf {
    account.kill(Part::Gateway).unwrap();
    let mut rings: Vec<_> = account.lives().unwrap().iter().map(|life| life.join("ring-0")).collect();
    rings.retain(|ring| ring.exists());
    rings.sort_by_key(|ring| fs::metadata(ring).unwrap().modified().unwrap());
    rings.pop().unwrap()
}

fn flip(ring: &Path) {
    let mut bytes = fs::read(ring).unwrap();
    bytes[20] ^= 1;
    fs::write(ring, bytes).unwrap();
}

fn remove(ring: &Path) {
    fs::remove_file(ring).unwrap();
}

/// A header that is whole, of that version.
fn set_version(ring: &Path, version: u32) {
    let mut bytes = fs::read(ring).unwrap();
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    fs::write(ring, bytes).unwrap();
}
