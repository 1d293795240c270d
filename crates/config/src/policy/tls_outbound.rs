//! `tls-outbound`: how the gateway speaks TLS to one service.
//!
//! Bound to a `Service`; it has neither an order nor rules. A service of `https` without it is believed if the system's
//! authorities vouch for it.

use rustls_pki_types::ServerName;

use super::tls::{Alpn, TlsOffer};
use crate::pem::{Authorities, KeyPair, authorities, key_pair};
use crate::read::{Cursor, Mapping};

/// The gateway's side of TLS to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOutbound {
    pub verify: Verify,
    /// What the gateway proves itself by, where the service asks for it.
    pub certificate: Option<KeyPair>,
    /// The name to ask for and to verify, where it is not the host of the address (`sni`, under `gateway.weir.dev/v1`).
    pub server_name: Option<ServerName<'static>>,
    /// Of ALPN, `http/1.1` unless more is asked for.
    pub offer: TlsOffer,
}

/// Who vouches for the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// Nobody: whoever answers is believed (`skipValidation`).
    Nothing,
    /// The authorities that the system trusts.
    System,
    /// These and no others (`trustedCA`).
    By(Authorities),
}

impl TlsOutbound {
    /// Flex's name for it.
    pub const NAME: &'static str = "tls-outbound";

    pub(super) fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let verify = verify(&mut fields);
        let certificate = fields.take("certificate");
        let pair = certificate.as_ref().map(key_pair);
        let sni = fields.take_weir("sni");
        let name = sni.as_ref().map(server_name);
        let offer = TlsOffer::read(&mut fields, &[Alpn::Http11]);
        fields.finish();
        Some(Self {
            verify: verify?,
            certificate: pair.map_or(Some(None), |pair| pair.map(Some))?,
            server_name: name.map_or(Some(None), |name| name.map(Some))?,
            offer: offer?,
        })
    }
}

fn verify(fields: &mut Mapping<'_>) -> Option<Verify> {
    let skip = fields.take("skipValidation");
    let skip = skip.as_ref().map_or(Some(false), Cursor::boolean);
    match (skip?, authorities(fields)) {
        (true, None | Some(Some(_))) => Some(Verify::Nothing),
        (false, Some(Some(trusted))) => Some(Verify::By(trusted)),
        (false, None) => Some(Verify::System),
        (_, Some(None)) => None,
    }
}

fn server_name(at: &Cursor<'_>) -> Option<ServerName<'static>> {
    at.parse(|text| ServerName::try_from(text).map(|name| name.to_owned()), "write a name, as in `orders.example.com`")
}
