//! External tables: a `multipart/form-data` request brings tables for its one statement, each a part of the body
//! with its structure in the URL (`NAME_structure` or `NAME_types`, `NAME_format`).
//!
//! They are temporary tables of the request's connection, made with no more rights than the user has.

use std::io::Read;

use crate::engine::{Connection, Params};
use crate::exception::Exception;
use crate::guard::{self, Closed};
use crate::lexer::{Kind, Lexer};
use crate::multipart;
use crate::request::Order;
use crate::statement::{too_large, unreadable};
use crate::surroundings::escape;

/// The most that the tables of one request may hold, in bytes: they are in memory.
const MAX_BYTES: usize = 64 << 20;

/// A table that came with a request.
pub struct External {
    pub name: String,
    structure: String,
    format: String,
    data: Vec<u8>,
}

/// Reads a multipart body: the query and its parameters go into `order`, tables are returned.
///
/// # Errors
/// The body is malformed or too large, or a part is neither a field known here nor a table with a structure.
pub fn take_fields(
    order: &mut Order,
    reader: &mut dyn Read,
    boundary: &str,
    max_query_size: usize,
) -> Result<Vec<External>, Exception> {
    let most = max_query_size + MAX_BYTES;
    let mut body = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut body).map_err(|error| unreadable(&error))?;
    if body.len() > most {
        return Err(Exception::new(
            229,
            "QUERY_IS_TOO_LARGE",
            format!("the multipart body is above {most} bytes; insert its tables first"),
        ));
    }
    let given = descriptions(order);
    let mut tables = Vec::new();
    for (name, data) in multipart::fields(&body, boundary)? {
        let text = || {
            std::str::from_utf8(data)
                .map(str::to_owned)
                .map_err(|_| Exception::bad_arguments(format!("field `{name}` is not UTF-8")))
        };
        match name.strip_prefix("param_") {
            Some(parameter) => order.add_param(parameter, text()?),
            None if name == "query" && data.len() > max_query_size => return Err(too_large(max_query_size)),
            None if name == "query" => order.query = Some(text()?),
            None => tables.push(table(&name, &given, data)?),
        }
    }
    Ok(tables)
}

/// Takes what describes tables out of the settings, among which the URL put it.
fn descriptions(order: &mut Order) -> Vec<(String, String)> {
    let describes = |name: &str| ["_structure", "_types", "_format"].iter().any(|suffix| name.ends_with(suffix));
    order.settings.extract_if(.., |(name, _)| describes(name)).collect()
}

fn table(name: &str, given: &[(String, String)], data: &[u8]) -> Result<External, Exception> {
    let find = |suffix: &str| {
        let wanted = format!("{name}{suffix}");
        given.iter().find(|(known, _)| *known == wanted).map(|(_, value)| value.clone())
    };
    let structure = find("_structure").or_else(|| find("_types").map(|types| numbered(&types)));
    let Some(structure) = structure.filter(|text| is_closed(text)) else {
        return Err(Exception::bad_arguments(format!(
            "field `{}` is neither `query` nor `param_*`, and has no `_structure` or `_types` in the URL that would make it a table",
            name.escape_default()
        )));
    };
    let format = find("_format").unwrap_or_else(|| "TabSeparated".to_owned());
    Ok(External { name: name.to_owned(), structure, format, data: data.to_vec() })
}

/// `UInt8, Array(String)` as `_1 UInt8, _2 Array(String)`.
fn numbered(types: &str) -> String {
    let (mut depth, mut column) = (0_i32, 1);
    let mut out = "_1 ".to_owned();
    for c in types.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        out.push(c);
        if c == ',' && depth == 0 {
            column += 1;
            out.push_str(&format!("_{column} "));
        }
    }
    out
}

/// Whether a structure can stand within parentheses without ending them, or the statement.
pub fn is_closed(structure: &str) -> bool {
    let mut depth = 0_i32;
    for token in Lexer::new(structure.as_bytes()) {
        match token.kind {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth -= 1,
            Kind::Symbol(b';') | Kind::Unfinished => return false,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    // A comment at the end would swallow the closing parenthesis.
    depth == 0 && !structure.contains("--") && !structure.contains('#')
}

impl External {
    /// Checks what a user who may only read wants for a table: its structure may hold expressions.
    ///
    /// # Errors
    /// As [`guard::check`].
    pub fn check(&self, closed: &Closed) -> Result<(), Exception> {
        guard::check(format!("SELECT ({})", self.structure).as_bytes(), "SELECT", &Params::default(), closed)
    }

    /// Makes the table on `connection`, and fills it.
    ///
    /// # Errors
    /// What the engine says of its structure or its data.
    pub fn create(&self, connection: &mut Connection) -> Result<(), Exception> {
        let (name, nothing) = (escape(&self.name, '`'), Params::default());
        let sql = format!("CREATE TEMPORARY TABLE `{name}` ({})", self.structure);
        connection.query(sql.as_bytes(), "TSV", &nothing)?;
        let mut insert = connection.insert(format!("INSERT INTO `{name}`").as_bytes(), &self.format, &nothing)?;
        // What the engine has against the data is said at the end.
        let _goes_on = insert.append(&self.data);
        insert.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_stays_within_its_parentheses() {
        for good in ["a UInt8, b Array(String)", "e Enum8('a)' = 1)", "_1 Tuple(a UInt8)"] {
            assert!(is_closed(good), "{good}");
        }
        for bad in ["a UInt8) AS SELECT (1", "a UInt8; DROP TABLE t", "a UInt8 --", "a 'open", "(a", "a UInt8 # x"] {
            assert!(!is_closed(bad), "{bad}");
        }
        assert_eq!(numbered("UInt8,Map(String, UInt8),String"), "_1 UInt8,_2 Map(String, UInt8),_3 String");
    }
}
