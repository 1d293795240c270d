//! `ip-allowlist-flex` and `ip-blocklist-flex`: the addresses from which requests may come, or may not.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::PolicySpec;
use super::headers::counted;
use crate::address;
use crate::expression::Expression;
use crate::read::Cursor;

/// `ip-allowlist-flex`: only requests from these addresses go on.
pub type IpAllowlist = IpList<true>;

/// `ip-blocklist-flex`: no request from these addresses goes on.
pub type IpBlocklist = IpList<false>;

/// Where a request says its address, and the addresses that it is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpList<const ALLOWS: bool> {
    /// Of a list with commas in it, the first element counts.
    pub address: Expression,
    /// At least one, none of them of IPv4-mapped addresses.
    pub networks: Vec<IpNet>,
}

impl<const ALLOWS: bool> PolicySpec for IpList<ALLOWS> {
    const NAME: &'static str = if ALLOWS { "ip-allowlist-flex" } else { "ip-blocklist-flex" };

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        // Flex's default.
        let usual = || Some(Expression::Header(HeaderName::from_static("x-forwarded-for")));
        let address = fields.take("ipExpression").map_or_else(usual, |at| address_of(&at));
        let networks = fields.required("ips", networks);
        fields.finish();
        Some(Self { address: address?, networks: networks? })
    }

    fn view(&self) -> Value {
        let Self { address, networks } = self;
        let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
        json!({"address": address.to_string(), "networks": networks})
    }
}

fn address_of(at: &Cursor<'_>) -> Option<Expression> {
    match Expression::read(at)? {
        expression @ (Expression::Header(_) | Expression::QueryParam(_) | Expression::RemoteAddress) => {
            Some(expression)
        }
        other @ (Expression::Method | Expression::RequestPath) => at.refuse(format!(
            "`{other}` is never an address; write an expression that is, such as `#[attributes.remoteAddress]`"
        )),
    }
}

fn networks(at: &Cursor<'_>) -> Option<Vec<IpNet>> {
    let mut count = 0;
    let networks = at.items(counted(&mut count, network))?;
    if count == 0 {
        return at.refuse("has no address; add one, or a block such as `10.0.0.0/8`");
    }
    Some(networks)
}

fn network(at: &Cursor<'_>) -> Option<IpNet> {
    let network = at.parse(address_or_prefix, "write an address or a block such as `10.0.0.0/8`")?;
    match network.addr() {
        // Such an address is taken for the IPv4 address that it stands for, and would be in no block of IPv6.
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            at.refuse("is of IPv4 addresses that are written as IPv6; write them as IPv4, such as `10.0.0.0/8`")
        }
        _ => Some(network),
    }
}

/// Flex takes the beginning of an IPv4 address as well: `192.168` is `192.168.0.0/16`.
fn address_or_prefix(text: &str) -> Result<IpNet, &'static str> {
    let parts: Vec<_> = text.trim_end_matches('.').split('.').collect();
    let is_prefix = (1..4).contains(&parts.len())
        && parts.iter().all(|part| part.parse::<u8>().is_ok_and(|number| number.to_string() == *part));
    if !is_prefix {
        return address::network(text);
    }
    let whole = [parts.as_slice(), &["0"; 3][..4 - parts.len()]].concat().join(".");
    address::network(&format!("{whole}/{}", 8 * parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_address_is_a_block() {
        for (text, block) in [
            ("192.168", "192.168.0.0/16"),
            ("192.168.", "192.168.0.0/16"),
            ("10", "10.0.0.0/8"),
            ("192.168.1", "192.168.1.0/24"),
            ("192.168.1.7", "192.168.1.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(address_or_prefix(text).unwrap().to_string(), block, "{text}");
        }
        for wrong in ["", ".", "300", "192.x", "01.2", "1.2.3.4.5"] {
            assert!(address_or_prefix(wrong).is_err(), "{wrong}");
        }
    }
}
