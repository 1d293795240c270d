//! Blocks in ClickHouse's Native format, built column by column straight from the records of chunks.
//!
//! Native with LowCardinality dictionaries costs the server a fifth of RowBinary, because it stores what it is
//! given instead of hashing every value. One block is one UTC day and one insert, so that it is stored wholly or
//! not at all; the caller sees to the day, this module to the bytes.

mod columns;
mod dictionary;
mod id;
mod native;

pub use columns::{BlockBuilder, Source};
pub use id::BlockId;

use clickhouse::Compression;
use clickhouse::insert_formatted::CompressedData;

/// Rows in one block at most: well under the 1,048,449 at which a server would cut it in two.
pub const MAX_ROWS: usize = 500_000;
/// What is compressed in one go.
const PIECE: usize = 1 << 20;

/// A finished block, ready to send before its [`lease_column`].
pub struct Block {
    pub rows: usize,
    /// The Native bytes as LZ4 frames.
    pub frames: Vec<CompressedData>,
}

impl Block {
    /// The columns of the events themselves.
    pub fn column_list() -> String {
        let names: Vec<_> = weir_event::field::FIELDS.iter().map(|field| field.name).collect();
        names.join(", ")
    }

    /// The columns that a block and its lease together have, for `INSERT INTO table (columns)`.
    pub fn insert_columns() -> String {
        format!("{}, {LEASE}", Self::column_list())
    }
}

/// The last column: under which lease the block is inserted. Apart from the block, because a retry may be under another
/// lease than the block was built under.
pub fn lease_column(rows: usize, lease: BlockId) -> Vec<CompressedData> {
    let mut frames = Frames::default();
    native::put_header(&mut frames.open, LEASE, "UUID");
    (0..rows).for_each(|_| frames.open.extend_from_slice(&lease.native()));
    frames.finish()
}

/// Bytes on their way into LZ4 frames: only what is not compressed yet is held as it is.
#[derive(Default)]
struct Frames {
    open: Vec<u8>,
    done: Vec<CompressedData>,
}

impl Frames {
    /// Compresses what fills whole frames.
    fn flush(&mut self) {
        let whole = self.open.len() - self.open.len() % PIECE;
        self.done.extend(self.open[..whole].chunks(PIECE).map(frame));
        self.open.drain(..whole);
    }

    fn finish(mut self) -> Vec<CompressedData> {
        self.flush();
        self.done.extend(Some(&self.open[..]).filter(|rest| !rest.is_empty()).map(frame));
        self.done
    }
}

fn frame(piece: &[u8]) -> CompressedData {
    CompressedData::new(piece, Compression::Lz4).expect("LZ4 takes any bytes of this size")
}

const LEASE: &str = "lease";
