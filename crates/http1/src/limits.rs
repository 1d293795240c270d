//! How large the parts of a message may be.

/// Bounds of one message. What is larger is refused; nothing is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line or status line, without its end. RFC 9112 3 recommends 8,000 at least.
    pub line: usize,
    /// Bytes of a head: its first line, its fields and the empty line.
    pub head: usize,
    /// Fields of a head, and of a trailer section.
    pub fields: usize,
    /// Bytes of a chunk's line: size, extensions and the line's end.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of a body: without a bound, a body of tiny chunks is mostly extensions.
    pub extensions: usize,
    /// Bytes of a trailer section.
    pub trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 32 * 1024,
            head: 60 * 1024,
            fields: 100,
            chunk_line: 1024,
            extensions: 16 * 1024,
            trailers: 16 * 1024,
        }
    }
}
