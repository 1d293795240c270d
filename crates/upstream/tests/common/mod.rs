//! What is sent, and what comes back, for tests of either protocol.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use weir_upstream::{Content, Head, InFlight, Timeouts, Unanswered};

pub const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(60), fields: 100 };

/// Frames that are all there.
#[derive(Default)]
pub struct Frames(pub VecDeque<Frame<Bytes>>);

impl Frames {
    pub fn of(data: &[&'static str]) -> Self {
        Self(data.iter().map(|data| Frame::data(Bytes::from_static(data.as_bytes()))).collect())
    }

    pub fn whole(self) -> Vec<u8> {
        self.0.into_iter().filter_map(|frame| frame.into_data().ok()).flatten().collect()
    }
}

impl Content for Frames {
    type Error = io::Error;

    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end(&self) -> bool {
        self.0.is_empty()
    }

    fn length(&self) -> Option<u64> {
        None
    }

    fn unread(&mut self, frame: Frame<Bytes>) {
        self.0.push_front(frame);
    }
}

/// The final head. Those before it are a 100, or have their fields.
pub async fn head(sent: &mut InFlight<Frames>) -> Result<Head, Unanswered<io::Error>> {
    loop {
        let head = poll_fn(|cx| sent.poll_head(cx)).await?;
        if !head.is_interim() {
            return Ok(head);
        }
        assert!(head.status == 100 || head.fields.get("link") == Some(b"x"), "{}", head.status);
    }
}

/// The content of a response, and its trailers.
pub async fn content(sent: &mut InFlight<Frames>) -> (Vec<u8>, HeaderMap) {
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| sent.poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(more) => data.extend(more),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    (data, trailers)
}
