//! A name server on a loopback address: every name has one address, which a test can change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UdpSocket;

/// Of a message (RFC 1035 4.1.1). Bytes.
const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

/// Answers until its runtime ends. Its answers may be used for no time at all.
pub struct NameServer {
    pub address: IpAddr,
    all: Arc<Mutex<Ipv4Addr>>,
}

impl NameServer {
    /// Every name has the address `all`.
    ///
    /// # Errors
    /// Those of [`bind`].
    pub fn start(all: Ipv4Addr) -> io::Result<Self> {
        let (socket, address) = bind()?;
        socket.set_nonblocking(true)?;
        let (socket, all) = (UdpSocket::from_std(socket)?, Arc::new(Mutex::new(all)));
        let answered = Arc::clone(&all);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query).await {
                let all = *answered.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = answer(&query[..length], all) {
                    socket.send_to(&answer, client).await.ok();
                }
            }
        });
        Ok(Self { address, all })
    }

    /// From now on, every name has the address `all`.
    pub fn moves_to(&self, all: Ipv4Addr) {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Port 53 of a loopback address that nobody has.
///
/// # Errors
/// It takes root, or `net.ipv4.ip_unprivileged_port_start=0`.
pub fn bind() -> io::Result<(std::net::UdpSocket, IpAddr)> {
    let mut found = (0..100).map(|_| {
        let address = IpAddr::from([127, 53, fastrand::u8(1..255), fastrand::u8(1..255)]);
        Ok((std::net::UdpSocket::bind(SocketAddr::from((address, 53)))?, address))
    });
    let first = found.next().unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()));
    first.or_else(|error| found.find(io::Result::is_ok).unwrap_or(Err(error)))
}

/// The answer to a query: `all`, or that the name has nothing of the type that is asked for.
fn answer(query: &[u8], all: Ipv4Addr) -> Option<Vec<u8>> {
    let mut end = HEADER;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(HEADER..end + 5)?;
    let has_one = question.get(end + 1 - HEADER..end + 3 - HEADER)? == TYPE_A;
    let mut answer = query[..2].to_vec();
    // A response, recursion desired and available, no error; one question and at most one answer.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_one), 0, 0, 0, 0]);
    answer.extend(question);
    if has_one {
        // The name of the question, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(all.octets());
    }
    Some(answer)
}
