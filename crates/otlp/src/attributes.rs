//! Attributes of a span, a link, an event or the resource: names and values, within the limits that
//! `OTEL_ATTRIBUTE_COUNT_LIMIT` and `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` set.

use crate::protobuf::{bytes, length, size, uint, varint_len};

/// `OTEL_ATTRIBUTE_*_LIMIT`, and its form for spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub count: usize,
    /// Of a text, in characters.
    pub length: usize,
}

/// Writes attributes as field `field` of the message that `out` is in the middle of.
pub(crate) struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    field: u32,
    limits: Limits,
    count: usize,
}

/// Fields of `KeyValue` and of `AnyValue` (opentelemetry-proto, common/v1).
const KEY: u32 = 1;
const VALUE: u32 = 2;
const STRING: u32 = 1;
const INT: u32 = 3;
const DOUBLE: u32 = 4;

impl<'o> Attributes<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, field: u32, limits: Limits) -> Self {
        Self { out, field, limits, count: 0 }
    }

    /// A text; nothing where it is empty. Bytes that are no UTF-8 are replaced by U+FFFD: the field is a `string`.
    pub(crate) fn text(&mut self, key: &str, value: &[u8]) -> &mut Self {
        if value.is_empty() {
            return self;
        }
        match std::str::from_utf8(value) {
            Ok(text) => self.put_text(key, text),
            Err(_) => self.put_text(key, &String::from_utf8_lossy(value)),
        }
        self
    }

    fn put_text(&mut self, key: &str, value: &str) {
        if !self.has_room() {
            return;
        }
        let value = cut(value, self.limits.length);
        let any = size(STRING, value.len());
        self.begin(key, any);
        bytes(self.out, STRING, value.as_bytes());
    }

    pub(crate) fn int(&mut self, key: &str, value: u64) -> &mut Self {
        if self.has_room() {
            self.begin(key, 1 + varint_len(value));
            uint(self.out, INT, value);
        }
        self
    }

    pub(crate) fn seconds(&mut self, key: &str, micros: u64) -> &mut Self {
        if self.has_room() {
            self.begin(key, 9);
            crate::protobuf::fixed64(self.out, DOUBLE, (micros as f64 / 1e6).to_bits());
        }
        self
    }

    /// Everything of an attribute before its value, which takes `any` bytes.
    fn begin(&mut self, key: &str, any: usize) {
        length(self.out, self.field, size(KEY, key.len()) + size(VALUE, any));
        bytes(self.out, KEY, key.as_bytes());
        length(self.out, VALUE, any);
    }

    fn has_room(&mut self) -> bool {
        self.count += 1;
        self.count <= self.limits.count
    }

    /// How many were left out.
    pub(crate) fn dropped(&self) -> u64 {
        self.count.saturating_sub(self.limits.count) as u64
    }
}

fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    fn written(limits: Limits, write: impl FnOnce(&mut Attributes<'_>)) -> (Vec<(String, Value)>, u64) {
        let mut out = Vec::new();
        let mut attributes = Attributes::new(&mut out, 9, limits);
        write(&mut attributes);
        let dropped = attributes.dropped();
        let read = Span::decode(&out[..]).unwrap().attributes.into_iter();
        (read.map(|pair| (pair.key, pair.value.and_then(|any| any.value).unwrap())).collect(), dropped)
    }

    #[test]
    fn every_kind_of_value_reads_as_it_was_written() {
        let limits = Limits { count: 128, length: usize::MAX };
        let (read, dropped) = written(limits, |attributes| {
            attributes.text("a", b"x").text("none", b"").int("b", 0).int("c", 1 << 40).seconds("d", 1_500_000);
            attributes.text("e", b"\xff!");
        });
        let text = |text: &str| Value::StringValue(text.to_owned());
        let expected = [
            ("a", text("x")),
            ("b", Value::IntValue(0)),
            ("c", Value::IntValue(1 << 40)),
            ("d", Value::DoubleValue(1.5)),
            ("e", text("\u{fffd}!")),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(dropped, 0);
    }

    #[test]
    fn limits_cut_texts_between_characters_and_count_what_is_left_out() {
        let (read, dropped) = written(Limits { count: 2, length: 3 }, |attributes| {
            attributes.text("a", "äöüß".as_bytes()).int("b", 12_345).text("c", b"x").text("d", b"y");
        });
        assert_eq!(
            read,
            [("a".to_owned(), Value::StringValue("äöü".into())), ("b".to_owned(), Value::IntValue(12_345))]
        );
        assert_eq!(dropped, 2);
    }
}
