//! The two files that the engine is configured by, as ClickHouse's server knows them: `config.xml` and `users.xml`.
//!
//! They hold hashes of passwords, so they are written for this user alone, whole before the engine is started, into a
//! folder that goes as soon as the engine has read them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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

const METRICS: &str = "<handler><type>prometheus</type><metrics>true</metrics><events>true</events>\
     <errors>true</errors></handler>";

impl Server<'_> {
    /// The text of `config.xml`.
    pub fn xml(&self) -> String {
        let memory = match self.memory {
            Memory::Bytes(bytes) => format!("<max_server_memory_usage>{bytes}</max_server_memory_usage>"),
            Memory::Ratio(ratio) => {
                format!("<max_server_memory_usage_to_ram_ratio>{ratio}</max_server_memory_usage_to_ram_ratio>")
            }
        };
        let quiet = |name: &str| format!("<logger><name>{}</name><level>none</level></logger>", escape(name));
        let pools = CHATTER.map(|pool| format!("BackgroundSchedulePool/{pool}"));
        let quiet: String = match self.says_queries {
            true => pools.iter().map(|pool| quiet(pool)).collect(),
            false => SAY_QUERIES.into_iter().chain(pools.iter().map(String::as_str)).map(quiet).collect(),
        };
        let json = if self.json_log { "<formatting><type>json</type></formatting>" } else { "" };
        let backups = self.backups.iter().map(|path| path.to_string_lossy());
        let backups: String = backups.map(|path| format!("<allowed_path>{}</allowed_path>", escape(&path))).collect();
        format!(
            "<clickhouse>
  <logger><console>1</console>{json}<levels>{quiet}</levels></logger>
  <listen_host>127.0.0.1</listen_host>
  <user_directories><users_xml><path>{}</path></users_xml></user_directories>
  {memory}
  <backups>{backups}</backups>
  <max_connections>{}</max_connections>
  <max_concurrent_queries>{}</max_concurrent_queries>
  <keep_alive_timeout>{}</keep_alive_timeout>
  <http_handlers>
{}  </http_handlers>
</clickhouse>
",
            escape(&self.users_file.to_string_lossy()),
            // And this program's own.
            self.max_connections.saturating_add(16),
            self.max_queries,
            self.idle_timeout,
            self.handlers(),
        )
    }

    /// Where nobody needs a password, a page that the operator looks at must not ask in his name: neither across sites
    /// (`Origin`) nor under a name that was made to point here (`Host`).
    fn handlers(&self) -> String {
        let metrics = format!("    <rule><url>/metrics</url><methods>GET,HEAD</methods>{METRICS}</rule>\n");
        if !self.is_open {
            return metrics + "    <defaults/>\n";
        }
        let mut rules =
            "    <rule><url>/</url><empty_query_string/><methods>GET,HEAD</methods><handler><type>static</type>\
             <content_type>text/html</content_type><response_content>Ok.&#10;</response_content></handler></rule>\n"
                .to_owned();
        let here = format!("<Host>regex:{LOCAL}</Host><Origin>regex:(|https?://{LOCAL})</Origin>");
        let query = "<handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>";
        rules += &metrics.replace("<handler>", &format!("<headers>{here}</headers><handler>"));
        let mut rule = |url: &str, handler: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(rules, "    <rule><url>{url}</url><headers>{here}</headers>{handler}</rule>");
        };
        for kind in ["ping", "replicas_status", "play", "dashboard"] {
            rule(&format!("/{kind}"), &format!("<handler><type>{kind}</type></handler>"));
        }
        rule("regex:/(query)?", query);
        rules
            + "    <rule><handler><type>static</type><status>403</status><content_type>text/plain</content_type>\
                 <response_content>without --users only programs of this machine may ask, with a Host of localhost, \
                 127.0.0.1 or [::1] and no Origin of another site; or there is no such address&#10;</response_content>\
                 </handler></rule>\n"
    }
}

/// The text of `users.xml`.
///
/// The engine opens its listeners as the user `default`, always without a password. Where there is a users file, that
/// name must be of no use to anyone else: it has no rights but that one, so many statements as there are listeners to
/// open, and none that has more than two elements, so that not even `SELECT 1` is among them.
pub fn users(users: &Users, listeners: usize) -> String {
    let own = match users {
        Users::Open => user(OWN, "<password></password>", "<ip>127.0.0.1</ip><ip>::1</ip>", "full", ""),
        Users::Named(_) => user(
            OWN,
            "<password></password>",
            "<ip>127.0.0.1</ip>",
            "opening",
            "<grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>",
        ),
    };
    let named = match users {
        Users::Open => String::new(),
        Users::Named(users) => users.iter().map(named).collect(),
    };
    format!(
        "<clickhouse>
  <profiles>
    <full>
      <async_insert>0</async_insert>
      <allow_introspection_functions>0</allow_introspection_functions>
      <implicit_select>0</implicit_select>
      <max_query_size>1048576</max_query_size>
    </full>
    <readonly><profile>full</profile><readonly>2</readonly></readonly>
    <opening>
      <max_ast_elements>2</max_ast_elements>
      <constraints><max_ast_elements><readonly/></max_ast_elements></constraints>
    </opening>
    <default><profile>full</profile></default>
  </profiles>
  <quotas>
    <full/>
    <readonly/>
    <opening><interval><duration>2147483647</duration><queries>{listeners}</queries></interval></opening>
  </quotas>
  <users>
{own}{named}  </users>
</clickhouse>
"
    )
}

/// A reader has no right on any source outside the databases (`FILE`, `URL`, `REMOTE`, `S3`, …), none to write, none to
/// see users or what others ask. Temporary tables are his external tables. What asks for no right and reads files all
/// the same (the function `file()`, schemas and templates of formats) is held within the folder by
/// [`crate::confine`].
fn named(each: &User) -> String {
    let password = format!("<password_sha256_hex>{}</password_sha256_hex>", each.hash);
    let (profile, rights) = match each.right {
        Right::Full => ("full", "<grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants>"),
        Right::ReadOnly => (
            "readonly",
            "<grants><query>GRANT SELECT, SHOW, dictGet, CREATE TEMPORARY TABLE ON *.*</query>\
             <query>GRANT TABLE ENGINE ON Memory</query><query>REVOKE SELECT ON system.users</query></grants>\
             <databases><system><processes><filter>user = currentUser()</filter></processes></system></databases>",
        ),
    };
    user(&each.name, &password, "<ip>::/0</ip>", profile, rights)
}

fn user(name: &str, password: &str, networks: &str, profile: &str, rest: &str) -> String {
    format!(
        "    <{name}>{password}<networks>{networks}</networks><profile>{profile}</profile>\
         <quota>{profile}</quota>{rest}</{name}>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_engine_can_use_its_own_name() {
        let hash = "ab".repeat(32);
        let reader = User { name: "r".to_owned(), hash: hash.clone(), right: Right::ReadOnly };
        let text = users(&Users::Named(vec![reader]), 2);
        let own = text.lines().find(|line| line.contains("<default><password>")).expect("a line");
        assert!(own.contains("<profile>opening</profile>") && own.contains("<quota>opening</quota>"), "{own}");
        assert!(text.contains("<queries>2</queries>") && text.contains(&hash), "{text}");
    }

    #[test]
    fn a_path_stays_text() {
        let server = Server {
            users_file: Path::new("/a<b&c"),
            is_open: true,
            memory: Memory::Bytes(7),
            max_connections: 1,
            max_queries: 1,
            idle_timeout: 1,
            says_queries: false,
            json_log: false,
            backups: &[],
        };
        assert!(server.xml().contains("<path>/a&lt;b&amp;c</path>"), "{}", server.xml());
    }
}
