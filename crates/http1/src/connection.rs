//! What a head says of its connection (RFC 9110 7.6, 7.8, 10.1.1; RFC 9112 9): options, whether it persists, upgrades,
//! expectations, and the fields that end at this hop.

use crate::error::EditError;
use crate::fields::{Fields, Name};
use crate::grammar::trimmed;
use crate::known::{Known, KnownSet};
use crate::line::Version;
use crate::message::{Request, Response};

/// The options of `Connection` that mean something by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The sender will close the connection behind this exchange.
    pub close: bool,
    /// The sender asks to keep it, which HTTP/1.0 must say.
    pub keep_alive: bool,
    /// `Upgrade` is meant.
    pub upgrade: bool,
}

/// What `Expect` says (RFC 9110 10.1.1). Of several members the last of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// Nothing; also whatever HTTP/1.0 says.
    None,
    /// The client waits for 100 or a final status before it sends the content.
    Continue,
    /// One that is not known: 417 may be answered.
    Unknown,
}

/// What `Upgrade` asks for (RFC 9110 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing; also `Upgrade` that `Connection` does not name, and whatever HTTP/1.0 says.
    None,
    /// `websocket`, and nothing beside it (RFC 6455 4.1).
    WebSocket,
    /// `h2c`, which RFC 9113 3.1 has withdrawn.
    H2c,
    /// Another protocol, or several.
    Other,
}

/// Fields of one connection only (RFC 9110 7.6.1, RFC 9112 7.1.2, RFC 9113 8.2.2).
const HOP_BY_HOP: KnownSet = KnownSet::new(&[
    Known::Connection,
    Known::Http2Settings,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
]);
/// What `Connection` cannot remove though it names it: otherwise a client could strip the length or the host of its own
/// message on the way.
const PROTECTED: KnownSet = KnownSet::new(&[Known::ContentLength, Known::Host, Known::Trailer, Known::Via]);
/// Options of `Connection` that are taken for names of fields: a bound on what a line of 60 KiB may cost.
const MOST_NAMED: usize = 64;
/// What asks for a look at the members of `Connection`, or at `TE`.
const LOOKED_AT: KnownSet = KnownSet::new(&[Known::Connection, Known::Te]);

impl Fields {
    /// The options of all lines of `Connection`.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        if !self.has(Known::Connection) {
            return options;
        }
        // What nearly every line says that is there.
        if self.only(Known::Connection).is_some_and(|line| line.eq_ignore_ascii_case(b"keep-alive")) {
            options.keep_alive = true;
            return options;
        }
        for option in self.members(Known::Connection) {
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        options
    }

    /// Removes what was meant for this hop only, and what `Connection` names (RFC 9110 7.6.1). `TE: trailers` goes on,
    /// and `Trailer` does: a gateway that passes trailers on says so itself. The length stays where it is; what frames
    /// the message anew is [`Fields::set_framing`].
    ///
    /// # Errors
    /// The head is larger than 4 GiB.
    pub fn end_hop(&mut self) -> Result<(), EditError> {
        // What nearly every message says that says something.
        if !self.has(Known::Te) && self.only(Known::Connection).is_some_and(names_no_field) {
            self.remove(Known::Connection);
        }
        let takes_trailers = self.present().meets(LOOKED_AT) && self.remove_named();
        self.remove_all(HOP_BY_HOP);
        if takes_trailers {
            self.append(Known::Te, b"trailers")?;
            self.append(Known::Connection, b"te")?;
        }
        Ok(())
    }

    /// Removes what `Connection` names. Answers whether `TE` has `trailers`.
    fn remove_named(&mut self) -> bool {
        let takes_trailers =
            self.has(Known::Te) && self.members(Known::Te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        let mut named = Vec::new();
        for option in self.members(Known::Connection).filter(|option| !names_no_field(option)).take(MOST_NAMED) {
            let name = Name::from(option).resolved();
            if !matches!(name, Name::Known(known) if PROTECTED.has(known)) {
                named.extend((0..self.len()).filter(|at| self.is(&self.entries[*at], name)));
            }
        }
        self.remove_lines(&named);
        takes_trailers
    }
}

/// Options of `Connection` that mean something by themselves, and that no field can be taken for.
fn names_no_field(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// Whether a message's sender keeps its connection (RFC 9112 9.3).
fn persists(version: Version, fields: &Fields) -> bool {
    if !fields.has(Known::Connection) {
        return version == Version::Http11;
    }
    let options = fields.options();
    !options.close && (version == Version::Http11 || options.keep_alive)
}

impl Request {
    /// Whether the client keeps the connection for another request (RFC 9112 9.3). `close` counts more than `keep-alive`.
    pub fn persists(&self) -> bool {
        persists(self.version(), &self.fields)
    }

    /// What the client expects before it sends the content.
    pub fn expectation(&self) -> Expectation {
        if !self.fields.has(Known::Expect) || self.version() == Version::Http10 {
            return Expectation::None;
        }
        let of = |value: &[u8]| match value.eq_ignore_ascii_case(b"100-continue") {
            true => Expectation::Continue,
            false => Expectation::Unknown,
        };
        self.fields.members(Known::Expect).map(of).fold(Expectation::None, Expectation::max)
    }

    /// What the client asks to speak in place of HTTP/1.
    pub fn upgrade(&self) -> Upgrade {
        if !self.fields.has(Known::Upgrade) || self.version() == Version::Http10 || !self.fields.options().upgrade {
            return Upgrade::None;
        }
        let mut protocols = self.fields.members(Known::Upgrade);
        match (protocols.next(), protocols.next()) {
            (None, _) => Upgrade::None,
            (Some(one), None) if one.eq_ignore_ascii_case(b"websocket") => Upgrade::WebSocket,
            (Some(one), None) if trimmed(one).eq_ignore_ascii_case(b"h2c") => Upgrade::H2c,
            _ => Upgrade::Other,
        }
    }
}

impl Response {
    /// Whether the server keeps the connection for another request (RFC 9112 9.3). One that ends its content by closing
    /// does not, whatever it says; see [`Framing`](crate::Framing).
    pub fn persists(&self) -> bool {
        persists(self.version(), &self.fields)
    }
}
