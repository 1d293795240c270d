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

use bytes::Bytes;
use clickhouse::Compression;
use clickhouse::insert_formatted::CompressedData;

/// Rows in one block at most: well under the 1,048,449 at which a server would cut it in two.
pub const MAX_ROWS: usize = 500_000;
/// What is compressed in one go.
const PIECE: usize = 1 << 20;

/// A finished block.
#[derive(Clone, Debug)]
pub struct Block {
    pub id: BlockId,
    pub rows: usize,
    /// The Native bytes, uncompressed; kept until the block is committed, for a retry must send the same.
    pub body: Bytes,
}

impl Block {
    /// The columns of the events themselves.
    pub fn column_list() -> String {
        let names: Vec<_> = weir_event::field::FIELDS.iter().map(|field| field.name).collect();
        names.join(", ")
    }

    /// The columns that the body and the lease together have, for `INSERT INTO table (columns)`.
    pub fn insert_columns() -> String {
        format!("{}, {LEASE}", Self::column_list())
    }

    /// The body as LZ4 frames, ready to send before [`Block::lease_column`]. Costs CPU: not for an async thread.
    pub fn compress(&self) -> Result<Vec<CompressedData>, clickhouse::error::Error> {
        self.body.chunks(PIECE).map(|piece| CompressedData::new(piece, Compression::Lz4)).collect()
    }

    /// The last column: under which lease the block is inserted. Apart from the body, because a retry may be under
    /// another lease than the block was built under.
    pub fn lease_column(&self, lease: BlockId) -> Result<Vec<CompressedData>, clickhouse::error::Error> {
        let mut column = Vec::with_capacity(self.rows * 16 + 16);
        native::put_header(&mut column, LEASE, "UUID");
        (0..self.rows).for_each(|_| column.extend_from_slice(&lease.native()));
        column.chunks(PIECE).map(|piece| CompressedData::new(piece, Compression::Lz4)).collect()
    }
}

const LEASE: &str = "lease";
