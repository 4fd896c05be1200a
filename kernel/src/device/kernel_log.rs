//! `/dev/kmsg`: the kernel log as records (`Documentation/ABI/testing/dev-kmsg` of Linux).

use crate::arch::{Current, TimerHardware};
use crate::base::{Errno, Nanoseconds, Result};
use crate::fs::device_registry::{DeviceOpen, DeviceOpenRequest, register_character_device};
use crate::fs::{FileOperations, IoDestination, IoSource, OpenFile, PollEvents, PollTable, SeekFrom};
use crate::log::{self, Priority, Source};
use crate::sync::{Interruptible, WakeReason, parking};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often a waiting reader looks: the log itself wakes nobody, because it works in every context.
const LOOK_INTERVAL: Nanoseconds = Nanoseconds::from_milliseconds(100);
/// The facility of messages from programs, `LOG_USER`, as it stands in the priority.
const USER_FACILITY: u8 = 1 << 3;

/// An open `/dev/kmsg`: the number of the next record.
#[derive(Debug)]
struct LogFile {
    next: AtomicU64,
}

/// A record as a read of `/dev/kmsg` gives it: `priority,number,microseconds,-;text`, odd bytes as `\xNN`.
fn format_record(record: &log::ring::Record<'_>) -> Vec<u8> {
    struct Text(Vec<u8>);
    impl Write for Text {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let facility = if record.source == Source::User { USER_FACILITY } else { 0 };
    let mut text = Text(Vec::with_capacity(record.message.len() + 48));
    let _ = write!(text, "{},{},{},-;", record.priority.0 | facility, record.sequence, record.time.0 / 1000);
    for &byte in record.message.strip_suffix(b"\n").unwrap_or(record.message) {
        if byte == b'\\' || !(b' '..0x7f).contains(&byte) {
            let _ = write!(text, "\\x{byte:02x}");
        } else {
            text.0.push(byte);
        }
    }
    text.0.push(b'\n');
    text.0
}

impl FileOperations for LogFile {
    fn read_at(&self, file: &OpenFile, _offset: u64, destination: &mut IoDestination<'_>) -> Result<usize> {
        loop {
            let next = self.next.load(Relaxed);
            let (first, end) = log::bounds();
            if next < first {
                // Records were lost: said once, then it goes on with the oldest.
                self.next.store(first, Relaxed);
                return Err(Errno::EPIPE);
            }
            if next < end
                && let Some((number, text)) = log::read(next, |record| (record.sequence, format_record(&record)))
            {
                if text.len() > destination.remaining() {
                    return Err(Errno::EINVAL);
                }
                self.next.store(number + 1, Relaxed);
                return destination.write(&text);
            }
            if file.is_non_blocking() {
                return Err(Errno::EAGAIN);
            }
            let deadline = Current::now().saturating_add(LOOK_INTERVAL);
            if parking::park(Some(deadline), Interruptible::BySignal) == WakeReason::Interrupted {
                return Err(Errno::ERESTARTSYS);
            }
        }
    }
    fn write_at(&self, _file: &OpenFile, _offset: u64, source: &mut IoSource<'_>) -> Result<usize> {
        let length = source.remaining();
        let mut buffer = [0; log::MAXIMUM_MESSAGE];
        if length > buffer.len() {
            return Err(Errno::EINVAL);
        }
        let count = source.read(&mut buffer)?;
        let text = buffer.get(..count).unwrap_or(&[]);
        let (priority, text) = split_priority(text);
        log::append(priority, Source::User, text.strip_suffix(b"\n").unwrap_or(text));
        Ok(length)
    }
    fn append(&self, file: &OpenFile, source: &mut IoSource<'_>) -> Result<(usize, u64)> {
        Ok((self.write_at(file, 0, source)?, 0))
    }
    fn poll(&self, _file: &OpenFile, _table: &mut PollTable) -> PollEvents {
        let (first, end) = log::bounds();
        let next = self.next.load(Relaxed);
        if next < first {
            PollEvents::READABLE | PollEvents::ERR | PollEvents::PRI
        } else if next < end {
            PollEvents::READABLE
        } else {
            PollEvents::empty()
        }
    }
    fn seek(&self, _file: &OpenFile, _position: u64, offset: i64, from: SeekFrom) -> Result<u64> {
        if offset != 0 {
            return Err(Errno::ESPIPE);
        }
        let (first, end) = log::bounds();
        self.next.store(
            match from {
                SeekFrom::Start | SeekFrom::Data => first,
                SeekFrom::End => end,
                SeekFrom::Current | SeekFrom::Hole => return Err(Errno::EINVAL),
            },
            Relaxed,
        );
        Ok(0)
    }
}

/// A message's `<N>` in front, where there is one; programs' messages are warnings otherwise, as Linux's default has it.
fn split_priority(text: &[u8]) -> (Priority, &[u8]) {
    let number = text.strip_prefix(b"<").and_then(|rest| {
        let end = rest.iter().position(|&byte| byte == b'>')?;
        let number: u32 = core::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        Some((number, rest.get(end + 1..)?))
    });
    match number {
        Some((number, rest)) => (Priority((number & 7) as u8), rest),
        None => (Priority::WARNING, text),
    }
}

/// Opens `/dev/kmsg`.
struct LogOpener;

impl DeviceOpen for LogOpener {
    fn open(&self, _request: &DeviceOpenRequest<'_>) -> Result<Arc<dyn FileOperations>> {
        Ok(Arc::new(LogFile { next: AtomicU64::new(log::bounds().0) }))
    }
}

/// Registers the device.
pub fn initialize() {
    register_character_device(1, 11, Arc::new(LogOpener));
    super::names::add("kmsg", 1, 11, 0o644);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_linux_writes_them() {
        let record = log::ring::Record {
            sequence: 7,
            time: Nanoseconds(1_234_567),
            priority: Priority::WARNING,
            source: Source::User,
            message: b"a\\b\tc\n",
        };
        assert_eq!(format_record(&record), b"12,7,1234,-;a\\x5cb\\x09c\n");
    }

    #[test]
    fn a_priority_in_front_is_taken_off() {
        assert_eq!(split_priority(b"<13>hello"), (Priority(5), &b"hello"[..]));
        assert_eq!(split_priority(b"hello"), (Priority::WARNING, &b"hello"[..]));
        assert_eq!(split_priority(b"<x>hello"), (Priority::WARNING, &b"<x>hello"[..]));
    }
}
