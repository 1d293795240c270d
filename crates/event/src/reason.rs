//! Why a request ended as it did, and who was at fault: the closed lists behind the status code.
//!
//! A [`Reason`] is the metric label, the event column and (through [`Reason::proxy_status`]) the `error` of the
//! Proxy-Status header, so it is one list with exhaustive matches: a new reason does not compile until its side,
//! its status and its RFC 9209 word are said.

use crate::vocabulary::vocabulary;
use http::StatusCode;

vocabulary! {
    /// Who was at fault, or nobody.
    Side { None = 0 "", Downstream = 1 "downstream", Gateway = 2 "gateway", Upstream = 3 "upstream" } unknown None
}

vocabulary! {
    /// How the exchange ended. An exchange starts as `Cancelled`, so that an abandoned one is counted as such.
    Outcome {
        /// The client was gone before the last frame of its response was handed over.
        Cancelled = 0 "cancelled",
        /// The whole response was handed over for writing.
        Completed = 1 "completed",
        /// The response head went out, but its body broke off before its end.
        Truncated = 2 "truncated",
    } unknown Cancelled
}

vocabulary! {
    /// Why a request did not simply pass.
    Reason {
        /// It passed: the answer is the upstream's own.
        None = 0 "",
        /// The head is not HTTP (RFC 9112 2.2, 3, 5).
        MalformedRequest = 1 "malformed_request",
        /// The head is larger than the listener takes.
        HeadersTooLarge = 2 "headers_too_large",
        /// The client went away before its response was whole.
        ClientClosed = 3 "client_closed",
        /// The client neither sent its body nor read its response for the stream idle time.
        ClientIdleTimeout = 4 "client_idle_timeout",
        /// The request body broke its own framing, or is not the JSON that a policy requires.
        MalformedRequestBody = 5 "malformed_request_body",
        /// The head did not arrive within the connection idle time.
        RequestHeadTimeout = 6 "request_head_timeout",
        /// The client sent HTTP/2 frames that move nothing, faster than any client needs (RFC 9113 10.5).
        ClientFlood = 7 "client_flood",
        /// The request's HTTP/2 connection was closed because another request on it, or its framing, was invalid.
        ConnectionBroken = 8 "connection_broken",
        /// The client sent its body slower than the lowest rate, or for longer than the longest time, that is configured.
        ClientTooSlow = 9 "client_too_slow",
        /// The body is larger than the limit of a policy that reads it completely.
        RequestTooLarge = 10 "request_too_large",
        /// No API or route matches.
        NoRoute = 20 "no_route",
        /// Credentials are missing or wrong.
        AuthenticationFailed = 21 "authentication_failed",
        /// A policy answered in the upstream's place.
        PolicyAnswered = 22 "policy_answered",
        /// A rate limit is exceeded.
        RateLimited = 23 "rate_limited",
        /// A method that this gateway serves for no API: TRACE and CONNECT.
        MethodNotAllowed = 24 "method_not_allowed",
        /// A policy refuses the client's address, or cannot read it.
        IpDenied = 25 "ip_denied",
        /// The handler of the request panicked.
        GatewayPanic = 40 "gateway_panic",
        /// The gateway could not build the upstream request.
        GatewayError = 41 "gateway_error",
        /// The request has passed this gateway before (its own name is in `Via`).
        LoopDetected = 42 "loop_detected",
        /// The gateway was asked to end, and the time for open requests was over.
        GatewayDraining = 43 "gateway_draining",
        /// More requests are open than the gateway takes on.
        Overloaded = 44 "overloaded",
        /// The gateway may not open another file: its own limit, or the machine's.
        FileDescriptorsExhausted = 45 "file_descriptors_exhausted",
        /// The gateway's machine has no port left for a connection to the upstream's address.
        LocalPortExhausted = 46 "local_port_exhausted",
        /// The keys that credentials are checked with could not be read from the server that has them.
        IdentityProviderUnavailable = 47 "identity_provider_unavailable",
        /// The upstream's name did not resolve.
        DnsError = 60 "dns_error",
        /// The upstream refused the connection.
        ConnectionRefused = 61 "connection_refused",
        /// No connection within the connect timeout.
        ConnectionTimeout = 62 "connection_timeout",
        /// No way to the upstream's address.
        ConnectionUnreachable = 63 "connection_unreachable",
        /// The upstream closed or reset before its response head.
        ConnectionTerminated = 64 "connection_terminated",
        /// The TLS handshake with the upstream failed.
        TlsProtocolError = 65 "tls_protocol_error",
        /// The upstream's certificate does not hold.
        TlsCertificateError = 66 "tls_certificate_error",
        /// No response head within the response timeout.
        UpstreamTimeout = 67 "upstream_timeout",
        /// The response is not HTTP, or the service uses HTTP/1.1 for a gRPC request.
        UpstreamProtocolError = 68 "upstream_protocol_error",
        /// The response head is larger than the gateway takes.
        UpstreamHeadersTooLarge = 69 "upstream_headers_too_large",
        /// The response broke off before the end that its own framing promised.
        ResponseIncomplete = 70 "response_incomplete",
        /// The upstream sent no frame for the stream idle time.
        UpstreamIdleTimeout = 71 "upstream_idle_timeout",
        /// The name server did not answer within the connect timeout.
        DnsTimeout = 72 "dns_timeout",
        /// The deadline of a gRPC request (`grpc-timeout`) passed.
        DeadlineExceeded = 75 "deadline_exceeded",
        /// The upstream ended with a gRPC status that is a server error (2, 4, 12, 13, 14 or 15), or without a status.
        GrpcError = 76 "grpc_error",
        /// A reason that this reader does not know yet.
        Unknown = 255 "unknown",
    } unknown Unknown
}

impl Reason {
    /// Whether an attempt that ended so had no connection to its upstream.
    pub fn is_without_connection(self) -> bool {
        matches!(
            self,
            Self::DnsError
                | Self::DnsTimeout
                | Self::ConnectionRefused
                | Self::ConnectionTimeout
                | Self::ConnectionUnreachable
                | Self::TlsProtocolError
                | Self::TlsCertificateError
                | Self::FileDescriptorsExhausted
                | Self::LocalPortExhausted
        )
    }

    /// Who is at fault.
    pub const fn side(self) -> Side {
        match self {
            Self::None | Self::Unknown => Side::None,
            Self::MalformedRequest
            | Self::HeadersTooLarge
            | Self::ClientClosed
            | Self::ClientIdleTimeout
            | Self::MalformedRequestBody
            | Self::RequestHeadTimeout
            | Self::ClientFlood
            | Self::ConnectionBroken
            | Self::ClientTooSlow
            | Self::RequestTooLarge
            | Self::NoRoute
            | Self::AuthenticationFailed
            | Self::RateLimited
            | Self::MethodNotAllowed
            | Self::IpDenied
            | Self::LoopDetected => Side::Downstream,
            Self::PolicyAnswered
            | Self::GatewayPanic
            | Self::GatewayError
            | Self::GatewayDraining
            | Self::FileDescriptorsExhausted
            | Self::LocalPortExhausted
            | Self::IdentityProviderUnavailable
            | Self::Overloaded => Side::Gateway,
            Self::DnsError
            | Self::ConnectionRefused
            | Self::ConnectionTimeout
            | Self::ConnectionUnreachable
            | Self::ConnectionTerminated
            | Self::TlsProtocolError
            | Self::TlsCertificateError
            | Self::UpstreamTimeout
            | Self::UpstreamProtocolError
            | Self::UpstreamHeadersTooLarge
            | Self::ResponseIncomplete
            | Self::DnsTimeout
            | Self::DeadlineExceeded
            | Self::GrpcError
            | Self::UpstreamIdleTimeout => Side::Upstream,
        }
    }

    /// Whether there is somebody to answer: otherwise the connection or the stream is closed without a status.
    pub const fn is_answered(self) -> bool {
        !matches!(self, Self::ClientClosed | Self::RequestHeadTimeout | Self::ClientFlood | Self::ConnectionBroken)
    }

    /// The status that the gateway answers with when it is the gateway that answers ([`Self::is_answered`]).
    pub const fn status(self) -> StatusCode {
        match self {
            Self::None | Self::Unknown | Self::PolicyAnswered => StatusCode::OK,
            Self::MalformedRequest | Self::MalformedRequestBody | Self::ConnectionBroken => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ClientClosed => CLIENT_CLOSED,
            Self::ClientIdleTimeout | Self::RequestHeadTimeout | Self::ClientTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::ClientFlood => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::AuthenticationFailed => StatusCode::UNAUTHORIZED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::IpDenied => StatusCode::FORBIDDEN,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::GatewayPanic | Self::GatewayError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::GatewayDraining
            | Self::Overloaded
            | Self::FileDescriptorsExhausted
            | Self::LocalPortExhausted
            | Self::IdentityProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DnsError
            | Self::ConnectionRefused
            | Self::ConnectionUnreachable
            | Self::ConnectionTerminated
            | Self::TlsProtocolError
            | Self::TlsCertificateError
            | Self::UpstreamProtocolError
            | Self::UpstreamHeadersTooLarge
            | Self::GrpcError
            | Self::ResponseIncomplete => StatusCode::BAD_GATEWAY,
            Self::ConnectionTimeout
            | Self::UpstreamTimeout
            | Self::UpstreamIdleTimeout
            | Self::DeadlineExceeded
            | Self::DnsTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The `error` parameter of Proxy-Status (RFC 9209 2.3), for the reasons that it has a word for.
    pub const fn proxy_status(self) -> Option<&'static str> {
        Some(match self {
            Self::None | Self::Unknown | Self::ClientClosed | Self::PolicyAnswered => return None,
            Self::MalformedRequest
            | Self::HeadersTooLarge
            | Self::MalformedRequestBody
            | Self::ClientIdleTimeout
            | Self::ClientFlood
            | Self::ConnectionBroken
            | Self::ClientTooSlow
            | Self::RequestTooLarge
            | Self::RequestHeadTimeout => "http_request_error",
            Self::NoRoute => "destination_not_found",
            Self::AuthenticationFailed | Self::RateLimited | Self::MethodNotAllowed | Self::IpDenied => {
                "http_request_denied"
            }
            Self::GatewayPanic | Self::GatewayError | Self::FileDescriptorsExhausted | Self::LocalPortExhausted => {
                "proxy_internal_error"
            }
            Self::GatewayDraining | Self::Overloaded | Self::IdentityProviderUnavailable => "destination_unavailable",
            Self::LoopDetected => "proxy_loop_detected",
            Self::DnsError => "dns_error",
            Self::DnsTimeout => "dns_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionUnreachable => "destination_ip_unroutable",
            Self::ConnectionTerminated => "connection_terminated",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::UpstreamTimeout | Self::DeadlineExceeded => "http_response_timeout",
            Self::UpstreamProtocolError | Self::GrpcError => "http_protocol_error",
            Self::UpstreamHeadersTooLarge => "http_response_header_section_size",
            Self::ResponseIncomplete => "http_response_incomplete",
            Self::UpstreamIdleTimeout => "connection_read_timeout",
        })
    }
}

/// The status recorded when the client left before there was one to send: nginx's 499, which no wire carries.
pub const CLIENT_CLOSED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_finds_its_byte_again_and_words_are_unique() {
        let mut words = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert_eq!(Reason::from_byte(*reason as u8), *reason);
            assert!(words.insert(reason.as_str()), "{reason} twice");
        }
    }

    #[test]
    fn what_the_upstream_is_blamed_for_is_a_gateway_status() {
        for reason in Reason::ALL.iter().filter(|reason| reason.side() == Side::Upstream) {
            assert!(matches!(reason.status().as_u16(), 502..=504), "{reason}");
            assert!(reason.proxy_status().is_some(), "{reason}");
        }
    }

    #[test]
    fn the_client_that_left_is_499() {
        assert_eq!(Reason::ClientClosed.status().as_u16(), 499);
    }
}
