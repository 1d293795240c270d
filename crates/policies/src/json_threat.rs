//! `json-threat-protection-flex`: refuses JSON that is none, or larger or deeper than a service should have to read.
//!
//! Requests whose `content-type` is JSON are read whole before anything of them is sent on. The scanner keeps a bit and a
//! count a level, makes nothing of the document, and does not recurse.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, Need, Outcome, RequestView, Stages, Step};
use bytes::Bytes;
use weir_config::Api;
use weir_config::policy::JsonThreatProtection;
use weir_event::Reason;
use weir_http1::Known;

/// Levels that no document goes beyond, whatever the configuration allows.
const DEEPEST: usize = 10_000;

/// The compiled policy.
#[derive(Debug)]
pub struct JsonThreat(JsonThreatProtection);

impl Compiled for JsonThreat {
    type Spec = JsonThreatProtection;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self(spec.clone())
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        match request.headers.get(Known::ContentType) {
            Some(kind) if is_json(kind) => Step::Content,
            _ => Outcome::go_on().into(),
        }
    }

    fn needs(&self) -> Need {
        Need::Whole { most: usize::try_from(self.0.body.bytes()).unwrap_or(usize::MAX) }
    }

    fn on_content(&self, _: &mut RequestView<'_>, content: &Bytes) -> Step {
        // A request without content has no document.
        if content.is_empty() {
            return Outcome::go_on().into();
        }
        match scan(content, &self.0) {
            Ok(()) => Outcome::go_on().into(),
            Err(threat) => {
                let refusal = Answer::refusal(Reason::MalformedRequestBody, Body::Problem(threat.detail()));
                Outcome::reject(refusal).into()
            }
        }
    }
}

/// `application/json`, or a type whose suffix says that it is (RFC 6839 3.1).
fn is_json(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is =
        |suffix: &[u8]| kind.len() >= suffix.len() && kind[kind.len() - suffix.len()..].eq_ignore_ascii_case(suffix);
    is(b"+json") || kind.eq_ignore_ascii_case(b"application/json") || kind.eq_ignore_ascii_case(b"text/json")
}

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threat {
    Syntax,
    Depth,
    Members,
    Name,
    Elements,
    String,
}

impl Threat {
    fn detail(self) -> &'static str {
        match self {
            Self::Syntax => "the content of the request is not JSON",
            Self::Depth => "the JSON of the request is nested deeper than maxContainerDepth",
            Self::Members => "an object in the JSON of the request has more members than maxObjectEntryCount",
            Self::Name => "a name in the JSON of the request is longer than maxObjectEntryNameLength",
            Self::Elements => "an array in the JSON of the request has more elements than maxArrayElementCount",
            Self::String => "a string in the JSON of the request is longer than maxStringValueLength",
        }
    }
}

/// One level: whether it is an object, and how many values it has.
struct Level {
    is_object: bool,
    count: u32,
}

/// Reads a document (RFC 8259).
fn scan(text: &[u8], limits: &JsonThreatProtection) -> Result<(), Threat> {
    // RFC 8259 8.1: UTF-8, and nothing else between systems. What follows needs to look at bytes alone.
    let text = std::str::from_utf8(text).map_err(|_| Threat::Syntax)?.as_bytes();
    let mut at = Scanner { text, at: 0 };
    let mut levels: Vec<Level> = Vec::new();
    let within = |count: u32, limit: Option<u32>| limit.is_none_or(|limit| count <= limit);
    loop {
        // A value begins, in the level that is open.
        if let Some(level) = levels.last_mut() {
            level.count += 1;
            if level.is_object {
                if !within(level.count, limits.members) {
                    return Err(Threat::Members);
                }
                if !within(at.string()?, limits.name) {
                    return Err(Threat::Name);
                }
                at.expect(b':')?;
            } else if !within(level.count, limits.elements) {
                return Err(Threat::Elements);
            }
        }
        let is_open = match at.peek()? {
            b'"' => {
                if !within(at.string()?, limits.string) {
                    return Err(Threat::String);
                }
                false
            }
            open @ (b'{' | b'[') => {
                at.at += 1;
                levels.push(Level { is_object: open == b'{', count: 0 });
                if levels.len() > DEEPEST || !within(levels.len() as u32, limits.depth) {
                    return Err(Threat::Depth);
                }
                // Closed at once, it has no value.
                at.peek()? != if open == b'{' { b'}' } else { b']' }
            }
            _ => {
                at.scalar()?;
                false
            }
        };
        if is_open {
            continue;
        }
        // What follows a value: another one, or ends.
        loop {
            let Some(level) = levels.last() else {
                at.blanks();
                return if at.at == text.len() { Ok(()) } else { Err(Threat::Syntax) };
            };
            let end = if level.is_object { b'}' } else { b']' };
            match at.peek()? {
                b',' if level.count > 0 => {
                    at.at += 1;
                    break;
                }
                byte if byte == end => {
                    at.at += 1;
                    levels.pop();
                }
                _ => return Err(Threat::Syntax),
            }
        }
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no blank, which is not passed.
    fn peek(&mut self) -> Result<u8, Threat> {
        self.blanks();
        self.text.get(self.at).copied().ok_or(Threat::Syntax)
    }

    fn next(&mut self) -> Result<u8, Threat> {
        let byte = self.text.get(self.at).copied().ok_or(Threat::Syntax)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Threat> {
        if self.peek()? != byte {
            return Err(Threat::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a string; answers how many characters it stands for.
    fn string(&mut self) -> Result<u32, Threat> {
        self.expect(b'"')?;
        let mut length = 0_u32;
        loop {
            match self.next()? {
                b'"' => return Ok(length),
                b'\\' => {
                    length += 1;
                    match self.next()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            for _ in 0..4 {
                                if !self.next()?.is_ascii_hexdigit() {
                                    return Err(Threat::Syntax);
                                }
                            }
                        }
                        _ => return Err(Threat::Syntax),
                    }
                }
                0..=0x1f => return Err(Threat::Syntax),
                // Of a character of several bytes the first counts.
                byte => length += u32::from(byte & 0xc0 != 0x80),
            }
        }
    }

    /// Passes a number, or one of the three words.
    fn scalar(&mut self) -> Result<(), Threat> {
        for word in [&b"true"[..], b"false", b"null"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.text[self.at - whole] == b'0' {
            return Err(Threat::Syntax);
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if self.text.get(self.at).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'e')) {
            self.at += 1;
            if self.text.get(self.at).is_some_and(|byte| matches!(byte, b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Passes digits, of which there is one at least.
    fn digits(&mut self) -> Result<usize, Threat> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(count) } else { Err(Threat::Syntax) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;
    use crate::testing::{Request, compiled, done};

    fn limits(depth: u32, members: u32, name: u32, elements: u32, string: u32) -> JsonThreatProtection {
        JsonThreatProtection {
            depth: Some(depth),
            members: Some(members),
            name: Some(name),
            elements: Some(elements),
            string: Some(string),
            body: weir_config::ByteSize::mib(1),
        }
    }

    const NONE: JsonThreatProtection = JsonThreatProtection {
        depth: None,
        members: None,
        name: None,
        elements: None,
        string: None,
        body: weir_config::ByteSize::mib(1),
    };

    #[test]
    fn bounds() {
        let limits = limits(2, 2, 3, 3, 4);
        for (text, expected) in [
            (r#"{"a":[1,2,3],"b":"four"}"#, Ok(())),
            (r#"[[1]]"#, Ok(())),
            (r#"[[[1]]]"#, Err(Threat::Depth)),
            (r#"{"a":{"b":{}}}"#, Err(Threat::Depth)),
            (r#"{"a":1,"b":2,"c":3}"#, Err(Threat::Members)),
            (r#"{"abc":1}"#, Ok(())),
            (r#"{"abcd":1}"#, Err(Threat::Name)),
            (r#"{"äöü":"äöüß"}"#, Ok(())),
            (r#"{"\u00e4\n\"":"\ud83d\ude00xy"}"#, Ok(())),
            (r#"[1,2,3,4]"#, Err(Threat::Elements)),
            (r#"["12345"]"#, Err(Threat::String)),
            (r#""12345""#, Err(Threat::String)),
        ] {
            assert_eq!(scan(text.as_bytes(), &limits), expected, "{text}");
        }
        assert_eq!(scan("[".repeat(20_000).as_bytes(), &NONE), Err(Threat::Depth));
        let deep = "[".repeat(5_000) + &"]".repeat(5_000);
        assert_eq!(scan(deep.as_bytes(), &NONE), Ok(()));
    }

    /// What is JSON is what `serde_json` takes for it, but for numbers that it cannot hold.
    #[test]
    fn the_grammar_is_that_of_rfc_8259() {
        const PIECES: [&str; 30] = [
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\\", "\\u12aF", "\\n", "\\x", "0", "1", "-", ".",
            "e5", "E+1", "true", "false", "null", "nul", " ", "\n", "\t", "ä", "\u{1}", "1e999", "01",
        ];
        let mut rng = fastrand::Rng::with_seed(7);
        let mut valid = 0;
        for _ in 0..200_000 {
            let count = rng.usize(0..9);
            let text: String = (0..count).filter_map(|_| rng.choice(PIECES)).collect();
            let theirs = match serde_json::from_str::<serde_json::Value>(&text) {
                Err(error) if error.to_string().contains("number out of range") => continue,
                theirs => theirs.is_ok(),
            };
            valid += usize::from(theirs);
            assert_eq!(scan(text.as_bytes(), &NONE).is_ok(), theirs, "{text:?}");
        }
        assert!(valid > 2_000, "{valid} is hardly a test");
        assert_eq!(scan(b"1e999", &NONE), Ok(()), "a number of any size is one");
        assert_eq!(scan(b"\"\xff\"", &NONE), Err(Threat::Syntax));
    }

    #[test]
    fn only_json_is_read() {
        let policy = compiled("json-threat-protection-flex", "{maxContainerDepth: 1, maxStringValueLength: -1}");
        assert_eq!(policy.needs(), Need::Whole { most: 1 << 20 });
        for (kind, is) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/problem+json"), true),
            (Some("application/jsonp"), false),
            (Some("text/plain"), false),
            (None, false),
        ] {
            let request = Request::of(http::Method::POST, "/");
            let mut request = kind.into_iter().fold(request, |request, kind| request.with("content-type", kind));
            assert_eq!(matches!(policy.on_request(&mut request.view()), Step::Content), is, "{kind:?}");
        }
        let mut request = Request::of(http::Method::POST, "/");
        let said = |content: &'static str, request: &mut Request| match done(
            policy.on_content(&mut request.view(), &Bytes::from_static(content.as_bytes())),
        )
        .decision
        {
            Decision::Reject(answer) => Some((answer.status.as_u16(), answer.body)),
            _ => None,
        };
        assert_eq!(said("{}", &mut request), None);
        assert_eq!(said("", &mut request), None);
        assert_eq!(said("[[]]", &mut request), Some((400, Body::Problem(Threat::Depth.detail()))));
        assert_eq!(said("{", &mut request), Some((400, Body::Problem(Threat::Syntax.detail()))));
    }
}
