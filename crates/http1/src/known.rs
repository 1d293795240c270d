//! Field names that a gateway looks for, numbered.
//!
//! A name is recognised once, when its head is parsed. From then on it is one byte: a look-up compares numbers, and a
//! set of names is one word. The table is a perfect hash over the length and the first and last four bytes of a name;
//! its multiplier is searched by the compiler.

use http::HeaderName;

/// Slots of the hash table: 2 to the power of this.
const BITS: u32 = 9;
/// A slot without a name.
const NONE: u8 = u8::MAX;

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// A well-known field name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known { $(#[doc = concat!("`", $text, "`")] $name,)* }

        const ALL: &[(Known, &str)] = &[$((Known::$name, $text),)*];

        /// The beginnings of their lines.
        const STARTS: &[&str] = &[$(concat!($text, ": "),)*];

        static HEADER_NAMES: [HeaderName; ALL.len()] = [$(HeaderName::from_static($text),)*];
    };
}

known! {
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    Age = "age",
    Allow = "allow",
    Authorization = "authorization",
    B3 = "b3",
    Baggage = "baggage",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentEncoding = "content-encoding",
    ContentLength = "content-length",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    ETag = "etag",
    Expect = "expect",
    Expires = "expires",
    Forwarded = "forwarded",
    Host = "host",
    Http2Settings = "http2-settings",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Location = "location",
    MaxForwards = "max-forwards",
    Origin = "origin",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    ProxyStatus = "proxy-status",
    Range = "range",
    Referer = "referer",
    RetryAfter = "retry-after",
    SecWebSocketAccept = "sec-websocket-accept",
    SecWebSocketExtensions = "sec-websocket-extensions",
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketProtocol = "sec-websocket-protocol",
    SecWebSocketVersion = "sec-websocket-version",
    Server = "server",
    ServerTiming = "server-timing",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    TraceParent = "traceparent",
    TraceState = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
}

// A set of them is a word.
const _: () = assert!(ALL.len() <= 64);

impl Known {
    /// The known name that `name` is, whatever its case.
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::of_token(name).filter(|known| name.eq_ignore_ascii_case(known.as_str().as_bytes()))
    }

    /// The same of what is known to be a token.
    #[inline]
    pub(crate) fn of_token(name: &[u8]) -> Option<Self> {
        let key = key(name);
        let at = usize::from(TABLE.slots[slot(key, TABLE.multiplier)]);
        let (known, text) = ALL.get(at)?;
        let is_same = name.len() == text.len() && TABLE.keys[at] == key;
        // The key has all bytes of a short name.
        (is_same && (name.len() <= 8 || is_same_token(name, text.as_bytes()))).then_some(*known)
    }

    /// The name as the `http` crate has it.
    pub fn header_name(self) -> HeaderName {
        HEADER_NAMES[self as usize].clone()
    }

    /// The beginning of a line with it: the name, a colon and a blank.
    pub(crate) const fn line_start(self) -> &'static str {
        STARTS[self as usize]
    }

    /// The name in small letters.
    pub const fn as_str(self) -> &'static str {
        ALL[self as usize].1
    }
}

/// Some of the known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u64);

impl KnownSet {
    /// A set of these names.
    pub const fn new(names: &[Known]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= 1 << names[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `name` is in it.
    #[inline]
    pub const fn has(self, name: Known) -> bool {
        self.0 >> name as u8 & 1 == 1
    }

    /// Whether a name is in both.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline]
    pub(crate) fn add_all(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[inline]
    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// Whether the token `name`, which is longer than eight bytes and as long as `text`, is the same. Text has small letters,
/// digits and dashes only.
#[inline]
fn is_same_token(name: &[u8], text: &[u8]) -> bool {
    let is_same = |(word, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*word) | BIT_5 == u64::from_le_bytes(*other);
    name.last_chunk().zip(text.last_chunk()).is_some_and(is_same)
        && name.as_chunks().0.iter().zip(text.as_chunks().0).all(is_same)
}

/// Bit 5 is set in all bytes of a known name. Setting it makes a capital letter small, and makes no other byte of a token
/// one of those.
const BIT_5: u64 = 0x2020_2020_2020_2020;

/// A perfect hash of the known names.
struct Table {
    multiplier: u64,
    /// The number of a name, or [`NONE`].
    slots: [u8; 1 << BITS],
    keys: [u64; ALL.len()],
}

static TABLE: Table = table();

const fn table() -> Table {
    let (mut keys, mut at) = ([0; ALL.len()], 0);
    while at < ALL.len() {
        keys[at] = key(ALL[at].1.as_bytes());
        at += 1;
    }
    let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        let (mut slots, mut at) = ([NONE; 1 << BITS], 0);
        while at < ALL.len() {
            let slot = slot(keys[at], multiplier);
            if slots[slot] != NONE {
                break;
            }
            slots[slot] = at as u8;
            at += 1;
        }
        if at == ALL.len() {
            return Table { multiplier, slots, keys };
        }
        multiplier = multiplier.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(2);
    }
}

/// The first and the last four bytes, in small letters, and the length: names of one length that are not the same and
/// have eight bytes or fewer have different ones.
const fn key(name: &[u8]) -> u64 {
    let text = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32,
        _ => short(name) as u64,
    };
    (text | BIT_5) ^ name.len() as u64
}

const fn slot(key: u64, multiplier: u64) -> usize {
    (key.wrapping_mul(multiplier) >> (u64::BITS - BITS)) as usize
}

const fn short(name: &[u8]) -> u32 {
    match *name {
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        [a, b] => u32::from_le_bytes([a, b, 0, 0]),
        [a] => a as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case_and_nothing_else_is() {
        for (at, (known, text)) in ALL.iter().enumerate() {
            assert_eq!(*known as usize, at);
            assert_eq!(Known::of(text.as_bytes()), Some(*known), "{text}");
            assert_eq!(Known::of(text.to_ascii_uppercase().as_bytes()), Some(*known), "{text}");
            assert_eq!(known.as_str(), *text);
            assert_eq!(known.header_name(), *text);
            for other in [format!("{text}x"), format!("x{text}"), text[1..].to_owned(), text.replace('-', "_")] {
                assert!(Known::of(other.as_bytes()).is_none_or(|known| known.as_str() == other), "{other}");
            }
        }
        assert_eq!(Known::of(b""), None);
        assert_eq!(Known::of(b"content\rlength"), None, "a carriage return is no dash");
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        for (_, text) in ALL {
            for at in 0..text.len() {
                for byte in (0..=u8::MAX).filter(|byte| !byte.eq_ignore_ascii_case(&text.as_bytes()[at])) {
                    let mut name = text.as_bytes().to_vec();
                    name[at] = byte;
                    assert_eq!(Known::of(&name), None, "{}", name.escape_ascii());
                    let is_token = crate::grammar::is_token_byte(byte);
                    assert!(!is_token || Known::of_token(&name).is_none(), "{}", name.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let mut set = KnownSet::new(&[Known::Accept, Known::XRequestId]);
        assert!(set.has(Known::Accept) && set.has(Known::XRequestId) && !set.has(Known::Via));
        set.add_all(KnownSet::new(&[Known::Via]));
        assert!(set.meets(KnownSet::new(&[Known::Via, Known::Te])) && !set.meets(KnownSet::new(&[Known::Te])));
        set.remove(KnownSet::new(&[Known::Via]));
        assert!(!set.has(Known::Via));
    }
}
