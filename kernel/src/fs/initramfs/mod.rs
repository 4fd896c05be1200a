//! The initramfs: cpio archives ("newc"), plain or gzip, any number in a row, unpacked into the root file system.
//!
//! [`unpack`] goes through the image once. File data of a plain archive is copied once, from the image into the file's frames;
//! a compressed one goes through a window of 32 KiB. Damage ends the unpacking with a message, as on Linux; what was unpacked
//! before it stays.

mod archive;

use super::context::FsContext;
use super::directory::make;
use super::types::{DeviceNumber, FileType};
use super::walk::Walker;
use crate::security::Credentials;
use alloc::boxed::Box;
use archive::Unpacker;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// What unpacking came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Why it ended early: Linux's words.
    pub failure: Option<&'static str>,
    /// Names made.
    pub entries: u64,
}

/// Makes what Linux's built-in initramfs holds: `/dev`, `/dev/console`, `/root`.
///
/// # Errors
/// `ENOSPC`, `ENOMEM`.
pub fn make_defaults(context: &FsContext) -> crate::base::Result<()> {
    let credentials = Credentials::root();
    let walker = Walker { context, credentials: &credentials };
    let directory = FileType::Directory.mode_bits();
    make(&walker, None, b"/dev", directory | 0o755, DeviceNumber::default(), &[])?;
    let console = FileType::CharacterDevice.mode_bits() | 0o600;
    make(&walker, None, b"/dev/console", console, DeviceNumber::new(5, 1), &[])?;
    make(&walker, None, b"/root", directory | 0o700, DeviceNumber::default(), &[])
}

/// Unpacks `image` below the root of `context`.
#[must_use]
pub fn unpack(image: &[u8], context: &FsContext) -> Outcome {
    let credentials = Credentials::root();
    let mut unpacker = Unpacker::new(Walker { context, credentials: &credentials });
    let failure = unpack_all(image, &mut unpacker).err();
    unpacker.finish();
    Outcome { failure, entries: unpacker.entries() }
}

fn unpack_all(image: &[u8], unpacker: &mut Unpacker<'_>) -> Result<(), &'static str> {
    let mut rest = image;
    let mut position = 0usize;
    while let Some(first) = rest.first() {
        let used = if *first == b'0' && position.is_multiple_of(4) {
            let used = unpacker.feed(rest)?;
            if !unpacker.is_between_archives() {
                return Err("unexpected end of archive");
            }
            used
        } else if *first == 0 {
            zeros(rest)
        } else {
            let used = unpack_compressed(rest, unpacker)?;
            if !unpacker.is_between_archives() {
                return Err("junk at the end of compressed archive");
            }
            used
        };
        position += used;
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(())
}

/// How many zero bytes `bytes` begins with.
fn zeros(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = words.iter().position(|word| u64::from_ne_bytes(*word) != 0).unwrap_or(words.len()) * 8;
    let tail = bytes.get(whole..).unwrap_or_default();
    whole + tail.iter().position(|byte| *byte != 0).unwrap_or(tail.len())
}

const GZIP_TEXT: u8 = 1;
const GZIP_HEADER_CHECK: u8 = 2;
const GZIP_EXTRA: u8 = 4;
const GZIP_NAME: u8 = 8;
const GZIP_COMMENT: u8 = 16;

/// The length of a gzip member's header.
fn gzip_header(bytes: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b | 0x9e, 8, flags, _, _, _, _, _, _, ..] = *bytes else { return None };
    if flags & !(GZIP_TEXT | GZIP_HEADER_CHECK | GZIP_EXTRA | GZIP_NAME | GZIP_COMMENT) != 0 {
        return None;
    }
    let mut at = 10usize;
    if flags & GZIP_EXTRA != 0 {
        let length = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([*length.first()?, *length.get(1)?]));
    }
    for part in [GZIP_NAME, GZIP_COMMENT] {
        if flags & part != 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & GZIP_HEADER_CHECK != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// Names of the compression methods that Linux knows and we have not, by their magic.
fn is_other_compression(bytes: &[u8]) -> bool {
    const MAGICS: [&[u8]; 7] =
        [&[0x42, 0x5a], &[0x5d, 0x00], &[0xfd, 0x37], &[0x89, 0x4c], &[0x02, 0x21], &[0x28, 0xb5], &[0x04, 0x22]];
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

const WINDOW: usize = 32 * 1024;

fn unpack_compressed(bytes: &[u8], unpacker: &mut Unpacker<'_>) -> Result<usize, &'static str> {
    if !bytes.starts_with(&[0x1f, 0x8b]) && !bytes.starts_with(&[0x1f, 0x9e]) {
        return Err(if is_other_compression(bytes) {
            "compression method not configured"
        } else {
            "invalid magic at start of compressed archive"
        });
    }
    let mut used = gzip_header(bytes).ok_or("Not a gzip file")?;
    let mut inflater = Box::new(DecompressorOxide::new());
    let mut window = alloc::vec![0u8; WINDOW];
    let mut at = 0;
    unpacker.begin_stream();
    loop {
        let input = bytes.get(used..).unwrap_or_default();
        let (status, consumed, produced) = decompress(&mut inflater, input, &mut window, at, 0);
        used += consumed;
        let output = window.get(at..at + produced).unwrap_or_default();
        unpacker.feed_stream(output)?;
        at = (at + produced) % WINDOW;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {}
            _ => return Err("uncompression error"),
        }
    }
    // The trailer: checksum and length.
    Ok((used + 8).min(bytes.len()))
}

#[cfg(test)]
mod tests;
