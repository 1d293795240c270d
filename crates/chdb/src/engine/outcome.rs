//! What statements give back: figures, results, streams. Each owns something of the library's and
//! frees it when dropped; the streams hold their connection, so nothing else can run on it.

use std::ffi::{CStr, c_char};

use super::Connection;
use crate::exception::Exception;
use crate::ffi::{InsertPtr, ResultPtr, Symbols};

/// Figures of a statement, as `X-ClickHouse-Summary` tells them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub read_rows: u64,
    pub read_bytes: u64,
    pub written_rows: u64,
    pub written_bytes: u64,
    pub result_rows: u64,
    pub result_bytes: u64,
}

impl Stats {
    pub fn add(&mut self, other: Stats) {
        self.read_rows += other.read_rows;
        self.read_bytes += other.read_bytes;
        self.written_rows += other.written_rows;
        self.written_bytes += other.written_bytes;
        self.result_rows += other.result_rows;
        self.result_bytes += other.result_bytes;
    }
}

/// A result, or one block of a streamed one; owns the library's buffer.
pub struct Output {
    symbols: &'static Symbols,
    raw: ResultPtr,
}

impl Output {
    pub(super) fn new(symbols: &'static Symbols, raw: ResultPtr) -> Result<Output, Exception> {
        if raw.is_null() {
            return Err(Exception::from_engine("the engine returned no result"));
        }
        let output = Output { symbols, raw };
        // SAFETY: the result is alive; the text is copied before it can be freed.
        match unsafe { text((symbols.result_error)(raw)) } {
            Some(error) => Err(Exception::from_engine(&error)),
            None => Ok(output),
        }
    }

    /// The formatted data; empty for statements without a result.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the result is alive until `self` is dropped.
        let (data, length) =
            unsafe { ((self.symbols.result_buffer)(self.raw), (self.symbols.result_length)(self.raw)) };
        if data.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the library says that `length` bytes start at `data`, and they live as long as `self`.
        unsafe { std::slice::from_raw_parts(data.cast(), length) }
    }

    pub fn stats(&self) -> Stats {
        let symbols = self.symbols;
        // SAFETY: plain accessors on a result that is alive.
        unsafe {
            Stats {
                read_rows: (symbols.read_rows)(self.raw),
                read_bytes: (symbols.read_bytes)(self.raw),
                written_rows: (symbols.written_rows)(self.raw),
                written_bytes: (symbols.written_bytes)(self.raw),
                result_rows: (symbols.result_rows)(self.raw),
                result_bytes: (symbols.result_bytes)(self.raw),
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: made by the library, destroyed once.
        unsafe { (self.symbols.destroy_result)(self.raw) };
    }
}

/// A running SELECT. Dropped before its end, it is cancelled.
pub struct ResultStream<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) result: Output,
    pub(super) ended: bool,
    pub(super) stats: Stats,
}

impl ResultStream<'_> {
    /// The figures of what came so far. What was read may lag behind by the last blocks: the engine counts late.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The next block, `None` at the end.
    ///
    /// # Errors
    /// What the engine says; the stream has ended then.
    pub fn next(&mut self) -> Result<Option<Output>, Exception> {
        if self.ended {
            return Ok(None);
        }
        let symbols = self.connection.symbols;
        // SAFETY: connection and stream are alive, and only this thread uses them (`&mut self`).
        let raw = unsafe { (symbols.stream_fetch)(self.connection.handle(), self.result.raw) };
        let block = Output::new(symbols, raw).inspect_err(|_| self.ended = true)?;
        self.stats.add(block.stats());
        self.ended = block.bytes().is_empty();
        Ok((!self.ended).then_some(block))
    }
}

impl Drop for ResultStream<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: the stream is alive and has not ended.
            unsafe { (self.connection.symbols.stream_cancel)(self.connection.handle(), self.result.raw) };
        }
    }
}

/// A running INSERT. Dropped before [`InsertStream::finish`], it is cancelled.
pub struct InsertStream<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) raw: InsertPtr,
}

impl InsertStream<'_> {
    /// Hands over a piece of the data; it need not end at a row. Blocks while the engine is behind.
    /// `false`: the engine has given up, and [`InsertStream::finish`] says why.
    pub fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: the stream is alive; the library copies `data` before it returns.
        unsafe { (self.connection.symbols.insert_append)(self.raw, data.as_ptr().cast(), data.len()) == 0 }
    }

    /// Commits.
    ///
    /// # Errors
    /// What the engine says.
    pub fn finish(self) -> Result<Stats, Exception> {
        let symbols = self.connection.symbols;
        // SAFETY: the stream is alive; the handle itself is destroyed by `drop`.
        let raw = unsafe { (symbols.insert_done)(self.raw) };
        Output::new(symbols, raw).map(|output| output.stats())
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once; the library cancels first what was not finished.
        unsafe { (self.connection.symbols.insert_destroy)(self.raw) };
    }
}

/// Copies a C string of the library.
///
/// # Safety
/// `text` is null or a NUL-terminated string that is alive during the call.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}
