//! What is printed: whatever a server sent, a terminal shows it and does not obey it.
//!
//! Escape codes, other control characters, and marks that turn or hide text are written as `\u{1b}`. Everything that
//! this program prints goes through here, and a test sees to that. JSON has an escape of its own for them, so that what
//! programs read stays the same JSON.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::io::{self, IsTerminal as _, Write as _};

/// Prints text for people.
pub fn say(text: impl Display) -> io::Result<()> {
    weir_program::say(lines(&text.to_string()))
}

/// Before something that is printed over and over: empties a terminal. What is not one keeps it all.
pub fn clear() -> io::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        // The cursor home, and what is behind it gone.
        write!(out, "\x1b[H\x1b[J")?;
    }
    Ok(())
}

/// Prints JSON, which `text` must be.
pub fn say_json(text: impl Display) -> io::Result<()> {
    weir_program::say(json(&text.to_string()))
}

/// Says something on standard error. Whoever has closed it does not want to know.
pub fn tell(text: impl Display) {
    let _closed = writeln!(io::stderr(), "{}", lines(&text.to_string()));
}

/// As [`tell`], without an end of line: a question.
pub fn ask(text: impl Display) {
    let _closed = write!(io::stderr(), "{}", lines(&text.to_string()));
}

/// Text of several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c != '\n' && is_unseen(c), |c, out| write!(out, "{}", c.escape_unicode()))
}

/// JSON, with the same meaning.
pub fn json(text: &str) -> Cow<'_, str> {
    // Of these only white space stands outside of strings, and a string has none but in escapes.
    replaced(
        text,
        |c| !c.is_ascii_whitespace() && is_unseen(c),
        |c, out| c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    )
}

/// A document for people: its texts are shown in one line each, so that none can pass for two.
pub fn shown(document: Value) -> Value {
    match document {
        Value::String(text) => match replaced(&text, is_unseen, |c, out| write!(out, "{}", c.escape_unicode())) {
            Cow::Borrowed(_) => Value::String(text),
            Cow::Owned(visible) => Value::String(visible),
        },
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, shown(value))).collect(),
        other => other,
    }
}

/// The beginning of what a server said instead of an answer, in one line.
pub fn excerpt(body: &str) -> String {
    const MOST: usize = 200;
    let said = serde_json::from_str::<Value>(body).ok();
    let said = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or(body);
    let mut words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(MOST) {
        words.truncate(end);
        words.push('…');
    }
    if words.is_empty() { "nothing".to_owned() } else { words }
}

fn replaced(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    write: impl Fn(char, &mut String) -> std::fmt::Result,
) -> Cow<'_, str> {
    if !text.chars().any(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) {
            // A string takes everything.
            let _ = write(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// What a terminal obeys, or shows as something that it is not: control characters of both ranges, marks of direction
/// (UAX #9), separators of lines, what has no width, and tags.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let table = [
            ("plain ü 漢 🦀 text", "plain ü 漢 🦀 text"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", r"\u{1b}[2J\u{1b}]0;title\u{7}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("\u{90}q\u{9c}", r"\u{90}q\u{9c}"),
            ("over\rwritten\u{8}", r"over\u{d}written\u{8}"),
            ("\u{7f}\0\t", r"\u{7f}\u{0}\u{9}"),
            ("abc\u{202e}cba", r"abc\u{202e}cba"),
            ("\u{2066}x\u{2069}\u{200f}\u{61c}", r"\u{2066}x\u{2069}\u{200f}\u{61c}"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
            ("one\u{2028}two\u{85}three", r"one\u{2028}two\u{85}three"),
        ];
        for (sent, printed) in table {
            assert_eq!(lines(sent), printed);
            assert_eq!(shown(json!({ "a": [sent] })), json!({ "a": [printed] }));
            let document = serde_json::to_string(&json!({ "a": sent })).unwrap();
            let safe = json(&document);
            assert!(!safe.chars().any(is_unseen), "{safe}");
            assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), json!({ "a": sent }), "the same JSON");
        }
        assert_eq!(lines("two\nlines"), "two\nlines");
        assert_eq!(shown(json!("two\nlines")), json!(r"two\u{a}lines"));
    }

    #[test]
    fn a_strange_answer_is_reported_in_one_line() {
        assert_eq!(excerpt("<html>\n<h1>404</h1>\n</html>"), "<html> <h1>404</h1> </html>");
        assert_eq!(excerpt(r#"{"error": "not here"}"#), "not here");
        assert_eq!(excerpt(" \n"), "nothing");
        assert_eq!(excerpt(&"x".repeat(1000)).chars().count(), 201);
    }

    /// Every way to print is in this file.
    #[test]
    fn everything_that_is_printed_goes_through_here() {
        let mut paths = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            if path.file_name().unwrap() == "terminal.rs" {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for way in ["println!", "print!(", "weir_program::say", "io::stderr()"] {
                assert!(!text.contains(way), "{} prints by `{way}`", path.display());
            }
        }
    }
}
