//! Tokens of ClickHouse SQL, far enough to find where a statement's data starts, which format it
//! asks for and what it names. It never decides what a statement means: that is the engine's parser.

/// What a token is; `start..end` of [`Token`] are bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bare word or number.
    Word,
    /// A quoted identifier, in backticks or double quotes.
    Quoted,
    /// A string literal or heredoc.
    Text,
    /// Any other single byte.
    Symbol(u8),
    /// A literal or comment that the text ends within, or more than is looked at. It is the last token.
    Unfinished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn is_word(&self, text: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && text[self.start..self.end].eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is(&self, symbol: u8) -> bool {
        self.kind == Kind::Symbol(symbol)
    }
}

/// The tokens of a text, without spaces and comments.
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Heredocs that may still be looked for: each costs a search of the rest of the text.
    heredocs: u16,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer { text, at: 0, heredocs: 256 }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Steps over spaces and comments; `false` if the text ends within a comment.
    fn skip(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.at += spaces;
            let rest = self.rest();
            let comment_end = match rest {
                [b'-', b'-', ..] | [b'#', b' ' | b'!', ..] => find(rest, b"\n").map(|end| end + 1).or(Some(rest.len())),
                [b'/', b'*', ..] => find(&rest[2..], b"*/").map(|end| end + 4),
                _ if spaces == 0 => return true,
                _ => Some(0),
            };
            match comment_end {
                Some(length) => self.at += length,
                None => return false,
            }
        }
    }

    fn quoted(&self, quote: u8) -> Option<usize> {
        let rest = self.rest();
        let mut at = 1;
        while at < rest.len() {
            match rest[at] {
                b'\\' => at += 2,
                byte if byte == quote && rest.get(at + 1) == Some(&quote) => at += 2,
                byte if byte == quote => return Some(at + 1),
                _ => at += 1,
            }
        }
        None
    }

    fn heredoc(&self) -> Option<usize> {
        let rest = self.rest();
        let tag = 2 + rest[1..].iter().position(|byte| *byte == b'$')?;
        let named = rest[1..tag - 1].iter().all(|byte| is_word(*byte));
        let close = named.then(|| find(&rest[tag..], &rest[..tag]))??;
        Some(tag + close + tag)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let whole = self.skip();
        let start = self.at;
        let first = *self.text.get(start)?;
        let (kind, length) = match first {
            _ if !whole => (Kind::Unfinished, self.text.len() - start),
            b'\'' => self.quoted(first).map_or((Kind::Unfinished, self.rest().len()), |end| (Kind::Text, end)),
            b'`' | b'"' => self.quoted(first).map_or((Kind::Unfinished, self.rest().len()), |end| (Kind::Quoted, end)),
            b'$' if self.heredocs == 0 => (Kind::Unfinished, self.rest().len()),
            b'$' => {
                self.heredocs -= 1;
                self.heredoc().map_or((Kind::Symbol(b'$'), 1), |end| (Kind::Text, end))
            }
            byte if is_word(byte) => (Kind::Word, self.rest().iter().take_while(|byte| is_word(**byte)).count()),
            byte => (Kind::Symbol(byte), 1),
        };
        self.at = start + length;
        Some(Token { kind, start, end: self.at })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Lexer::new(text.as_bytes()).map(|token| &text[token.start..token.end]).collect()
    }

    #[test]
    fn comments_and_literals_are_whole() {
        assert_eq!(words("a -- x\n/* y */ 'it''s \\' q' `b\"`"), ["a", "'it''s \\' q'", "`b\"`"]);
        assert_eq!(words("select $x$ 'a $x$, 1"), ["select", "$x$ 'a $x$", ",", "1"]);
        assert_eq!(Lexer::new(b"'open").last().map(|token| token.kind), Some(Kind::Unfinished));
        assert_eq!(Lexer::new(b"a /* open").last().map(|token| token.kind), Some(Kind::Unfinished));
    }
}
