//! Arrays whose length another argument or the result says: buffers, descriptors to poll, events, directory entries.

use super::flags;
use super::memory::{Memory, number};
use super::strings::{self, Escapes, address};
use super::structures::{epoll_event, integer};
use crate::arch::{Current, Machine};
use crate::syscall::names::event::POLL;
use alloc::string::String;
use core::fmt::Write;

/// How many elements are shown.
const SHOWN: u64 = 32;
/// The largest element.
const LARGEST: usize = 16;

/// Writes `count` elements of `size` bytes, each by `write`.
fn elements(
    line: &mut String,
    memory: &dyn Memory,
    pointer: u64,
    (count, size): (u64, usize),
    mut write: impl FnMut(&mut String, &[u8]),
) {
    let mut buffer = [0; LARGEST];
    let Some(element) = buffer.get_mut(..size) else { return };
    if count == 0 && pointer != 0 {
        line.push_str("[]");
        return;
    }
    if pointer == 0 || !memory.read(pointer, element) {
        address(line, pointer);
        return;
    }
    line.push('[');
    for index in 0..count {
        if index > 0 {
            line.push_str(", ");
        }
        let here = pointer.saturating_add(index.saturating_mul(size as u64));
        if index >= SHOWN {
            line.push_str("...");
            break;
        }
        if !memory.read(here, element) {
            let _ = write!(line, "... /* {here:#x} */");
            break;
        }
        write(line, element);
    }
    line.push(']');
}

/// Writes `count` buffers, of which together `filled` bytes count.
pub(super) fn vectors(line: &mut String, memory: &dyn Memory, pointer: u64, count: u64, filled: u64) {
    let mut rest = filled;
    elements(line, memory, pointer, (count, 16), |line, element| {
        let (base, length) = (number(element, 0, 8), number(element, 8, 8));
        line.push_str("{iov_base=");
        let shown = length.min(rest);
        rest -= shown;
        strings::bytes(line, memory, base, shown, Escapes::Octal);
        let _ = write!(line, ", iov_len={length}}}");
    });
}

/// Writes the descriptors to poll and what is waited for.
pub(super) fn polled(line: &mut String, memory: &dyn Memory, pointer: u64, count: u64) {
    elements(line, memory, pointer, (count, 8), |line, element| {
        let descriptor = integer(element, 0);
        let _ = write!(line, "{{fd={descriptor}");
        if descriptor >= 0 {
            line.push_str(", events=");
            flags::bits(line, &POLL, number(element, 4, 2));
        }
        line.push('}');
    });
}

/// Writes what poll has found, the descriptors with events alone.
pub(super) fn poll_found(line: &mut String, memory: &dyn Memory, pointer: u64, count: u64) {
    line.push('[');
    let mut found = 0;
    for index in 0..count.min(1024) {
        let mut element = [0; 8];
        if !memory.read(pointer.saturating_add(index * 8), &mut element) {
            break;
        }
        let events = number(&element, 6, 2);
        if events == 0 {
            continue;
        }
        if found > 0 {
            line.push_str(", ");
        }
        if found >= SHOWN {
            line.push_str("...");
            break;
        }
        found += 1;
        let _ = write!(line, "{{fd={}, revents=", integer(&element, 0));
        flags::bits(line, &POLL, events);
        line.push('}');
    }
    line.push(']');
}

/// Writes the events that an epoll file has given.
pub(super) fn epoll_events(line: &mut String, memory: &dyn Memory, pointer: u64, count: u64) {
    elements(line, memory, pointer, (count, Current::LINUX.epoll_event_size), |line, element| {
        let _ = epoll_event(line, element);
    });
}

/// Writes how many directory entries are in the `filled` bytes.
pub(super) fn entries(line: &mut String, memory: &dyn Memory, pointer: u64, filled: u64) {
    let (mut count, mut offset) = (0_u64, 0_u64);
    while offset < filled {
        let mut length = [0; 2];
        if !memory.read(pointer.saturating_add(offset).saturating_add(16), &mut length) {
            break;
        }
        let length = u64::from(u16::from_le_bytes(length));
        // Another thread may write there meanwhile.
        if length == 0 {
            break;
        }
        offset = offset.saturating_add(length);
        count += 1;
    }
    address(line, pointer);
    let _ = write!(line, " /* {count} entr{} */", if count == 1 { "y" } else { "ies" });
}

#[cfg(test)]
mod tests {
    use super::super::memory::fake::Fake;
    use super::*;
    use alloc::vec::Vec;

    fn memory(words: &[u64]) -> Fake {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(256, 0);
        Fake(0x1000, bytes)
    }

    #[test]
    fn buffers_show_what_was_transferred() {
        let memory = memory(&[0x1040, 2, 0x1042, 3, 0, 0, 0, 0, 0x65_6463_6261]);
        let mut line = String::new();
        vectors(&mut line, &memory, 0x1000, 2, u64::MAX);
        assert_eq!(line, r#"[{iov_base="ab", iov_len=2}, {iov_base="cde", iov_len=3}]"#);
        line.clear();
        vectors(&mut line, &memory, 0x1000, 2, 3);
        assert_eq!(line, r#"[{iov_base="ab", iov_len=2}, {iov_base="c", iov_len=3}]"#);
        line.clear();
        vectors(&mut line, &memory, 0x10, u64::MAX, 3);
        assert_eq!(line, "0x10");
    }

    #[test]
    fn polls_show_events_before_and_after() {
        let memory = memory(&[4 | 0x5 << 32 | 0x4 << 48, 0xffff_ffff]);
        let mut line = String::new();
        polled(&mut line, &memory, 0x1000, 2);
        poll_found(&mut line, &memory, 0x1000, 2);
        assert_eq!(line, "[{fd=4, events=POLLIN|POLLOUT}, {fd=-1}][{fd=4, revents=POLLOUT}]");
    }

    #[test]
    fn entries_are_counted_even_of_garbage() {
        let memory = memory(&[1, 2, 24, 3, 4, 0]);
        let mut line = String::new();
        entries(&mut line, &memory, 0x1000, 48);
        entries(&mut line, &memory, u64::MAX - 8, 48);
        assert_eq!(line, "0x1000 /* 1 entry */0xfffffffffffffff7 /* 0 entries */");
    }
}
