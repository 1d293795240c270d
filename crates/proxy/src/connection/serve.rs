//! A connection from its socket to its end.

use super::Connection;
use super::open::{Opened, open};
use super::{http1, http2};
use std::pin::pin;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Serves `tcp` until it closes or the worker says so.
pub(crate) async fn serve(connection: Rc<Connection>, tcp: TcpStream) {
    tcp.set_nodelay(true).ok();
    let opened = {
        let opening = pin!(open(&connection, tcp));
        connection.obediently(opening, |_| {}).await
    };
    match opened.flatten() {
        Some(Opened { stream, ahead, http2: false }) => http1::serve(connection, stream, ahead).await,
        // Boxed: a connection of HTTP/1.1 does not carry room for the state of HTTP/2.
        Some(Opened { stream, ahead, http2: true }) => Box::pin(http2::serve(connection, stream, ahead)).await,
        None => {}
    }
}
