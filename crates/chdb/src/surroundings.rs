//! What a request brings to its statement besides the text: database, settings, the name it can be cancelled by.
//!
//! On a fresh connection they end with it. On a session's they are taken back after the statement, so that, as in
//! ClickHouse, only `SET` and `USE` statements change a session.

use crate::engine::{self, Connection, Params};
use crate::exception::Exception;
use crate::request::Order;

/// The setting that carries the query id, by which a statement is found in `system.processes` and cancelled. The
/// engine gives statements ids of its own; this setting only names a client towards remote servers.
pub const QUERY_ID: &str = "chdb_client_name";
const MAX_RESULT: &str = "max_result_bytes";
/// Rows of a block of a streamed result. ClickHouse's 65,409 of 1 KiB each are 64 MiB, of which the engine holds
/// several. Measured over a table of such rows, 1 GiB: peak grown by 141 MiB with 8,192, 32 MiB with 2,048; scans of
/// narrow columns take the same time with either, and up to a half more with 1,024.
const BLOCK: &str = "max_block_size";
const SMALL: &str = "2048";

/// What was set, and how to take it back.
#[derive(Debug, Default)]
pub struct Surroundings {
    undo: Vec<String>,
}

/// What `apply` is to do.
pub struct Wish<'a> {
    pub order: &'a Order,
    /// The engine is to refuse what writes. Cannot be taken back: only for fresh connections.
    pub lock: bool,
    /// The statement itself changes the session: nothing of the request may hide it.
    pub changes_session: bool,
    /// The connection goes on after this request.
    pub kept: bool,
    /// The connection is a session's that `SET` or `USE` has changed.
    pub touched: bool,
    /// The most that the result may hold, in bytes before formatting.
    pub max_result: Option<u64>,
    /// The result is streamed: it is to come in small blocks.
    pub streamed: bool,
}

impl Surroundings {
    /// Sets what the request brings.
    ///
    /// # Errors
    /// What the engine says of a setting or the database. What was set before is in `self` and can be taken back.
    pub fn apply(&mut self, connection: &mut Connection, wish: &Wish) -> Result<(), Exception> {
        if !wish.changes_session {
            self.database(connection, wish)?;
        }
        let mut sets = settings(wish);
        if wish.changes_session {
            sets.retain(|(name, _)| name == QUERY_ID);
        }
        if wish.kept {
            self.remember(connection, &mut sets, wish.touched)?;
        }
        let sets: Vec<String> =
            sets.iter().map(|(name, value)| format!("{name} = '{}'", escape(value, '\''))).collect();
        run(connection, &format!("SET {}", sets.join(", "))).map(drop)
    }

    /// Drops a temporary table when the rest is taken back.
    pub fn drop_later(&mut self, table: &str) {
        self.undo.push(format!("DROP TEMPORARY TABLE IF EXISTS `{}`", escape(table, '`')));
    }

    fn database(&mut self, connection: &mut Connection, wish: &Wish) -> Result<(), Exception> {
        let Some(database) = wish.order.database.as_deref().filter(|name| !name.is_empty()) else { return Ok(()) };
        if !wish.kept {
            return if database == "default" { Ok(()) } else { use_database(connection, database) };
        }
        let current = match wish.touched {
            true => run(connection, "SELECT currentDatabase() FORMAT TSVRaw")?,
            false => "default".to_owned(),
        };
        let current = current.trim_end_matches('\n');
        if current != database {
            use_database(connection, database)?;
            self.undo.push(format!("USE `{}`", escape(current, '`')));
        }
        Ok(())
    }

    /// Notes what the settings are before they are changed.
    fn remember(
        &mut self,
        connection: &mut Connection,
        sets: &mut Vec<(String, String)>,
        touched: bool,
    ) -> Result<(), Exception> {
        let names: Vec<String> = sets.iter().map(|(name, _)| format!("'{name}'")).collect();
        // Asking takes some ms. What nobody has set is as each connection begins.
        let ask = touched || sets.iter().any(|(name, _)| engine::begins_with(name));
        let before = match ask {
            false => String::new(),
            true => {
                let names = names.join(", ");
                run(
                    connection,
                    &format!("SELECT name, value FROM system.settings WHERE changed AND name IN ({names}) FORMAT TSV"),
                )?
            }
        };
        // Tab-separated values are escaped as string literals are.
        let changed: Vec<(&str, &str)> = before.lines().filter_map(|line| line.split_once('\t')).collect();
        // The session's own size of blocks stays, unless the request itself names one.
        sets.retain(|(name, value)| name != BLOCK || value != SMALL || !changed.iter().any(|(known, _)| known == name));
        let undo = sets.iter().map(|(name, _)| match changed.iter().find(|(known, _)| known == name) {
            Some((_, value)) => format!("{name} = '{value}'"),
            None => format!("{name} = DEFAULT"),
        });
        self.undo.push(format!("SET {}", undo.collect::<Vec<_>>().join(", ")));
        Ok(())
    }

    /// Takes everything back; `false` if that failed, and the connection must not be used again.
    pub fn take_back(self, connection: &mut Connection) -> bool {
        self.undo.iter().rev().all(|sql| match run(connection, sql) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(error = %error.text, "a session could not be put back as it was, and ends");
                false
            }
        })
    }
}

fn settings(wish: &Wish) -> Vec<(String, String)> {
    let order = wish.order;
    let mut sets = order.settings.clone();
    sets.retain(|(name, _)| name != QUERY_ID);
    sets.push((QUERY_ID.to_owned(), order.query_id.clone()));
    if wish.streamed && !sets.iter().any(|(name, _)| name == BLOCK) {
        sets.push((BLOCK.to_owned(), SMALL.to_owned()));
    }
    if let Some(most) = wish.max_result {
        // A narrower bound of the client's own stays.
        let own = sets.iter().rfind(|(name, _)| name == MAX_RESULT).and_then(|(_, value)| value.parse().ok());
        let most = own.filter(|own| (1..most).contains(own)).unwrap_or(most);
        sets.retain(|(name, _)| name != MAX_RESULT);
        sets.push((MAX_RESULT.to_owned(), most.to_string()));
    }
    if wish.lock {
        // With 1 the user may change nothing, with 2 everything but this.
        let level = if order.readonly_level == 1 { "1" } else { "2" };
        sets.push(("readonly".to_owned(), level.to_owned()));
    }
    sets
}

fn use_database(connection: &mut Connection, database: &str) -> Result<(), Exception> {
    run(connection, &format!("USE `{}`", escape(database, '`'))).map(drop)
}

fn run(connection: &mut Connection, sql: &str) -> Result<String, Exception> {
    let output = connection.query(sql.as_bytes(), "TSV", &Params::default())?;
    Ok(String::from_utf8_lossy(output.bytes()).into_owned())
}

/// `text` within `quote`s.
pub fn escape(text: &str, quote: char) -> String {
    text.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"))
}
