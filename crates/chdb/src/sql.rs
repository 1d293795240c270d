//! What the front must know of a statement before the engine sees it: where an INSERT's data starts,
//! and in which format a result will come.

use crate::lexer::{Kind, Lexer, Token};

/// What the beginning of a text says about its data.
#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    /// Not decided yet: more of the text is needed.
    Unknown,
    /// The whole text is the statement.
    Whole,
    /// An INSERT whose data follows in the text: `text[..head]` is the statement without its
    /// `FORMAT` or `VALUES`, the data starts at `data`.
    Insert { head: usize, format: String, data: usize },
}

/// Reads the beginning of a statement. `complete`: there is no more text than this.
pub fn shape(text: &[u8], complete: bool) -> Shape {
    let mut tokens = Lexer::new(text).peekable();
    match tokens.next() {
        Some(first) if first.is_word(text, "INSERT") && (complete || first.end < text.len()) => {}
        Some(first) if !complete && first.end == text.len() => return Shape::Unknown,
        None if !complete => return Shape::Unknown,
        _ => return Shape::Whole,
    }
    let undecided = if complete { Shape::Whole } else { Shape::Unknown };
    tokens.next_if(|token| token.is_word(text, "INTO"));
    tokens.next_if(|token| token.is_word(text, "TABLE"));
    // The target's own name may be any word, also `format`: it is stepped over, not read.
    if tokens.next_if(|token| token.is_word(text, "FUNCTION")).is_none() {
        tokens.next();
        while tokens.next_if(|token| token.is(b'.')).is_some() {
            tokens.next();
        }
    }
    let mut depth = 0_usize;
    // Where rows are selected, data follows only if they are selected from it.
    let (mut selects, mut from_input) = (false, false);
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.saturating_sub(1),
            Kind::Unfinished => return undecided,
            Kind::Word if is_any(&token, text, &["INFILE", "WATCH"]) => return Shape::Whole,
            Kind::Word if is_any(&token, text, &["SELECT", "WITH"]) => selects = true,
            Kind::Word if selects && token.is_word(text, "INPUT") => {
                from_input |= tokens.peek().is_some_and(|next| next.is(b'('));
            }
            Kind::Word if selects && !from_input => {}
            Kind::Word if !selects && depth == 0 && token.is_word(text, "VALUES") => {
                if token.end == text.len() && !complete {
                    return Shape::Unknown;
                }
                return Shape::Insert { head: token.start, format: "Values".to_owned(), data: token.end };
            }
            Kind::Word if depth == 0 && token.is_word(text, "FORMAT") => {
                return tokens.next().map_or(undecided, |name| format_and_data(text, complete, token, name));
            }
            _ => {}
        }
    }
    undecided
}

fn is_any(token: &Token, text: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| token.is_word(text, word))
}

/// After `FORMAT name`: blanks, then at most one line end, belong to the statement.
fn format_and_data(text: &[u8], complete: bool, keyword: Token, name: Token) -> Shape {
    let mut data = name.end;
    while matches!(text.get(data), Some(b' ' | b'\t' | b'\x0c')) {
        data += 1;
    }
    if text.get(data) == Some(&b'\r') {
        data += 1;
    }
    if data == text.len() && !complete {
        return Shape::Unknown;
    }
    if text.get(data) == Some(&b'\n') {
        data += 1;
    }
    let format = String::from_utf8_lossy(&text[name.start..name.end]).into_owned();
    Shape::Insert { head: keyword.start, format, data }
}

/// What a statement that returns rows says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The first word, in upper case; empty if it starts otherwise (a parenthesis).
    pub first: String,
    /// The `FORMAT` that it ends with.
    pub format: Option<String>,
    /// It has words that make a result more than a row of independent blocks.
    pub has_totals: bool,
    /// It has no words at all.
    pub is_empty: bool,
    /// It names a file for the client to read or write, which over HTTP is nobody's.
    pub has_client_file: bool,
    /// It is an INSERT that selects from the table function `input`, which the engine would find empty.
    pub inserts_from_input: bool,
}

/// Reads a whole statement.
pub fn query(text: &[u8]) -> Query {
    let tokens: Vec<Token> = Lexer::new(text).collect();
    let word = |token: &Token| String::from_utf8_lossy(&text[token.start..token.end]).into_owned();
    let is_empty = tokens.iter().all(|token| token.is(b';'));
    let mut found = Query { is_empty, ..Query::default() };
    let first = tokens.iter().find(|token| !token.is(b'(') && !token.is(b';'));
    if let Some(first) = first.filter(|token| token.kind == Kind::Word) {
        found.first = word(first).to_ascii_uppercase();
    }
    for (at, token) in tokens.iter().enumerate() {
        if is_any(token, text, &["TOTALS", "extremes", "output_format_json_array_of_rows"]) {
            found.has_totals = true;
        }
        if is_any(token, text, &["OUTFILE", "INFILE"]) && at > 0 && is_any(&tokens[at - 1], text, &["INTO", "FROM"]) {
            found.has_client_file = true;
        }
        let called = tokens.get(at + 1).is_some_and(|next| next.is(b'('));
        if found.first == "INSERT" && called && token.is_word(text, "INPUT") {
            found.inserts_from_input = true;
        }
        let ends = |next: Option<&Token>| {
            next.is_none_or(|next| next.is(b';') || is_any(next, text, &["SETTINGS", "INTO", "PARALLEL"]))
        };
        if token.is_word(text, "FORMAT") && at > 0 && ends(tokens.get(at + 2)) {
            found.format = tokens.get(at + 1).filter(|name| name.kind == Kind::Word).map(word).or(found.format);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(head: &str, format: &str, data: usize) -> Shape {
        Shape::Insert { head: head.len(), format: format.to_owned(), data }
    }

    #[test]
    fn an_insert_from_input_is_told() {
        let told = |text: &str| query(text.as_bytes()).inserts_from_input;
        assert!(told("INSERT INTO t SELECT a + 1 FROM input('a UInt8') FORMAT TSV"));
        assert!(!told("INSERT INTO t (input) SELECT 1"));
        assert!(!told("SELECT input(1)"));
    }

    #[test]
    fn the_data_of_an_insert_is_found() {
        let text = "INSERT INTO db.format (a, b) SETTINGS x = 'FORMAT y' FORMAT Native\n\nrest";
        let head = "INSERT INTO db.format (a, b) SETTINGS x = 'FORMAT y' ";
        assert_eq!(shape(text.as_bytes(), false), insert(head, "Native", text.len() - 5));
        assert_eq!(shape(b"insert into t values (1)", false), insert("insert into t ", "Values", 20));
        assert_eq!(shape(b"insert into t format TSV 1\tx", true), insert("insert into t ", "TSV", 25));
        assert_eq!(
            shape(b"insert into function f('x') format TSV\r\n1", true),
            insert("insert into function f('x') ", "TSV", 40)
        );
    }

    #[test]
    fn an_unfinished_head_asks_for_more() {
        for text in
            ["", "ins", "INSERT INTO t FORM", "INSERT INTO t FORMAT Nat", "INSERT INTO t VALUES", "INSERT INTO t ('"]
        {
            assert_eq!(shape(text.as_bytes(), false), Shape::Unknown, "{text}");
        }
        assert_eq!(shape(b"INSERT INTO t", true), Shape::Whole);
        assert_eq!(shape(b"INSERT INTO t FORMAT TSV", true), insert("INSERT INTO t ", "TSV", 24));
    }

    #[test]
    fn other_statements_are_whole() {
        assert_eq!(shape(b"SELECT 1 ", false), Shape::Whole);
        assert_eq!(shape(b"INSERT INTO t SELECT 1 FORMAT x", true), Shape::Whole);
        assert_eq!(shape(b"INSERT INTO t (a) WITH 1 AS x SELECT x", true), Shape::Whole);
        assert_eq!(shape(b"INSERT INTO t SELECT * FROM VALUES('a UInt8', 1)", true), Shape::Whole);
        // Unless the rows are selected from the data.
        let head = "INSERT INTO t SELECT a FROM input('a UInt8') ";
        assert_eq!(shape(format!("{head}FORMAT TSV\n1").as_bytes(), false), insert(head, "TSV", head.len() + 11));
    }

    #[test]
    fn the_format_of_a_result_is_the_last_clause() {
        assert_eq!(query(b"select 1 format JSON settings a = 1;").format.as_deref(), Some("JSON"));
        assert_eq!(query(b"select format, format('{}', x) from t").format, None);
        assert_eq!(query(b" (select 1) union all select 2").first, "SELECT");
        assert!(query(b"select 1 group by 1 with totals").has_totals);
    }
}
