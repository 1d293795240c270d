//! `INSERT … SELECT … FROM input('structure') FORMAT X` with its rows in the body.
//!
//! The library takes rows only for an INSERT without a SELECT. So the rows go into a temporary table on disk first,
//! and the statement is run with that table where `input(…)` stood.

use crate::external::is_closed;
use crate::lexer::{Kind, Lexer, Token};

/// The temporary table.
pub const TABLE: &str = "_weir_chdb_input";

/// A statement with its call of `input` replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    pub sql: Vec<u8>,
    pub format: String,
    pub data: Vec<u8>,
    structure: String,
}

/// What was found in the head of an INSERT.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No call of `input`; the data is given back.
    Nothing(Vec<u8>),
    Call(Split),
    /// A call whose structure cannot be read.
    Unclear,
}

/// Looks for `input('…')` in the head of an INSERT that selects.
pub fn split(head: &[u8], format: &str, data: Vec<u8>) -> Found {
    let tokens: Vec<Token> = Lexer::new(head).collect();
    let mut calls =
        tokens.windows(2).enumerate().filter(|(_, pair)| pair[0].is_word(head, "INPUT") && pair[1].is(b'('));
    let Some((at, _)) = calls.next().filter(|_| tokens.iter().any(|token| token.is_word(head, "SELECT"))) else {
        return Found::Nothing(data);
    };
    let (argument, close) = (tokens.get(at + 2), tokens.get(at + 3));
    let (Some(argument), Some(close), None) = (argument, close, calls.next()) else { return Found::Unclear };
    let structure = unquote(&head[argument.start..argument.end]).filter(|text| is_closed(text));
    match structure {
        Some(structure) if argument.kind == Kind::Text && close.is(b')') => {
            let sql = [&head[..tokens[at].start], TABLE.as_bytes(), &head[close.end..]].concat();
            Found::Call(Split { sql, format: format.to_owned(), data, structure })
        }
        _ => Found::Unclear,
    }
}

fn unquote(literal: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(literal).ok()?.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(text.replace("''", "'").replace("\\'", "'"))
}

impl Split {
    /// Makes the table; on disk, since the body may be long.
    pub fn create(&self) -> String {
        format!("CREATE TEMPORARY TABLE {TABLE} ({}) ENGINE = MergeTree ORDER BY tuple()", self.structure)
    }

    pub fn fill(&self) -> String {
        format!("INSERT INTO {TABLE}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_replaced() {
        let head = b"INSERT INTO t SELECT a + 1 FROM input('a UInt8, e Enum8(\\'x\\' = 1)') WHERE a > 1 ";
        let Found::Call(found) = split(head, "TSV", b"1\n".to_vec()) else { panic!("not found") };
        assert_eq!(found.sql, b"INSERT INTO t SELECT a + 1 FROM _weir_chdb_input WHERE a > 1 ");
        assert!(found.create().contains("(a UInt8, e Enum8('x' = 1)) ENGINE"));
        assert_eq!(split(b"INSERT INTO t (input) ", "TSV", vec![1]), Found::Nothing(vec![1]));
        for unclear in
            ["input()", "input('a UInt8) ENGINE = File(1')", "input({s:String})", "input('a UInt8'), input('b UInt8')"]
        {
            let head = format!("INSERT INTO t SELECT * FROM {unclear}");
            assert_eq!(split(head.as_bytes(), "TSV", Vec::new()), Found::Unclear, "{unclear}");
        }
    }
}
