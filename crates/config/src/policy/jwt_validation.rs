//! `jwt-validation-flex`: requests that carry a JSON Web Token (RFC 7519) which a known key has signed.

use std::time::Duration;

use http::{HeaderName, Uri};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::{PolicySpec, headers};
use crate::expression::Expression;
use crate::read::{Cursor, Mapping, show};
use crate::units::Secret;
use crate::view::{REDACTED, time};
use crate::{address, view};

/// What a token must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtValidation {
    /// Where the request carries it; `None`: in `Authorization: Bearer`.
    pub token: Option<Expression>,
    /// The one algorithm that signs tokens. What a token says of itself does not choose it (RFC 8725 3.1).
    pub algorithm: JwtAlgorithm,
    pub keys: JwtKeys,
    /// The claim that names the client.
    pub client_id: String,
    /// Whether the client must have a contract with the API.
    pub needs_contract: bool,
    /// Who the token must be for, where it says so; none: that is not looked at.
    pub audiences: Vec<String>,
    pub mandatory: Mandatory,
    pub claims: Vec<RequiredClaim>,
    /// Claims that the upstream is given, each in a header field of its own.
    pub forwarded: Vec<(String, HeaderName)>,
}

/// Claims that must be there; where they are, they are looked at in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mandatory {
    pub audience: bool,
    pub expiration: bool,
    pub not_before: bool,
}

/// A claim with the text that it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    pub name: String,
    pub value: String,
    /// Whether a token without it is refused.
    pub mandatory: bool,
}

/// RFC 7518 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Es256,
    Es384,
}

/// What verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// Shared with whoever signs.
    Secret(Secret),
    /// A public key as PEM (`PUBLIC KEY`), of the kind that the algorithm asks for.
    Public(String),
    /// JSON Web Key Sets (RFC 7517), read again and again.
    Sets(KeySets),
}

/// Where key sets are, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySets {
    /// https, or http to a loopback address.
    pub urls: Vec<Uri>,
    pub time_to_live: Duration,
    /// For one answer, from connecting to its end.
    pub timeout: Duration,
}

#[derive(Clone, Copy)]
enum Method {
    Rsa,
    Hmac,
    Es,
    None,
}

const METHODS: [(&str, Method); 4] =
    [("rsa", Method::Rsa), ("hmac", Method::Hmac), ("es", Method::Es), ("none", Method::None)];
const LENGTHS: [(&str, u16); 3] = [("256", 256), ("384", 384), ("512", 512)];
/// Headers that copied claims are put into begin with this, as Flex's do.
const FORWARDED: &str = "x-agw-";

impl JwtAlgorithm {
    /// Its name in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    const fn of(method: Method, length: u16) -> Option<Self> {
        Some(match (method, length) {
            (Method::Hmac, 256) => Self::Hs256,
            (Method::Hmac, 384) => Self::Hs384,
            (Method::Hmac, 512) => Self::Hs512,
            (Method::Rsa, 256) => Self::Rs256,
            (Method::Rsa, 384) => Self::Rs384,
            (Method::Rsa, 512) => Self::Rs512,
            (Method::Es, 256) => Self::Es256,
            (Method::Es, 384) => Self::Es384,
            _ => return None,
        })
    }
}

impl PolicySpec for JwtValidation {
    const NAME: &'static str = "jwt-validation-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let token = token(&mut fields);
        let algorithm = algorithm(&mut fields);
        let keys = keys(at, &mut fields, algorithm);
        let client_id = fields.optional("clientIdExpression", claim_of_token);
        let skips_client = fields.optional("skipClientIdValidation", Cursor::boolean);
        let audiences = audiences(at, &mut fields);
        let mandatory = Mandatory {
            audience: fields.optional("mandatoryAudClaim", Cursor::boolean).unwrap_or(false),
            expiration: fields.optional("mandatoryExpClaim", Cursor::boolean).unwrap_or(false),
            not_before: fields.optional("mandatoryNbfClaim", Cursor::boolean).unwrap_or(false),
        };
        let claims = claims(&mut fields);
        let forwarded = fields.optional("claimsToHeaders", |at| at.items(forwarded));
        fields.finish();
        Some(Self {
            token: token?,
            algorithm: algorithm?,
            keys: keys?,
            client_id: client_id.unwrap_or_else(|| "client_id".to_owned()),
            needs_contract: !skips_client.unwrap_or(false),
            audiences: audiences?,
            mandatory,
            claims: claims?,
            forwarded: forwarded.unwrap_or_default(),
        })
    }

    fn view(&self) -> Value {
        let Self { token, algorithm, keys, client_id, needs_contract, audiences, mandatory, claims, forwarded } = self;
        let keys = match keys {
            JwtKeys::Secret(_) => json!({"secret": REDACTED}),
            JwtKeys::Public(_) => json!("public key"),
            JwtKeys::Sets(KeySets { urls, time_to_live, timeout }) => json!({
                "urls": urls.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "time_to_live": time(*time_to_live),
                "timeout": view::time(*timeout),
            }),
        };
        let claim =
            |claim: &RequiredClaim| json!({"name": claim.name, "mandatory": claim.mandatory, "value": REDACTED});
        let Mandatory { audience, expiration, not_before } = mandatory;
        json!({
            "token": token.as_ref().map_or_else(|| "bearer".to_owned(), ToString::to_string),
            "algorithm": algorithm.name(),
            "keys": keys,
            "client_id": client_id,
            "needs_contract": needs_contract,
            "audiences": audiences,
            "mandatory": {"aud": audience, "exp": expiration, "nbf": not_before},
            "claims": claims.iter().map(claim).collect::<Vec<_>>(),
            "claims_to_headers": forwarded.iter().map(|(claim, _)| claim).collect::<Vec<_>>(),
        })
    }

    fn secrets(&self) -> Vec<&str> {
        match &self.keys {
            JwtKeys::Secret(secret) => vec![secret.expose()],
            JwtKeys::Public(_) | JwtKeys::Sets(_) => Vec::new(),
        }
    }

    fn identifies(&self) -> bool {
        true
    }
}

/// `None` inside: where bearer tokens are.
fn token(fields: &mut Mapping<'_>) -> Option<Option<Expression>> {
    let origins = [("httpBearerAuthenticationHeader", true), ("customExpression", false)];
    let bearer = fields.take("jwtOrigin").map_or(Some(true), |at| at.choice(&origins));
    let expression = fields.take("jwtExpression").map(|at| Expression::read(&at));
    let usual = Expression::Header(HeaderName::from_static("jwt"));
    match (bearer?, expression) {
        // Flex keeps the default of the expression beside it; it has no say.
        (true, _) => Some(None),
        (false, None) => Some(Some(usual)),
        (false, Some(expression)) => expression.map(Some),
    }
}

fn algorithm(fields: &mut Mapping<'_>) -> Option<JwtAlgorithm> {
    let method = fields.take("signingMethod");
    let length = fields.take("signingKeyLength");
    let known = method.as_ref().map_or(Some(Method::Rsa), |at| at.choice(&METHODS));
    let bits = length.as_ref().map_or(Some(256), |at| at.choice(&LENGTHS));
    match (known?, bits?) {
        (Method::None, _) => method?.refuse("`none` accepts tokens that nobody signed; write `rsa`, `es` or `hmac`"),
        (known, bits) => {
            let found = JwtAlgorithm::of(known, bits);
            found.or_else(|| length?.refuse("there is no such length for `es`; write 256 or 384"))
        }
    }
}

fn keys(at: &Cursor<'_>, fields: &mut Mapping<'_>, algorithm: Option<JwtAlgorithm>) -> Option<JwtKeys> {
    let is_set = fields.take("jwtKeyOrigin");
    let is_set = is_set.as_ref().map_or(Some(false), |at| at.choice(&[("text", false), ("jwks", true)]));
    let text = fields.take("textKey");
    let urls = fields.take("jwksUrl");
    let minutes = fields.optional("jwksServiceTimeToLive", |at| at.integer(1..=44_640));
    let timeout = fields.optional("jwksServiceConnectionTimeout", |at| at.integer(1..=600_000));
    let is_hmac = matches!(algorithm?, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512);
    match (is_set?, text, urls) {
        (true, _, _) if is_hmac => {
            at.refuse("takes a shared secret from a server of public keys; write `jwtKeyOrigin: text`")
        }
        (true, _, Some(urls)) => Some(JwtKeys::Sets(KeySets {
            urls: self::urls(&urls)?,
            time_to_live: Duration::from_secs(60 * minutes.unwrap_or(60)),
            timeout: Duration::from_millis(timeout.unwrap_or(10_000)),
        })),
        (true, _, None) => at.refuse("has no `jwksUrl`; write the URL of the key set"),
        (false, Some(text), _) if is_hmac => secret(&text, algorithm?).map(JwtKeys::Secret),
        (false, Some(text), _) => public(&text, algorithm?).map(JwtKeys::Public),
        (false, None, _) => at.refuse("has no `textKey`; write the key, or `jwtKeyOrigin: jwks` and a `jwksUrl`"),
    }
}

/// At least as long as the hash (RFC 7518 3.2).
fn secret(at: &Cursor<'_>, algorithm: JwtAlgorithm) -> Option<Secret> {
    let secret = at.secret()?;
    let least = match algorithm {
        JwtAlgorithm::Hs384 => 48,
        JwtAlgorithm::Hs512 => 64,
        _ => 32,
    };
    if secret.expose().len() < least {
        return at
            .refuse(format!("is shorter than {least} characters, which {} asks for (RFC 7518 3.2)", algorithm.name()));
    }
    Some(secret)
}

/// PEM with or without its first and last line, as Flex takes it.
fn public(at: &Cursor<'_>, algorithm: JwtAlgorithm) -> Option<String> {
    let text = at.filled()?;
    let body =
        text.trim().trim_start_matches("-----BEGIN PUBLIC KEY-----").trim_end_matches("-----END PUBLIC KEY-----");
    let body: String = body.split_whitespace().collect();
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok();
    let info = der.as_ref().and_then(|der| SubjectPublicKeyInfoRef::from_der(der.as_ref()).ok());
    let Some(info) = info else {
        return at
            .refuse("is no public key; write the text of a PEM file that begins with `-----BEGIN PUBLIC KEY-----`");
    };
    let curve = info.algorithm.parameters_oid().map(|oid| oid.to_string());
    let fits = match (algorithm, info.algorithm.oid.to_string().as_str()) {
        (JwtAlgorithm::Rs256 | JwtAlgorithm::Rs384 | JwtAlgorithm::Rs512, "1.2.840.113549.1.1.1") => true,
        (JwtAlgorithm::Es256, "1.2.840.10045.2.1") => curve.as_deref() == Ok("1.2.840.10045.3.1.7"),
        (JwtAlgorithm::Es384, "1.2.840.10045.2.1") => curve.as_deref() == Ok("1.3.132.0.34"),
        _ => false,
    };
    if fits { Some(pem) } else { at.refuse(format!("is a key of another kind than {} asks for", algorithm.name())) }
}

/// One or several, with commas between them.
fn urls(at: &Cursor<'_>) -> Option<Vec<Uri>> {
    let read = |text: &str| text.split(',').map(|url| check_url(url.trim())).collect::<Result<Vec<_>, _>>();
    at.parse(read, "as in `https://idp.example.com/.well-known/jwks.json`")
}

fn check_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is no URL")?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("is no URL with a host")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("carries a user name, which is not sent");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if address::is_loopback(host) => Ok(uri),
        Some("http") => Err("could be answered by anybody on the way; use https, or http to a loopback address"),
        _ => Err("is neither https nor http"),
    }
}

fn audiences(at: &Cursor<'_>, fields: &mut Mapping<'_>) -> Option<Vec<String>> {
    let validates = fields.optional("validateAudClaim", Cursor::boolean).unwrap_or(false);
    let supported = fields.take("supportedAudiences");
    if let Some(at) = supported.as_ref().filter(|at| !validates && !at.says("")) {
        at.warn("has no effect without `validateAudClaim: true`");
    }
    let supported = supported.and_then(|at| at.text()).unwrap_or_default();
    let listed: Vec<_> =
        supported.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match (validates, listed.is_empty()) {
        (true, true) => at.refuse("validates `aud` against nothing; name the audiences in `supportedAudiences`"),
        (true, false) => Some(listed),
        (false, _) => Some(Vec::new()),
    }
}

fn claims(fields: &mut Mapping<'_>) -> Option<Vec<RequiredClaim>> {
    let validates = fields.optional("validateCustomClaim", Cursor::boolean).unwrap_or(false);
    let mut read = |name, mandatory| match fields.take(name) {
        Some(at) => {
            if !validates {
                at.warn("has no effect without `validateCustomClaim: true`");
            }
            at.items(|at| claim(at, mandatory))
        }
        None => Some(Vec::new()),
    };
    let (mandatory, others) = (read("mandatoryCustomClaims", true), read("nonMandatoryCustomClaims", false));
    let mut claims = mandatory?;
    claims.extend(others?);
    Some(if validates { claims } else { Vec::new() })
}

/// `value` is the text itself, or an expression that compares the claim with one.
fn claim(at: &Cursor<'_>, mandatory: bool) -> Option<RequiredClaim> {
    let mut fields = at.fields()?;
    let name = fields.required("key", Cursor::filled);
    let value = fields.required("value", |at| Some((at.text()?, at.clone())));
    fields.finish();
    let (name, (text, at)) = (name?, value?);
    let Some(expression) = text.trim().strip_prefix("#[") else {
        return Some(RequiredClaim { name, value: text, mandatory });
    };
    let sides = expression.strip_suffix(']').and_then(|inner| inner.split_once("=="));
    let compared = sides.and_then(|(claim, value)| Some((claim_name(claim.trim())?, quoted(value.trim())?)));
    match compared {
        Some((claim, value)) if claim == name => Some(RequiredClaim { name, value: value.to_owned(), mandatory }),
        _ => at.refuse(format!(
            "`{}` is no comparison that this version of weir knows; write the text that `{name}` must be, or \
             `#[vars.claimSet.{name} == 'text']`",
            show(&text)
        )),
    }
}

/// `#[vars.claimSet.name]`
fn claim_of_token(at: &Cursor<'_>) -> Option<String> {
    let text = at.filled()?;
    let inner = text.trim().strip_prefix("#[").and_then(|rest| rest.strip_suffix(']'));
    match inner.and_then(|inner| claim_name(inner.trim())) {
        Some(name) => Some(name.to_owned()),
        None => at.refuse(format!("`{}` names no claim; write `#[vars.claimSet.client_id]`", show(&text))),
    }
}

/// Of `vars.claimSet.name` or `vars.claimSet['name']`.
fn claim_name(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("vars.claimSet")?;
    if let Some(name) = rest.strip_prefix('.') {
        let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return is_word.then_some(name);
    }
    quoted(rest.strip_prefix('[')?.strip_suffix(']')?.trim()).filter(|name| !name.is_empty())
}

fn quoted(text: &str) -> Option<&str> {
    let inner = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))?;
    (!inner.contains(['\'', '"', '\\'])).then_some(inner)
}

fn forwarded(at: &Cursor<'_>) -> Option<(String, HeaderName)> {
    let claim = at.filled()?;
    let name = HeaderName::try_from(format!("{FORWARDED}{claim}"));
    match name {
        Ok(name) if headers::owner(&name).is_none() => Some((claim, name)),
        _ => at.refuse(format!("`{}` makes no header name; use letters, digits, `-` and `_`", show(&claim))),
    }
}
