//! `tls`: how one port speaks TLS to its clients.
//!
//! It is no part of the chain: it is bound to a port through any of its APIs, holds for all of them, and has neither an
//! order nor rules.

use std::collections::BTreeSet;

use crate::pem::{Authorities, KeyPair, authorities, key_pair};
use crate::read::{Cursor, Mapping};

/// A port's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// At least one. With several (`certificates` under `gateway.weir.dev/v1`), the client's server name picks one, and
    /// the first serves whoever names none of them.
    pub certificates: Vec<KeyPair>,
    pub offer: TlsOffer,
    pub client: ClientCertificates,
}

/// Whether clients prove themselves by a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    Ignored,
    /// Without one that these authorities vouch for, the handshake fails (`requireClientCertificate`).
    Required(Authorities),
}

/// What either side of TLS is willing to speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOffer {
    /// In order of preference, each once. Empty: without ALPN.
    pub alpn: Vec<Alpn>,
    /// At most `max`.
    pub min: TlsVersion,
    pub max: TlsVersion,
    /// The suites of TLS 1.2, in order of preference, each once. Those of TLS 1.3 are always all on. Not empty where
    /// `min` is TLS 1.2.
    pub ciphers: Vec<Cipher>,
}

/// A protocol of ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alpn {
    H2,
    Http11,
}

impl Alpn {
    const NAMES: [(&'static str, Self); 2] = [("h2", Self::H2), ("http/1.1", Self::Http11)];

    /// As it is on the wire.
    pub const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http11 => b"http/1.1",
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A suite of TLS 1.2. All of them have forward secrecy and authenticated encryption; Flex's others are left out with a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cipher {
    EcdheEcdsaAes256Gcm,
    EcdheEcdsaAes128Gcm,
    EcdheEcdsaChacha20,
    EcdheRsaAes256Gcm,
    EcdheRsaAes128Gcm,
    EcdheRsaChacha20,
}

impl Cipher {
    /// Every suite with its IANA name: the default, in this order.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Self::EcdheEcdsaAes256Gcm),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Self::EcdheEcdsaAes128Gcm),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheEcdsaChacha20),
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Self::EcdheRsaAes256Gcm),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Self::EcdheRsaAes128Gcm),
        ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Self::EcdheRsaChacha20),
    ];
}

/// Always on with TLS 1.3, as Flex has it: named or not.
const TLS13_CIPHERS: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Of the key exchange and of the cipher in IANA's names of suites up to TLS 1.2.
const EXCHANGE: [&str; 15] = [
    "RSA", "DH", "DHE", "ECDH", "ECDHE", "DSS", "ECDSA", "PSK", "SRP", "SHA", "KRB5", "anon", "EXPORT", "NULL",
    "ECCPWD",
];
const CIPHER: [&str; 27] = [
    "NULL", "RC2", "RC4", "40", "56", "128", "256", "DES", "DES40", "3DES", "EDE", "IDEA", "SEED", "CBC", "AES", "GCM",
    "CCM", "8", "CAMELLIA", "ARIA", "CHACHA20", "POLY1305", "SHA", "SHA256", "SHA384", "MD5", "CBC3",
];
/// What OpenSSL's names are made of beside those.
const OPENSSL: [&str; 14] = [
    "EDH",
    "ADH",
    "AECDH",
    "EXP",
    "AES128",
    "AES256",
    "CCM8",
    "CAMELLIA128",
    "CAMELLIA256",
    "ARIA128",
    "ARIA256",
    "ARIA",
    "DES",
    "CBC3",
];
/// Of TLS 1.3, and not in the library.
const CCM_13: [&str; 2] = ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

/// Whether it is the name of a suite, IANA's or OpenSSL's. One that is not offered is without forward secrecy or authenticated
/// encryption (RFC 9325 4.2), or is not in the TLS library.
fn is_suite(name: &str) -> bool {
    let of = |text: &str, by: char, words: &[&[&str]]| {
        text.split(by).all(|word| words.iter().any(|words| words.contains(&word)))
    };
    match name.strip_prefix("TLS_") {
        Some(rest) => match rest.split_once("_WITH_") {
            Some((exchange, cipher)) => of(exchange, '_', &[&EXCHANGE]) && of(cipher, '_', &[&CIPHER]),
            None => CCM_13.contains(&name),
        },
        None => name.contains('-') && of(name, '-', &[&EXCHANGE, &CIPHER, &OPENSSL]),
    }
}

/// IANA's name of a suite that OpenSSL calls by another.
fn by_openssl(name: &str) -> Option<&'static str> {
    let known = Cipher::NAMES.iter().find(|(iana, _)| {
        let short = iana.replace("TLS_", "").replace("_WITH", "").replace("AES_", "AES").replace('_', "-");
        short == name || short.trim_end_matches("-SHA256") == name && name.ends_with("POLY1305")
    });
    known.map(|(iana, _)| *iana)
}

impl Tls {
    /// Flex's name for it.
    pub const NAME: &'static str = "tls";

    /// Of a port that is no API's: it speaks HTTP/1.1 alone, and offers what is safe.
    pub(crate) fn read_of_operators(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        fields.mean([
            ("certificate", "`crt` or `crtFile`, `key` or `keyFile`; read again when the files change"),
            ("certificates", "Several certificates: the server name (SNI) of the client selects one"),
            ("requireClientCertificate", "Only clients with a certificate of `trustedCA` are served"),
            ("trustedCA", "Certification authorities for client certificates, in PEM"),
            ("trustedCAFile", "The same, in a file"),
        ]);
        let certificates = certificates(&mut fields);
        let client = client(&mut fields);
        fields.finish();
        let ciphers = Cipher::NAMES.map(|(_, cipher)| cipher).to_vec();
        let offer = TlsOffer { alpn: vec![Alpn::Http11], min: TlsVersion::Tls12, max: TlsVersion::Tls13, ciphers };
        Some(Self { certificates: certificates?, offer, client: client? })
    }

    pub(super) fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let certificates = certificates(&mut fields);
        let client = client(&mut fields);
        let offer = TlsOffer::read(&mut fields, &[Alpn::H2, Alpn::Http11]);
        fields.finish();
        Some(Self { certificates: certificates?, offer: offer?, client: client? })
    }
}

fn certificates(fields: &mut Mapping<'_>) -> Option<Vec<KeyPair>> {
    let one = fields.take("certificate").map(|at| key_pair(&at));
    let several = fields.take_weir("certificates").map(|at| (at.items(key_pair), at));
    match (one, several) {
        (Some(pair), None) => Some(vec![pair?]),
        (None, Some((pairs, at))) => {
            let pairs = pairs?;
            if pairs.is_empty() { at.refuse("is empty; add `{crt, key}`") } else { Some(pairs) }
        }
        (Some(_), Some((_, at))) => at.refuse("is here beside `certificate`; remove one of them"),
        (None, None) => fields.missing("certificate", "add `{crt, key}`"),
    }
}

fn client(fields: &mut Mapping<'_>) -> Option<ClientCertificates> {
    let required = fields.take("requireClientCertificate");
    let asked = required.as_ref().map_or(Some(false), Cursor::boolean);
    let trusted = authorities(fields);
    match (asked?, trusted) {
        (false, None | Some(Some(_))) => Some(ClientCertificates::Ignored),
        (true, Some(Some(trusted))) => Some(ClientCertificates::Required(trusted)),
        (true, None) => fields.missing("trustedCA", "add the authorities that vouch for clients' certificates"),
        (_, Some(None)) => None,
    }
}

impl TlsOffer {
    pub(super) fn read(fields: &mut Mapping<'_>, alpn: &[Alpn]) -> Option<Self> {
        let alpn =
            fields.take("alpn").map_or_else(|| Some(alpn.to_vec()), |at| once(at.items(|at| at.choice(&Alpn::NAMES))));
        let min = fields.take_either("minversion", "minVersion");
        let max = fields.take_either("maxversion", "maxVersion");
        let lowest = min.as_ref().map_or(Some(Some(TlsVersion::Tls12)), lowest_version);
        let highest = max.as_ref().map_or(Some(TlsVersion::Tls13), version);
        let ciphers = fields.take("ciphers");
        let listed = ciphers.as_ref().map(|at| at.items(cipher));
        let all = || Cipher::NAMES.map(|(_, cipher)| cipher).to_vec();
        let (lowest, max_version) = (lowest?, highest?);
        let min_version = lowest.unwrap_or(TlsVersion::Tls12);
        if min_version > max_version {
            return min
                .or(max)?
                .refuse("asks for a lowest version above the highest; swap `minversion` and `maxversion`");
        }
        let listed: Option<Vec<Suite>> = match listed {
            Some(listed) => Some(listed?),
            None => None,
        };
        let weak = listed.iter().flatten().filter(|suite| matches!(suite, Suite::Weak)).count();
        let strong = |suites: &Vec<Suite>| suites.iter().filter_map(|suite| suite.strong()).collect();
        let suites = once(listed.as_ref().map(strong)).unwrap_or_else(all);
        // All that were named are weak: whoever wrote that list wants a port that speaks.
        let suites = if suites.is_empty() && weak > 0 { all() } else { suites };
        let mut said = Vec::new();
        if lowest.is_none() {
            said.push("TLS below 1.2 is not spoken, 1.2 is the lowest".to_owned());
        }
        if weak > 0 {
            said.push(format!("{weak} of the `ciphers` are weak, or not in the TLS library, and are not offered"));
        }
        if let Some(at) = ciphers.as_ref().or(min.as_ref()).filter(|_| !said.is_empty()) {
            at.warn(format!("is taken otherwise than written: {}", said.join("; ")));
        }
        match ciphers {
            Some(at) if suites.is_empty() && min_version == TlsVersion::Tls12 => {
                at.refuse("names no suite of TLS 1.2; add one, or write `minversion: \"1.3\"`")
            }
            _ => Some(Self { alpn: alpn?, min: min_version, max: max_version, ciphers: suites }),
        }
    }
}

/// A suite as it is named.
#[derive(Clone, Copy)]
enum Suite {
    Strong(Cipher),
    /// Of TLS 1.3, which is on anyway.
    Tls13,
    /// Known, and not offered.
    Weak,
}

impl Suite {
    fn strong(self) -> Option<Cipher> {
        if let Self::Strong(cipher) = self { Some(cipher) } else { None }
    }
}

/// `None` inside: a version that nobody should speak, and that is raised.
fn lowest_version(at: &Cursor<'_>) -> Option<Option<TlsVersion>> {
    if at.says("1.0") || at.says("1.1") { Some(None) } else { version(at).map(Some) }
}

fn version(at: &Cursor<'_>) -> Option<TlsVersion> {
    at.choice(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)])
}

fn cipher(at: &Cursor<'_>) -> Option<Suite> {
    let of_12 = Cipher::NAMES.map(|(name, cipher)| (name, Suite::Strong(cipher)));
    let of_13 = TLS13_CIPHERS.map(|name| (name, Suite::Tls13));
    let offered = [of_12.as_slice(), of_13.as_slice()].concat();
    if at.is_described() {
        return at.choice(&offered);
    }
    let name = at.text()?;
    let iana = by_openssl(&name).unwrap_or(&name);
    match offered.iter().find(|(known, _)| *known == iana) {
        Some((_, suite)) => Some(*suite),
        None if is_suite(&name) => Some(Suite::Weak),
        None => at.choice(&offered),
    }
}

/// Each once, in the order of the first time.
fn once<T: Ord + Copy>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    let mut seen = BTreeSet::new();
    list.map(|list| list.into_iter().filter(|item| seen.insert(*item)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_known_by_its_words() {
        for name in [
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
            "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
            "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384",
            "TLS_DH_anon_WITH_RC4_128_MD5",
            "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA",
            "TLS_AES_128_CCM_SHA256",
            "ECDHE-RSA-AES128-SHA",
            "AES256-GCM-SHA384",
            "DES-CBC3-SHA",
            "ADH-AES128-SHA256",
            "DHE-RSA-CAMELLIA256-SHA",
        ] {
            assert!(is_suite(name), "{name}");
        }
        for name in [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265",
            "TLS_ECDHE_RSA_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_",
            "ECDHE-RSA-AES182-SHA",
            "HIGH",
            "AES",
            "",
        ] {
            assert!(!is_suite(name), "{name}");
        }
    }

    #[test]
    fn a_suite_may_have_the_name_that_openssl_gives_it() {
        assert_eq!(by_openssl("ECDHE-RSA-AES128-GCM-SHA256"), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
        assert_eq!(by_openssl("ECDHE-ECDSA-AES256-GCM-SHA384"), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
        assert_eq!(by_openssl("ECDHE-RSA-CHACHA20-POLY1305"), Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"));
        assert_eq!(by_openssl("ECDHE-RSA-AES128-SHA"), None);
    }
}
