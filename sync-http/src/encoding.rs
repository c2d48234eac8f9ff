//! Compressed bodies: zstd and gzip, within bounded memory.

use flate2::Compression;
use flate2::bufread::{GzDecoder, GzEncoder};
use std::io::Read;
use sync_runtime::{Error, ErrorKind, Result};
use zstd::stream::read::Decoder as ZstdDecoder;

/// Bodies below this many bytes travel as they are: compressing them costs more than it saves.
pub(crate) const WORTH_COMPRESSING: usize = 1024;

/// Fast, and within a few per cent of the higher levels on records.
const ZSTD_LEVEL: i32 = 1;

/// The largest window that a zstd frame may ask its reader to keep: 2^23 bytes, as the format recommends.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Room that is filled before a body has to prove how long it gets.
const UNPROVEN: usize = 8 << 20;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    /// Zstandard, one frame.
    Zstd,
    /// gzip, one member.
    Gzip,
}

impl Encoding {
    /// The name in `Content-Encoding`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
        }
    }

    /// The encoding with this name; `None` if it is unknown, or several in one another.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let known = [Encoding::Identity, Encoding::Zstd, Encoding::Gzip];
        known.into_iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }

    /// The best encoding that an `Accept-Encoding` allows.
    pub(crate) fn accepted(header: &str) -> Self {
        let allows = |wanted: Encoding| {
            header.split(',').any(|part| {
                let (name, weight) = part.split_once(';').unwrap_or((part, ""));
                let refused =
                    weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
                name.trim().eq_ignore_ascii_case(wanted.name()) && !refused
            })
        };
        [Encoding::Zstd, Encoding::Gzip]
            .into_iter()
            .find(|encoding| allows(*encoding))
            .unwrap_or(Encoding::Identity)
    }

    /// Compresses a body.
    pub(crate) fn compress(self, body: Vec<u8>) -> Result<Vec<u8>> {
        let compressed = match self {
            Encoding::Identity => return Ok(body),
            Encoding::Zstd => zstd::bulk::compress(&body, ZSTD_LEVEL),
            Encoding::Gzip => {
                let mut compressed = Vec::with_capacity(body.len() / 3);
                let mut encoder = GzEncoder::new(body.as_slice(), Compression::fast());
                encoder.read_to_end(&mut compressed).map(|_| compressed)
            }
        };
        compressed.map_err(|error| {
            Error::new(ErrorKind::Storage, format!("compressing a body as {}: {error}", self.name()))
        })
    }

    /// Decompresses a body that has at most `limit` bytes then.
    ///
    /// A body that gets long is measured before room is made for it, so that a few bytes of bomb cost no more
    /// than [`UNPROVEN`].
    pub(crate) fn decompress(self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>> {
        if self == Encoding::Identity {
            return if body.len() <= limit { Ok(body) } else { Err(too_large(limit)) };
        }
        let room = body.len().saturating_mul(4).min(limit).min(UNPROVEN);
        let mut plain = Vec::with_capacity(room);
        let mut opened = self.open(&body)?;
        self.read_up_to(&mut opened, &mut plain, UNPROVEN.min(limit))?;
        if plain.len() == UNPROVEN.min(limit) {
            let length = self.measure(&body, limit)?;
            plain.reserve_exact(length.saturating_sub(plain.len()));
            self.read_up_to(&mut opened, &mut plain, length)?;
        }
        if opened.rest(self)? != 0 {
            return Err(self.broken("there is more behind its end"));
        }
        Ok(plain)
    }

    /// How long the body is when it is decompressed.
    fn measure(self, body: &[u8], limit: usize) -> Result<usize> {
        let mut opened = self.open(body)?;
        let mut window = vec![0; 64 << 10];
        let mut length = 0_usize;
        loop {
            match opened.read(&mut window).map_err(|error| self.broken(error))? {
                0 => return Ok(length),
                read => length += read,
            }
            if length > limit {
                return Err(too_large(limit));
            }
        }
    }

    fn open(self, body: &[u8]) -> Result<Opened<'_>> {
        if self == Encoding::Gzip {
            return Ok(Opened::Gzip(GzDecoder::new(body)));
        }
        let decoder = ZstdDecoder::with_buffer(body).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Ok(decoder.single_frame())
        });
        decoder.map(Opened::Zstd).map_err(|error| self.broken(error))
    }

    fn read_up_to(self, opened: &mut Opened<'_>, plain: &mut Vec<u8>, length: usize) -> Result<()> {
        let missing = length.saturating_sub(plain.len()) as u64;
        opened.take(missing).read_to_end(plain).map(|_| ()).map_err(|error| self.broken(error))
    }

    fn broken(self, why: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Protocol, format!("the body is not one whole {} stream: {why}", self.name()))
    }
}

fn too_large(limit: usize) -> Error {
    let message = format!("the body has more than {limit} bytes when it is decompressed; send smaller pages");
    Error::new(ErrorKind::TooLarge, message)
}

/// A body that is being decompressed.
enum Opened<'a> {
    Zstd(ZstdDecoder<'static, &'a [u8]>),
    Gzip(GzDecoder<&'a [u8]>),
}

impl Opened<'_> {
    /// How many bytes stand behind the end of the stream; reads to that end.
    fn rest(mut self, encoding: Encoding) -> Result<usize> {
        let more = self.read(&mut [0]).map_err(|error| encoding.broken(error))?;
        Ok(more
            + match self {
                Opened::Zstd(decoder) => decoder.finish().len(),
                Opened::Gzip(decoder) => decoder.into_inner().len(),
            })
    }
}

impl Read for Opened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Opened::Zstd(decoder) => decoder.read(buffer),
            Opened::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Zstd, Encoding::Gzip];

    #[test]
    fn bodies_read_back() {
        let long = vec![7; UNPROVEN + 1];
        for encoding in [Encoding::Identity, Encoding::Zstd, Encoding::Gzip] {
            for body in [Vec::new(), b"x".to_vec(), long.clone()] {
                let compressed = encoding.compress(body.clone()).expect("compresses");
                let limit = body.len().max(1);
                assert_eq!(encoding.decompress(compressed, limit).expect("reads back").len(), body.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        for encoding in BOTH {
            for (length, limit) in [(64 << 20, 32 << 20), (5000, 4999)] {
                let bomb = encoding.compress(vec![0; length]).expect("compresses");
                let error = encoding.decompress(bomb, limit).expect_err("too large");
                assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
            }
        }
    }

    #[test]
    fn cut_garbled_doubled_and_skippable_streams_are_refused() {
        for encoding in BOTH {
            let good =
                encoding.compress((0..5000_u32).flat_map(u32::to_le_bytes).collect()).expect("compresses");
            for end in (0..good.len()).step_by(7) {
                let error = encoding.decompress(good[..end].to_vec(), 1 << 20).expect_err("cut");
                assert_eq!(error.kind(), ErrorKind::Protocol, "{end}: {error}");
            }
            let doubled = [good.clone(), good.clone()].concat();
            let trailing = [good, vec![0]].concat();
            for body in [doubled, trailing, b"plain text".to_vec()] {
                let error = encoding.decompress(body, 1 << 20).expect_err("not one stream");
                assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            }
        }
        // A skippable frame in front of the real one.
        let frame = Encoding::Zstd.compress(b"hello".to_vec()).expect("compresses");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &frame].concat();
        assert!(Encoding::Zstd.decompress(skippable, 1 << 20).is_err());
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        // Magic, a descriptor without content size, a window of 2^27 bytes, an empty last block.
        let frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        let error = Encoding::Zstd.decompress(frame, 1 << 20).expect_err("too large a window");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }

    #[test]
    fn the_best_accepted_encoding_is_taken() {
        let cases = [
            ("gzip, zstd", Encoding::Zstd),
            ("GZIP;q=0.5", Encoding::Gzip),
            ("zstd;q=0, gzip", Encoding::Gzip),
            ("br", Encoding::Identity),
            ("", Encoding::Identity),
        ];
        for (header, encoding) in cases {
            assert_eq!(Encoding::accepted(header), encoding, "{header}");
        }
        assert_eq!(Encoding::of_name("gzip, gzip"), None);
        assert_eq!(Encoding::of_name("br"), None);
    }
}
