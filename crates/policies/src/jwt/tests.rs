//! Tokens, good and bad, under each key of the configuration; and key sets that come late, change and go away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::*;
use crate::contract::Decision;
use crate::testing::{Request, api, done};
use crate::{Policy, Services};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, encode};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const SECRET: &str = "a-secret-of-at-least-32-characters";
const HMAC: &str = "signingMethod: hmac, textKey: a-secret-of-at-least-32-characters, skipClientIdValidation: true";

/// What openssl answers to `input`.
fn openssl(args: &[&str], input: &str) -> String {
    let mut openssl = Command::new("openssl");
    let openssl = openssl.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut openssl = openssl.spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A private key as PEM, and its public half.
fn pair(args: &[&str]) -> (String, String) {
    let private = openssl(&[&["genpkey"], args].concat(), "");
    let public = openssl(&["pkey", "-pubout"], &private);
    (private, public)
}

fn rsa() -> (String, String) {
    pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
}

fn policy(config: &str) -> Policy {
    let api = api("jwt-validation-flex", &format!("{{{config}}}"));
    Policy::compile(&api.policies[0], &api, &Services::default())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    encode(header, claims, key).unwrap()
}

/// By the shared secret.
fn hmac(claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn bearer(token: &str) -> Request {
    Request::get("/").with("authorization", &format!("Bearer {token}"))
}

fn status(outcome: &Outcome) -> u16 {
    match &outcome.decision {
        Decision::Continue => 200,
        Decision::Respond(answer) | Decision::Reject(answer) => answer.status.as_u16(),
    }
}

/// The status, and the consumer.
fn ask(policy: &Policy, mut request: Request) -> (u16, String) {
    let outcome = done(policy.on_request(&mut request.view()));
    let consumer = outcome.effects.identity.as_ref().map(|who| who.consumer().to_vec()).unwrap_or_default();
    (status(&outcome), String::from_utf8(consumer).unwrap())
}

#[test]
fn claims() {
    let (past, soon, future) = (now() - 5, now() + 5, now() + 3600);
    for (config, claims, expected) in [
        ("", json!({}), 200),
        ("", json!({"exp": future, "nbf": past}), 200),
        ("", json!({"exp": past}), 401),
        ("", json!({"exp": now() - 1}), 401),
        ("", json!({"exp": "never"}), 401),
        ("", json!({"exp": null}), 401),
        ("", json!({"exp": 1e300}), 200),
        ("", json!({"nbf": soon}), 200),
        ("", json!({"nbf": future}), 401),
        ("mandatoryExpClaim: true", json!({}), 401),
        ("mandatoryExpClaim: true", json!({"exp": future}), 200),
        ("mandatoryNbfClaim: true", json!({}), 401),
        ("mandatoryNbfClaim: true", json!({"nbf": past}), 200),
        ("mandatoryAudClaim: true", json!({}), 401),
        ("mandatoryAudClaim: true", json!({"aud": "x"}), 200),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({}), 200),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": "b"}), 200),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": ["x", "a"]}), 200),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": "a, b"}), 401),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": ["x"]}), 401),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": []}), 401),
        ("validateAudClaim: true, supportedAudiences: 'a, b'", json!({"aud": 7}), 401),
        ("validateAudClaim: false, supportedAudiences: 'a, b'", json!({"aud": "x"}), 200),
        ("mandatoryCustomClaims: [{key: role, value: admin}]", json!({"role": "user"}), 200),
        (
            "validateCustomClaim: true, mandatoryCustomClaims: [{key: role, value: admin}]",
            json!({"role": "admin"}),
            200,
        ),
        ("validateCustomClaim: true, mandatoryCustomClaims: [{key: role, value: admin}]", json!({"role": "user"}), 401),
        ("validateCustomClaim: true, mandatoryCustomClaims: [{key: role, value: admin}]", json!({}), 401),
        ("validateCustomClaim: true, mandatoryCustomClaims: [{key: n, value: 5}]", json!({"n": 5}), 200),
        (
            "validateCustomClaim: true, mandatoryCustomClaims: [{key: r, value: \"#[vars.claimSet.r == 'x']\"}]",
            json!({"r": "x"}),
            200,
        ),
        (
            "validateCustomClaim: true, mandatoryCustomClaims: [{key: r, value: \"#[vars.claimSet['r'] == 'x']\"}]",
            json!({"r": "y"}),
            401,
        ),
        ("validateCustomClaim: true, nonMandatoryCustomClaims: [{key: role, value: admin}]", json!({}), 200),
        ("validateCustomClaim: true, nonMandatoryCustomClaims: [{key: role, value: admin}]", json!({"role": "u"}), 401),
    ] {
        let policy = policy(&format!("{HMAC}{}{config}", if config.is_empty() { "" } else { ", " }));
        assert_eq!(ask(&policy, bearer(&hmac(&claims))).0, expected, "{config} {claims}");
    }
}

#[test]
fn what_is_no_token_of_ours() {
    let policy = policy(HMAC);
    let good = hmac(&json!({"sub": "me"}));
    let parts: Vec<_> = good.split('.').collect();
    let other = signed(&Header::new(Algorithm::HS256), &json!({}), &EncodingKey::from_secret(&[7; 32]));
    let longer = signed(&Header::new(Algorithm::HS512), &json!({}), &EncodingKey::from_secret(SECRET.as_bytes()));
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]);
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::HS256) };
    let critical = signed(&critical, &json!({}), &EncodingKey::from_secret(SECRET.as_bytes()));
    let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(r#"{"sub":"you"}"#), parts[2]);
    let no_object = signed(&Header::new(Algorithm::HS256), &json!("x"), &EncodingKey::from_secret(SECRET.as_bytes()));
    for (token, expected) in [
        (good.as_str(), 200),
        (&other, 401),
        (&longer, 401),
        (&none, 401),
        (&critical, 401),
        (&changed, 401),
        (&no_object, 401),
        (&good[..good.len() - 2], 401),
        (&format!("{good}."), 401),
        ("a.b.c", 401),
        ("x", 401),
    ] {
        assert_eq!(ask(&policy, bearer(token)).0, expected, "{token}");
    }
    for (name, value) in
        [("authorization", "Basic dTpw"), ("authorization", "Bearer"), ("authorization", "Bearer "), ("jwt", &good)]
    {
        assert_eq!(ask(&policy, Request::get("/").with(name, value)).0, 400, "{name}: {value}");
    }
    let mut request = Request::get("/");
    let Decision::Reject(answer) = done(policy.on_request(&mut request.view())).decision else { panic!("it goes on") };
    assert_eq!((answer.body, answer.headers.len()), (Body::Json(MISSING), 0));
    let mut request = bearer("x");
    let Decision::Reject(answer) = done(policy.on_request(&mut request.view())).decision else { panic!("it goes on") };
    assert_eq!((answer.body, answer.headers), (Body::Json(INVALID), vec![(WWW_AUTHENTICATE, CHALLENGE)]));
    assert_eq!(answer.reason, Reason::AuthenticationFailed);
}

/// A key is used for the algorithm of the configuration and for no other, whatever the token says.
#[test]
fn the_algorithm_is_pinned_to_the_key() {
    let (rsa, rsa_public) = rsa();
    let (p256, p256_public) = pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let (p384, p384_public) = pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let indented = |pem: &str| pem.trim().replace('\n', " ");
    let by = |algorithm, key: &EncodingKey| signed(&Header::new(algorithm), &json!({"sub": "me"}), key);
    let rsa = EncodingKey::from_rsa_pem(rsa.as_bytes()).unwrap();
    let tokens = [
        by(Algorithm::RS256, &rsa),
        by(Algorithm::RS512, &rsa),
        by(Algorithm::PS256, &rsa),
        by(Algorithm::ES256, &EncodingKey::from_ec_pem(p256.as_bytes()).unwrap()),
        by(Algorithm::ES384, &EncodingKey::from_ec_pem(p384.as_bytes()).unwrap()),
        // The old trick: the public key, which everybody knows, as a secret.
        by(Algorithm::HS256, &EncodingKey::from_secret(rsa_public.as_bytes())),
    ];
    let bare = rsa_public.lines().filter(|line| !line.starts_with("---")).collect::<String>();
    for (config, good) in [
        (format!("textKey: {bare}"), 0),
        (format!("signingMethod: rsa, signingKeyLength: 256, textKey: \"{}\"", indented(&rsa_public)), 0),
        (format!("signingKeyLength: 512, textKey: \"{}\"", indented(&rsa_public)), 1),
        (format!("signingMethod: es, textKey: \"{}\"", indented(&p256_public)), 3),
        (format!("signingMethod: es, signingKeyLength: 384, textKey: \"{}\"", indented(&p384_public)), 4),
    ] {
        let policy = policy(&format!("skipClientIdValidation: true, {config}"));
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(ask(&policy, bearer(token)).0, if index == good { 200 } else { 401 }, "{config}: {index}");
        }
    }
}

#[test]
fn who_it_is_and_what_the_upstream_gets() {
    let config = format!("{HMAC}, claimsToHeaders: [role, n, list, evil, none]");
    let claims = json!({"sub": "s", "client_id": "c", "role": "admin", "n": 5, "list": ["a", 1], "evil": "a\r\nb: c"});
    let mut request = bearer(&hmac(&claims)).with("x-agw-none", "forged");
    let outcome = done(policy(&config).on_request(&mut request.view()));
    let expected =
        [("role", Some("admin")), ("n", Some("5")), ("list", Some(r#"["a",1]"#)), ("evil", None), ("none", None)];
    let reported: Vec<_> = outcome
        .effects
        .request_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_ref().map(|value| value.to_str().unwrap())))
        .collect();
    let expected: Vec<_> = expected.iter().map(|(name, value)| (format!("x-agw-{name}"), *value)).collect();
    assert_eq!(reported, expected.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>());
    assert_eq!(ask(&policy(HMAC), bearer(&hmac(&claims))), (200, "c".to_owned()));
    assert_eq!(ask(&policy(HMAC), bearer(&hmac(&json!({"sub": "s"})))), (200, "s".to_owned()));
    let by_user = format!("{HMAC}, clientIdExpression: \"#[vars.claimSet['user']]\"");
    assert_eq!(ask(&policy(&by_user), bearer(&hmac(&json!({"user": "u"})))), (200, "u".to_owned()));
    let custom = format!("{HMAC}, jwtOrigin: customExpression, jwtExpression: \"#[attributes.queryParams['t']]\"");
    let token = hmac(&json!({"sub": "q"}));
    assert_eq!(ask(&policy(&custom), Request::get(&format!("/?t={token}"))), (200, "q".to_owned()));
    let usual = format!("{HMAC}, jwtOrigin: customExpression");
    assert_eq!(ask(&policy(&usual), Request::get("/").with("jwt", &token)), (200, "q".to_owned()));
    // Nobody has a contract with the API of this test.
    let strict = HMAC.replace("skipClientIdValidation: true", "skipClientIdValidation: false");
    assert_eq!(ask(&policy(&strict), bearer(&hmac(&json!({"client_id": "c"})))).0, 401);
}

/// A server of one document, which may change.
struct Server {
    address: SocketAddr,
    document: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(status: u16, document: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let document = Arc::new(Mutex::new((status, document.to_owned())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, counted) = (Arc::clone(&document), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, text) = shared.lock().unwrap().clone();
                let length = text.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nlocation: /x\r\nconnection: close\r\n\r\n{text}"
                );
            }
        });
        Self { address, document, asked }
    }

    fn answers(&self, status: u16, document: &str) {
        *self.document.lock().unwrap() = (status, document.to_owned());
    }
}

/// A signing key with its name.
struct Signer {
    key: EncodingKey,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        Self { key: EncodingKey::from_rsa_pem(rsa().0.as_bytes()).unwrap(), id }
    }

    fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, Algorithm::RS256).unwrap()).unwrap();
        jwk["kid"] = json!(self.id);
        jwk
    }

    fn token(&self, id: Option<&str>) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::RS256) };
        signed(&header, &json!({"sub": "me"}), &self.key)
    }
}

fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// A policy that reads key sets on a runtime of its own, and a worker's runtime that may wait for it.
struct Site {
    policy: Policy,
    worker: Runtime,
    _background: Runtime,
}

impl Site {
    fn new(url: &str) -> Self {
        let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = format!(
            "{{jwtKeyOrigin: jwks, jwksUrl: \"{url}\", skipClientIdValidation: true, jwksServiceConnectionTimeout: 5000}}"
        );
        let api = api("jwt-validation-flex", &config);
        let services = Services::new(weir_event::Instant::now(), Some(background.handle().clone()));
        Self { policy: Policy::compile(&api.policies[0], &api, &services), worker, _background: background }
    }

    /// The status, and whether the request had to wait. `later` moves its time on.
    fn ask(&self, token: &str, later: Duration) -> (u16, bool) {
        let mut request = bearer(token);
        request.now += later;
        match self.policy.on_request(&mut request.view()) {
            Step::Done(outcome) => (status(&outcome), false),
            Step::Content | Step::Stream(_) => panic!("it reads no content"),
            Step::Wait(waiting) => (status(&self.worker.block_on(waiting)), true),
        }
    }
}

const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(11);

#[test]
fn keys_are_waited_for_once_and_read_again_for_a_key_that_nobody_knows() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let odd = json!({"kty": "XYZ", "kid": "odd"});
    let server = Server::start(200, &set(&[odd, old.jwk()]));
    let site = Site::new(&format!("http://{}/keys", server.address));
    assert_eq!(site.ask(&old.token(Some("old")), NOW).0, 200, "it may have waited");
    assert_eq!(site.ask(&old.token(Some("old")), NOW), (200, false));
    assert_eq!(site.ask(&old.token(None), NOW), (200, false), "of a token that names no key, each is tried");
    assert_eq!(site.ask(&new.token(Some("old")), NOW), (401, false));
    assert_eq!(site.ask(&new.token(Some("new")), NOW), (401, false), "a name that is made up costs no reading at once");
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
    server.answers(200, &set(&[new.jwk()]));
    assert_eq!(site.ask(&new.token(Some("new")), LATER), (200, true), "the key was changed");
    assert_eq!(site.ask(&old.token(Some("old")), NOW), (401, false));
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn keys_that_cannot_be_read_again_stay_in_use() {
    let signer = Signer::new("a");
    let server = Server::start(200, &set(&[signer.jwk()]));
    let site = Site::new(&format!("http://{}/keys", server.address));
    assert_eq!(site.ask(&signer.token(Some("a")), NOW).0, 200);
    for (status, document) in [(500, ""), (302, ""), (200, "<html>"), (200, "{}")] {
        server.answers(status, document);
        assert_eq!(site.ask(&signer.token(Some("b")), LATER).0, 401, "{status} {document}");
        assert_eq!(site.ask(&signer.token(Some("a")), NOW), (200, false), "{status} {document}");
    }
}

#[test]
fn without_any_key_it_is_503_and_later_it_is_not() {
    let signer = Signer::new("a");
    let server = Server::start(500, "");
    let site = Site::new(&format!("http://{}/keys", server.address));
    assert_eq!(site.ask(&signer.token(None), NOW).0, 503);
    assert_eq!(site.ask(&signer.token(None), NOW), (503, false), "nobody waits for what has just failed");
    server.answers(200, &set(&[signer.jwk()]));
    assert_eq!(site.ask(&signer.token(None), LATER).0, 200);
    // One of two servers is enough.
    let gone = Server::start(404, "");
    let site = Site::new(&format!("http://{}/keys, http://{}/keys", gone.address, server.address));
    assert_eq!(site.ask(&signer.token(Some("a")), NOW).0, 200);
}

#[test]
fn a_set_has_keys_for_signatures_of_the_algorithm() {
    let signer = Signer::new("a");
    let with = |name: &str, value: &str| {
        let mut jwk = signer.jwk();
        jwk[name] = json!(value);
        set(&[jwk])
    };
    for (document, expected) in [
        (with("use", "sig"), 200),
        (with("use", "enc"), 401),
        (with("alg", "RS256"), 200),
        (with("alg", "RS512"), 401),
        (with("alg", "RSA-OAEP"), 401),
    ] {
        // A set without a key that can be used is none; beside another one, the token is invalid.
        let mut keys: Value = serde_json::from_str(&document).unwrap();
        keys["keys"].as_array_mut().unwrap().push(Signer::new("b").jwk());
        let server = Server::start(200, &keys.to_string());
        let site = Site::new(&format!("http://{}/keys", server.address));
        assert_eq!(site.ask(&signer.token(None), NOW).0, expected, "{document}");
    }
}
