//! What an intermediary owes a message (RFC 9110 7.6): hop-by-hop fields end here, `Via` is added.

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// No name of a claim that is spelt with underscores is longer. Bytes.
const LONGEST_CLAIM: usize = 32;
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Which of the names that a proxy must look for are there: one pass in place of twenty look-ups, nearly all of which
/// would find nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Special(u16);

impl Special {
    const CONNECTION: u16 = 1;
    const TE: u16 = 1 << 1;
    const TRANSFER_ENCODING: u16 = 1 << 2;
    const HOP_BY_HOP: u16 = 1 << 3;
    const VIA: u16 = 1 << 4;
    const CLAIMS: u16 = 1 << 5;
    const TRACE: u16 = 1 << 6;
    const BAGGAGE: u16 = 1 << 7;
    const ASKS_FOR_TRACE: u16 = 1 << 8;
    const LINK: u16 = 1 << 9;
    const PROBE: u16 = 1 << 10;

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |seen, name| seen | Self::flag(name.as_str())))
    }

    /// Of one field more.
    #[inline]
    pub(crate) fn see(&mut self, name: &HeaderName) {
        self.0 |= Self::flag(name.as_str());
    }

    #[inline(always)]
    fn flag(name: &str) -> u16 {
        match name {
            "connection" => Self::CONNECTION,
            "te" => Self::TE,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "upgrade" | "keep-alive" | "proxy-connection" => Self::HOP_BY_HOP,
            "via" => Self::VIA,
            "forwarded" => Self::CLAIMS,
            "traceparent" | "tracestate" | "b3" => Self::TRACE,
            "baggage" => Self::BAGGAGE,
            "weir-link" => Self::LINK,
            "weir-probe" => Self::PROBE,
            _ if name.as_bytes().first() == Some(&b'x') => Self::extension(name),
            _ => 0,
        }
    }

    #[cold]
    fn extension(name: &str) -> u16 {
        match name {
            "x-client-trace-id" => Self::ASKS_FOR_TRACE,
            _ if name.starts_with("x-b3-") => Self::TRACE,
            _ if is_claim(name) => Self::CLAIMS,
            _ => 0,
        }
    }

    fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }

    /// A gateway says how long it had the request, or somebody says so.
    pub(crate) fn has_link(self) -> bool {
        self.has(Self::LINK)
    }

    /// Whether somebody before this gateway named itself in `Via`.
    pub(crate) fn has_via(self) -> bool {
        self.has(Self::VIA)
    }

    /// Whether the message brings a trace.
    pub(crate) fn has_trace(self) -> bool {
        self.has(Self::TRACE)
    }

    /// Whether the message brings baggage (W3C Baggage).
    pub(crate) fn has_baggage(self) -> bool {
        self.has(Self::BAGGAGE)
    }

    /// Whether the client asks for a trace of the request.
    pub(crate) fn asks_for_trace(self) -> bool {
        self.has(Self::ASKS_FOR_TRACE)
    }

    /// Whether the message says that it is a probe.
    pub(crate) fn has_probe(self) -> bool {
        self.has(Self::PROBE)
    }

    /// Whether the message says of its sender what only a trusted peer may say.
    pub(crate) fn has_claims(self) -> bool {
        self.has(Self::CLAIMS)
    }
}

/// Whether a field says of its sender what only a trusted peer may say: `Forwarded`, `X-Real-IP` and every
/// `X-Forwarded-*` but the three that the gateway writes itself. A name that is one of these with underscores in place
/// of dashes is one, too, and so is such a spelling of a name that the gateway writes: CGI, WSGI and PHP take both
/// spellings for the same field.
#[cold]
pub(crate) fn is_claim(name: &str) -> bool {
    let mut dashed = [0; LONGEST_CLAIM];
    let Some(dashed) = dashed.get_mut(..name.len()) else { return name.starts_with("x-forwarded-") };
    dashed.copy_from_slice(name.as_bytes());
    dashed.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
    let is_own =
        |name: &[u8]| matches!(name, b"x-forwarded-for" | b"x-forwarded-proto" | b"x-forwarded-host" | b"x-request-id");
    match &*dashed {
        b"forwarded" | b"x-real-ip" => true,
        dashed if is_own(dashed) => !is_own(name.as_bytes()),
        dashed => dashed.starts_with(b"x-forwarded-"),
    }
}

/// Removes what was meant for this hop only, and what `Connection` names. `TE: trailers` stays, and so does
/// `Trailer`: trailers are passed on both ways.
pub(crate) fn end_hop(headers: &mut HeaderMap, special: Special) {
    let wants_trailers = special.has(Special::TE) && names_trailers(headers);
    if special.has(Special::CONNECTION) {
        remove_named(headers);
    }
    // A length beside a coding is not the length of what was decoded (RFC 9112 6.3): it ends with the coding.
    if special.has(Special::TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    if special.has(Special::TE) {
        headers.remove(TE);
    }
    if special.has(Special::HOP_BY_HOP) {
        for name in [UPGRADE, KEEP_ALIVE, PROXY_CONNECTION] {
            headers.remove(name);
        }
    }
    if wants_trailers {
        headers.insert(TE, TRAILERS);
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Of a request's trailers, what is about its content: what the gateway says in the head must not be said again behind it
/// by somebody else (RFC 9110 6.5.1).
pub(crate) fn only_content(trailers: &mut HeaderMap) {
    let says_who = |name: &str| {
        name.starts_with("x-forwarded-")
            || matches!(
                name,
                "forwarded"
                    | "x-real-ip"
                    | "x-request-id"
                    | "via"
                    | "cookie"
                    | "traceparent"
                    | "tracestate"
                    | "b3"
                    | "weir-probe"
                    | "weir-link"
            )
            || name.starts_with("x-b3-")
    };
    let stray: Vec<HeaderName> = trailers.keys().filter(|name| says_who(name.as_str())).cloned().collect();
    for name in stray {
        trailers.remove(name);
    }
}

fn names_trailers(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
}

/// Removes `Connection` and what it names. A name that is both there and end-to-end by its definition is not ours to
/// remove: without this a client could strip the length or the host of its own message on the way.
fn remove_named(headers: &mut HeaderMap) {
    // What nearly every message says, and no name of a field that is not looked for anyway.
    let persistence = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
    };
    let Entry::Occupied(lines) = headers.entry(CONNECTION) else { return };
    if lines.iter().all(persistence) {
        lines.remove();
        return;
    }
    let (_, values) = lines.remove_entry_mult();
    let values: Vec<HeaderValue> = values.collect();
    for token in values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        match HeaderName::from_bytes(token.trim().as_bytes()) {
            Ok(name) if !is_protected(&name) => drop(headers.remove(&name)),
            _ => {}
        }
    }
}

fn is_protected(name: &HeaderName) -> bool {
    use http::header::HOST;
    [CONTENT_LENGTH, HOST, TRAILER, VIA].contains(name)
}

/// How often this gateway's own name stands in `Via` already.
pub(crate) fn passes(headers: &HeaderMap, pseudonym: &str) -> usize {
    let lines = headers.get_all(VIA).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter(|member| received_by(member) == Some(pseudonym)).count()
}

/// `1.1 name (comment)` → `name`.
fn received_by(member: &str) -> Option<&str> {
    member.split_whitespace().nth(1)
}

/// Adds this gateway's member to `Via`.
pub(crate) fn add_via(headers: &mut HeaderMap, via: &HeaderValue) {
    match headers.entry(VIA) {
        Entry::Occupied(mut line) => line.append(via.clone()),
        Entry::Vacant(line) => drop(line.insert(via.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn hop(map: &mut HeaderMap) {
        let special = Special::of(map);
        end_hop(map, special);
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_end_here() {
        let mut map = headers(&[
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("x-public", "1"),
        ]);
        hop(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-public"]);
    }

    #[test]
    fn connection_cannot_strip_what_frames_the_message() {
        let mut map = headers(&[("connection", "content-length, host"), ("content-length", "3"), ("host", "a")]);
        hop(&mut map);
        assert!(map.contains_key("content-length") && map.contains_key("host"));
    }

    #[test]
    fn a_length_beside_a_coding_ends_with_it() {
        let mut map = headers(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
        hop(&mut map);
        assert!(map.is_empty());
    }

    #[test]
    fn te_trailers_goes_on() {
        let mut map = headers(&[("te", "gzip, Trailers"), ("connection", "te"), ("trailer", "x-sum")]);
        hop(&mut map);
        assert_eq!(map["te"], "trailers");
        assert_eq!(map["connection"], "te");
        assert_eq!(map["trailer"], "x-sum");
    }

    #[test]
    fn trailers_say_nothing_of_who_sends() {
        let mut map =
            headers(&[("x-sum", "1"), ("weir-probe", "0f"), ("traceparent", "00"), ("x-forwarded-for", "::1")]);
        only_content(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn via_counts_and_grows() {
        let mut map = headers(&[("via", "1.1 edge, 1.0 other (edge)"), ("via", "1.1 edge")]);
        assert_eq!(passes(&map, "edge"), 2);
        add_via(&mut map, &HeaderValue::from_static("1.1 edge"));
        assert_eq!(passes(&map, "edge"), 3);
    }
}
