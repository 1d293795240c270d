//! `KILL QUERY WHERE query_id = '…'`: the engine gives statements ids of its own, so the client's id is looked for
//! where this program put it, in a setting of the statement.

use std::ops::Range;

use crate::lexer::{Kind, Lexer, Token};
use crate::surroundings::QUERY_ID;

/// The statement, with every comparison of `query_id` also made with the client's id.
pub fn by_query_id(text: &[u8]) -> Vec<u8> {
    let tokens: Vec<Token> = Lexer::new(text).collect();
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut copied, mut at) = (0, 0);
    while let Some(token) = tokens.get(at) {
        let compared = if token.is_word(text, "query_id") { compared(&tokens, at, text) } else { None };
        let Some(compared) = compared else {
            at += 1;
            continue;
        };
        let comparison = &text[tokens[compared.start].start..tokens[compared.end - 1].end];
        out.extend_from_slice(&text[copied..token.start]);
        out.extend_from_slice(b"(query_id ");
        out.extend_from_slice(comparison);
        out.extend_from_slice(format!(" OR Settings['{QUERY_ID}'] ").as_bytes());
        out.extend_from_slice(comparison);
        out.push(b')');
        copied = tokens[compared.end - 1].end;
        at = compared.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}

/// The tokens of `= '…'` or `IN (…)` after the one at `at`.
fn compared(tokens: &[Token], at: usize, text: &[u8]) -> Option<Range<usize>> {
    let start = at + 1;
    let operator = tokens.get(start)?;
    let operand = tokens.get(start + 1)?;
    if operator.is(b'=') && operand.kind == Kind::Text {
        return Some(start..start + 2);
    }
    if !operator.is_word(text, "IN") || !operand.is(b'(') {
        return None;
    }
    let close = tokens[start + 2..].iter().position(|token| !(token.kind == Kind::Text || token.is(b',')))? + start + 2;
    tokens[close].is(b')').then_some(start..close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_id_is_looked_for_too() {
        let told = |text: &str| String::from_utf8(by_query_id(text.as_bytes())).expect("text");
        assert_eq!(
            told("KILL QUERY WHERE query_id = 'a' SYNC"),
            "KILL QUERY WHERE (query_id = 'a' OR Settings['chdb_client_name'] = 'a') SYNC"
        );
        assert_eq!(
            told("kill query where user = 'x' and query_id in ('a', 'b')"),
            "kill query where user = 'x' and (query_id in ('a', 'b') OR Settings['chdb_client_name'] in ('a', 'b'))"
        );
        for same in ["KILL QUERY WHERE 1", "KILL QUERY WHERE query_id = x", "KILL QUERY WHERE 'query_id' = 'a'"] {
            assert_eq!(told(same), same);
        }
    }
}
