//! `ip-allowlist-flex` and `ip-blocklist-flex`: only requests from listed addresses, or only from others.
//!
//! The address is what the expression says: `#[attributes.remoteAddress]` can be believed, a header only where something
//! before this gateway sets it.
//! A request whose address cannot be read is refused by both, or a blocklist could be passed by writing nonsense.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, Outcome, RequestView, Stages, Step};
use crate::expression::evaluate;
use std::net::IpAddr;
use weir_config::Api;
use weir_config::policy;
use weir_event::Reason;

/// The compiled `ip-allowlist-flex`.
pub type IpAllowlist = IpList<true>;

/// The compiled `ip-blocklist-flex`.
pub type IpBlocklist = IpList<false>;

/// The compiled policy.
#[derive(Debug)]
pub struct IpList<const ALLOWS: bool>(policy::IpList<ALLOWS>);

impl<const ALLOWS: bool> Compiled for IpList<ALLOWS> {
    type Spec = policy::IpList<ALLOWS>;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self(spec.clone())
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        match self.address(request) {
            Some(address) if self.lists(address) == ALLOWS => Outcome::go_on().into(),
            _ => refused(),
        }
    }
}

impl<const ALLOWS: bool> IpList<ALLOWS> {
    /// The first element of the value.
    fn address(&self, request: &RequestView<'_>) -> Option<IpAddr> {
        let value = evaluate(&self.0.address, request)?;
        let first = value.split(|byte| *byte == b',').next()?;
        let address: IpAddr = std::str::from_utf8(first).ok()?.trim().parse().ok()?;
        Some(address.to_canonical())
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.0.networks.iter().any(|network| network.contains(&address))
    }
}

fn refused() -> Step {
    let body = Body::Problem("requests from this address are not allowed");
    Outcome::reject(Answer::refusal(Reason::IpDenied, body)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use crate::contract::Decision;
    use crate::testing::{Request, compiled, done};

    const IPS: &str = "ips: [192.0.2.7, 10.0.0.0/8, \"2001:db8::/32\", \"::1\"]";

    fn policies(expression: &str) -> [Policy; 2] {
        let config = format!("{{ipExpression: \"{expression}\", {IPS}}}");
        ["ip-allowlist-flex", "ip-blocklist-flex"].map(|name| compiled(name, &config))
    }

    /// Whether each of the two lets it pass.
    fn passes(policies: &[Policy; 2], mut request: Request) -> [bool; 2] {
        [0, 1].map(|index| match done(policies[index].on_request(&mut request.view())).decision {
            Decision::Continue => true,
            Decision::Reject(answer) => {
                assert_eq!((answer.status.as_u16(), answer.reason), (403, Reason::IpDenied));
                assert!(matches!(answer.body, Body::Problem(_)) && answer.headers.is_empty());
                false
            }
            Decision::Respond(answer) => panic!("{answer:?}"),
        })
    }

    #[test]
    fn what_is_listed_passes_one_and_what_is_not_the_other() {
        let policies = policies("#[attributes.headers['x-forwarded-for']]");
        for (value, expected) in [
            ("192.0.2.7", [true, false]),
            ("192.0.2.8", [false, true]),
            ("10.255.0.1", [true, false]),
            ("11.0.0.1", [false, true]),
            ("2001:db8:1::5", [true, false]),
            ("2001:DB8::", [true, false]),
            ("2001:db9::", [false, true]),
            ("::1", [true, false]),
            // An IPv4 address, as a socket for both kinds shows it.
            ("::ffff:10.0.0.1", [true, false]),
            ("::ffff:11.0.0.1", [false, true]),
            // The first of several counts, whatever is behind it.
            ("10.0.0.1,11.0.0.1", [true, false]),
            (" 11.0.0.1 , 10.0.0.1", [false, true]),
            ("10.0.0.1, nonsense", [true, false]),
            // No address.
            ("", [false, false]),
            (",10.0.0.1", [false, false]),
            ("nonsense, 10.0.0.1", [false, false]),
            ("10.0.0.1:80", [false, false]),
            ("10.0.0.0/8", [false, false]),
            ("010.0.0.1", [false, false]),
            ("10.1", [false, false]),
            ("[::1]", [false, false]),
            ("fe80::1%eth0", [false, false]),
        ] {
            let request = Request::get("/").with("x-forwarded-for", value);
            assert_eq!(passes(&policies, request), expected, "{value}");
        }
    }

    #[test]
    fn of_several_lines_the_first_counts_and_without_any_nobody_passes() {
        let policies = policies("#[attributes.headers['x-forwarded-for']]");
        assert_eq!(passes(&policies, Request::get("/")), [false, false]);
        let two = Request::get("/").with("x-forwarded-for", "10.0.0.1").with("x-forwarded-for", "11.0.0.1");
        assert_eq!(passes(&policies, two), [true, false]);
    }

    #[test]
    fn of_the_client_itself() {
        let forged = || Request::get("/").with("x-forwarded-for", "10.0.0.1");
        let config = "{ipExpression: \"#[attributes.remoteAddress]\", ips: [192.0.2]}";
        let policies = ["ip-allowlist-flex", "ip-blocklist-flex"].map(|name| compiled(name, config));
        assert_eq!(passes(&policies, forged()), [true, false]);
        let by_default = ["ip-allowlist-flex", "ip-blocklist-flex"].map(|name| compiled(name, "{ips: [192.0.2]}"));
        assert_eq!(passes(&by_default, forged()), [false, true]);
    }

    #[test]
    fn of_a_parameter() {
        let policies = policies("#[attributes.queryParams['ip']]");
        assert_eq!(passes(&policies, Request::get("/?ip=2001%3adb8%3a%3a1")), [true, false]);
        assert_eq!(passes(&policies, Request::get("/?ip=%ff")), [false, false]);
        assert_eq!(passes(&policies, Request::get("/?other=10.0.0.1")), [false, false]);
    }
}
