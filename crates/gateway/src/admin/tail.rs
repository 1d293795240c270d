//! `/tail`: events as the spool takes them from the rings, for as long as somebody listens.

use super::{Admin, Body};
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use std::convert::Infallible;
use weir_spool::{Tail, TailItem};

/// Lines that may wait for a slow client; what it misses past that is counted.
const WAITING: usize = 64;

/// One line an event.
pub fn tail(admin: &Admin) -> Response<Body> {
    let (lines, body) = Channel::new(WAITING);
    tokio::task::spawn_local(follow(admin.spool.tail(), lines));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

async fn follow(mut tail: Tail, mut lines: Sender<Bytes, Infallible>) {
    while let Some(item) = tail.next().await {
        let line = match item {
            TailItem::Event(event) => format!("{event}\n"),
            TailItem::Missed(count) => format!("{{\"missed\":{count}}}\n"),
        };
        // The client has left.
        if lines.send_data(line.into()).await.is_err() {
            return;
        }
    }
}
