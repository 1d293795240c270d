//! TCP to a name with several addresses, of which some may be dead in any way: Happy Eyeballs (RFC 8305).
//!
//! The addresses are taken in the resolver's order (RFC 6724), the two families in turn; the next one is tried as soon as
//! one fails, or after [`DELAY`] beside those that are still silent. The first connection is taken.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one address has the field to itself (RFC 8305 section 5: "Connection Attempt Delay").
const DELAY: Duration = Duration::from_millis(250);

/// One address being tried.
type Try = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// Connects to one of `addresses`. `at` is that of the connection, or the one that was tried last.
///
/// # Errors
/// That of the address that failed last; none of them answered.
pub(crate) async fn dial(addresses: Vec<SocketAddr>, at: &mut Option<SocketAddr>) -> io::Result<TcpStream> {
    // Usually there is one.
    if let [only] = *addresses {
        *at = Some(only);
        return TcpStream::connect(only).await;
    }
    let mut waiting = in_turn(addresses).into_iter().peekable();
    let mut racing: Vec<Try> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(next) = waiting.next() {
            *at = Some(next);
            racing.push(Box::pin(async move { (next, TcpStream::connect(next).await) }));
        } else if racing.is_empty() {
            return Err(last);
        }
        let first = poll_fn(|cx| poll_any(&mut racing, cx));
        let (address, ended) = if waiting.peek().is_some() {
            match timeout(DELAY, first).await {
                Ok(ended) => ended,
                // Silent: the next one runs beside it.
                Err(_) => continue,
            }
        } else {
            first.await
        };
        match ended {
            Ok(stream) => {
                *at = Some(address);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
}

/// The first that has ended, taken out.
fn poll_any(racing: &mut Vec<Try>, cx: &mut Context<'_>) -> Poll<(SocketAddr, io::Result<TcpStream>)> {
    for index in 0..racing.len() {
        if let Poll::Ready(ended) = racing[index].as_mut().poll(cx) {
            drop(racing.swap_remove(index));
            return Poll::Ready(ended);
        }
    }
    Poll::Pending
}

/// The families in turn, each in its order, beginning with that of the first address (RFC 8305 section 4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    let (mut one, mut other) = (one.drain(..), other.drain(..));
    loop {
        let (a, b) = (one.next(), other.next());
        if a.is_none() && b.is_none() {
            return mixed;
        }
        mixed.extend(a.into_iter().chain(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn v4(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 1))
    }

    fn v6(port: u16) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))
    }

    #[test]
    fn the_families_take_turns() {
        assert_eq!(in_turn(vec![v6(1), v6(2), v4(1), v4(2), v4(3)]), [v6(1), v4(1), v6(2), v4(2), v4(3)]);
        assert_eq!(in_turn(vec![v4(1), v4(2)]), [v4(1), v4(2)]);
        assert_eq!(in_turn(vec![]), []);
    }

    /// A listener whose queue is full: it swallows what comes.
    async fn silent() -> (SocketAddr, Vec<TcpStream>, std::net::TcpListener) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (address, held, listener)
    }

    #[tokio::test]
    async fn dead_addresses_do_not_hide_a_live_one() {
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (refused, good) = (refusing.local_addr().unwrap(), live.local_addr().unwrap());
        drop(refusing);
        let (swallowed, _held, _listener) = silent().await;
        // Broadcast, which the kernel refuses without a packet.
        let unreachable = SocketAddr::from(([255, 255, 255, 255], 9));
        for dead in [vec![refused], vec![swallowed], vec![unreachable], vec![swallowed, refused, unreachable]] {
            let mut at = None;
            let stream = dial([dead.clone(), vec![good]].concat(), &mut at).await.unwrap();
            assert_eq!((stream.peer_addr().unwrap(), at), (good, Some(good)), "{dead:?}");
        }
        let mut at = None;
        let error = dial(vec![refused, refused], &mut at).await.unwrap_err();
        assert_eq!((error.kind(), at), (io::ErrorKind::ConnectionRefused, Some(refused)));
        assert!(dial(vec![], &mut at).await.is_err());
    }
}
