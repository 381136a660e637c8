//! Content encodings taken off, each within a bound, each to its very end.

use std::{borrow::Cow, io::Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use http::{HeaderMap, header};

use super::{LONGEST_DECODED, Unreadable};
use crate::meaning::Body;

/// Two encodings on top of each other are odd already; more hide something.
const MOST_ENCODINGS: usize = 2;

/// Output is taken in pieces of this size, so that a bomb is stopped early.
const PIECE: usize = 64 * 1024;

#[derive(Clone, Copy)]
enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The whole body without its encodings.
///
/// # Errors
/// Why nobody can say what it is.
pub(crate) fn decode<'a>(headers: &HeaderMap, body: Body<'a>) -> Result<Cow<'a, [u8]>, Unreadable> {
    let bytes = match body {
        Body::Absent => return Ok(Cow::Borrowed(&[])),
        Body::Whole(bytes) => bytes,
        Body::TooLong { .. } => return Err(Unreadable::TooLong),
    };
    let mut decoded = Cow::Borrowed(bytes);
    // They were put on in the order of the header, so the last comes off first.
    for encoding in encodings(headers)?.into_iter().rev() {
        decoded = Cow::Owned(match encoding {
            Encoding::Gzip => gzip(&decoded)?,
            Encoding::Deflate => deflate(&decoded)?,
            Encoding::Brotli => brotli(&decoded)?,
            Encoding::Zstd => zstd(&decoded)?,
        });
    }
    Ok(decoded)
}

fn encodings(headers: &HeaderMap) -> Result<Vec<Encoding>, Unreadable> {
    let mut found = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for word in value.to_str().map_err(|_| Unreadable::Encoding)?.split(',') {
            match word.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => found.push(Encoding::Gzip),
                "deflate" => found.push(Encoding::Deflate),
                "br" => found.push(Encoding::Brotli),
                "zstd" => found.push(Encoding::Zstd),
                _ => return Err(Unreadable::Encoding),
            }
            if found.len() > MOST_ENCODINGS {
                return Err(Unreadable::Encoding);
            }
        }
    }
    Ok(found)
}

fn read_all(reader: &mut impl Read) -> Result<Vec<u8>, Unreadable> {
    let mut out = Vec::new();
    let limit = LONGEST_DECODED as u64 + 1;
    reader.take(limit).read_to_end(&mut out).map_err(|_| Unreadable::Damaged)?;
    if out.len() > LONGEST_DECODED { Err(Unreadable::Bomb) } else { Ok(out) }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    let out = read_all(&mut decoder)?;
    // A second member would be read by some servers and not by others.
    if decoder.into_inner().is_empty() { Ok(out) } else { Err(Unreadable::Trailing) }
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut zlib = flate2::bufread::ZlibDecoder::new(bytes);
    match read_all(&mut zlib) {
        Ok(out) if zlib.into_inner().is_empty() => return Ok(out),
        Ok(_) => return Err(Unreadable::Trailing),
        Err(Unreadable::Bomb) => return Err(Unreadable::Bomb),
        Err(_) => {}
    }
    // Half the world means the bare stream by this name (RFC 9110, 8.4.1.2).
    let mut raw = flate2::bufread::DeflateDecoder::new(bytes);
    let out = read_all(&mut raw)?;
    if raw.into_inner().is_empty() { Ok(out) } else { Err(Unreadable::Trailing) }
}

fn brotli(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut state =
        BrotliState::<StandardAlloc, StandardAlloc, StandardAlloc>::new(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
    let mut out = Vec::new();
    let mut piece = vec![0; PIECE];
    let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
    loop {
        let (mut room, mut written) = (piece.len(), 0);
        let result = BrotliDecompressStream(&mut left, &mut at, bytes, &mut room, &mut written, &mut piece, &mut total, &mut state);
        out.extend_from_slice(piece.get(..written).unwrap_or_default());
        if out.len() > LONGEST_DECODED {
            return Err(Unreadable::Bomb);
        }
        match result {
            BrotliResult::ResultSuccess if left == 0 => return Ok(out),
            BrotliResult::ResultSuccess => return Err(Unreadable::Trailing),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => return Err(Unreadable::Damaged),
        }
    }
}

fn zstd(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    if zstd_window(bytes).ok_or(Unreadable::Damaged)? > WIDEST_WINDOW {
        return Err(Unreadable::Bomb);
    }
    let mut rest = bytes;
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|_| Unreadable::Damaged)?;
    let out = read_all(&mut decoder)?;
    drop(decoder);
    if rest.is_empty() { Ok(out) } else { Err(Unreadable::Trailing) }
}

/// Size of a window that every decoder must be able to hold (RFC 8878, 3.1.1.1.2); the library itself would take 100 MiB.
const WIDEST_WINDOW: u64 = 8 << 20;

/// How much memory a frame asks its decoder to hold, from its header (RFC 8878, 3.1.1.1).
fn zstd_window(bytes: &[u8]) -> Option<u64> {
    let (descriptor, rest) = bytes.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = rest.first()?;
        let base = 1_u64 << (10 + u32::from(window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // No window is named: it is the whole content, whose size follows the dictionary's id.
    let rest = rest.get([0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?..)?;
    let size = |length: usize| rest.get(..length).map(|bytes| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)));
    match descriptor >> 6 {
        0 => size(1),
        1 => size(2).map(|size| size + 256),
        2 => size(4),
        _ => size(8),
    }
}
