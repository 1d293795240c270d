//! The closed lists that an event speaks in. Each value has one byte on the wire and one word for people; the
//! byte never changes its meaning, and a byte that a reader does not know reads as the list's last, `Unknown`
//! kind of value rather than as an error: a newer gateway must not lose events at an older ingestor.

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $byte:literal $word:literal),+ $(,)? } unknown $unknown:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $vdoc])* $variant = $byte),+ }

        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that metrics, columns and people see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What it means, as its comment says; empty where the word says it all. Lines begin with a space.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($vdoc),*)),+ }
            }

            /// From its byte on the wire.
            pub const fn from_byte(byte: u8) -> Self {
                match byte { $($byte => Self::$variant,)+ _ => Self::$unknown }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// The request methods of RFC 9110, RFC 5789 and the QUERY draft; all others are `_OTHER` (OpenTelemetry's
    /// word), so that a metric label cannot be made by a client.
    Method {
        Get = 0 "GET", Head = 1 "HEAD", Post = 2 "POST", Put = 3 "PUT", Delete = 4 "DELETE", Connect = 5 "CONNECT",
        Options = 6 "OPTIONS", Trace = 7 "TRACE", Patch = 8 "PATCH", Query = 9 "QUERY", Other = 255 "_OTHER",
    } unknown Other
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            "QUERY" => Self::Query,
            _ => Self::Other,
        }
    }
}

vocabulary! {
    /// The scheme that the client used.
    Scheme { Http = 0 "http", Https = 1 "https" } unknown Http
}

vocabulary! {
    /// The protocol version that the client spoke, in OpenTelemetry's `network.protocol.version` words.
    Protocol { Unknown = 0 "", Http10 = 1 "1.0", Http11 = 2 "1.1", Http2 = 3 "2", Http3 = 4 "3" } unknown Unknown
}

impl From<http::Version> for Protocol {
    fn from(version: http::Version) -> Self {
        match version {
            http::Version::HTTP_10 => Self::Http10,
            http::Version::HTTP_11 => Self::Http11,
            http::Version::HTTP_2 => Self::Http2,
            http::Version::HTTP_3 => Self::Http3,
            _ => Self::Unknown,
        }
    }
}

vocabulary! {
    /// The TLS version of the client's connection; none over cleartext.
    TlsVersion { None = 0 "", Tls12 = 1 "1.2", Tls13 = 2 "1.3" } unknown None
}

vocabulary! {
    /// How the consumer proved who it is.
    AuthKind { None = 0 "", Basic = 1 "basic", ClientId = 2 "client_id", Jwt = 3 "jwt", OAuth2 = 4 "oauth2",
        Certificate = 5 "certificate", Other = 255 "other" } unknown Other
}

vocabulary! {
    /// What the response cache did; none where no cache is configured.
    CacheState { None = 0 "", Hit = 1 "hit", Miss = 2 "miss", Stale = 3 "stale", Bypass = 4 "bypass" } unknown None
}

vocabulary! {
    /// What the rate limiter did; none where no limit is configured.
    RateLimitState {
        None = 0 "",
        Within = 1 "within", Exceeded = 2 "exceeded",
        /// Within, but counted with other keys, because the limiter had no room for this one.
        WithinShared = 3 "within_shared",
        /// Over, of what is counted with other keys.
        ExceededShared = 4 "exceeded_shared" } unknown None
}

#[expect(clippy::derivable_impls, reason = "comments are the only attributes that a value of a list has")]
impl Default for RateLimitState {
    fn default() -> Self {
        Self::None
    }
}

vocabulary! {
    /// Why the spans of this request were kept; none when only its event was.
    Kept { None = 0 "", Sampled = 1 "sampled", Debug = 2 "debug", Failed = 3 "failed", Slow = 4 "slow" } unknown None
}

vocabulary! {
    /// What one policy said of one request.
    Verdict { Continue = 0 "continue", Answered = 1 "answered", Rejected = 2 "rejected", Skipped = 3 "skipped",
        Failed = 4 "failed" } unknown Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_finds_its_byte_again() {
        for method in Method::ALL {
            assert_eq!(Method::from_byte(*method as u8), *method);
        }
        assert_eq!(Method::from(&http::Method::PATCH), Method::Patch);
        assert_eq!(Method::from(&http::Method::from_bytes(b"get").unwrap()), Method::Other);
    }

    #[test]
    fn an_unknown_byte_reads_as_the_open_end_of_its_list() {
        assert_eq!(Verdict::from_byte(99), Verdict::Failed);
        assert_eq!(AuthKind::from_byte(99), AuthKind::Other);
    }
}
