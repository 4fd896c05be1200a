//! `/dev/cpu_dma_latency`: how late a CPU may wake at most, as programs ask for (Linux's `Documentation/power/pm_qos_interface.rst`).
//!
//! Who has the file open asks for a limit in microseconds by writing it; closing the file takes the wish back. What is read is the
//! smallest of all wishes, or [`NO_LIMIT`] where there is none.
//!
//! The limit chooses among a CPU's idle states on Linux. Ashlar has one, in which the CPU waits for an interrupt with its clocks and caches as they are (`hlt`, `wfi`): it is left as
//! fast as any limit may ask, so nothing here changes what CPUs do. The wishes are kept so that programs which look at the sum of them see what others ask for.
//!
//! Unlike on Linux the file is a stream: `lseek` and `pread` answer `ESPIPE`.
//!
//! Lock: [`WISHES`], of rank `FileObject`; nothing is called under it.

use crate::base::{Errno, Result};
use crate::fs::device_registry::{DeviceOpen, DeviceOpenRequest, register_character_device};
use crate::fs::file::FileTraits;
use crate::fs::{FileOperations, IoDestination, IoSource, OpenFile};
use crate::sync::{LockRank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What those wish who have not asked for less: 2000 seconds.
pub const NO_LIMIT: i32 = 2_000_000_000;
/// What takes a wish back without closing the file.
const WISHES_NOTHING: i32 = -1;
/// The most characters of a number in words.
const LONGEST: usize = 66;
/// Linux's first number for devices of no class that ask for any.
pub const NUMBER: (u32, u32) = (10, 125);
/// Its name.
pub const NAME: &str = "cpu_dma_latency";

/// How many open files wish for each limit.
static WISHES: SpinLock<BTreeMap<i32, u32>> = SpinLock::new(LockRank::FileObject, BTreeMap::new());

/// The limit that is in force, in microseconds.
#[must_use]
pub fn effective() -> i32 {
    WISHES.lock().first_key_value().map_or(NO_LIMIT, |(limit, _)| *limit)
}

/// A file open on the device, with its wish.
struct Request {
    wish: SpinLock<i32>,
    /// How far the number has been read.
    position: AtomicUsize,
}

impl Request {
    fn new() -> Self {
        exchange(None, Some(NO_LIMIT));
        Self { wish: SpinLock::new(LockRank::FileSystem, NO_LIMIT), position: AtomicUsize::new(0) }
    }
}

/// One wish less, and another one more.
fn exchange(old: Option<i32>, new: Option<i32>) {
    let mut wishes = WISHES.lock();
    if let Some(new) = new {
        *wishes.entry(new).or_insert(0) += 1;
    }
    if let Some(old) = old
        && let Some(count) = wishes.get_mut(&old)
    {
        *count -= 1;
        if *count == 0 {
            wishes.remove(&old);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        exchange(Some(*self.wish.get_mut()), None);
    }
}

impl FileOperations for Request {
    fn traits(&self) -> FileTraits {
        FileTraits::Stream
    }
    fn read_at(&self, _file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        let bytes = effective().to_ne_bytes();
        let from = self.position.load(Relaxed).min(bytes.len());
        let rest = bytes.get(from..).unwrap_or(&[]);
        let count = destination.write(rest.get(..rest.len().min(destination.remaining())).unwrap_or(rest))?;
        self.position.store(from + count, Relaxed);
        Ok(count)
    }
    /// Four bytes are the number itself, anything else its digits to the base of 16.
    fn write_at(&self, _file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let length = source.remaining();
        let mut text = [0; LONGEST];
        let count = source.read_whole(&mut text)?;
        let given = text.get(..count).unwrap_or(&[]);
        let limit = match <[u8; 4]>::try_from(given) {
            Ok(bytes) => i32::from_ne_bytes(bytes),
            // What has been taken counts as written otherwise.
            Err(_) => parse_hexadecimal(given).inspect_err(|_| source.discount(count))?,
        };
        let limit = if limit == WISHES_NOTHING { NO_LIMIT } else { limit };
        let mut wish = self.wish.lock();
        exchange(Some(*wish), Some(limit));
        *wish = limit;
        Ok(length)
    }
    fn can_poll(&self) -> bool {
        false
    }
}

/// A number as Linux's `kstrtos32` reads it to the base of 16: a sign, `0x`, digits, a newline.
fn parse_hexadecimal(text: &[u8]) -> Result<i32> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let text = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_hexdigit) {
        return Err(Errno::EINVAL);
    }
    let digits = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let magnitude = i64::from_str_radix(digits, 16).map_err(|_| Errno::ERANGE)?;
    i32::try_from(if is_negative { -magnitude } else { magnitude }).map_err(|_| Errno::ERANGE)
}

/// What opens the device.
struct Opener;

impl DeviceOpen for Opener {
    fn open(&self, _request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(Request::new()))
    }
}

/// Registers the device.
pub fn initialize() {
    register_character_device(NUMBER.0, NUMBER.1, Arc::new(Opener));
    super::names::add(NAME, NUMBER.0, NUMBER.1, 0o600);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OpenFlags;

    fn open() -> Arc<OpenFile> {
        OpenFile::anonymous(Arc::new(Request::new()), OpenFlags::READ_WRITE)
    }

    fn wish(file: &OpenFile, limit: i32) {
        assert_eq!(file.write(&mut IoSource::kernel(&limit.to_ne_bytes())), Ok(4));
    }

    #[test]
    fn the_smallest_wish_counts_while_its_file_is_open() {
        let (one, other) = (open(), open());
        assert_eq!(effective(), NO_LIMIT);
        wish(&one, 100);
        wish(&other, 50);
        assert_eq!(effective(), 50);
        wish(&one, 50);
        drop(other);
        assert_eq!(effective(), 50);
        wish(&one, -1);
        assert_eq!(effective(), NO_LIMIT);
        wish(&one, 7);
        drop(one);
        assert_eq!(effective(), NO_LIMIT);
    }

    #[test]
    fn words_are_hexadecimal() {
        let read = |text: &str| parse_hexadecimal(text.as_bytes());
        assert_eq!((read("1f\n"), read("0x10"), read("-2"), read("+7fffffff")), (Ok(31), Ok(16), Ok(-2), Ok(i32::MAX)));
        for wrong in ["", "\n", "0x", "1 ", "g", "--1", "1\n\n"] {
            assert_eq!(read(wrong), Err(Errno::EINVAL), "{wrong:?}");
        }
        assert_eq!((read("80000000"), read("123456789abcdef01")), (Err(Errno::ERANGE), Err(Errno::ERANGE)));
    }
}
