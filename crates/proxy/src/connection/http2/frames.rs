//! HTTP/2's frames as they pass on their way in: only their headers are looked at.
//!
//! Two things are learnt here that the library below hyper keeps to itself. How many requests were begun: those that
//! it refuses by itself are owed an event as well. And whether the client floods the connection with frames that cost
//! it nothing and move nothing (RFC 9113 10.5): pings, settings, resets, priorities, empty data, endless
//! continuations, windows opened a few bytes at a time.

use std::time::Duration;
use weir_event::Instant;

/// So many frames that move nothing, more than what was moved excuses …
const IDLE_FRAMES: u32 = 1000;
/// … within less than this are a flood.
const PERIOD: Duration = Duration::from_secs(5);
/// So many bytes of a body or of responses excuse one of them: who transfers much pings, acknowledges and cancels much.
const EXCUSE: usize = 512;
/// A window opened by less than this must acknowledge something. Bytes.
const SMALL_WINDOW: u32 = 1024;

const PREFACE: usize = 24;
const HEADER: usize = 9;
/// A frame header, and the increment of a WINDOW_UPDATE.
const MOST: usize = HEADER + 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The client sends frames that move nothing, faster than any client needs.
#[derive(Debug, thiserror::Error)]
#[error("more than {IDLE_FRAMES} frames that move nothing within {} s", PERIOD.as_secs())]
pub(super) struct Flood;

/// Follows one connection.
pub(super) struct Frames {
    /// Bytes to pass over: the preface, the rest of a payload.
    skip: usize,
    head: [u8; MOST],
    have: usize,
    last_stream: u32,
    requests: u64,
    /// The frame is of the head of a request …
    of_head: bool,
    /// … and another one of it follows.
    continues: bool,
    idle: u32,
    since: Instant,
    /// Bytes that were sent to the client and excuse nothing yet.
    unexcused: usize,
    /// Bytes that were sent to it, and by how many it has opened windows a little at a time.
    sent: u64,
    acknowledged: u64,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            head: [0; MOST],
            have: 0,
            last_stream: 0,
            requests: 0,
            of_head: false,
            continues: false,
            idle: 0,
            since: now,
            unexcused: 0,
            sent: 0,
            acknowledged: 0,
        }
    }

    /// Streams that the client has opened.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Those whose heads have come to their end.
    pub(super) fn heads(&self) -> u64 {
        self.requests - u64::from(self.of_head && (self.continues || self.skip > 0))
    }

    /// So many bytes were sent to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.moved(bytes);
    }

    /// A frame of a response was sent to the client, which may answer it, however small it is.
    pub(super) fn sent_frame(&mut self) {
        self.idle = self.idle.saturating_sub(1);
    }

    fn moved(&mut self, bytes: usize) {
        let bytes = bytes + self.unexcused;
        self.unexcused = bytes % EXCUSE;
        self.idle = self.idle.saturating_sub(u32::try_from(bytes / EXCUSE).unwrap_or(u32::MAX));
    }

    /// A window opened by `bytes`. One that is opened a little at a time acknowledges what was sent, twice: for its
    /// stream and for the connection. Many libraries do that.
    fn opens(&mut self, bytes: u32) -> bool {
        if bytes >= SMALL_WINDOW {
            return true;
        }
        self.acknowledged += u64::from(bytes);
        self.acknowledged <= 2 * self.sent
    }

    /// Follows `bytes`, which come next on the connection. The clock is asked for when there is a flood to judge.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant + Copy) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = self.wanted().min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.skip == 0 && self.have >= HEADER && self.wanted() == 0 {
                self.frame(now)?;
            }
        }
        Ok(())
    }

    /// Bytes of the present frame's head that are still to come.
    fn wanted(&self) -> usize {
        let head = if self.have >= HEADER && self.head[3] == WINDOW_UPDATE {
            HEADER + self.len().min(MOST - HEADER)
        } else {
            HEADER
        };
        head - self.have
    }

    fn len(&self) -> usize {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize
    }

    fn frame(&mut self, now: impl Fn() -> Instant) -> Result<(), Flood> {
        let (len, kind, flags) = (self.len(), self.head[3], self.head[4]);
        let head = self.head;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let stream = number(5) & 0x7fff_ffff;
        let moves = match kind {
            DATA => len > 0 || flags & END_STREAM != 0,
            HEADERS => true,
            WINDOW_UPDATE => self.opens(number(HEADER) & 0x7fff_ffff),
            _ => false,
        };
        let opens = kind == HEADERS && stream > self.last_stream;
        if opens {
            self.last_stream = stream;
            self.requests += 1;
        }
        self.of_head = opens || self.of_head && self.continues && kind == CONTINUATION;
        self.continues = flags & END_HEADERS == 0;
        self.skip = len - (self.have - HEADER).min(len);
        self.have = 0;
        if moves {
            if kind == DATA {
                self.moved(len);
            }
            return Ok(());
        }
        self.count(now)
    }

    fn count(&mut self, now: impl Fn() -> Instant) -> Result<(), Flood> {
        self.idle += 1;
        if self.idle <= IDLE_FRAMES {
            return Ok(());
        }
        let now = now();
        if now.saturating_duration_since(self.since) < PERIOD {
            return Err(Flood);
        }
        (self.idle, self.since) = (0, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn after_preface(now: Instant) -> Frames {
        let mut frames = Frames::new(now);
        frames.pass(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", || now).unwrap();
        frames
    }

    #[test]
    fn requests_are_counted_however_the_bytes_are_cut() {
        let now = Instant::now();
        let wire = [
            frame(4, 0, 0, &[0; 6]),
            frame(HEADERS, 5, 1, b"head"),
            frame(DATA, 0, 1, &[7; 300]),
            frame(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes()),
            frame(HEADERS, 4, 3, b"head"),
            // Trailers are no request.
            frame(HEADERS, 5, 3, b"tail"),
            frame(HEADERS, 5, 5, b""),
        ]
        .concat();
        for piece in 1..40 {
            let mut frames = after_preface(now);
            wire.chunks(piece).for_each(|bytes| frames.pass(bytes, || now).unwrap());
            assert_eq!((frames.requests(), frames.have, frames.skip), (3, 0, 0), "in pieces of {piece}");
            assert_eq!(frames.idle, 1, "the settings");
        }
    }

    /// In pieces, a head is whole with its last byte.
    #[test]
    fn a_head_that_is_not_whole_is_no_head() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        let mut heads = |bytes: &[u8]| {
            frames.pass(bytes, || now).unwrap();
            (frames.requests(), frames.heads())
        };
        let (whole, last) = (frame(HEADERS, 5, 1, b"head"), frame(CONTINUATION, END_HEADERS, 3, b"last"));
        assert_eq!((heads(&whole[..9]), heads(&whole[9..])), ((1, 0), (1, 1)));
        assert_eq!(heads(&frame(HEADERS, 1, 3, b"head")), (2, 1));
        assert_eq!(heads(&frame(CONTINUATION, 0, 3, b"more")), (2, 1));
        assert_eq!((heads(&last[..12]), heads(&last[12..])), ((2, 1), (2, 2)));
        assert_eq!(heads(&frame(DATA, 0, 3, b"data")[..10]), (2, 2));
    }

    #[test]
    fn frames_that_move_nothing_are_a_flood_when_they_come_fast() {
        let begin = Instant::now();
        let opening = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        for idle in [frame(PING, 0, 0, &[0; 8]), frame(3, 0, 1, &[0; 4]), frame(DATA, 0, 1, b""), opening] {
            let mut frames = after_preface(begin);
            let many = idle.repeat(IDLE_FRAMES as usize);
            frames.pass(&many, || begin).unwrap();
            assert!(frames.pass(&idle, || begin + Duration::from_secs(1)).is_err());
            let mut slow = after_preface(begin);
            for minute in 1..10 {
                slow.pass(&many, || begin + Duration::from_secs(60) * minute).unwrap();
            }
        }
    }

    #[test]
    fn who_is_sent_much_may_say_much() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        let ping = frame(PING, 0, 0, &[0; 8]);
        for _ in 0..100_000 {
            frames.pass(&ping, || now).unwrap();
            frames.sent(16 * 1024);
        }
    }

    /// Ten bytes acknowledged at a time, for the stream and for the connection; and no more than was sent.
    #[test]
    fn who_acknowledges_a_little_at_a_time_is_no_flood() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        frames.sent(100_000);
        let opening = frame(WINDOW_UPDATE, 0, 0, &10_u32.to_be_bytes());
        for _ in 0..20_000 {
            frames.pass(&opening, || now).unwrap();
        }
        let more = opening.repeat(IDLE_FRAMES as usize);
        frames.pass(&more, || now).unwrap();
        assert!(frames.pass(&opening, || now).is_err(), "nothing that was sent is left to acknowledge");
    }

    /// A ping for each of many small frames, as BDP estimators send.
    #[test]
    fn every_frame_that_is_sent_may_be_answered() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        let ping = frame(PING, 0, 0, &[0; 8]);
        for _ in 0..100_000 {
            frames.sent(20);
            frames.sent_frame();
            frames.pass(&ping, || now).unwrap();
        }
    }

    #[test]
    fn frames_that_move_something_never_are() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        let wire = [
            frame(DATA, 0, 1, b"x"),
            frame(DATA, END_STREAM, 1, b""),
            frame(WINDOW_UPDATE, 0, 0, &SMALL_WINDOW.to_be_bytes()),
        ]
        .concat();
        for _ in 0..5000 {
            frames.pass(&wire, || now).unwrap();
        }
    }
}
