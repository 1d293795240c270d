//! Steps over the data of a column in a Native block. Nothing is decoded but what says how much follows.

use super::types::Type;

/// LowCardinality: the low byte of the first word is the width of an index, as a power of two.
const INDEX_WIDTH: u64 = 0xff;
/// LowCardinality: the keys are in the column itself. The engine writes nothing else here.
const KEYS_FOLLOW: u64 = 1 << 9;
/// Variant: the row has no value.
const NO_VARIANT: u8 = 255;
/// JSON: the version of the prefix that says "as text".
const JSON_AS_TEXT: u64 = 1;

/// A place in blocks. Every step is `None` where the data would end before it.
pub struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(data: &'a [u8]) -> Cursor<'a> {
        Cursor { data, at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.data.len()
    }

    pub fn skip_rest(&mut self) {
        self.at = self.data.len();
    }

    /// What was stepped over since `start`.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.data[start..self.at]
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.data.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn word(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    pub fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..63).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Steps over a column of `rows` rows: first what its parts say of themselves, then their data.
    pub fn column(&mut self, of: &Type, rows: usize) -> Option<()> {
        self.prefix(of)?;
        self.data(of, rows)
    }

    fn prefix(&mut self, of: &Type) -> Option<()> {
        match of {
            Type::Fixed(_) | Type::String => Some(()),
            Type::Nullable(inner) | Type::Array(inner) => self.prefix(inner),
            // The version of the dictionary; the keys' own type says nothing.
            Type::LowCardinality(_) => self.take(8).map(drop),
            Type::Tuple(elements) => elements.iter().try_for_each(|element| self.prefix(element)),
            // 0: each row's variant is a byte.
            Type::Variant(variants) => {
                if self.word()? != 0 {
                    return None;
                }
                variants.iter().try_for_each(|variant| self.prefix(variant))
            }
            Type::Json => (self.word()? == JSON_AS_TEXT).then_some(()),
        }
    }

    fn data(&mut self, of: &Type, rows: usize) -> Option<()> {
        match of {
            Type::Fixed(width) => self.take(width.checked_mul(rows)?).map(drop),
            Type::String | Type::Json => (0..rows).try_for_each(|_| self.string().map(drop)),
            Type::Nullable(inner) => {
                self.take(rows)?;
                self.data(inner, rows)
            }
            Type::Array(inner) => {
                let ends = self.take(rows.checked_mul(8)?)?;
                let last = ends.last_chunk::<8>().map_or(0, |end| u64::from_le_bytes(*end));
                self.data(inner, usize::try_from(last).ok()?)
            }
            // An empty tuple is a byte a row.
            Type::Tuple(elements) if elements.is_empty() => self.take(rows).map(drop),
            Type::Tuple(elements) => elements.iter().try_for_each(|element| self.data(element, rows)),
            Type::LowCardinality(inner) => self.dictionary(inner, rows),
            Type::Variant(variants) => self.variants(variants, rows),
        }
    }

    fn dictionary(&mut self, inner: &Type, rows: usize) -> Option<()> {
        if rows == 0 {
            return Some(());
        }
        let mut left = rows;
        while left > 0 {
            let kind = self.word()?;
            let width = 1_usize.checked_shl(u32::try_from(kind & INDEX_WIDTH).ok()?).filter(|width| *width <= 8)?;
            if kind & KEYS_FOLLOW == 0 {
                return None;
            }
            let keys = usize::try_from(self.word()?).ok()?;
            // A null is the first key; the keys themselves are never null.
            let key = if let Type::Nullable(key) = inner { key } else { inner };
            self.data(key, keys)?;
            let indexes = usize::try_from(self.word()?).ok().filter(|indexes| (1..=left).contains(indexes))?;
            self.take(indexes.checked_mul(width)?)?;
            left -= indexes;
        }
        Some(())
    }

    fn variants(&mut self, variants: &[Type], rows: usize) -> Option<()> {
        let mut counts = vec![0_usize; variants.len()];
        for which in self.take(rows)? {
            if *which != NO_VARIANT {
                *counts.get_mut(usize::from(*which))? += 1;
            }
        }
        variants.iter().zip(counts).try_for_each(|(variant, count)| self.data(variant, count))
    }
}
