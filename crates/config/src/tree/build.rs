//! From the parser's events to marked trees, one a document.
//!
//! No recursion: open collections are on a stack of ours. A document that is wrong is left out with its mistake, and
//! reading goes on with the next one.

use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use super::{Key, Mark, Node, Parsed, Value};

/// How deep collections may nest, aliases written out. Flex's deepest resource needs about 12.
const MAX_DEPTH: usize = 64;
/// How many values one file may have, aliases written out: what the largest file (8 MiB) could need in earnest.
const MAX_NODES: usize = 1_000_000;
/// After how many broken documents a file is given up.
const MAX_MISTAKES: usize = 100;
/// How many values aliases may add, and how much text. A file of 1 KiB must not become a million values.
const MAX_ALIASED: Weight = Weight { nodes: 100_000, text: 8 << 20, height: MAX_DEPTH };

/// Reads all documents of `text`.
pub(crate) fn parse(text: &str) -> Parsed {
    if let Some(mistake) = invisible(text) {
        return Parsed { documents: Vec::new(), mistakes: vec![mistake] };
    }
    let options = options! { emit_comments: false, flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut parsed = Parsed::default();
    let mut builder = Builder::default();
    loop {
        let outcome = match parser.next_event() {
            None => return parsed,
            Some(Ok((event, span))) => builder.take(event, span, &mut parsed.documents),
            Some(Err(error)) => Err((mark_of(error.marker()), error.info())),
        };
        let Err((mark, message)) = outcome else { continue };
        let message = match text.lines().nth(mark.line.saturating_sub(1)).and_then(placeholder) {
            Some(_) => "the line contains what looks like a placeholder that nobody filled in".to_owned(),
            None => message,
        };
        parsed.mistakes.push((mark, message));
        builder.abandon();
        // Nothing more to be had from a file that is too large in itself, or no YAML at all.
        let hopeless = builder.used.nodes > MAX_NODES || parsed.mistakes.len() >= MAX_MISTAKES;
        if hopeless || !matches!(parser.proceed_next_document(), Ok(true)) {
            return parsed;
        }
    }
}

/// A mark between documents that is none, because of characters that no editor shows.
fn invisible(text: &str) -> Option<(Mark, String)> {
    let unseen = |c: char| matches!(c, '\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate().find_map(|(index, line)| {
        let bare = line.trim_matches(|c: char| unseen(c) || c.is_whitespace());
        let (column, found) = line.chars().enumerate().find(|(_, c)| unseen(*c)).filter(|_| bare == "---")?;
        let mark = Mark { line: index + 1, column: column + 1 };
        Some((mark, format!("has the invisible character `U+{:04X}` beside `---`; delete it", u32::from(found))))
    })
}

/// What a template or a reader was meant to replace: `{{ host }}`, `${HOST}`, `<your-url>`.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let between = |open: &str, close: &str| {
        let from = text.find(open)?;
        let inner = from + open.len();
        let length = text[inner..].find(close).filter(|length| *length > 0)?;
        Some((&text[from..inner + length + close.len()], &text[inner..inner + length]))
    };
    let word = |inner: &str| inner.chars().all(|c| c.is_alphanumeric() || " ._-".contains(c));
    let angled = between("<", ">").filter(|(_, inner)| word(inner));
    between("{{", "}}").or_else(|| between("${", "}")).or(angled).map(|(whole, _)| whole)
}

fn mark_of(marker: &granit_parser::Marker) -> Mark {
    Mark { line: marker.line(), column: marker.col() + 1 }
}

type Outcome<T = ()> = Result<T, (Mark, String)>;

/// What a node costs whoever walks it.
#[derive(Debug, Default, Clone, Copy)]
struct Weight {
    nodes: usize,
    text: usize,
    height: usize,
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.text = self.text.saturating_add(other.text);
        self.height = self.height.max(other.height);
    }
}

struct Open {
    mark: Mark,
    anchor: usize,
    weight: Weight,
    items: Items,
}

enum Items {
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>, Option<Key>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, (Rc<Node>, Weight)>,
    used: Weight,
    aliased: Weight,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let mark = mark_of(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_string_tag(tag.as_deref(), mark)?;
                let value = if plain && is_null(&text) { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.leaf(Node { mark, value }, anchor, documents)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(mark, anchor, tag.as_deref(), Items::List(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                self.start(mark, anchor, tag.as_deref(), Items::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(documents),
            Event::Alias(anchor) => self.alias(mark, anchor, documents),
            _ => Ok(()),
        }
    }

    fn abandon(&mut self) {
        self.open.clear();
        self.anchors.clear();
    }

    fn leaf(&mut self, node: Node, anchor: usize, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let text = if let Value::Scalar(text) = &node.value { text.len() } else { 0 };
        self.count(node.mark)?;
        self.complete(node, anchor, Weight { nodes: 1, text, height: 0 }, documents)
    }

    fn start(&mut self, mark: Mark, anchor: usize, tag: Option<&Tag>, items: Items) -> Outcome {
        is_string_tag(tag, mark)?;
        self.count(mark)?;
        if self.open.len() >= MAX_DEPTH {
            return Err((mark, format!("nested more than {MAX_DEPTH} deep; make it flatter")));
        }
        if self.expects_key() {
            return Err((mark, "a key must be a single value".to_owned()));
        }
        self.open.push(Open { mark, anchor, weight: Weight { nodes: 1, text: 0, height: 0 }, items });
        Ok(())
    }

    fn end(&mut self, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let Some(Open { mark, anchor, mut weight, items }) = self.open.pop() else { return Ok(()) };
        weight.height += 1;
        let value = match items {
            Items::List(items) => Value::List(items),
            Items::Map(entries, _) => Value::Map(merged(entries)?),
        };
        self.complete(Node { mark, value }, anchor, weight, documents)
    }

    fn alias(&mut self, mark: Mark, anchor: usize, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let Some((node, weight)) = self.anchors.get(&anchor).map(|(node, weight)| (Rc::clone(node), *weight)) else {
            return Err((mark, "an alias cannot stand inside of what it names".to_owned()));
        };
        self.aliased += weight;
        if self.aliased.nodes > MAX_ALIASED.nodes || self.aliased.text > MAX_ALIASED.text {
            return Err((mark, "aliases make this file too large; write out what differs".to_owned()));
        }
        if self.open.len() + weight.height > MAX_ALIASED.height {
            return Err((mark, format!("nested more than {MAX_DEPTH} deep; make it flatter")));
        }
        self.place(node, weight, documents)
    }

    fn count(&mut self, mark: Mark) -> Outcome {
        self.used.nodes += 1;
        if self.used.nodes > MAX_NODES {
            return Err((mark, format!("more than {MAX_NODES} values in one file; split it")));
        }
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize, weight: Weight, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), weight));
        }
        self.place(node, weight, documents)
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { items: Items::Map(_, None), .. }))
    }

    fn place(&mut self, node: Rc<Node>, weight: Weight, documents: &mut Vec<Rc<Node>>) -> Outcome {
        let Some(open) = self.open.last_mut() else {
            documents.push(node);
            return Ok(());
        };
        open.weight += weight;
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map(entries, key) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_of(&node)?),
            },
        }
        Ok(())
    }
}

/// With the entries that `<<` takes over: what is written in the mapping itself wins, and of several the first.
fn merged(entries: Vec<(Key, Rc<Node>)>) -> Outcome<Vec<(Key, Rc<Node>)>> {
    let (sources, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.text == "<<");
    if sources.is_empty() {
        return Ok(own);
    }
    let mut names: HashSet<_> = own.iter().map(|(key, _)| key.text.clone()).collect();
    for (key, source) in sources {
        let wrong = || (key.mark, "`<<` takes over a mapping or a list of mappings; write `<<: *anchor`".to_owned());
        let maps = match &source.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&source),
        };
        for map in maps {
            let Value::Map(entries) = &map.value else { return Err(wrong()) };
            let new = entries.iter().filter(|(key, _)| names.insert(key.text.clone()));
            own.extend(new.map(|(key, node)| (key.clone(), Rc::clone(node))));
        }
    }
    Ok(own)
}

fn key_of(node: &Node) -> Outcome<Key> {
    match &node.value {
        Value::Scalar(text) => Ok(Key { mark: node.mark, text: text.clone() }),
        Value::Null | Value::Any | Value::List(_) | Value::Map(_) => {
            Err((node.mark, "a key must be a single value".to_owned()))
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether the tag is `!!str`. YAML's other core tags change nothing here: what a text means is asked of its field.
fn is_string_tag(tag: Option<&Tag>, mark: Mark) -> Outcome<bool> {
    match tag.map(|tag| (tag, tag.core_suffix())) {
        None => Ok(false),
        Some((_, Some("str"))) => Ok(true),
        Some((_, Some("int" | "float" | "bool" | "null" | "seq" | "map"))) => Ok(false),
        Some((tag, _)) => Err((mark, format!("the tag `{}` has no meaning here; remove it", tag.original()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        parse(text).mistakes.into_iter().map(|(mark, message)| (mark.line, message)).collect()
    }

    #[test]
    fn every_value_knows_its_place() {
        let parsed = parse("a: 1\nb:\n  - x\n  - {c: d}\n---\ntwo\n");
        assert!(parsed.mistakes.is_empty());
        let [first, second] = &parsed.documents[..] else { panic!("two documents") };
        assert_eq!(second.mark, Mark { line: 6, column: 1 });
        let Value::Map(entries) = &first.value else { panic!("a mapping") };
        assert_eq!((entries[1].0.text.as_str(), entries[1].0.mark), ("b", Mark { line: 2, column: 1 }));
        let Value::List(items) = &entries[1].1.value else { panic!("a list") };
        let Value::Map(inner) = &items[1].value else { panic!("a mapping") };
        assert_eq!(inner[0].1.mark, Mark { line: 4, column: 9 });
    }

    #[test]
    fn a_broken_document_leaves_the_others() {
        let parsed = parse("a: [1, 2\n---\nb: 1\n---\nc: \"x\n---\nd: 1\n");
        assert_eq!(parsed.mistakes.len(), 2, "{:?}", parsed.mistakes);
        assert_eq!(parsed.documents.len(), 2);
    }

    #[test]
    fn laughs_are_counted() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(mistakes(&text)[0].1.contains("aliases make this file too large"));
    }

    #[test]
    fn depth_is_bounded_even_through_aliases() {
        let deep = |open: &str, n: usize| open.repeat(n);
        assert_eq!(mistakes(&deep("[", 100_000)).len(), 1);
        assert_eq!(mistakes(&deep("{a: ", 100_000)).len(), 1);
        assert_eq!(mistakes(&deep("- ", 100_000)).len(), 1);
        let half = |name: &str, inner: &str| format!("- &{name} {}{inner}{}\n", "[".repeat(40), "]".repeat(40));
        let text = half("a", "x") + &half("b", "*a");
        assert!(mistakes(&text)[0].1.contains("nested more than 64 deep"));
    }

    #[test]
    fn merge_keys_take_over_what_is_not_written() {
        let parsed = parse("- &a {x: 1, y: 1}\n- &b {y: 2, z: 2}\n- {<<: *a, x: 3}\n- {z: 4, <<: [*b, *a]}\n- {<<: 1}");
        assert_eq!(parsed.mistakes.len(), 1);
        let parsed = parse("- &a {x: 1, y: 1}\n- &b {y: 2, z: 2}\n- {<<: *a, x: 3}\n- {z: 4, <<: [*b, *a]}");
        let Value::List(items) = &parsed.documents[0].value else { panic!("a list") };
        let read = |index: usize| {
            let Value::Map(entries) = &items[index].value else { panic!("a mapping") };
            let mut pairs: Vec<_> = entries.iter().map(|(key, node)| (key.text.as_str(), &node.value)).collect();
            pairs.sort_by_key(|(key, _)| *key);
            pairs.into_iter().map(|(key, value)| format!("{key}={value:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read(2), "x=Scalar(\"3\") y=Scalar(\"1\")");
        assert_eq!(read(3), "x=Scalar(\"1\") y=Scalar(\"2\") z=Scalar(\"4\")");
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        for text in ["a: 1\n\u{200b}---\nb: 1\n", "a: 1\n---\u{feff}\nb: 1\n", "a: 1\n\u{a0}---\u{200b}\nb: 1\n"] {
            let reported = mistakes(text);
            assert!(
                reported.len() == 1 && reported[0].0 == 2 && reported[0].1.contains("invisible character `U+"),
                "{reported:?}"
            );
        }
        assert!(mistakes("\u{feff}---\na: 1\n").is_empty(), "a byte order mark is no fault");
        let reported = mistakes("a: {{ host }}\n");
        assert!(
            reported.len() == 1
                && reported[0].1.contains("looks like a placeholder")
                && !reported[0].1.contains("host"),
            "{reported:?}"
        );
    }

    #[test]
    fn odd_documents_are_refused() {
        assert!(mistakes("&a [*a]")[0].1.contains("inside of what it names"));
        assert!(mistakes("a: *nobody").len() == 1);
        assert!(mistakes("[a]: 1")[0].1.contains("a key must be"));
        assert!(mistakes("a: !secret x")[0].1.contains("`!secret`"));
        assert!(mistakes("a: \u{0}").len() == 1);
    }
}
