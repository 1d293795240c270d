//! ClickHouse's own compressed blocks, as `decompress=1` sends and `compress=1` receives them.
//!
//! A block is: CityHash128 (version 1.0.2) of what follows · method byte (0x82 LZ4, 0x90 ZSTD, 0x02
//! none) · compressed size with its 9 bytes of header, u32 LE · size of the content, u32 LE · data.
//! Sizes come from the network: a claim above the bound is refused before anything is allocated.

use std::io::{self, Read, Write};

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const LZ4: u8 = 0x82;
const ZSTD: u8 = 0x90;
const NONE: u8 = 0x02;
/// The most that one block may hold, either way. Clients send 256 KiB to 1 MiB; ClickHouse allows 1 GiB.
const MAX_BLOCK: usize = 256 << 20;
/// How much content [`BlockWriter`] puts in a block, as ClickHouse does.
const WRITE_BLOCK: usize = 1 << 20;

/// Reads the content of blocks.
pub struct BlockReader<R> {
    inner: R,
    content: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub fn new(inner: R) -> BlockReader<R> {
        BlockReader { inner, content: Vec::new(), at: 0 }
    }

    /// Reads one block; `false` at the end of the input.
    fn fill(&mut self) -> io::Result<bool> {
        let mut prefix = [0; CHECKSUM + HEADER];
        if !read_whole_or_nothing(&mut self.inner, &mut prefix)? {
            return Ok(false);
        }
        let (checksum, header) = prefix.split_at(CHECKSUM);
        let size =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
        let (compressed, content) = (size(1), size(5));
        if !(HEADER..=MAX_BLOCK).contains(&compressed) || content > MAX_BLOCK {
            return Err(invalid(format!(
                "a compressed block claims {compressed} bytes that unpack to {content}; at most {MAX_BLOCK} are taken"
            )));
        }
        let mut block = header.to_vec();
        // `take` grows the buffer as bytes come in: a false size costs nothing.
        self.inner.by_ref().take((compressed - HEADER) as u64).read_to_end(&mut block)?;
        if block.len() != compressed {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a compressed block"));
        }
        if hash(&block) != checksum {
            return Err(invalid(
                "checksum of a compressed block does not match: its bytes changed on the way".to_owned(),
            ));
        }
        self.content = unpack(block[0], &block[HEADER..], content)?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.content.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.content.len() - self.at);
        out[..count].copy_from_slice(&self.content[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn unpack(method: u8, data: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let content = match method {
        LZ4 => {
            // LZ4 packs at most 255 to 1.
            if size / 256 > data.len() {
                return Err(invalid(format!("an LZ4 block of {} bytes cannot unpack to {size}", data.len())));
            }
            lz4_flex::block::decompress(data, size)
                .map_err(|error| invalid(format!("a compressed LZ4 block is broken: {error}")))?
        }
        ZSTD => {
            let decoder = zstd::stream::read::Decoder::new(data)?;
            let mut content = Vec::new();
            decoder.take(size as u64 + 1).read_to_end(&mut content)?;
            content
        }
        NONE => data.to_vec(),
        other => {
            return Err(invalid(format!(
                "a compressed block uses the unknown method 0x{other:02x}; use LZ4, ZSTD or none"
            )));
        }
    };
    if content.len() != size {
        return Err(invalid(format!(
            "a compressed block unpacks to {} bytes and not to the {size} that it names",
            content.len()
        )));
    }
    Ok(content)
}

/// Writes what it is given as LZ4 blocks; the last one with [`BlockWriter::finish`].
pub struct BlockWriter<W> {
    inner: W,
    buffer: Vec<u8>,
}

impl<W: Write> BlockWriter<W> {
    pub fn new(inner: W) -> BlockWriter<W> {
        BlockWriter { inner, buffer: Vec::new() }
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let packed = lz4_flex::block::compress(&self.buffer);
        let size = |length: usize| u32::try_from(length).map_err(|_| invalid("block above 4 GiB".to_owned()));
        let mut block = vec![LZ4];
        block.extend(size(packed.len() + HEADER)?.to_le_bytes());
        block.extend(size(self.buffer.len())?.to_le_bytes());
        block.extend(packed);
        self.buffer.clear();
        self.inner.write_all(&hash(&block))?;
        self.inner.write_all(&block)
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for BlockWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(WRITE_BLOCK - self.buffer.len());
        self.buffer.extend(&data[..count]);
        if self.buffer.len() == WRITE_BLOCK {
            self.write_block()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_block()?;
        self.inner.flush()
    }
}

/// Both halves little-endian, the first half first.
fn hash(block: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(block).rotate_right(64).to_le_bytes()
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn read_whole_or_nothing(reader: &mut impl Read, out: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..])? {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends within a compressed block")),
            count => filled += count,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut writer = BlockWriter::new(Vec::new());
        writer.write_all(content).expect("write");
        writer.finish().expect("finish")
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        BlockReader::new(bytes).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn blocks_come_back_as_they_went() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        assert!(read(&packed(&content)).expect("read") == content);
        assert_eq!(read(b"").expect("nothing"), b"");
    }

    #[test]
    fn the_other_methods_are_read() {
        for (method, data) in
            [(NONE, b"hello".to_vec()), (ZSTD, zstd::stream::encode_all(&b"hello"[..], 1).expect("zstd"))]
        {
            let mut block = vec![method];
            block.extend(((data.len() + HEADER) as u32).to_le_bytes());
            block.extend(5_u32.to_le_bytes());
            block.extend(data);
            let bytes = [hash(&block).to_vec(), block].concat();
            assert_eq!(read(&bytes).expect("read"), b"hello");
        }
    }

    #[test]
    fn lies_are_refused() {
        let good = packed(&[7; 1000]);
        for (at, what) in [(3, "checksum"), (16, "checksum"), (30, "checksum")] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).expect_err("refused").to_string().contains(what), "{at}");
        }
        let mut huge = good.clone();
        huge[21..25].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        assert!(read(&huge).expect_err("refused").to_string().contains("claims"));
        assert_eq!(read(&good[..good.len() - 1]).expect_err("short").kind(), io::ErrorKind::UnexpectedEof);
        let mut swollen = vec![LZ4];
        swollen.extend(12_u32.to_le_bytes());
        swollen.extend(100_000_000_u32.to_le_bytes());
        swollen.extend([0, 0, 0]);
        let bytes = [hash(&swollen).to_vec(), swollen].concat();
        assert!(read(&bytes).expect_err("refused").to_string().contains("cannot unpack"));
    }
}
