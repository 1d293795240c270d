//! Who the client really is, and what the upstream is informed of it.
//!
//! `X-Forwarded-*` from a peer that is not trusted is overwritten, not appended to: otherwise any client could
//! say that it is another. Of a trusted peer's chain the right-most address that is not itself trusted counts.

use crate::headers::{Special, is_claim};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Flex's default is SANITIZE: nobody's word on a client certificate is passed on.
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// Addresses of a chain that are looked at, from the right: a bound on what a header may cost.
const MAX_HOPS: usize = 32;

/// Whether `address` is in one of `networks`.
pub(crate) fn is_of(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|net| net.contains(&address))
}

/// The address of the real client.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_of(peer, trusted) {
        return peer;
    }
    let lines: Vec<&str> = headers.get_all(&X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?")).collect();
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
    pub(crate) host: &'a HeaderValue,
    /// What is in the headers that are written to.
    pub(crate) special: Special,
}

impl Forwarded<'_> {
    /// Writes the `X-Forwarded-*` headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let chain = if self.trusted { self.chain(headers) } else { None };
        headers.insert(X_FORWARDED_FOR, chain.unwrap_or_else(|| self.peer.clone()));
        if self.special.has_claims() {
            self.remove_claims(headers);
        }
        if !self.trusted || !headers.contains_key(&X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.proto));
        }
        if !self.trusted || !headers.contains_key(&X_FORWARDED_HOST) {
            headers.insert(X_FORWARDED_HOST, self.host.clone());
        }
    }

    /// What a trusted peer says and its own address, as one list in one line: readers that look at the first line only
    /// would miss the last hop.
    fn chain(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut lines: Vec<&[u8]> = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        lines.retain(|line| !line.is_empty());
        if lines.is_empty() {
            return None;
        }
        lines.push(self.peer.as_bytes());
        HeaderValue::from_bytes(&lines.join(&b", "[..])).ok()
    }

    fn remove_claims(&self, headers: &mut HeaderMap) {
        headers.remove(&X_FORWARDED_CLIENT_CERT);
        // With underscores it is nobody's: what a trusted peer passes on so came from a stranger.
        let stray = |name: &&HeaderName| is_claim(name.as_str()) && (!self.trusted || name.as_str().contains('_'));
        let claims: Vec<HeaderName> = headers.keys().filter(stray).cloned().collect();
        for claim in claims {
            headers.remove(claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
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
                headers.insert(claim, HeaderValue::from_static("1"));
            }
            headers.insert(http::header::FORWARDED, HeaderValue::from_static("for=1.2.3.4"));
            headers.insert("x-real-ip", HeaderValue::from_static("1.2.3.4"));
            headers.insert(X_FORWARDED_CLIENT_CERT, HeaderValue::from_static("Subject=\"CN=root\""));
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
            let special = Special::of(&headers);
            Forwarded { trusted, peer: &peer, proto: "http", host: &host, special }.write(&mut headers);
            assert_eq!(headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>(), [expected]);
            for claim in CLAIMS {
                assert_eq!(headers.contains_key(claim), trusted && !claim.contains('_'), "{claim}");
            }
            assert_eq!((headers.contains_key("forwarded"), headers.contains_key("x-real-ip")), (trusted, trusted));
            assert!(!headers.contains_key(X_FORWARDED_CLIENT_CERT));
            assert_eq!(headers[X_FORWARDED_PROTO], if trusted { "https" } else { "http" });
            assert_eq!(headers[X_FORWARDED_HOST], "api.example");
        }
    }
}
