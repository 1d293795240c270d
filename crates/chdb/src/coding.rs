//! Content codings: what a request body is packed in, and what a response is packed into.

use std::io::{self, Read, Write};

use crate::blocks::{BlockReader, BlockWriter};
use crate::exception::Exception;

/// A coding of HTTP, by its name in `Content-Encoding`, or ClickHouse's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    /// LZ4's frame format.
    Lz4,
    /// ClickHouse's own blocks: no `Content-Encoding` goes with them.
    Blocks,
}

impl Coding {
    fn named(name: &str) -> Option<Coding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Coding::Identity),
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            "zstd" => Some(Coding::Zstd),
            "lz4" => Some(Coding::Lz4),
            _ => None,
        }
    }

    /// The value of `Content-Encoding`, if there is to be one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity | Coding::Blocks => None,
            Coding::Gzip => Some("gzip"),
            Coding::Deflate => Some("deflate"),
            Coding::Zstd => Some("zstd"),
            Coding::Lz4 => Some("lz4"),
        }
    }

    /// The coding of a request body.
    ///
    /// # Errors
    /// A coding that is not known here.
    pub fn of_request(content_encoding: &str) -> Result<Coding, Exception> {
        Coding::named(content_encoding).ok_or_else(|| {
            Exception::new(
                89,
                "UNKNOWN_COMPRESSION_METHOD",
                format!(
                    "Content-Encoding `{content_encoding}` is not known; send gzip, deflate, zstd, lz4 or identity"
                ),
            )
        })
    }

    /// The first coding of `Accept-Encoding` that is known and not refused with `q=0`.
    pub fn accepted(accept_encoding: &str) -> Coding {
        let wanted = accept_encoding.split(',').filter(|item| !refused(item));
        let mut known = wanted.filter_map(|item| Coding::named(item.split(';').next().unwrap_or("")));
        known.find(|coding| *coding != Coding::Identity).unwrap_or(Coding::Identity)
    }

    /// Unpacks a body as it is read.
    pub fn reader<R: Read + 'static>(self, inner: R) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Coding::Identity => Box::new(inner),
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(inner)),
            Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(inner)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(inner)?;
                // 128 MiB of window at most, as browsers and ClickHouse do.
                decoder.window_log_max(27)?;
                Box::new(decoder)
            }
            Coding::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(inner)),
            Coding::Blocks => Box::new(BlockReader::new(inner)),
        })
    }

    /// Packs a response as it is written.
    pub fn writer<W: Write>(self, inner: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Coding::Identity => Encoder::Identity(inner),
            Coding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(inner, flate2::Compression::new(3))),
            Coding::Deflate => Encoder::Deflate(flate2::write::ZlibEncoder::new(inner, flate2::Compression::new(3))),
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(inner, 1)?),
            Coding::Lz4 => Encoder::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(inner))),
            Coding::Blocks => Encoder::Blocks(BlockWriter::new(inner)),
        })
    }
}

fn refused(item: &str) -> bool {
    let quality = item.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
    quality.is_some_and(|quality| quality.trim().parse::<f32>() == Ok(0.0))
}

/// A response on its way through a coding.
pub enum Encoder<W: Write> {
    Identity(W),
    Gzip(flate2::write::GzEncoder<W>),
    Deflate(flate2::write::ZlibEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
    Blocks(BlockWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes what is still held back, and the coding's end.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Identity(inner) => Ok(inner),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Deflate(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Encoder::Blocks(writer) => writer.finish(),
        }
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            Encoder::Identity(inner) => inner,
            Encoder::Gzip(encoder) => encoder,
            Encoder::Deflate(encoder) => encoder,
            Encoder::Zstd(encoder) => encoder,
            Encoder::Lz4(encoder) => encoder,
            Encoder::Blocks(writer) => writer,
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.inner().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_comes_back() {
        let content = vec![b'x'; 300_000];
        for coding in [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Lz4, Coding::Blocks] {
            let mut writer = coding.writer(Vec::new()).expect("writer");
            writer.write_all(&content).expect("write");
            let packed = writer.finish().expect("finish");
            let mut back = Vec::new();
            coding.reader(io::Cursor::new(packed)).expect("reader").read_to_end(&mut back).expect("read");
            assert!(back == content, "{coding:?}");
        }
    }

    #[test]
    fn the_client_s_choice_is_taken() {
        assert_eq!(Coding::accepted("br, gzip;q=0, zstd;q=0.5, gzip"), Coding::Zstd);
        assert_eq!(Coding::accepted("lz4"), Coding::Lz4);
        assert_eq!(Coding::accepted("br;q=1.0, *;q=0.1"), Coding::Identity);
        assert_eq!(Coding::of_request("br").map_err(|error| error.code), Err(89));
    }
}
