//! Who the client really is, and what the upstream is informed of it.
//!
//! `X-Forwarded-*` from a peer that is not trusted is overwritten, not appended to: otherwise any client could
//! say that it is another. Of a trusted peer's chain the right-most address that is not itself trusted counts.

use crate::headers::{Special, is_claim};
use http::HeaderValue;
use ipnet::IpNet;
use std::net::IpAddr;
use weir_http1::{Fields, Known, Lines};

/// Flex's default is SANITIZE: nobody's word on a client certificate is passed on.
const X_FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";
/// Addresses of a chain that are looked at, from the right: a bound on what a header may cost.
const MAX_HOPS: usize = 32;

/// Whether `address` is in one of `networks`.
pub(crate) fn is_of(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|net| net.contains(&address))
}

/// The address of the real client.
pub(crate) fn client_address(peer: IpAddr, fields: &Fields, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_of(peer, trusted) {
        return peer;
    }
    let text = |line| std::str::from_utf8(line).ok().filter(|line| line.is_ascii()).unwrap_or("?");
    let lines: Vec<&str> = fields.get_all(Known::XForwardedFor).map(text).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim).take(MAX_HOPS);
    let mut client = peer;
    for hop in hops {
        // What is no address was not written by a gateway that we trust: the chain ends before it.
        let Some(address) = hop_address(hop) else { break };
        client = address;
        if !is_of(address, trusted) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if hop.matches(':').count() == 1 => hop.split_once(':')?.0,
        None => hop,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// What the upstream gets.
pub(crate) struct Forwarded<'a> {
    pub(crate) trusted: bool,
    /// The peer's address as text, made once a connection.
    pub(crate) peer: &'a HeaderValue,
    pub(crate) proto: &'static str,
    /// What of both is said of a client that says nothing of them itself.
    pub(crate) lines: &'a Lines,
    pub(crate) host: &'a HeaderValue,
    /// What is in the headers that are written to.
    pub(crate) special: Special,
}

/// The fields that say who sends and by which scheme.
pub(crate) fn both(peer: &HeaderValue, proto: &str) -> Fields {
    let mut fields = Fields::new();
    fields.put(Known::XForwardedFor, peer);
    let set = fields.set(Known::XForwardedProto, proto.as_bytes());
    debug_assert!(set.is_ok(), "a scheme");
    fields
}

impl Forwarded<'_> {
    /// Writes the `X-Forwarded-*` fields.
    pub(crate) fn write(&self, fields: &mut Fields) {
        if fields.present().meets(self.lines.present()) {
            self.write_both(fields);
        } else {
            fields.append_lines(self.lines);
        }
        if self.special.has_claims() {
            self.remove_claims(fields);
        }
        if !self.trusted || !fields.has(Known::XForwardedHost) {
            fields.put(Known::XForwardedHost, self.host);
        }
    }

    /// Address and scheme, where one of them is there.
    #[cold]
    fn write_both(&self, fields: &mut Fields) {
        match self.trusted.then(|| self.chain(fields)).flatten() {
            Some(chain) => {
                let set = fields.set(Known::XForwardedFor, &chain);
                debug_assert!(set.is_ok(), "every part of it came in a field");
            }
            None => fields.put(Known::XForwardedFor, self.peer),
        }
        if !self.trusted || !fields.has(Known::XForwardedProto) {
            let set = fields.set(Known::XForwardedProto, self.proto.as_bytes());
            debug_assert!(set.is_ok(), "a scheme");
        }
    }

    /// What a trusted peer says and its own address, as one list in one line: readers that look at the first line only
    /// would miss the last hop.
    fn chain(&self, fields: &Fields) -> Option<Vec<u8>> {
        let mut lines: Vec<&[u8]> = fields.get_all(Known::XForwardedFor).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return None;
        }
        lines.push(self.peer.as_bytes());
        Some(lines.join(&b", "[..]))
    }

    fn remove_claims(&self, fields: &mut Fields) {
        fields.remove(X_FORWARDED_CLIENT_CERT);
        // With underscores it is nobody's: what a trusted peer passes on so came from a stranger.
        fields.retain(|field| !is_claim(field.name) || self.trusted && !field.name.contains(&b'_'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(Known::XForwardedFor, line.as_bytes()).unwrap();
        }
        headers
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        client_address(peer.parse().unwrap(), &headers(lines), &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_its_own_address_whatever_it_says() {
        assert_eq!(client("192.0.2.9", &["1.2.3.4"]), "192.0.2.9");
    }

    #[test]
    fn of_a_trusted_chain_the_right_most_stranger_counts() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 192.0.2.7", "10.1.1.1"]), "192.0.2.7");
        assert_eq!(client("10.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(client("2001:db8::9", &["[2001:dead::1]:80"]), "2001:dead::1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn a_chain_of_trusted_peers_ends_at_the_first_of_them() {
        assert_eq!(client("10.0.0.1", &["10.9.9.9, 10.1.1.1"]), "10.9.9.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_address_ends_the_chain() {
        assert_eq!(client("10.0.0.1", &["192.0.2.7, unknown, 10.1.1.1"]), "10.1.1.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7", "\u{e9}"]), "10.0.0.1");
    }

    const CLAIMS: [&str; 8] = [
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-ssl",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x_forwarded_for",
        "x_real-ip",
        "x_request_id",
    ];

    #[test]
    fn a_strangers_headers_are_overwritten_and_a_trusted_peers_extended() {
        let peer = HeaderValue::from_static("192.0.2.9");
        let host = HeaderValue::from_static("api.example");
        for (trusted, expected) in [(false, "192.0.2.9"), (true, "1.2.3.4, 5.6.7.8, 192.0.2.9")] {
            let mut headers = headers(&["1.2.3.4", "5.6.7.8"]);
            for claim in CLAIMS {
                headers.append(claim, b"1").unwrap();
            }
            headers.append("forwarded", b"for=1.2.3.4").unwrap();
            headers.append("x-real-ip", b"1.2.3.4").unwrap();
            headers.append(X_FORWARDED_CLIENT_CERT, b"Subject=\"CN=root\"").unwrap();
            headers.append("x-forwarded-proto", b"https").unwrap();
            let special = Special::of(&headers);
            let lines = Lines::from(&both(&peer, "http"));
            Forwarded { trusted, peer: &peer, proto: "http", lines: &lines, host: &host, special }.write(&mut headers);
            assert_eq!(headers.get_all(Known::XForwardedFor).collect::<Vec<_>>(), [expected.as_bytes()]);
            for claim in CLAIMS {
                assert_eq!(headers.contains(claim), trusted && !claim.contains('_'), "{claim}");
            }
            assert_eq!((headers.contains("forwarded"), headers.contains("x-real-ip")), (trusted, trusted));
            assert!(!headers.contains(X_FORWARDED_CLIENT_CERT));
            assert_eq!(headers.get("x-forwarded-proto").unwrap(), if trusted { &b"https"[..] } else { b"http" });
            assert_eq!(headers.get("x-forwarded-host").unwrap(), b"api.example");
        }
    }
}
