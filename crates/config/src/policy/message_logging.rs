//! `message-logging-flex`: lines of the operator's own words about requests, before the upstream, after it, or both.

use serde_json::{Value, json};

use super::PolicySpec;
use crate::expression::Expression;
use crate::read::{Cursor, show};

/// The lines that a request may get.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageLogging {
    pub messages: Vec<LoggedMessage>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedMessage {
    pub text: LogText,
    /// Written only if this holds; `None`: always.
    pub condition: Option<Condition>,
    /// Written before the text; may be empty.
    pub category: String,
    pub level: LogLevel,
    /// Whether it is written before the request goes on.
    pub before: bool,
    /// Whether it is written when the response is there.
    pub after: bool,
}

/// What is written, piece after piece.
#[derive(Debug, Clone, PartialEq)]
pub struct LogText(pub Vec<TextPart>);

/// A piece of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextPart {
    Text(String),
    /// Of the request; of headers, once the response is there, the response's.
    Expression(Expression),
    /// `attributes.statusCode`: there once the response is.
    Status,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Never,
    /// A value is (or is not) this text; without a text, it is missing.
    Is {
        part: TextPart,
        text: Option<String>,
        negated: bool,
    },
}

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// Each with its name in YAML.
    pub const NAMES: [(&'static str, Self); 4] =
        [("DEBUG", Self::Debug), ("INFO", Self::Info), ("WARN", Self::Warn), ("ERROR", Self::Error)];
}

/// What no line may say: who has it, has the client's rights.
const CREDENTIALS: [&str; 7] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "client_secret", "client-secret", "x-api-key"];
const CURE: &str = "write a text, `#[attributes.headers['name']]`, `#[attributes.queryParams['name']]`, `#[attributes.method]`, \
                    `#[attributes.requestPath]`, `#[attributes.remoteAddress]`, `#[attributes.statusCode]`, or several of these \
                    and texts in quotes, joined by `++`";

impl PolicySpec for MessageLogging {
    const NAME: &'static str = "message-logging-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        fields.mean([("loggingConfiguration", "The lines: each with `itemData`")]);
        let messages = fields.required("loggingConfiguration", |at| at.items(item));
        fields.finish();
        Some(Self { messages: messages? })
    }

    fn view(&self) -> Value {
        let of = |message: &LoggedMessage| {
            let level = LogLevel::NAMES.iter().find(|(_, level)| *level == message.level).map(|(name, _)| name);
            json!({
                "message": message.text.view(), "category": message.category, "level": level,
                "before": message.before, "after": message.after, "conditional": message.condition.is_some(),
            })
        };
        json!({"messages": self.messages.iter().map(of).collect::<Vec<_>>()})
    }
}

impl LogText {
    fn view(&self) -> String {
        let part = |part: &TextPart| match part {
            TextPart::Text(text) => text.clone(),
            TextPart::Expression(expression) => expression.to_string(),
            TextPart::Status => "#[attributes.statusCode]".to_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

fn item(at: &Cursor<'_>) -> Option<LoggedMessage> {
    let mut fields = at.fields()?;
    fields.mean([("itemName", "A name for people"), ("itemData", "What the line says, and when it is written")]);
    fields.optional("itemName", Cursor::text);
    let data = fields.required("itemData", data);
    fields.finish();
    data
}

fn data(at: &Cursor<'_>) -> Option<LoggedMessage> {
    let mut fields = at.fields()?;
    fields.mean([
        ("message", "A text, or an expression"),
        ("conditional", "Written if this holds: `true`, `false`, or an expression compared with a text or `null`"),
        ("category", "Written before the message"),
        ("level", "`DEBUG`, `INFO` (the default), `WARN` or `ERROR`"),
        ("firstSection", "Whether it is written before the request goes on"),
        ("secondSection", "Whether it is written when the response is there"),
    ]);
    let text = fields.required("message", text);
    let condition = fields.optional("conditional", condition);
    let category = fields.optional("category", Cursor::text);
    let level = fields.take("level").map_or(Some(LogLevel::Info), |at| at.choice(&LogLevel::NAMES));
    let before = fields.optional("firstSection", Cursor::boolean).unwrap_or(false);
    let after = fields.optional("secondSection", Cursor::boolean).unwrap_or(false);
    fields.finish();
    if !before && !after && !at.is_described() {
        at.warn("is never written: neither `firstSection` nor `secondSection` is true; write one of them");
    }
    Some(LoggedMessage {
        text: text?,
        condition: condition.flatten(),
        category: category.unwrap_or_default(),
        level: level?,
        before,
        after,
    })
}

fn text(at: &Cursor<'_>) -> Option<LogText> {
    let text = at.text()?;
    let Some(inner) = expression(&text) else { return Some(LogText(vec![TextPart::Text(text)])) };
    let parts: Option<Vec<_>> = pieces(inner).into_iter().map(|piece| part(piece.trim())).collect();
    match parts {
        Some(parts) => {
            parts.into_iter().map(|part| without_credentials(at, part)).collect::<Option<Vec<_>>>().map(LogText)
        }
        None => at.refuse(format!("`{}` is no message that this version of weir knows; {CURE}", show(&text))),
    }
}

/// What is within `#[` and `]`.
fn expression(text: &str) -> Option<&str> {
    text.trim().strip_prefix("#[")?.strip_suffix(']').map(str::trim)
}

/// What `++` joins, where it is not within quotes.
fn pieces(text: &str) -> Vec<&str> {
    split(text, "++")
}

fn split<'t>(text: &'t str, by: &str) -> Vec<&'t str> {
    let (mut found, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if at >= start && text[at..].starts_with(by) => {
                found.push(&text[start..at]);
                start = at + by.len();
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

fn part(text: &str) -> Option<TextPart> {
    if let Some(text) = quoted(text) {
        return Some(TextPart::Text(text.to_owned()));
    }
    if text == "attributes.statusCode" {
        return Some(TextPart::Status);
    }
    Expression::parse(&format!("#[{text}]")).map(TextPart::Expression)
}

/// A text in quotes, without them.
fn quoted(text: &str) -> Option<&str> {
    let within = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    within('\'').or_else(|| within('"')).filter(|text| !text.contains(['\'', '"', '\\']))
}

fn without_credentials(at: &Cursor<'_>, part: TextPart) -> Option<TextPart> {
    let is_secret = |name: &str| CREDENTIALS.contains(&name.to_ascii_lowercase().as_str());
    let name = match &part {
        TextPart::Expression(Expression::Header(name)) => name.as_str(),
        TextPart::Expression(Expression::QueryParam(name)) => name,
        _ => return Some(part),
    };
    if is_secret(name) || ["access_token", "password"].contains(&name) {
        at.warn(format!("`{}` is a credential: a line says `***` in its place", show(name)));
        return Some(TextPart::Text("***".to_owned()));
    }
    Some(part)
}

/// `None` inside: it always holds.
fn condition(at: &Cursor<'_>) -> Option<Option<Condition>> {
    let text = at.text()?;
    let inner = expression(&text).unwrap_or(text.trim());
    match inner {
        "true" => return Some(None),
        "false" => return Some(Some(Condition::Never)),
        _ => {}
    }
    let compared = |by| match split(inner, by)[..] {
        [left, right] => {
            let right = right.trim();
            let text = if right == "null" { None } else { Some(quoted(right).or_else(|| number(right))?.to_owned()) };
            Some(Condition::Is { part: part(left.trim())?, text, negated: by == "!=" })
        }
        _ => None,
    };
    match compared("==").or_else(|| compared("!=")) {
        Some(condition) => Some(Some(condition)),
        None => at.refuse(format!(
            "`{}` is no condition that this version of weir knows; write true, false, or an expression compared with a text \
             or null, as in `#[attributes.method == 'POST']`",
            show(&text)
        )),
    }
}

fn number(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn texts_are_joined() {
        let of = |text: &str| pieces(text).into_iter().map(|piece| part(piece.trim())).collect::<Option<Vec<_>>>();
        let parts =
            of("'a ++ b: ' ++ attributes.method ++ \" \" ++ attributes.headers['x-id'] ++ attributes.statusCode")
                .unwrap();
        let text = |text: &str| TextPart::Text(text.to_owned());
        let header = Expression::Header(HeaderName::from_static("x-id"));
        let expected = [
            text("a ++ b: "),
            TextPart::Expression(Expression::Method),
            text(" "),
            TextPart::Expression(header),
            TextPart::Status,
        ];
        assert_eq!(parts, expected);
        for wrong in ["payload", "'a' ++", "a", "'it''s'", "upper('a')"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
