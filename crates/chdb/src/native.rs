//! Native blocks as clients of the native protocol expect them over HTTP (`client_protocol_version=N`).
//!
//! The engine writes blocks as files have them. From revision 1 on a block starts with its info; from 54454 on a
//! byte follows each column's type that says whether the column is written in an unusual way (never, here). To put
//! that byte in its place, the end of each column must be known: [`layout`] walks a column without decoding it.
//! What goes in needs none of this: ClickHouse reads the blocks of an INSERT over HTTP as files have them.

use crate::exception::Exception;

mod layout;
mod types;

use layout::Cursor;

/// From here on a byte says of each column whether its serialization is unusual.
const WITH_CUSTOM_SERIALIZATION: u64 = 54454;
/// Field 1: not an overflow block; field 2: bucket -1; no further field.
const INFO: [u8; 8] = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];

/// Gives `blocks` the frame of `revision`. `alone`: there is exactly one block, whose last column then need not be
/// understood.
///
/// # Errors
/// 48 if a column is of a type whose end is not found here.
pub fn frame(blocks: &[u8], revision: u64, alone: bool) -> Result<Vec<u8>, Exception> {
    let mut out = Vec::with_capacity(blocks.len() + 64);
    if revision == 0 {
        out.extend_from_slice(blocks);
        return Ok(out);
    }
    if alone && revision < WITH_CUSTOM_SERIALIZATION {
        out.extend_from_slice(&INFO);
        out.extend_from_slice(blocks);
        return Ok(out);
    }
    let mut cursor = Cursor::new(blocks);
    while !cursor.is_at_end() {
        out.extend_from_slice(&INFO);
        block(&mut cursor, revision, alone, &mut out)?;
    }
    Ok(out)
}

fn block(cursor: &mut Cursor, revision: u64, alone: bool, out: &mut Vec<u8>) -> Result<(), Exception> {
    let start = cursor.at();
    let columns = cursor.varint().ok_or_else(broken)?;
    let rows = cursor.varint().ok_or_else(broken)?;
    out.extend_from_slice(cursor.since(start));
    for column in 1..=columns {
        let start = cursor.at();
        let name = cursor.string().ok_or_else(broken)?;
        let type_name = cursor.string().ok_or_else(broken)?;
        out.extend_from_slice(cursor.since(start));
        if revision >= WITH_CUSTOM_SERIALIZATION {
            out.push(0);
        }
        let start = cursor.at();
        if alone && column == columns {
            cursor.skip_rest();
        } else if rows > 0 {
            let parsed = types::parse(type_name).ok_or_else(|| unknown(name, type_name))?;
            cursor.column(&parsed, rows).ok_or_else(|| unknown(name, type_name))?;
        }
        out.extend_from_slice(cursor.since(start));
    }
    Ok(())
}

fn broken() -> Exception {
    Exception::new(33, "CANNOT_READ_ALL_DATA", "the engine's Native block ends too early: a fault of weir-chdb")
}

fn unknown(name: &[u8], type_name: &[u8]) -> Exception {
    let (name, type_name) = (String::from_utf8_lossy(name), String::from_utf8_lossy(type_name));
    Exception::not_implemented(format!(
        "Native with `client_protocol_version` is not served for column `{name}` of type `{type_name}` unless it is the last one; select it last, cast it (`toString`, `finalizeAggregation`), or ask for RowBinaryWithNamesAndTypes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_follows_the_revision() {
        let block = b"\x02\x02\x01a\x05UInt8\x07\x08\x01s\x06String\x01x\x00";
        assert_eq!(frame(block, 0, false).expect("framed"), block);
        assert_eq!(frame(block, 54405, true).expect("framed"), [&INFO[..], block].concat());
        let custom = [&INFO[..], b"\x02\x02\x01a\x05UInt8\x00\x07\x08\x01s\x06String\x00\x01x\x00"].concat();
        assert_eq!(frame(block, 54454, true).expect("framed"), custom);
        let twice = frame(&[&block[..], &block[..]].concat(), 54488, false).expect("framed");
        assert_eq!(twice, [&custom[..], &custom[..]].concat());
    }

    #[test]
    fn what_is_cut_or_unknown_is_an_error() {
        let block = b"\x02\x02\x01a\x05UInt8\x07\x08\x01s\x06String\x01x\x00";
        for end in 1..block.len() {
            assert!(frame(&block[..end], 54460, false).is_err(), "{end}");
        }
        let state = b"\x02\x01\x01a\x1dAggregateFunction(sum, UInt8)\x01\x01b\x05UInt8\x02";
        assert_eq!(frame(state, 54460, true).expect_err("refused").code, 48);
        let last = b"\x02\x01\x01b\x05UInt8\x02\x01a\x1dAggregateFunction(sum, UInt8)\x01";
        assert_eq!(frame(last, 54460, true).expect("framed").len(), last.len() + INFO.len() + 2);
    }
}
