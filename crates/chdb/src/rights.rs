//! Rights as the engine itself enforces them: two roles in a configuration that is written into the folder at
//! every start. Each connection starts with all rights and gives up what its user does not have (`SET ROLE`), before
//! any text of the user reaches it.
//!
//! The engine has no `CREATE USER` here: who asks is decided by [`crate::users`], and mapped to one of these roles.

use std::path::{Path, PathBuf};

use crate::folder::FolderError;
use crate::users::Right;

const CONFIG: &str = "weir-chdb-engine.xml";
const USERS: &str = "weir-chdb-rights.xml";

/// What the engine is told besides its folder. Rights are in a file of their own, since it reads them so.
fn config(rights: &Path) -> String {
    format!("<clickhouse>\n    <users_config>{}</users_config>\n</clickhouse>\n", escape(&rights.to_string_lossy()))
}

/// A reader has no right on any source outside the databases (`FILE`, `URL`, `REMOTE`, `S3`, …), none to write, and
/// none to see users. Temporary tables are his external tables.
const RIGHTS: &str = "<clickhouse>
    <profiles><default></default></profiles>
    <quotas><default></default></quotas>
    <roles>
        <full><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></full>
        <readonly><grants><query>GRANT SELECT, SHOW, dictGet, CREATE TEMPORARY TABLE ON *.*</query></grants></readonly>
    </roles>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT full</query><query>GRANT readonly</query></grants>
        </default>
    </users>
</clickhouse>
";

/// Writes the configuration into `folder`, and gives the path that the engine is to be told.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path) -> Result<PathBuf, FolderError> {
    let access = |source| FolderError::Access { path: folder.to_owned(), source };
    let (path, rights) = (folder.join(CONFIG), folder.join(USERS));
    std::fs::write(&rights, RIGHTS).map_err(access)?;
    std::fs::write(&path, config(&rights)).map_err(access)?;
    Ok(path)
}

impl Right {
    /// The engine's role for it.
    pub fn role(self) -> &'static str {
        match self {
            Right::Full => "full",
            Right::ReadOnly => "readonly",
        }
    }

    /// The right that a role gives, if there is such a role.
    pub fn of_role(role: &str) -> Option<Right> {
        [Right::Full, Right::ReadOnly].into_iter().find(|right| right.role() == role)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine's own door, without the guard in front of it and without `readonly`.
    #[test]
    fn the_engine_itself_refuses_a_reader() {
        let root = tempfile::tempdir().expect("folder");
        let library =
            crate::library::find(None, &std::env::current_exe().expect("a path")).expect("the engine is installed");
        let config = write(root.path()).expect("written");
        let engine = crate::engine::Engine::open(&library, root.path(), &config).expect("open");
        let nothing = crate::engine::Params::default();
        let code = |right, sql: &str| {
            let mut connection = engine.connect(right).expect("connected");
            connection.query(sql.as_bytes(), "TSV", &nothing).map_or_else(|error| error.code, |_| 0)
        };
        for sql in
            ["CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO t VALUES (1)", "SYSTEM FLUSH LOGS"]
        {
            assert_eq!(code(Right::Full, sql), 0, "{sql}");
        }
        std::fs::write(root.path().join("secret"), "x ${0:Raw}\n").expect("written");
        let file = root.path().join("secret");
        let template = format!("SELECT 1 FORMAT Template SETTINGS format_template_row = '{}'", file.display());
        let (file, text) = (file.display(), "'TSV', 'a String'");
        assert_eq!(code(Right::Full, &format!("SELECT * FROM file('{file}', {text})")), 0);
        for sql in [
            "SELECT a FROM t",
            "SHOW TABLES",
            "DESCRIBE TABLE t",
            "EXPLAIN SELECT a FROM t",
            "SELECT count() FROM system.parts",
            "SELECT * FROM numbers(1)",
        ] {
            assert_eq!(code(Right::ReadOnly, sql), 0, "{sql}");
        }
        for sql in [
            &format!("SELECT * FROM file('{file}', {text})"),
            &format!("SELECT * FROM `{file}`"),
            &format!("CREATE TABLE f (a String) ENGINE = File('TSV', '{file}')"),
            &format!("CREATE TEMPORARY TABLE f (a String) ENGINE = File('TSV', '{file}')"),
            &format!("INSERT INTO FUNCTION file('{file}', {text}) SELECT 'y'"),
            "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
            "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'TSV', 'a String')",
            "SELECT * FROM remote('127.0.0.1:1', system.one)",
            "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
            "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
            "SELECT * FROM sqlite('x', 'y')",
            "SELECT * FROM system.users",
            "INSERT INTO t VALUES (2)",
            "INSERT INTO t SELECT 2",
            "ALTER TABLE t DELETE WHERE 1",
            "OPTIMIZE TABLE t",
            "TRUNCATE TABLE t",
            "DROP TABLE t",
            "CREATE TABLE u (a UInt8) ENGINE = Memory",
            "CREATE DATABASE d",
            "SYSTEM FLUSH LOGS",
            "BACKUP TABLE t TO File('x')",
            "GRANT full TO default",
            "CREATE USER u",
        ] {
            assert_eq!(code(Right::ReadOnly, sql), 497, "{sql}");
        }
        // What it lets pass, and only the guard refuses.
        for sql in ["SET ROLE full", "SET max_threads = 1", &format!("SELECT file('{file}')"), &template] {
            assert_eq!(code(Right::ReadOnly, sql), 0, "{sql}");
        }
    }

    #[test]
    fn a_path_stays_text() {
        assert!(config(Path::new("/a<b&c")).contains("<users_config>/a&lt;b&amp;c</users_config>"));
        assert_eq!(Right::of_role("readonly"), Some(Right::ReadOnly));
        assert_eq!(Right::of_role("admin"), None);
    }
}
