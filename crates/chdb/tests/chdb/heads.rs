//! What is not a whole and well-formed request ends its own connection and nothing else. The engine's own listener
//! ends the process for most of these.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::engine::Engine;

#[test]
fn a_request_that_is_not_one_does_not_end_the_server() {
    let engine = Engine::with(&["--idle-timeout", "1", "--receive-timeout", "1"]);
    let whole: &[u8] = b"POST /?query=SELECT+1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n";
    let chunked: &[u8] =
        b"POST /?query=SELECT HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\nab";
    let pipelined: &[u8] = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\nGET /pi";
    let malformed: [&[u8]; 9] = [
        b"GARBAGE\r\n\r\n",
        b"\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/1.1\nHost: localhost\n\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\nSELECT 1",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ];
    let halves = (1..whole.len()).step_by(9).map(|end| &whole[..end]);
    for sent in halves.chain([whole, chunked, pipelined, b""]).chain(malformed) {
        for ends in [true, false] {
            let mut client = engine.connect();
            client.write_all(sent).expect("sent");
            if ends {
                client.shutdown(Shutdown::Write).expect("ended");
            }
            // Its end, whoever brings it about: this side, or the server's patience.
            let mut answer = Vec::new();
            let _reset = client.read_to_end(&mut answer);
            let text = String::from_utf8_lossy(&answer);
            if malformed.contains(&sent) {
                // Where the head was good the engine itself may have begun to answer.
                assert!(
                    answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"),
                    "{}: {text}",
                    sent.escape_ascii()
                );
            }
            let next = engine.get("/ping");
            assert_eq!((next.status, next.text().as_str()), (200, "Ok.\n"), "after {}: {text}", sent.escape_ascii());
        }
    }
}
