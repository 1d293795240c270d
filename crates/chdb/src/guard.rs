//! What a user who may only read may not send: statements that do more than read, and sources outside the databases.
//!
//! The engine refuses both by the rights of its role ([`crate::rights`]) and by `readonly = 2`; this is the first of
//! two doors. It is needed for the statements (`SET ROLE` would open the second), and useful for the sources: some
//! table functions look at their arguments, or end the process, before they ask for a right, and the function
//! `file()` asks for none. Settings that are text are a third way out, which the engine leaves open: some name files
//! (`format_template_row`), some are expressions of their own (`additional_result_filter`).

use std::collections::HashSet;

use crate::engine::Params;
use crate::exception::Exception;
use crate::lexer::{Kind, Lexer, Token};

/// The statements that only read.
const READING: [&str; 9] = ["SELECT", "WITH", "FROM", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "EXISTS", "VALUES"];

/// Beginnings of the names of functions that reach outside the databases, or run text as a query.
const OUTSIDE: [&str; 36] = [
    "aiclassify",
    "aiembed",
    "aiextract",
    "aigenerate",
    "aitranslate",
    "arrow",
    "azure",
    "catboost",
    "cluster",
    "cosn",
    "deltalake",
    "eval",
    "executable",
    "file",
    "gcs",
    "hdfs",
    "hive",
    "hudi",
    "iceberg",
    "input",
    "jdbc",
    "mongodb",
    "mysql",
    "odbc",
    "oss",
    "paimon",
    "postgresql",
    "prometheusquery",
    "python",
    "redis",
    "remote",
    "s3",
    "sqlite",
    "urlcluster",
    "url(",
    "ytsaurus",
];

/// Settings that are text, and that a reader may set all the same: they only shape results or label statements.
const HARMLESS: [&str; 22] = [
    "bool_false_representation",
    "bool_true_representation",
    "compatibility",
    "count_distinct_implementation",
    "force_data_skipping_indices",
    "force_optimize_projection_name",
    "format_csv_null_representation",
    "format_custom_field_delimiter",
    "format_custom_result_after_delimiter",
    "format_custom_result_before_delimiter",
    "format_custom_row_after_delimiter",
    "format_custom_row_before_delimiter",
    "format_custom_row_between_delimiter",
    "format_json_object_each_row_column_for_object_name",
    "format_tsv_null_representation",
    "ignore_data_skipping_indices",
    "log_comment",
    "network_compression_method",
    "output_format_pretty_grid_charset",
    "output_format_sql_insert_table_name",
    "preferred_optimize_projection_name",
    "query_cache_tag",
];

/// The settings that a reader may not set.
#[derive(Debug, Default)]
pub struct Closed(HashSet<String>);

impl Closed {
    /// Asks for the names of all settings that are text, an address, a map, or change the language.
    pub const SQL: &str =
        "SELECT name FROM system.settings WHERE type IN ('String', 'Map', 'URI', 'Dialect') FORMAT TSVRaw";

    /// Of the names that the engine gave, all but the harmless ones.
    pub fn new(names: &str) -> Closed {
        let closed = names.lines().filter(|name| !HARMLESS.contains(name));
        Closed(closed.chain(["profile"]).map(str::to_owned).collect())
    }

    /// Checks a setting of a request.
    ///
    /// # Errors
    /// 164 if it is closed.
    pub fn check(&self, name: &str) -> Result<(), Exception> {
        match self.0.contains(name) {
            true => Err(Exception::readonly(format!(
                "Cannot modify '{name}' setting in readonly mode: it may reach outside the databases"
            ))),
            false => Ok(()),
        }
    }

    /// Checks the settings that a text sets: names before a `=`.
    fn check_text(&self, tokens: &[Token], sql: &[u8]) -> Result<(), Exception> {
        let assigned =
            tokens.windows(2).filter(|pair| matches!(pair[0].kind, Kind::Word | Kind::Quoted) && pair[1].is(b'='));
        for pair in assigned {
            self.check(String::from_utf8_lossy(&sql[pair[0].start..pair[0].end]).trim_matches(['`', '"']))?;
        }
        Ok(())
    }
}

/// Whether a statement that starts with this word, in upper case, only reads.
pub fn reads(first: &str) -> bool {
    READING.contains(&first)
}

/// Checks a statement of a user who may only read.
///
/// # Errors
/// 164 for a statement that is not a read or a setting that is closed, 497 for a source outside the databases.
pub fn check(sql: &[u8], first: &str, params: &Params, closed: &Closed) -> Result<(), Exception> {
    if !reads(first) {
        return Err(Exception::readonly("this user may only read: SELECT, SHOW, DESCRIBE, EXPLAIN and EXISTS"));
    }
    let tokens: Vec<Token> = Lexer::new(sql).collect();
    closed.check_text(&tokens, sql)?;
    let denied = |what: &[u8]| {
        let what = String::from_utf8_lossy(what).into_owned();
        Err(Exception::new(
            497,
            "ACCESS_DENIED",
            format!("this user may only read tables: `{what}` reaches outside the databases"),
        ))
    };
    let mut tables = vec![false];
    for (at, token) in tokens.iter().enumerate() {
        let raw = &sql[token.start..token.end];
        let called = tokens.get(at + 1).is_some_and(|next| next.is(b'('));
        let in_tables = tables.last().copied().unwrap_or(false);
        match token.kind {
            Kind::Symbol(b'(') => tables.push(in_tables && !is_call(&tokens[..at], sql)),
            Kind::Symbol(b')') if tables.len() > 1 => drop(tables.pop()),
            Kind::Word | Kind::Quoted if called && is_outside(raw) => return denied(raw),
            // What the engine's lexer may read in another way than ours is not let through.
            Kind::Unfinished => return denied(&raw[..raw.len().min(40)]),
            Kind::Word if !raw.is_ascii() => return denied(raw),
            Kind::Quoted if raw.contains(&b'/') => return denied(raw),
            Kind::Text if in_tables => return denied(raw),
            Kind::Word => {
                let array_join = at > 0 && tokens[at - 1].is_word(sql, "ARRAY");
                if let (Some(last), Some(now)) = (tables.last_mut(), opens_tables(raw)) {
                    *last = now && !array_join;
                }
                if raw.eq_ignore_ascii_case(b"Identifier") && params.values.iter().any(|value| value.contains('/')) {
                    return denied(raw);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the parenthesis after these tokens holds the arguments of a function.
fn is_call(before: &[Token], sql: &[u8]) -> bool {
    before.last().is_some_and(|token| token.kind == Kind::Word && opens_tables(&sql[token.start..token.end]).is_none())
}

fn is_outside(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).trim_matches(['`', '"']).to_ascii_lowercase();
    // With its parenthesis, so that `url` is found and `URLHierarchy` is not.
    let call = name + "(";
    OUTSIDE.iter().any(|outside| call.starts_with(outside))
}

/// Whether string literals after this word would be names of files that are read as tables.
fn opens_tables(word: &[u8]) -> Option<bool> {
    let word = word.to_ascii_uppercase();
    match word.as_slice() {
        b"FROM" | b"JOIN" | b"TABLE" | b"DESC" | b"DESCRIBE" | b"EXISTS" => Some(true),
        b"SELECT" | b"WHERE" | b"PREWHERE" | b"ON" | b"USING" | b"GROUP" | b"ORDER" | b"HAVING" | b"LIMIT"
        | b"SETTINGS" | b"FORMAT" | b"ARRAY" | b"WINDOW" | b"QUALIFY" | b"UNION" | b"LIKE" | b"ILIKE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(sql: &str) -> u32 {
        let first = crate::sql::query(sql.as_bytes()).first;
        let closed = Closed::new("format_schema\nlog_comment\nadditional_result_filter");
        check(sql.as_bytes(), &first, &Params::default(), &closed).map_or_else(|error| error.code, |()| 0)
    }

    #[test]
    fn no_text_panics() {
        let mut random = fastrand::Rng::with_seed(7);
        let pieces = [
            "'",
            "\"",
            "`",
            "$",
            "$a$",
            "/*",
            "*/",
            "--",
            "# ",
            "\n",
            "(",
            ")",
            "\\",
            "INSERT INTO",
            "FORMAT",
            "VALUES",
            "x",
            ".",
            "\u{2018}",
            " ",
            ";",
            "FROM",
        ];
        for _ in 0..20_000 {
            let text: String = (0..random.usize(..12)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            let cut = &text.as_bytes()[..random.usize(..=text.len())];
            crate::sql::shape(cut, random.bool());
            let first = crate::sql::query(cut).first;
            let _judged = check(cut, &first, &Params::default(), &Closed::default());
            let _fields = crate::multipart::fields(cut, "x");
        }
    }

    #[test]
    fn reading_tables_is_allowed() {
        for sql in [
            "SELECT a, 'x/y' FROM t WHERE path = '/etc' AND b IN ('/a', 'b') GROUP BY a",
            "WITH 'x' AS y SELECT toStartOfMinute(ts), y FROM weir.access_events JOIN u ON u.a = '/x' ORDER BY 1",
            "SHOW TABLES FROM weir LIKE '%a%'",
            "SELECT * FROM (SELECT 'a/b' AS c)",
            "SELECT URLHierarchy(u) FROM t",
            "SELECT x FROM t ARRAY JOIN ['a/b', 'c'] AS x WHERE s = 'Größe ‘q’'",
            "SELECT * FROM numbers(3) AS n, values('a UInt8', 1)",
            "SELECT 1 SETTINGS log_comment = 'x', max_threads = 1",
        ] {
            assert_eq!(code(sql), 0, "{sql}");
        }
    }

    #[test]
    fn the_rest_is_refused() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "SYSTEM FLUSH LOGS",
            "SET readonly = 0",
            "KILL QUERY WHERE 1",
            "DROP TABLE t",
            "SELECT 1 SETTINGS max_threads = 1, `format_schema` = 'x'",
            "SELECT 1 FORMAT CSV SETTINGS additional_result_filter='x'",
            "SELECT 1 SETTINGS profile = 'default'",
            "",
        ] {
            assert_eq!(code(sql), 164, "{sql}");
        }
        for sql in [
            "SELECT * FROM file('/etc/passwd')",
            "SELECT * FROM `file` ('/etc/passwd')",
            "SELECT file('/etc/passwd')",
            "SELECT * FROM urlCluster('x', 'http://a')",
            "SELECT * FROM `/etc/passwd`",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM t, 'passwd.csv'",
            "SELECT * FROM (SELECT 1) AS a, ('x.csv')",
            "DESCRIBE TABLE s3('x')",
            "SELECT * FROM \u{2018}/etc/passwd\u{2019}",
            "SELECT * FROM \u{a0}file('/etc/passwd')",
            "SELECT * FROM url ('http://a')",
            "SELECT * FROM eval('SELECT 1')",
            "SELECT 'open",
            "WITH x AS (SELECT * FROM/**/remote('h', a.b)) SELECT * FROM x",
        ] {
            assert_eq!(code(sql), 497, "{sql}");
        }
        let params = Params { names: vec!["t".to_owned()], values: vec!["/etc/passwd".to_owned()] };
        assert!(check(b"SELECT * FROM {t:Identifier}", "SELECT", &params, &Closed::default()).is_err());
    }
}
