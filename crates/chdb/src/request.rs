//! An HTTP request of ClickHouse's interface, read into a checked order for the engine.
//!
//! Reserved URL parameters and headers are taken out by name; `param_*` are the statement's own
//! parameters; every other URL parameter is a setting for this request, which the engine judges.

use std::time::Duration;

use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName};
use hyper::{Method, Uri};

use crate::coding::Coding;
use crate::engine::Params;
use crate::exception::Exception;
use crate::session::{self, Wanted};
use crate::users::Right;

/// What a request asks for, before its body is read.
#[derive(Debug, Default)]
pub struct Order {
    /// From the URL; the body follows it after a line end.
    pub query: Option<String>,
    pub query_id: String,
    pub database: Option<String>,
    pub format: Option<String>,
    pub params: Params,
    pub settings: Vec<(String, String)>,
    /// Only reading is allowed: by GET, or because the request says so.
    pub readonly: bool,
    /// The `readonly` that the request asks for; with 1 the engine lets no setting change.
    pub readonly_level: u8,
    /// Native blocks are wanted as this revision of the native protocol has them; 0: as files have them.
    pub protocol_revision: u64,
    /// Kept surroundings that the request belongs to.
    pub session: Option<Wanted>,
    /// Rights that the request gives up all but: see [`Order::right`].
    pub roles: Vec<String>,
    /// How long the request may wait for a slot.
    pub queue: Duration,
    /// The result is wanted whole, so that an error is never late.
    pub wait_end_of_query: bool,
    pub request_coding: Option<Coding>,
    pub response_coding: Option<Coding>,
}

/// Credentials, as they came.
#[derive(Debug, Default)]
pub struct Credentials {
    pub user: Option<String>,
    pub password: Option<String>,
}

impl Order {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// A parameter that is not served here, or is malformed.
    pub fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(Order, Credentials), Exception> {
        let mut order = Order { readonly: method != Method::POST, ..Order::default() };
        let mut credentials = credentials_of(headers);
        let mut http_compression = true;
        let mut blocks_in = false;
        let mut blocks_out = false;
        let mut session = SessionWords::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
            let (name, value) = (name.into_owned(), value.into_owned());
            match name.as_str() {
                "query" => order.query = Some(value),
                "query_id" => order.query_id = value,
                "database" => order.database = Some(value),
                "default_format" => order.format = Some(value),
                "user" => credentials.user = Some(value),
                "password" => credentials.password = Some(value),
                "wait_end_of_query" | "http_wait_end_of_query" => order.wait_end_of_query = is_on(&value),
                "decompress" => blocks_in = is_on(&value),
                "compress" => blocks_out = is_on(&value),
                "enable_http_compression" => http_compression = is_on(&value),
                "http_zlib_compression_level"
                | "quota_key"
                | "buffer_size"
                | "stacktrace"
                | "add_http_cors_header"
                | "http_method" => {}
                // Headers while the statement runs are never sent.
                "send_progress_in_http_headers" | "http_headers_progress_interval_ms" => {}
                // A client that leaves always ends its statement.
                "cancel_http_readonly_queries_on_client_close" => {}
                "session_id" => session.id = Some(value),
                "session_timeout" => session.timeout = Some(value),
                "session_check" => session.check = is_on(&value),
                "close_session" => session.close = is_on(&value),
                "role" => order.roles.push(value),
                "readonly" => order.take_readonly(&value)?,
                "queue_max_wait_ms" => order.queue = Duration::from_millis(number("queue_max_wait_ms", &value)?),
                "client_protocol_version" => order.protocol_revision = number("client_protocol_version", &value)?,
                _ => match name.strip_prefix("param_") {
                    Some(parameter) => order.add_param(parameter, value),
                    None => order.settings.push((name, value)),
                },
            }
        }
        order.session = session.wanted()?;
        order.take_headers(headers)?;
        let encoding = text(headers, &CONTENT_ENCODING).unwrap_or_default();
        order.request_coding = Some(if blocks_in { Coding::Blocks } else { Coding::of_request(&encoding)? });
        order.response_coding = Some(match () {
            () if blocks_out => Coding::Blocks,
            () if http_compression => Coding::accepted(&text(headers, &ACCEPT_ENCODING).unwrap_or_default()),
            () => Coding::Identity,
        });
        Ok((order, credentials))
    }

    /// What the request may do, of what its user may: naming a role gives up the rest.
    ///
    /// # Errors
    /// 511 for a role that does not exist, 512 for one that the user does not have.
    pub fn right(&self, user: Right) -> Result<Right, Exception> {
        let mut wanted = Vec::new();
        for role in &self.roles {
            let right = Right::of_role(role).ok_or_else(|| {
                let role = role.escape_default();
                Exception::new(
                    511,
                    "UNKNOWN_ROLE",
                    format!("There is no role `{role}`; there are `full` and `readonly`"),
                )
            })?;
            if right == Right::Full && user == Right::ReadOnly {
                return Err(Exception::new(
                    512,
                    "SET_NON_GRANTED_ROLE",
                    format!("Role {role} should be granted to set as current"),
                ));
            }
            wanted.push(right);
        }
        Ok(if wanted.is_empty() || wanted.contains(&user) { user } else { Right::ReadOnly })
    }

    fn take_readonly(&mut self, value: &str) -> Result<(), Exception> {
        match (value, self.readonly) {
            ("0", false) => {}
            ("1" | "2", _) => {
                self.readonly = true;
                self.readonly_level = if value == "1" { 1 } else { 2 };
            }
            ("0", true) => return Err(Exception::readonly("Cannot modify 'readonly' setting in readonly mode")),
            _ => {
                return Err(Exception::bad_arguments(format!(
                    "`readonly` is 0, 1 or 2, and not `{}`",
                    value.escape_default()
                )));
            }
        }
        Ok(())
    }

    pub fn add_param(&mut self, name: &str, value: String) {
        self.params.names.push(name.to_owned());
        self.params.values.push(value);
    }

    fn take_headers(&mut self, headers: &HeaderMap) -> Result<(), Exception> {
        let header = |name: &'static str| text(headers, &HeaderName::from_static(name));
        self.database = self.database.take().or_else(|| header("x-clickhouse-database"));
        self.format = self.format.take().or_else(|| header("x-clickhouse-format"));
        if self.query_id.is_empty() {
            self.query_id = random_id();
        }
        let printable = self.query_id.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || self.query_id.len() > 256 {
            return Err(Exception::bad_arguments(
                "`query_id` must be 1 to 256 printable ASCII characters without spaces",
            ));
        }
        for (name, _) in &self.settings {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(Exception::new(
                    115,
                    "UNKNOWN_SETTING",
                    format!("Unknown setting '{}'", name.escape_default()),
                ));
            }
        }
        Ok(())
    }
}

/// What a URL says of a session.
#[derive(Default)]
struct SessionWords {
    id: Option<String>,
    timeout: Option<String>,
    check: bool,
    close: bool,
}

impl SessionWords {
    fn wanted(self) -> Result<Option<Wanted>, Exception> {
        let Some(id) = self.id.filter(|id| !id.is_empty()) else { return Ok(None) };
        if id.len() > 256 {
            return Err(Exception::bad_arguments("`session_id` is longer than 256 bytes"));
        }
        let timeout = match self.timeout {
            None => session::DEFAULT_TIMEOUT,
            Some(text) => {
                let seconds = text.parse().ok().map(Duration::from_secs).filter(|time| *time <= session::MAX_TIMEOUT);
                seconds.ok_or_else(|| {
                    let most = session::MAX_TIMEOUT.as_secs();
                    let text = text.escape_default();
                    Exception::new(
                        374,
                        "INVALID_SESSION_TIMEOUT",
                        format!("Invalid session timeout: '{text}'; give seconds, at most {most}"),
                    )
                })?
            }
        };
        Ok(Some(Wanted { id, timeout, check: self.check, close: self.close }))
    }
}

fn number(name: &str, value: &str) -> Result<u64, Exception> {
    value.parse().map_err(|_| {
        Exception::bad_arguments(format!("`{name}` is a whole number, and not `{}`", value.escape_default()))
    })
}

fn credentials_of(headers: &HeaderMap) -> Credentials {
    use base64::Engine as _;
    let header = |name: &'static str| text(headers, &HeaderName::from_static(name));
    let mut credentials = Credentials { user: header("x-clickhouse-user"), password: header("x-clickhouse-key") };
    let authorization = header("authorization").unwrap_or_default();
    let basic = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = basic.and_then(|(_, data)| base64::engine::general_purpose::STANDARD.decode(data.trim()).ok());
    if let Some((user, password)) =
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).as_deref().and_then(|pair| pair.split_once(':'))
    {
        credentials.user.get_or_insert(user.to_owned());
        credentials.password.get_or_insert(password.to_owned());
    }
    credentials
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn is_on(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

/// An id in the form of a version 4 UUID. It names a query, it guards nothing.
pub fn random_id() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str, headers: &[(&'static str, &str)]) -> Result<(Order, Credentials), Exception> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("header value"));
        }
        Order::read(&Method::POST, &uri.parse().expect("uri"), &map)
    }

    #[test]
    fn parameters_and_settings_are_told_apart() {
        let (order, _) =
            read("/?query=SELECT+1&param_a=x%26y&max_threads=2&default_format=CSV&database=d", &[]).expect("read");
        assert_eq!(
            (order.query.as_deref(), order.format.as_deref(), order.database.as_deref()),
            (Some("SELECT 1"), Some("CSV"), Some("d"))
        );
        assert_eq!((order.params.names, order.params.values), (vec!["a".to_owned()], vec!["x&y".to_owned()]));
        assert_eq!(order.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!(order.query_id.len(), 36);
    }

    #[test]
    fn what_is_not_served_says_so() {
        for (uri, code) in [
            ("/?session_id=1&session_timeout=3601", 374),
            ("/?client_protocol_version=x", 36),
            ("/?readonly=3", 36),
            ("/?query_id=a%0Ab", 36),
            ("/?a%27b=1", 115),
        ] {
            assert_eq!(read(uri, &[]).map_err(|error| error.code).expect_err("refused"), code, "{uri}");
        }
        assert_eq!(read("/", &[("content-encoding", "br")]).map_err(|error| error.code).expect_err("refused"), 89);
    }

    #[test]
    fn a_role_narrows_and_never_widens() {
        let right = |uri: &str, user| read(uri, &[]).expect("read").0.right(user).map_err(|error| error.code);
        assert_eq!(right("/", Right::Full), Ok(Right::Full));
        assert_eq!(right("/?role=readonly", Right::Full), Ok(Right::ReadOnly));
        assert_eq!(right("/?role=readonly&role=full", Right::Full), Ok(Right::Full));
        assert_eq!(right("/?role=readonly", Right::ReadOnly), Ok(Right::ReadOnly));
        assert_eq!(right("/?role=full", Right::ReadOnly), Err(512));
        assert_eq!(right("/?role=admin", Right::Full), Err(511));
    }

    #[test]
    fn a_session_is_read_with_its_time() {
        let (order, _) = read("/?session_id=a&session_timeout=5&session_check=1", &[]).expect("read");
        let wanted = Wanted { id: "a".to_owned(), timeout: Duration::from_secs(5), check: true, close: false };
        assert_eq!(order.session, Some(wanted));
    }

    #[test]
    fn basic_credentials_are_read() {
        let (_, credentials) = read("/", &[("authorization", "Basic YTpiOmM=")]).expect("read");
        assert_eq!((credentials.user.as_deref(), credentials.password.as_deref()), (Some("a"), Some("b:c")));
    }
}
