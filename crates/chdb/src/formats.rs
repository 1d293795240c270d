//! Output formats: which can be streamed block by block, and what they are called on the wire.
//!
//! The engine formats every block of a streamed result as a document of its own. For formats without
//! head and foot the pieces simply follow one another; for those with a head only, the heads after
//! the first are cut off; everything else must be formatted in one go.

/// How the blocks of a streamed result become one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Blocks follow one another.
    Plain,
    /// Each block starts with so many header lines; only the first block's are kept.
    Lines(usize),
    /// As [`Joining::Lines`], with CSV's quoting.
    CsvLines(usize),
    /// Each block starts with RowBinary's names, and types if so many as 2.
    Binary(usize),
    /// Not to be streamed.
    Whole,
}

/// How `format` is streamed.
pub fn joining(format: &str) -> Joining {
    match format.to_ascii_lowercase().as_str() {
        "tabseparated"
        | "tsv"
        | "raw"
        | "tabseparatedraw"
        | "tsvraw"
        | "csv"
        | "jsoneachrow"
        | "ndjson"
        | "jsonlines"
        | "jsoncompacteachrow"
        | "jsonstringseachrow"
        | "jsoncompactstringseachrow"
        | "tskv"
        | "rowbinary"
        | "native" => Joining::Plain,
        "tabseparatedwithnames"
        | "tsvwithnames"
        | "tabseparatedrawwithnames"
        | "tsvrawwithnames"
        | "rawwithnames"
        | "jsoncompacteachrowwithnames"
        | "jsoncompactstringseachrowwithnames" => Joining::Lines(1),
        "tabseparatedwithnamesandtypes"
        | "tsvwithnamesandtypes"
        | "tabseparatedrawwithnamesandtypes"
        | "tsvrawwithnamesandtypes"
        | "rawwithnamesandtypes"
        | "jsoncompacteachrowwithnamesandtypes"
        | "jsoncompactstringseachrowwithnamesandtypes" => Joining::Lines(2),
        "csvwithnames" => Joining::CsvLines(1),
        "csvwithnamesandtypes" => Joining::CsvLines(2),
        "rowbinarywithnames" => Joining::Binary(1),
        "rowbinarywithnamesandtypes" => Joining::Binary(2),
        _ => Joining::Whole,
    }
}

impl Joining {
    /// Length of the head that a block starts with.
    pub fn head(self, block: &[u8]) -> usize {
        match self {
            Joining::Plain | Joining::Whole => 0,
            Joining::Lines(count) => lines(block, count, None),
            Joining::CsvLines(count) => lines(block, count, Some(b'"')),
            Joining::Binary(groups) => binary_head(block, groups).unwrap_or(0),
        }
    }
}

fn lines(block: &[u8], count: usize, quote: Option<u8>) -> usize {
    let (mut seen, mut quoted) = (0, false);
    for (at, byte) in block.iter().enumerate() {
        if Some(*byte) == quote {
            quoted = !quoted;
        } else if *byte == b'\n' && !quoted {
            seen += 1;
            if seen == count {
                return at + 1;
            }
        }
    }
    block.len()
}

fn binary_head(block: &[u8], groups: usize) -> Option<usize> {
    let (columns, mut at) = varint(block)?;
    for _ in 0..columns.checked_mul(groups)? {
        let (length, size) = varint(block.get(at..)?)?;
        at = at.checked_add(size)?.checked_add(length)?;
    }
    (at <= block.len()).then_some(at)
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The `Content-Type` of a format.
pub fn content_type(format: &str) -> &'static str {
    let name = format.to_ascii_lowercase();
    match name.as_str() {
        "html" => "text/html; charset=UTF-8",
        "xml" => "application/xml; charset=UTF-8",
        "parquet" | "native" | "arrow" | "arrowstream" | "orc" | "avro" | "msgpack" => "application/octet-stream",
        _ if name.starts_with("rowbinary") => "application/octet-stream",
        _ if name.contains("eachrow") || name == "ndjson" || name == "jsonlines" => {
            "application/x-ndjson; charset=UTF-8"
        }
        _ if name.starts_with("json") => "application/json; charset=UTF-8",
        _ if name.starts_with("csv") => "text/csv; charset=UTF-8; header=absent",
        _ if name.starts_with("tsv") || name.starts_with("tabseparated") => "text/tab-separated-values; charset=UTF-8",
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_measured() {
        assert_eq!(joining("TSVWithNames").head(b"a\tb\n1\t2\n"), 4);
        assert_eq!(joining("CSVWithNames").head(b"\"a\nb\"\n1\n"), 6);
        assert_eq!(joining("RowBinaryWithNamesAndTypes").head(b"\x01\x01a\x05UInt8\x07"), 9);
        assert_eq!(joining("RowBinaryWithNamesAndTypes").head(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), 0);
        assert_eq!(joining("JSON"), Joining::Whole);
    }
}
