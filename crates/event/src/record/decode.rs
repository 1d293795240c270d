//! The reader's side: bytes in, an event read in place.

use super::{AttemptEntry, Fixed, MAX_RECORD, PolicyEntry, RecordError, Schema};
use crate::ids::{SpanId, TraceId};
use crate::names::NameId;
use crate::reason::{Outcome, Reason};
use crate::vocabulary::{AuthKind, CacheState, Kept, Method, Protocol, RateLimitState, Scheme, TlsVersion, Verdict};
use crate::wire::Reader;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One event, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub schema: Schema,
    pub fixed: Fixed,
    policies: &'a [u8],
    attempts: &'a [u8],
    pub method_original: &'a [u8],
    pub host: &'a [u8],
    pub path: &'a [u8],
    /// With its values redacted.
    pub query: &'a [u8],
    pub user_agent: &'a [u8],
    pub consumer: &'a [u8],
    pub tls_cipher: &'a [u8],
    attrs: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads a whole record; every length is checked here, so that the accessors cannot fail.
    pub fn decode(schema: Schema, bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let fixed = fixed(schema, &mut reader).ok_or(RecordError::Short)?;
        let event = Self::read(schema, fixed, &mut reader).ok_or(RecordError::Short)?;
        if reader.is_empty() { Ok(event) } else { Err(RecordError::Trailing) }
    }

    fn read(schema: Schema, fixed: Fixed, reader: &mut Reader<'a>) -> Option<Self> {
        let sizes = schema.sizes();
        let policies = reader.bytes(usize::from(fixed.policies) * sizes.policy)?;
        let attempts = reader.bytes(usize::from(fixed.attempts) * sizes.attempt)?;
        let method_original = reader.text16()?;
        let host = reader.text16()?;
        let path = reader.text16()?;
        let query = reader.text16()?;
        let user_agent = reader.text16()?;
        let consumer = reader.text16()?;
        let tls_cipher = reader.text16()?;
        let mut ahead = *reader;
        for _ in 0..usize::from(fixed.attrs) * 2 {
            ahead.text16()?;
        }
        let attrs = reader.bytes(reader.remaining() - ahead.remaining())?;
        Some(Self {
            schema,
            fixed,
            policies,
            attempts,
            method_original,
            host,
            path,
            query,
            user_agent,
            consumer,
            tls_cipher,
            attrs,
        })
    }

    /// The policies that ran, in the order in which they did.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = PolicyEntry> + use<'a> {
        self.policies.chunks_exact(self.schema.sizes().policy).map(|entry| PolicyEntry::get(&whole(entry)))
    }

    /// The upstream attempts, in the order in which they were made.
    pub fn attempts(&self) -> impl ExactSizeIterator<Item = AttemptEntry> + use<'a> {
        self.attempts.chunks_exact(self.schema.sizes().attempt).map(|entry| AttemptEntry::get(&whole(entry)))
    }

    /// The configured extras.
    pub fn attrs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.attrs);
        std::iter::from_fn(move || Some((reader.text16()?, reader.text16()?)))
    }

    pub fn trace(&self) -> TraceId {
        TraceId(self.fixed.trace)
    }

    pub fn span(&self) -> SpanId {
        SpanId(self.fixed.span)
    }

    pub fn parent(&self) -> SpanId {
        SpanId(self.fixed.parent)
    }

    pub fn client(&self) -> IpAddr {
        ip_of(self.fixed.client)
    }

    pub fn upstream(&self) -> Option<SocketAddr> {
        socket_of(self.fixed.upstream, self.fixed.upstream_port)
    }

    pub fn method(&self) -> Method {
        Method::from_byte(self.fixed.method)
    }

    pub fn scheme(&self) -> Scheme {
        Scheme::from_byte(self.fixed.scheme)
    }

    pub fn protocol(&self) -> Protocol {
        Protocol::from_byte(self.fixed.protocol)
    }

    pub fn tls_version(&self) -> TlsVersion {
        TlsVersion::from_byte(self.fixed.tls_version)
    }

    pub fn auth(&self) -> AuthKind {
        AuthKind::from_byte(self.fixed.auth)
    }

    pub fn cache(&self) -> CacheState {
        CacheState::from_byte(self.fixed.cache)
    }

    pub fn rate_limit(&self) -> RateLimitState {
        RateLimitState::from_byte(self.fixed.rate_limit)
    }

    pub fn kept(&self) -> Kept {
        Kept::from_byte(self.fixed.kept)
    }

    pub fn reason(&self) -> Reason {
        Reason::from_byte(self.fixed.reason)
    }

    pub fn outcome(&self) -> Outcome {
        Outcome::from_byte(self.fixed.outcome)
    }

    /// Whether the request entered the fleet at this gateway, rather than come from a peer gateway.
    pub fn entry(&self) -> bool {
        self.fixed.entry != 0
    }

    /// How long policies waited for somebody else's server, all together; a part of `gateway_us`. In microseconds.
    pub fn waited_us(&self) -> u32 {
        self.policies().fold(0, |sum, entry| sum.saturating_add(entry.waited_us))
    }

    /// Attempts past the first.
    pub fn retries(&self) -> u8 {
        self.fixed.attempts.saturating_sub(1)
    }

    /// The three times together, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.fixed.gateway_us.saturating_add(self.fixed.upstream_us).saturating_add(self.fixed.client_us)
    }

    /// Every name id that this record uses, the empty one left out.
    pub fn name_ids(&self) -> impl Iterator<Item = NameId> + use<'a> {
        let fixed = self.fixed;
        let own = [fixed.api, fixed.api_instance, fixed.route, fixed.service, fixed.path_template, fixed.answered_by];
        own.into_iter().chain(self.policies().map(|entry| entry.policy)).filter(|id| *id != 0).map(NameId)
    }
}

fn fixed(schema: Schema, reader: &mut Reader<'_>) -> Option<Fixed> {
    let size = schema.sizes().fixed;
    // What an earlier schema does not say is as if it were 1.
    let mut fixed = [1; Fixed::SIZE];
    fixed[..size].copy_from_slice(reader.bytes(size)?);
    Some(Fixed::get(&fixed))
}

/// An entry of an earlier schema, with zeros for what came later.
fn whole<const SIZE: usize>(entry: &[u8]) -> [u8; SIZE] {
    let mut whole = [0; SIZE];
    whole[..entry.len()].copy_from_slice(entry);
    whole
}

impl PolicyEntry {
    pub fn verdict(&self) -> Verdict {
        Verdict::from_byte(self.verdict)
    }
}

impl AttemptEntry {
    /// Where the attempt went, if it got so far.
    pub fn socket(&self) -> Option<SocketAddr> {
        socket_of(self.address, self.port)
    }

    /// `Reason::None` when a response head came.
    pub fn outcome(&self) -> Reason {
        Reason::from_byte(self.outcome)
    }
}

fn ip_of(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

fn socket_of(address: [u8; 16], port: u16) -> Option<SocketAddr> {
    (port != 0).then(|| SocketAddr::new(ip_of(address), port))
}
