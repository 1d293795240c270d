//! Marks of probes: by one of them a request says that it is a probe of the gateway's operator and nobody's request.
//!
//! Whoever had a mark could keep a request out of all figures, so a mark is worth little: it is made for the
//! administrator only (by the admin listener), is good for half a minute, for one request, at the process that made it; and
//! such a request is answered by the gateway itself. A mark is `time ‖ nonce ‖ HMAC-SHA256(time ‖ nonce ‖ gateway)` in hex,
//! by a key that never leaves the process. Workers share the marks that were used; requests without one never come here.

use http::HeaderName;
use rustls::crypto::aws_lc_rs::{cipher_suite::TLS13_AES_128_GCM_SHA256, default_provider};
use rustls::crypto::tls13::OkmBlock;
use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use weir_event::Instant;
use weir_event::ids::{hex_from, hex_into};
use weir_http1::Fields;

/// The field with the mark, and in the answer the one with the trace.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("weir-probe");

const TIME: usize = 8;
const NONCE: usize = 16;
const MAC: usize = 32;
const HEAD: usize = TIME + NONCE;
const WHOLE: usize = HEAD + MAC;
/// How many marks may be used within [`Marks::VALID`]. What is remembered of them is bounded by it.
const MOST: usize = 1024;

/// Why a mark does not count. The request is one like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Not one that this process has made.
    Forged,
    Expired,
    Used,
    /// More have been used of late than can be remembered.
    Many,
}

impl Wrong {
    /// Each with its word in metrics, in their order.
    const ALL: [&'static str; 4] = ["forged", "expired", "used", "too_many"];
}

/// Makes marks, and knows those that it made.
pub struct Marks {
    /// None where the system has no random numbers: no marks are made then.
    key: Option<[u8; MAC]>,
    began: Instant,
    /// The nonces of those that were used, and when they were made, in milliseconds after `began`.
    used: Mutex<VecDeque<(u64, [u8; NONCE])>>,
    rejected: [AtomicU64; Wrong::ALL.len()],
    answered: AtomicU64,
}

impl Marks {
    /// How long a mark is good for.
    pub const VALID: Duration = Duration::from_secs(30);
    /// The name of the field that it belongs in.
    pub const HEADER: &str = "weir-probe";

    /// With a key of its own.
    pub fn new() -> Self {
        Self {
            key: random(),
            began: Instant::now(),
            used: Mutex::default(),
            rejected: Default::default(),
            answered: AtomicU64::new(0),
        }
    }

    /// A new mark for the gateway of that name; none where the system has no random numbers.
    pub fn make(&self, gateway: &str) -> Option<String> {
        self.made_at(self.now_ms(), gateway)
    }

    /// Probes that were answered.
    pub fn answered_so_far(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Marks that did not count, by why.
    pub fn rejected(&self) -> impl Iterator<Item = (&'static str, u64)> + use<'_> {
        Wrong::ALL.into_iter().zip(self.rejected.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the mark of a request at `gateway` makes it a probe. Right or wrong, it goes no further.
    #[cold]
    pub(crate) fn take_from(&self, headers: &mut Fields, gateway: &str) -> bool {
        let is_one = headers.get_all(&HEADER).count() == 1;
        let mark = headers.take(&HEADER).filter(|_| is_one);
        self.take(gateway, &mark.unwrap_or_default())
    }

    /// Whether `mark` makes a request at `gateway` a probe. It does so once.
    fn take(&self, gateway: &str, mark: &[u8]) -> bool {
        let taken = self.take_at(self.now_ms(), gateway, mark);
        if let Err(why) = taken {
            self.rejected[why as usize].fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn made_at(&self, now_ms: u64, gateway: &str) -> Option<String> {
        let mut mark = [0; WHOLE];
        mark[..TIME].copy_from_slice(&now_ms.to_be_bytes());
        mark[TIME..HEAD].copy_from_slice(&random::<NONCE>()?);
        let mac = self.mac(&mark[..HEAD], gateway)?;
        mark[HEAD..].copy_from_slice(&mac);
        let mut text = [0; 2 * WHOLE];
        hex_into(&mark, &mut text);
        Some(text.iter().map(|digit| char::from(*digit)).collect())
    }

    fn take_at(&self, now_ms: u64, gateway: &str, mark: &[u8]) -> Result<(), Wrong> {
        let mark = hex_from::<WHOLE>(mark).ok_or(Wrong::Forged)?;
        let (head, mac) = mark.split_at(HEAD);
        let made = self.mac(head, gateway).ok_or(Wrong::Forged)?;
        if !bool::from(made.ct_eq(mac)) {
            return Err(Wrong::Forged);
        }
        let (mut time, mut nonce) = ([0; TIME], [0; NONCE]);
        time.copy_from_slice(&head[..TIME]);
        nonce.copy_from_slice(&head[TIME..]);
        let time = u64::from_be_bytes(time);
        let is_over = |time: u64| now_ms.saturating_sub(time) > Self::VALID.as_millis() as u64;
        if is_over(time) {
            return Err(Wrong::Expired);
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|(time, _)| !is_over(*time));
        if used.iter().any(|(_, known)| *known == nonce) {
            return Err(Wrong::Used);
        }
        if used.len() >= MOST {
            return Err(Wrong::Many);
        }
        used.push_back((time, nonce));
        Ok(())
    }

    /// By the HMAC of the TLS library, as TLS 1.3 uses it.
    fn mac(&self, head: &[u8], gateway: &str) -> Option<[u8; MAC]> {
        let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
        let message = [head, gateway.as_bytes()].concat();
        let tag = suite.hkdf_provider.hmac_sign(&OkmBlock::new(&self.key?), &message);
        tag.as_ref().try_into().ok()
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self::new()
    }
}

/// Without the key.
impl Debug for Marks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks").field("answered", &self.answered).finish_non_exhaustive()
    }
}

fn random<const SIZE: usize>() -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const VALID_MS: u64 = Marks::VALID.as_millis() as u64;

    #[test]
    fn a_mark_counts_once_in_its_time_and_at_its_gateway() {
        let marks = Marks::new();
        let of = |at| marks.made_at(at, "edge").unwrap();
        let mark = of(1000);
        assert_eq!(marks.take_at(1000, "other", mark.as_bytes()), Err(Wrong::Forged));
        assert_eq!(marks.take_at(1000 + VALID_MS, "edge", mark.as_bytes()), Ok(()));
        assert_eq!(marks.take_at(1000 + VALID_MS, "edge", mark.as_bytes()), Err(Wrong::Used));
        assert_eq!(marks.take_at(1001 + VALID_MS, "edge", mark.as_bytes()), Err(Wrong::Expired), "and forgotten");
        assert_eq!(Marks::new().take_at(1000, "edge", of(1000).as_bytes()), Err(Wrong::Forged), "of another process");
    }

    #[test]
    fn every_changed_digit_is_seen() {
        let marks = Marks::new();
        let mark = marks.made_at(5, "edge").unwrap().into_bytes();
        for at in 0..mark.len() {
            let mut changed = mark.clone();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(marks.take_at(5, "edge", &changed), Err(Wrong::Forged), "{at}");
        }
        for cut in [&b""[..], &mark[1..], &[&mark[..], b"00"].concat()] {
            assert_eq!(marks.take_at(5, "edge", cut), Err(Wrong::Forged));
        }
        assert_eq!(marks.take_at(5, "edge", &mark), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_does_not_count_is_counted() {
        let marks = Marks::new();
        let take = |at| marks.take_at(at, "edge", marks.made_at(at, "edge").unwrap().as_bytes());
        for _ in 0..MOST {
            assert_eq!(take(0), Ok(()));
        }
        assert_eq!(take(0), Err(Wrong::Many));
        assert_eq!(take(VALID_MS + 1), Ok(()), "the others are over");
        assert!(!marks.take("edge", b"nonsense"));
        assert_eq!(marks.rejected().collect::<Vec<_>>()[0], ("forged", 1));
    }

    #[test]
    fn it_leaves_the_head_whether_it_counts_or_not() {
        let (marks, other) = (Marks::new(), Marks::new());
        let value = |marks: &Marks| HeaderValue::try_from(marks.make("edge").unwrap()).unwrap();
        let cases = [
            (vec![value(&marks)], true),
            (vec![value(&other)], false),
            (vec![value(&marks), value(&marks)], false),
            (vec![HeaderValue::from_static("")], false),
        ];
        for (lines, is_probe) in cases {
            let mut headers: Fields = lines.into_iter().map(|line| (HEADER, line)).collect();
            assert_eq!((marks.take_from(&mut headers, "edge"), headers.len()), (is_probe, 0));
        }
    }

    #[test]
    fn it_is_hmac_sha_256() {
        let marks = Marks { key: Some([0x0b; MAC]), ..Marks::new() };
        let mut text = [0; 2 * MAC];
        hex_into(&marks.mac(b"Hi ", "There").unwrap(), &mut text);
        // As Python has it: `hmac.new(b'\x0b' * 32, b'Hi There', 'sha256')`.
        let expected = "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7";
        assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
    }
}
