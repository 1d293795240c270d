//! The two files that the engine is configured by, as ClickHouse's server knows them: `config.xml` and `users.xml`.
//!
//! They hold hashes of passwords, so they are written for this user alone, whole before the engine is started, into a
//! folder that goes as soon as the engine has read them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::args::Memory;
use crate::users::{OWN, Right, User, Users};

/// What the server is given besides its folder.
#[derive(Debug)]
pub struct Server<'a> {
    pub users_file: &'a Path,
    /// Nobody needs a password: web pages must not ask in the operator's name.
    pub is_open: bool,
    pub memory: Memory,
    pub max_connections: u64,
    pub max_queries: u64,
    pub idle_timeout: u64,
    /// Failed queries are in the log.
    pub says_queries: bool,
    pub json_log: bool,
    /// Where `BACKUP … TO File(…)` may write.
    pub backups: &'a [PathBuf],
}

/// Parts of the engine that say each failed query, with its stack, to whoever sent it and to the log.
const SAY_QUERIES: [&str; 5] = [
    "executeQuery",
    "DynamicQueryHandler",
    "PredefinedQueryHandler",
    "TCPHandler",
    "bool DB::WriteBufferFromHTTPServerResponse::cancelWithException(HTTPServerRequest &, int, const std::string &, WriteBuffer *)",
];
/// Pools that say they wait, which is nothing to do anything about.
const CHATTER: [&str; 5] = ["BgSchPool", "BgBufSchPool", "BgDistSchPool", "BgMBSchPool", "BgStrmSchPool"];

/// Programs of this machine, under names that a page of another site cannot have.
const LOCAL: &str = r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?";

impl Server<'_> {
    /// The text of `config.xml`.
    pub fn text(&self) -> String {
        let pools = CHATTER.map(|pool| format!("BackgroundSchedulePool/{pool}"));
        let queries = SAY_QUERIES.iter().filter(|_| !self.says_queries).map(|name| (*name).to_owned());
        let quiet: Vec<Value> = queries.chain(pools).map(|name| json!({"name": name, "level": "none"})).collect();
        let mut config = json!({
            "logger": {"console": 1, "levels": {"logger": quiet}},
            "listen_host": "127.0.0.1",
            "user_directories": {"users_xml": {"path": self.users_file}},
            "backups": {"allowed_path": self.backups},
            // And this program's own.
            "max_connections": self.max_connections.saturating_add(16),
            "max_concurrent_queries": self.max_queries,
            "keep_alive_timeout": self.idle_timeout,
            "http_handlers": self.handlers(),
        });
        match self.memory {
            Memory::Bytes(bytes) => config["max_server_memory_usage"] = json!(bytes),
            Memory::Ratio(ratio) => config["max_server_memory_usage_to_ram_ratio"] = json!(ratio),
        }
        if self.json_log {
            config["logger"]["formatting"] = json!({"type": "json"});
        }
        xml(&config)
    }

    /// Where nobody needs a password, a page that the operator looks at must not ask in his name: neither across sites
    /// (`Origin`) nor under a name that was made to point here (`Host`).
    fn handlers(&self) -> Value {
        let mut metrics = json!({"url": "/metrics", "methods": "GET,HEAD",
            "handler": {"type": "prometheus", "metrics": true, "events": true, "errors": true}});
        if !self.is_open {
            return json!({"rule": [metrics], "defaults": ""});
        }
        let here = json!({"Host": format!("regex:{LOCAL}"), "Origin": format!("regex:(|https?://{LOCAL})")});
        metrics["headers"] = here.clone();
        let rule = |url: &str, handler: Value| json!({"url": url, "headers": here, "handler": handler});
        let pages = ["ping", "replicas_status", "play", "dashboard"];
        let pages = pages.map(|kind| rule(&format!("/{kind}"), json!({"type": kind})));
        let query = json!({"type": "dynamic_query_handler", "query_param_name": "query"});
        let greeting = json!({"url": "/", "empty_query_string": "", "methods": "GET,HEAD",
            "handler": {"type": "static", "content_type": "text/html", "response_content": "Ok.\n"}});
        let nobody = json!({"handler": {"type": "static", "status": 403, "content_type": "text/plain",
            "response_content": "without --users only programs of this machine may ask, with a Host of localhost, \
                127.0.0.1 or [::1] and no Origin of another site; or there is no such address\n"}});
        let rules = [greeting, metrics].into_iter().chain(pages).chain([rule("regex:/(query)?", query), nobody]);
        json!({"rule": rules.collect::<Vec<_>>()})
    }
}

/// The text of `users.xml`.
///
/// The engine opens its listeners as the user `default`, always without a password. Where there is a users file, that
/// name must be of no use to anyone else: it has no rights but that one, so many statements as there are listeners to
/// open, and none that has more than two elements, so that not even `SELECT 1` is among them.
pub fn users(users: &Users, listeners: usize) -> String {
    xml(&user_directory(users, listeners))
}

fn user_directory(users: &Users, listeners: usize) -> Value {
    let mut all = Map::new();
    match users {
        Users::Open => {
            let own =
                json!({"password": "", "networks": {"ip": ["127.0.0.1", "::1"]}, "profile": "full", "quota": "full"});
            all.insert(OWN.to_owned(), own);
        }
        Users::Named(named) => {
            let own = json!({"password": "", "networks": {"ip": "127.0.0.1"}, "profile": "opening", "quota": "opening",
                "grants": {"query": "GRANT SYSTEM LISTEN ON *.*"}});
            all.insert(OWN.to_owned(), own);
            all.extend(named.iter().map(|user| (user.name.clone(), rights(user))));
        }
    }
    json!({
        "profiles": {
            "full": {"async_insert": 0, "allow_introspection_functions": 0, "implicit_select": 0, "max_query_size": 1_048_576},
            "readonly": {"profile": "full", "readonly": 2},
            "opening": {"max_ast_elements": 2, "constraints": {"max_ast_elements": {"readonly": ""}}},
            "default": {"profile": "full"},
        },
        "quotas": {
            "full": "",
            "readonly": "",
            "opening": {"interval": {"duration": i32::MAX, "queries": listeners}},
        },
        "users": all,
    })
}

/// A reader has no right on any source outside the databases (`FILE`, `URL`, `REMOTE`, `S3`, …), none to write, none to
/// see users or what others ask. Temporary tables are his external tables. What asks for no right and reads files all
/// the same (the function `file()`, schemas and templates of formats) is held within the folder by
/// [`crate::confine`].
fn rights(user: &User) -> Value {
    let mut all = json!({"password_sha256_hex": user.hash, "networks": {"ip": "::/0"}});
    let profile = match user.right {
        Right::Full => {
            all["grants"] = json!({"query": "GRANT ALL ON *.* WITH GRANT OPTION"});
            "full"
        }
        Right::ReadOnly => {
            all["grants"] = json!({"query": [
                "GRANT SELECT, SHOW, dictGet, CREATE TEMPORARY TABLE ON *.*",
                "GRANT TABLE ENGINE ON Memory",
                "REVOKE SELECT ON system.users",
            ]});
            all["databases"] = json!({"system": {"processes": {"filter": "user = currentUser()"}}});
            "readonly"
        }
    };
    (all["profile"], all["quota"]) = (json!(profile), json!(profile));
    all
}

/// As ClickHouse reads a configuration: a member is an element of its name, and an array is one element after the other.
fn xml(config: &Value) -> String {
    let mut text = String::new();
    element("clickhouse", config, &mut text);
    text
}

fn element(name: &str, value: &Value, text: &mut String) {
    if let Value::Array(all) = value {
        return all.iter().for_each(|each| element(name, each, text));
    }
    text.push_str(&format!("<{name}>"));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| element(name, value, text)),
        Value::String(word) => text.push_str(&word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
        number => text.push_str(&number.to_string()),
    }
    text.push_str(&format!("</{name}>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_engine_can_use_its_own_name() {
        let hash = "ab".repeat(32);
        let reader = User { name: "r".to_owned(), hash: hash.clone(), right: Right::ReadOnly };
        let text = user_directory(&Users::Named(vec![reader]), 2);
        let own = &text["users"][OWN];
        assert_eq!((&own["profile"], &own["quota"]), (&json!("opening"), &json!("opening")), "{own}");
        assert_eq!(text["quotas"]["opening"]["interval"]["queries"], 2);
        assert_eq!(text["users"]["r"]["password_sha256_hex"], json!(hash));
    }

    #[test]
    fn a_path_stays_text() {
        let path = Path::new("/a<b&c");
        let server = Server {
            users_file: path,
            is_open: true,
            memory: Memory::Bytes(7),
            max_connections: 1,
            max_queries: 1,
            idle_timeout: 1,
            says_queries: false,
            json_log: false,
            backups: &[path.to_owned()],
        };
        let config = server.text();
        assert!(config.contains("<path>/a&lt;b&amp;c</path>"), "{config}");
        assert!(config.contains("<allowed_path>/a&lt;b&amp;c</allowed_path>"), "{config}");
    }
}
