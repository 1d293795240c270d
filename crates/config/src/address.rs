//! Addresses as users write them: `scheme://host:port/path`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use thiserror::Error;

use crate::api::{Listen, Scheme, UpstreamAddress};

/// Why an address is refused. Follows the address in the message, and says the fix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    #[error("has no scheme; write it as `http://host:port`")]
    NoScheme,
    #[error("has an unknown scheme; use `http` or `https`")]
    UnknownScheme,
    #[error("has an unknown scheme; use `http`, `https`, or `h2` for HTTP/2 in clear text")]
    UnknownUpstreamScheme,
    #[error("has no host; write it as `http://host:port`")]
    NoHost,
    #[error("has a host that is neither a name nor an IP address; write a name, `127.0.0.1` or `[::1]`")]
    BadHost,
    #[error("has a host that is not an IP address; write `0.0.0.0` for all of this machine's addresses")]
    NotAnIp,
    #[error("has no port; add one, as in `http://0.0.0.0:8080`")]
    NoPort,
    #[error("has a port that is not a number from {0} to 65535; correct it")]
    BadPort(u16),
    #[error("carries a user name; remove it and bind a policy for credentials")]
    UserInfo,
    #[error("carries a query or a fragment; remove it")]
    Query,
    #[error(
        "is not a path of plain segments such as `/api/v1`; remove empty, `.` and `..` segments and odd characters"
    )]
    BadPath,
}

/// The address of an `ApiInstance`: an IP address (or `localhost`), a port and a base path.
pub(crate) fn listen(text: &str) -> Result<Listen, AddressError> {
    let Parts { scheme, host, port, path } = split(text, 0)?;
    if scheme == Scheme::H2 {
        return Err(AddressError::UnknownScheme);
    }
    let ip = ip_of(host).ok_or(AddressError::NotAnIp)?;
    let address = SocketAddr::new(ip, port.ok_or(AddressError::NoPort)?);
    Ok(Listen { scheme, address, base_path: base_path(path)? })
}

/// The address of a service, and a path to put before those of its requests; empty for none.
pub(crate) fn upstream(text: &str) -> Result<(UpstreamAddress, String), AddressError> {
    let parts = split(text, 1).map_err(|error| match error {
        AddressError::UnknownScheme => AddressError::UnknownUpstreamScheme,
        other => other,
    })?;
    let Parts { scheme, host, port, path } = parts;
    let (host, port) = (host.to_ascii_lowercase(), port.unwrap_or(scheme.default_port()));
    Ok((UpstreamAddress { scheme, host, port }, base_path(path)?))
}

/// `ip:port`, as of the admin listener.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, AddressError> {
    let (host, port) = host_and_port(text, 0)?;
    Ok(SocketAddr::new(ip_of(host).ok_or(AddressError::NotAnIp)?, port.ok_or(AddressError::NoPort)?))
}

/// A block such as `10.0.0.0/8`, or a single address.
pub(crate) fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| "is no network")
}

/// A path prefix such as `/api/v1`, without the slash at its end; empty for `/`.
pub(crate) fn base_path(path: &str) -> Result<String, AddressError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let plain = |segment: &str| {
        let chars = segment.bytes().all(|b| b.is_ascii_graphic() && !br##""#<>?\^`{|}"##.contains(&b));
        chars && !matches!(segment, "" | "." | "..")
    };
    let well = path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if well { Ok(path.to_owned()) } else { Err(AddressError::BadPath) }
}

/// Whether the host of a URL is this machine, without asking a resolver.
pub(crate) fn is_loopback(host: &str) -> bool {
    ip_of(host.trim_start_matches('[').trim_end_matches(']')).is_some_and(|ip| ip.is_loopback())
}

struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

fn split(text: &str, least_port: u16) -> Result<Parts<'_>, AddressError> {
    let (scheme, rest) = text.split_once("://").ok_or(AddressError::NoScheme)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "h2" => Scheme::H2,
        _ => return Err(AddressError::UnknownScheme),
    };
    if rest.contains(['?', '#']) {
        return Err(AddressError::Query);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority, least_port)?;
    Ok(Parts { scheme, host, port, path })
}

/// The host without brackets.
fn host_and_port(authority: &str, least_port: u16) -> Result<(&str, Option<u16>), AddressError> {
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::BadHost)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::BadHost)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(AddressError::BadHost)?) };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(authority)?, None),
        },
    };
    let number = |port: &str| match port.parse::<u16>() {
        Ok(number) if number >= least_port && !port.starts_with('+') => Ok(number),
        _ => Err(AddressError::BadPort(least_port)),
    };
    Ok((host, port.map(number).transpose()?))
}

fn name(host: &str) -> Result<&str, AddressError> {
    let well = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    match host {
        "" => Err(AddressError::NoHost),
        _ if host.len() <= 253 && host.bytes().all(well) && !host.starts_with(['.', '-']) => Ok(host),
        _ => Err(AddressError::BadHost),
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") { Some(Ipv4Addr::LOCALHOST.into()) } else { host.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners() {
        let well = listen("http://0.0.0.0:8080/api/").unwrap();
        assert_eq!((well.address.to_string().as_str(), well.base_path.as_str()), ("0.0.0.0:8080", "/api"));
        assert_eq!(listen("http://[::]:80").unwrap().base_path, "");
        assert_eq!(listen("HTTPS://localhost:443/").unwrap().address.to_string(), "127.0.0.1:443");
        for (text, error) in [
            ("0.0.0.0:8080", AddressError::NoScheme),
            ("ftp://0.0.0.0:1", AddressError::UnknownScheme),
            ("h2://0.0.0.0:1", AddressError::UnknownScheme),
            ("http://:80", AddressError::NoHost),
            ("http://example.com:80", AddressError::NotAnIp),
            ("http://0.0.0.0", AddressError::NoPort),
            ("http://0.0.0.0:99999", AddressError::BadPort(0)),
            ("http://0.0.0.0:80/a//b", AddressError::BadPath),
            ("http://0.0.0.0:80/a/../b", AddressError::BadPath),
            ("http://0.0.0.0:80/a?b", AddressError::Query),
            ("http://[::1:80", AddressError::BadHost),
        ] {
            assert_eq!(listen(text), Err(error), "{text}");
        }
    }

    #[test]
    fn upstreams() {
        let show = |text: &str| upstream(text).map(|(address, _)| address.to_string());
        assert_eq!(show("https://Example.com:443/").unwrap(), "https://example.com");
        assert_eq!(show("http://[::1]:8081").unwrap(), "http://[::1]:8081");
        assert_eq!(show("http://10.0.0.1").unwrap(), "http://10.0.0.1");
        assert_eq!(show("H2://routes:50051/").unwrap(), "h2://routes:50051");
        for (text, error) in [
            ("h3://example.com:50051", AddressError::UnknownUpstreamScheme),
            ("http://u:p@example.com", AddressError::UserInfo),
            ("http://example.com:0", AddressError::BadPort(1)),
            ("http://exa mple.com", AddressError::BadHost),
            ("http://", AddressError::NoHost),
        ] {
            assert_eq!(upstream(text).map(drop), Err(error), "{text}");
        }
    }
}
