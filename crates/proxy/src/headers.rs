//! What an intermediary owes a message (RFC 9110 7.6): hop-by-hop fields end here, `Via` is added.

use http::header::{HeaderMap, HeaderName};
use weir_http1::{Fields, Known, KnownSet};

/// No name of a claim that is spelt with underscores is longer. Bytes.
const LONGEST_CLAIM: usize = 32;

/// Names that have a number, and what they are looked for for.
const KNOWN: [(KnownSet, u16); 4] = [
    (KnownSet::new(&[Known::Via]), Special::VIA),
    (KnownSet::new(&[Known::Forwarded, Known::XRealIp]), Special::CLAIMS),
    (KnownSet::new(&[Known::TraceParent, Known::TraceState, Known::B3]), Special::TRACE),
    (KnownSet::new(&[Known::Baggage]), Special::BAGGAGE),
];

/// Which of the names that a proxy must look for are there: one pass in place of twenty look-ups, nearly all of which
/// would find nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Special(u16);

impl Special {
    const VIA: u16 = 1 << 4;
    const CLAIMS: u16 = 1 << 5;
    const TRACE: u16 = 1 << 6;
    const BAGGAGE: u16 = 1 << 7;
    const ASKS_FOR_TRACE: u16 = 1 << 8;
    const LINK: u16 = 1 << 9;
    const PROBE: u16 = 1 << 10;

    /// Of names that have a number it is known whether they are there; of the others each is looked at.
    pub(crate) fn of(fields: &Fields) -> Self {
        let known = fields.present();
        let flags = KNOWN.iter().filter(|(names, _)| known.meets(*names)).fold(0, |seen, (_, flag)| seen | flag);
        Self(fields.others().fold(flags, |seen, field| seen | Self::flag(field.name)))
    }

    #[inline(always)]
    fn flag(name: &[u8]) -> u16 {
        match name.first() {
            Some(b'x' | b'X') => Self::extension(name),
            Some(b'w' | b'W') if name.eq_ignore_ascii_case(b"weir-link") => Self::LINK,
            Some(b'w' | b'W') if name.eq_ignore_ascii_case(b"weir-probe") => Self::PROBE,
            _ => 0,
        }
    }

    #[cold]
    fn extension(name: &[u8]) -> u16 {
        match name {
            _ if name.eq_ignore_ascii_case(b"x-client-trace-id") => Self::ASKS_FOR_TRACE,
            _ if begins_with(name, b"x-b3-") => Self::TRACE,
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
pub(crate) fn is_claim(name: &[u8]) -> bool {
    let mut dashed = [0; LONGEST_CLAIM];
    let Some(dashed) = dashed.get_mut(..name.len()) else { return begins_with(name, b"x-forwarded-") };
    dashed.copy_from_slice(name);
    dashed.make_ascii_lowercase();
    let has_underscore = dashed.contains(&b'_');
    dashed.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
    match &*dashed {
        b"forwarded" | b"x-real-ip" => true,
        b"x-forwarded-for" | b"x-forwarded-proto" | b"x-forwarded-host" | b"x-request-id" => has_underscore,
        dashed => dashed.starts_with(b"x-forwarded-"),
    }
}

fn begins_with(name: &[u8], beginning: &[u8]) -> bool {
    name.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
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

/// How often this gateway's own name stands in `Via` already.
pub(crate) fn passes(fields: &Fields, pseudonym: &str) -> usize {
    fields.members(Known::Via).filter(|member| received_by(member) == Some(pseudonym.as_bytes())).count()
}

/// `1.1 name (comment)` → `name`.
fn received_by(member: &[u8]) -> Option<&[u8]> {
    member.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        lines.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    #[test]
    fn what_is_looked_for_is_found_in_any_case() {
        let of = |name: &str| Special::of(&fields(&[(name, "1")]));
        for name in
            ["via", "Forwarded", "X-REAL-IP", "x_real_ip", "X-Forwarded-Port", "x_forwarded_for", "X_Request-Id"]
        {
            assert!(of(name).has_via() || of(name).has_claims(), "{name}");
        }
        for name in ["traceparent", "TraceState", "b3", "X-B3-TraceId"] {
            assert!(of(name).has_trace(), "{name}");
        }
        assert!(of("Baggage").has_baggage() && of("Weir-Link").has_link() && of("weir-PROBE").has_probe());
        assert!(of("X-Client-Trace-Id").asks_for_trace());
        for name in ["host", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x", "weir", "accept"] {
            assert_eq!(of(name), Special::default(), "{name}");
        }
    }

    #[test]
    fn trailers_say_nothing_of_who_sends() {
        let map = fields(&[("x-sum", "1"), ("weir-probe", "0f"), ("traceparent", "00"), ("x-forwarded-for", "::1")]);
        let mut map = map.to_map().unwrap();
        only_content(&mut map);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn via_counts() {
        let map = fields(&[("via", "1.1 edge, 1.0 other (edge)"), ("via", "1.1 edge")]);
        assert_eq!(passes(&map, "edge"), 2);
    }
}
