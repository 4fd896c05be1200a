//! What `/proc/PID/maps`, `smaps` and `smaps_rollup` say of areas, in Linux's formats (proc(5)).

use super::area_listing::STEP;
use crate::base::{PAGE_SHIFT, VirtualAddress};
use crate::memory::address_space::{AddressSpace, AreaReport, AreaUsage, Detail};
use crate::memory::area::AreaFlags;
use alloc::vec::Vec;

/// An area's line in `/proc/PID/maps`.
pub fn write_area(text: &mut Vec<u8>, area: &AreaReport) {
    let flag = |bit: AreaFlags, letter: char| if area.flags.contains(bit) { letter } else { '-' };
    let device = area.details.device;
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    let head = alloc::format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {} ",
        area.range.start.value(),
        area.range.end.value(),
        flag(AreaFlags::READ, 'r'),
        flag(AreaFlags::WRITE, 'w'),
        flag(AreaFlags::EXECUTE, 'x'),
        if area.flags.contains(AreaFlags::SHARED) { 's' } else { 'p' },
        area.offset,
        area.details.inode,
    );
    text.extend_from_slice(head.as_bytes());
    if !area.details.name.is_empty() {
        // Names stand in column 74.
        text.resize(text.len() + 73usize.saturating_sub(head.len()), b' ');
        for byte in &area.details.name {
            match byte {
                b'\n' => text.extend_from_slice(b"\\012"),
                other => text.push(*other),
            }
        }
    }
    text.push(b'\n');
}

/// An area's lines in `/proc/PID/smaps`: with its resident pages.
pub fn write_area_with_usage(text: &mut Vec<u8>, area: &AreaReport) {
    write_area(text, area);
    write_usage(text, area.range.length() >> 10, area.usage);
    text.extend_from_slice(b"THPeligible:    0\n");
    write_area_flags(text, area.flags);
}

/// The line `VmFlags`, in Linux's order.
fn write_area_flags(text: &mut Vec<u8>, flags: AreaFlags) {
    text.extend_from_slice(b"VmFlags: ");
    for (flag, letters) in [
        (AreaFlags::READ, "rd "),
        (AreaFlags::WRITE, "wr "),
        (AreaFlags::EXECUTE, "ex "),
        // A shared mapping that can never be written is a private one to Linux.
        (AreaFlags::SHARED | AreaFlags::MAY_WRITE, "sh "),
        (AreaFlags::MAY_READ, "mr "),
        (AreaFlags::MAY_WRITE, "mw "),
        (AreaFlags::MAY_EXECUTE, "me "),
        (AreaFlags::SHARED, "ms "),
        (AreaFlags::GROWS_DOWN, "gd "),
        (AreaFlags::LOCKED, "lo "),
        (AreaFlags::SEQUENTIAL, "sr "),
        (AreaFlags::RANDOM, "rr "),
        (AreaFlags::DONT_FORK, "dc "),
        (AreaFlags::SPECIAL, "de "),
        (AreaFlags::ACCOUNTED, "ac "),
        (AreaFlags::NO_RESERVE, "nr "),
        (AreaFlags::WIPE_ON_FORK, "wf "),
        (AreaFlags::DONT_DUMP, "dd "),
        (AreaFlags::HUGE, "hg "),
        (AreaFlags::NO_HUGE, "nh "),
        (AreaFlags::MERGEABLE, "mg "),
    ] {
        if flags.contains(flag) {
            text.extend_from_slice(letters.as_bytes());
        }
    }
    text.push(b'\n');
}

/// `/proc/PID/smaps_rollup`: the sum over all areas.
#[must_use]
pub fn smaps_rollup(space: &AddressSpace) -> Vec<u8> {
    let mut start = None;
    let mut end = VirtualAddress::new(0);
    let mut sum = AreaUsage::default();
    loop {
        let areas = space.areas_from(end, STEP, Detail::Usage);
        let Some(last) = areas.last() else { break };
        start = start.or_else(|| areas.first().map(|first| first.range.start));
        end = last.range.end;
        areas.iter().for_each(|area| sum += area.usage);
    }
    let (start, end) = (start.map_or(0, VirtualAddress::value), end.value());
    let mut text = alloc::format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ").into_bytes();
    text.resize(73, b' ');
    text.extend_from_slice(b"[rollup]\n");
    write_usage(&mut text, 0, sum);
    text
}

fn write_usage(text: &mut Vec<u8>, size: u64, usage: AreaUsage) {
    let resident = kibibytes(usage.resident);
    let unshared = kibibytes(usage.unshared);
    let dirty = kibibytes(usage.dirty);
    let unshared_dirty = unshared.min(dirty);
    let mut line = |name: &str, value: u64| write_kibibytes(text, name, value);
    if size != 0 {
        line("Size", size);
        line("KernelPageSize", 4);
        line("MMUPageSize", 4);
    }
    line("Rss", resident);
    line("Pss", unshared);
    line("Shared_Clean", (resident - unshared).saturating_sub(dirty - unshared_dirty));
    line("Shared_Dirty", dirty - unshared_dirty);
    line("Private_Clean", unshared - unshared_dirty);
    line("Private_Dirty", unshared_dirty);
    line("Referenced", resident);
    line("Anonymous", kibibytes(usage.anonymous));
    for name in [
        "LazyFree",
        "AnonHugePages",
        "ShmemPmdMapped",
        "FilePmdMapped",
        "Shared_Hugetlb",
        "Private_Hugetlb",
        "Swap",
        "SwapPss",
        "Locked",
    ] {
        line(name, 0);
    }
}

/// One line: the name in 16 columns, the amount in 8. By hand, for formatting took nearly all the time that `smaps` did.
fn write_kibibytes(text: &mut Vec<u8>, name: &str, amount: u64) {
    let mut digits = [b' '; 20];
    let mut rest = amount;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b"0123456789".get((rest % 10) as usize).copied().unwrap_or_default();
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    let (_, shown) = digits.split_at(digits.len() - length.max(8));
    let end = text.len() + 16;
    text.extend_from_slice(name.as_bytes());
    text.push(b':');
    text.resize(end.max(text.len()), b' ');
    text.extend_from_slice(shown);
    text.extend_from_slice(b" kB\n");
}

/// Pages in KiB.
pub(super) fn kibibytes(pages: u64) -> u64 {
    pages << (PAGE_SHIFT - 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_an_area_stand_in_linux_s_order() {
        let line = |flags| {
            let mut text = Vec::new();
            write_area_flags(&mut text, flags);
            text
        };
        let may = AreaFlags::MAY_READ | AreaFlags::MAY_WRITE | AreaFlags::MAY_EXECUTE;
        let private = AreaFlags::READ | AreaFlags::WRITE | may | AreaFlags::ACCOUNTED;
        assert_eq!(line(private), b"VmFlags: rd wr mr mw me ac \n");
        let locked = private | AreaFlags::LOCKED | AreaFlags::LOCK_ON_FAULT | AreaFlags::DONT_DUMP;
        assert_eq!(line(locked), b"VmFlags: rd wr mr mw me lo ac dd \n");
        let sealed = AreaFlags::READ | AreaFlags::SHARED | AreaFlags::MAY_READ | AreaFlags::MAY_EXECUTE;
        assert_eq!(line(sealed), b"VmFlags: rd mr me ms \n");
    }

    #[test]
    fn amounts_stand_in_their_columns() {
        for amount in [0, 4, 10, 12_345_678, 123_456_789, u64::MAX] {
            let mut text = Vec::new();
            write_kibibytes(&mut text, "Private_Hugetlb", amount);
            write_kibibytes(&mut text, "Rss", amount);
            let expected = alloc::format!("Private_Hugetlb:{amount:8} kB\nRss:            {amount:8} kB\n");
            assert_eq!(core::str::from_utf8(&text), Ok(expected.as_str()));
        }
    }
}
