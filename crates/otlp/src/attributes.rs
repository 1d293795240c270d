//! Attributes of a span, a link, an event or the resource: names and values, within the limits that
//! `OTEL_ATTRIBUTE_COUNT_LIMIT` and `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` set.

use crate::protobuf::{FIXED64, LENGTH, VARINT, bytes, length, short_key, size, varint, varint_len};
use std::net::{IpAddr, Ipv4Addr};

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
    /// Of the field.
    key: u8,
    limits: Limits,
    count: usize,
}

/// Fields of `KeyValue` and of `AnyValue` (opentelemetry-proto, common/v1).
const KEY: u32 = 1;
const VALUE: u32 = 2;
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const DOUBLE: u32 = 4;

/// A name that is known when the program is built: everything of its attribute before the value, as it is where all
/// lengths take one byte. To be copied costs a quarter of what it costs to be written field by field. Made by [`key`].
pub(crate) struct Key<const N: usize>([u8; N]);

/// What a [`Key`] has beside the name: field and length of the attribute, key and length of the name and of the value, field
/// and length within the value.
pub(crate) const AROUND_NAME: usize = 8;
/// Where the name begins.
const NAME_AT: usize = 4;
/// The largest length that takes one byte.
const SHORT: usize = 127;

impl<const N: usize> Key<N> {
    pub(crate) const fn new(name: &str) -> Self {
        let (mut template, name) = ([0; N], name.as_bytes());
        assert!(name.len() + AROUND_NAME == N && N + 16 < SHORT, "the room for the name is what it needs");
        template[2] = short_key(KEY, LENGTH);
        template[3] = name.len() as u8;
        let mut at = 0;
        while at < name.len() {
            template[NAME_AT + at] = name[at];
            at += 1;
        }
        template[N - 4] = short_key(VALUE, LENGTH);
        Self(template)
    }

    fn name(&self) -> &str {
        std::str::from_utf8(&self.0[NAME_AT..N - 4]).unwrap_or_default()
    }
}

/// The [`Key`] of a literal.
macro_rules! key {
    ($name:literal) => {
        const { &$crate::attributes::Key::<{ $name.len() + $crate::attributes::AROUND_NAME }>::new($name) }
    };
}
pub(crate) use key;

impl<'o> Attributes<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, field: u32, limits: Limits) -> Self {
        Self { out, key: short_key(field, LENGTH), limits, count: 0 }
    }

    /// A text; nothing where it is empty. Bytes that are no UTF-8 are replaced by U+FFFD: the field is a `string`.
    pub(crate) fn bytes<const N: usize>(&mut self, key: &Key<N>, value: &[u8]) -> &mut Self {
        if value.is_ascii() { self.put(key, value) } else { self.text(key, &String::from_utf8_lossy(value)) }
    }

    /// A text; nothing where it is empty.
    pub(crate) fn text<const N: usize>(&mut self, key: &Key<N>, value: &str) -> &mut Self {
        self.put(key, value.as_bytes())
    }

    /// An attribute whose name is not known before.
    pub(crate) fn named(&mut self, name: &str, value: &[u8]) -> &mut Self {
        if !value.is_empty() && self.has_room() {
            self.put_long(name, &String::from_utf8_lossy(value));
        }
        self
    }

    /// As [`Attributes::named`], a number.
    pub(crate) fn named_number(&mut self, name: &str, value: u64) -> &mut Self {
        self.put_varint(name, INT, value)
    }

    /// As [`Attributes::named`], true or false.
    pub(crate) fn named_flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.put_varint(name, BOOL, u64::from(value))
    }

    fn put_varint(&mut self, name: &str, field: u32, value: u64) -> &mut Self {
        if self.has_room() {
            let any = 1 + varint_len(value);
            self.out.push(self.key);
            varint(self.out, (size(KEY, name.len()) + size(VALUE, any)) as u64);
            bytes(self.out, KEY, name.as_bytes());
            length(self.out, VALUE, any);
            self.out.push(short_key(field, VARINT));
            varint(self.out, value);
        }
        self
    }

    pub(crate) fn address<const N: usize>(&mut self, key: &Key<N>, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(ip) => {
                let (text, len) = dotted(ip);
                self.put(key, &text[..len])
            }
            IpAddr::V6(ip) => self.text(key, &ip.to_string()),
        }
    }

    pub(crate) fn int<const N: usize>(&mut self, key: &Key<N>, value: u64) -> &mut Self {
        if self.has_room() {
            let more = if value > 0x7f { 0x80 } else { 0 };
            self.begin(key, 1 + varint_len(value), short_key(INT, VARINT), value as u8 | more);
            if more > 0 {
                varint(self.out, value >> 7);
            }
        }
        self
    }

    pub(crate) fn seconds<const N: usize>(&mut self, key: &Key<N>, micros: u64) -> &mut Self {
        if self.has_room() {
            let [first, rest @ ..] = (micros as f64 / 1e6).to_bits().to_le_bytes();
            self.begin(key, 9, short_key(DOUBLE, FIXED64), first);
            self.out.extend_from_slice(&rest);
        }
        self
    }

    /// `value` is UTF-8.
    fn put<const N: usize>(&mut self, key: &Key<N>, value: &[u8]) -> &mut Self {
        if value.is_empty() || !self.has_room() {
            return self;
        }
        if value.len() > self.limits.length.min(SHORT + 2 - N) {
            self.put_long(key.name(), std::str::from_utf8(value).unwrap_or_default());
            return self;
        }
        self.begin(key, 2 + value.len(), short_key(STRING, LENGTH), value.len() as u8);
        self.out.extend_from_slice(value);
        self
    }

    /// Everything of an attribute up to its value, which takes `any` bytes with its `tag`: that, and the `first` of them.
    fn begin<const N: usize>(&mut self, key: &Key<N>, any: usize, tag: u8, first: u8) {
        self.out.extend_from_slice(&key.0);
        if let Some(head) = self.out.last_chunk_mut::<N>() {
            head[0] = self.key;
            head[1] = (N - 4 + any) as u8;
            head[N - 3] = any as u8;
            head[N - 2] = tag;
            head[N - 1] = first;
        }
    }

    fn put_long(&mut self, name: &str, value: &str) {
        let value = cut(value, self.limits.length);
        let any = size(STRING, value.len());
        let all = size(KEY, name.len()) + size(VALUE, any);
        self.out.push(self.key);
        varint(self.out, all as u64);
        bytes(self.out, KEY, name.as_bytes());
        length(self.out, VALUE, any);
        bytes(self.out, STRING, value.as_bytes());
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

/// At most so many bytes of `text`, up to the end of a character.
pub(crate) fn cut_at(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// As `Display` writes it, without what that costs.
fn dotted(ip: Ipv4Addr) -> ([u8; 16], usize) {
    let (mut text, mut len) = ([0; 16], 0);
    for octet in ip.octets() {
        let [digits @ .., count] = OCTETS[usize::from(octet)];
        // Four times three digits and a dot are sixteen bytes: what is too much is written over.
        text[len..len + 3].copy_from_slice(&digits);
        len += usize::from(count);
        text[len] = b'.';
        len += 1;
    }
    (text, len - 1)
}

/// The digits of each byte, and how many they are.
static OCTETS: [[u8; 4]; 256] = {
    let (mut table, mut octet) = ([[0; 4]; 256], 0);
    while octet < table.len() {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        table[octet] = match octet {
            0..=9 => [ones, 0, 0, 1],
            10..=99 => [tens, ones, 0, 2],
            _ => [hundreds, tens, ones, 3],
        };
        octet += 1;
    }
    table
};

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
            attributes.text(key!("a"), "x").text(key!("none"), "").int(key!("b"), 0).int(key!("c"), 1 << 40);
            attributes.seconds(key!("d"), 1_500_000).bytes(key!("e"), b"\xff!").named("f", b"\xff!");
            attributes.named_number("g", 1 << 40).named_flag("h", true).named_flag("i", false);
        });
        let text = |text: &str| Value::StringValue(text.to_owned());
        let expected = [
            ("a", text("x")),
            ("b", Value::IntValue(0)),
            ("c", Value::IntValue(1 << 40)),
            ("d", Value::DoubleValue(1.5)),
            ("e", text("\u{fffd}!")),
            ("f", text("\u{fffd}!")),
            ("g", Value::IntValue(1 << 40)),
            ("h", Value::BoolValue(true)),
            ("i", Value::BoolValue(false)),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(dropped, 0);
    }

    #[test]
    fn limits_cut_texts_between_characters_and_count_what_is_left_out() {
        let (read, dropped) = written(Limits { count: 2, length: 3 }, |attributes| {
            attributes.text(key!("a"), "äöüß").int(key!("b"), 12_345).text(key!("c"), "x").named("d", b"y");
        });
        assert_eq!(
            read,
            [("a".to_owned(), Value::StringValue("äöü".into())), ("b".to_owned(), Value::IntValue(12_345))]
        );
        assert_eq!(dropped, 2);
    }

    #[test]
    fn texts_of_every_length_read_as_they_were_written() {
        for len in (1..300).chain([16_383, 16_384]) {
            let long = "x".repeat(len);
            let limits = Limits { count: 1, length: usize::MAX };
            let (read, _) = written(limits, |attributes| {
                attributes.text(key!("url.path"), &long);
            });
            assert_eq!(read, [("url.path".to_owned(), Value::StringValue(long))]);
        }
    }

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        let octets = [0, 1, 9, 10, 19, 99, 100, 109, 200, 255];
        let v4 = octets.iter().flat_map(|a| octets.map(|b| IpAddr::from([*a, b, 255 - *a, 7])));
        for ip in v4.chain(["::1", "2001:db8::8"].map(|ip| ip.parse().unwrap())) {
            let limits = Limits { count: 1, length: usize::MAX };
            let (read, _) = written(limits, |attributes| {
                attributes.address(key!("a"), ip);
            });
            assert_eq!(read, [("a".to_owned(), Value::StringValue(ip.to_string()))]);
        }
    }
}
