//! What can go wrong on the way to an upstream, each with its reason.

use crate::answer::Unanswered;
use rustix::io::Errno;
use std::io;
use weir_event::Reason;
use weir_http1::HeadError;

/// A failed attempt: the reason for the record, and the words for the log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("`{host}` does not resolve: {error}")]
    Dns { host: String, error: io::Error },
    #[error("`{host}` does not resolve within {seconds} s")]
    DnsTimeout { host: String, seconds: u64 },
    #[error("no descriptor is left for a connection to {target}: raise the limit of open files (`ulimit -n`)")]
    NoDescriptor { target: String },
    #[error("no local port is left for a connection to {target}: widen net.ipv4.ip_local_port_range")]
    NoLocalPort { target: String },
    #[error("no connection to {target} within {seconds} s")]
    ConnectTimeout { target: String, seconds: u64 },
    #[error("{target} did not choose HTTP/2, and `alpn` offers nothing else")]
    NoHttp2 { target: String },
    #[error("{target}: {error}")]
    Connect { target: String, error: io::Error },
    #[error("TLS with {target}: {error}")]
    Tls { target: String, error: io::Error },
    #[error("{target} is not speaking HTTP: {error}")]
    Protocol { target: String, error: HeadError },
    #[error("the request to {target} cannot be said in HTTP/2: {error}")]
    Unsaid { target: String, error: HeadError },
    #[error("{target} closed the connection before its response: {error}")]
    Terminated { target: String, error: io::Error },
}

impl Failure {
    /// Why, in the closed list.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Dns { error, .. } | Self::Connect { error, .. } if is_exhausted(error) => {
                Reason::FileDescriptorsExhausted
            }
            Self::NoDescriptor { .. } => Reason::FileDescriptorsExhausted,
            Self::NoLocalPort { .. } => Reason::LocalPortExhausted,
            Self::DnsTimeout { .. } => Reason::DnsTimeout,
            Self::Dns { .. } => Reason::DnsError,
            Self::ConnectTimeout { .. } => Reason::ConnectionTimeout,
            Self::Connect { error, .. } => connect_reason(error),
            Self::Tls { error, .. } => tls_reason(error),
            Self::NoHttp2 { .. } => Reason::TlsProtocolError,
            Self::Protocol {
                error: HeadError::TooLarge | HeadError::LineTooLong | HeadError::TooManyFields, ..
            } => Reason::UpstreamHeadersTooLarge,
            Self::Protocol { .. } => Reason::UpstreamProtocolError,
            Self::Unsaid { .. } => Reason::GatewayError,
            Self::Terminated { .. } => Reason::ConnectionTerminated,
        }
    }

    /// What an exchange that brought no response head says of its upstream. One whose request broke off says nothing: its
    /// connection was ended here.
    pub fn of_exchange<E>(target: String, why: Unanswered<E>) -> Self {
        match why {
            Unanswered::Head(error) => Self::Protocol { target, error },
            Unanswered::Unsaid(error) => Self::Unsaid { target, error },
            Unanswered::Closed(error) => Self::Terminated { target, error },
            Unanswered::Refused => Self::Terminated { target, error: io::ErrorKind::ConnectionRefused.into() },
            Unanswered::Content(_) => Self::Terminated { target, error: io::ErrorKind::ConnectionAborted.into() },
        }
    }
}

/// The process, or the machine, may not open another file.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE))
}

fn connect_reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::ConnectionRefused,
        io::ErrorKind::TimedOut => Reason::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            Reason::ConnectionUnreachable
        }
        _ => Reason::ConnectionTerminated,
    }
}

fn tls_reason(error: &io::Error) -> Reason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Reason::TlsCertificateError
        }
        Some(_) => Reason::TlsProtocolError,
        None => Reason::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_lacks_is_not_the_upstreams_fault() {
        for raw in [Errno::MFILE, Errno::NFILE].map(rustix::io::Errno::raw_os_error) {
            for failure in [
                Failure::Connect { target: "t".into(), error: io::Error::from_raw_os_error(raw) },
                Failure::Dns { host: "h".into(), error: io::Error::from_raw_os_error(raw) },
            ] {
                assert_eq!(failure.reason(), Reason::FileDescriptorsExhausted);
                assert_eq!(failure.reason().side(), weir_event::Side::Gateway);
            }
        }
    }

    #[test]
    fn io_errors_find_their_reason() {
        let reason = |kind| connect_reason(&io::Error::from(kind));
        assert_eq!(reason(io::ErrorKind::ConnectionRefused), Reason::ConnectionRefused);
        assert_eq!(reason(io::ErrorKind::NetworkUnreachable), Reason::ConnectionUnreachable);
        assert_eq!(reason(io::ErrorKind::ConnectionReset), Reason::ConnectionTerminated);
    }

    #[test]
    fn a_bad_certificate_is_distinguished_from_a_bad_handshake() {
        let tls = |error: rustls::Error| tls_reason(&io::Error::new(io::ErrorKind::InvalidData, error));
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert_eq!(tls(expired), Reason::TlsCertificateError);
        assert_eq!(tls(rustls::Error::DecryptError), Reason::TlsProtocolError);
    }
}
