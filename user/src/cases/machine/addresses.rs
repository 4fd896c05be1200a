//! Reads, writes and jumps to addresses that are bad in every way.
#![allow(unsafe_code, reason = "calls pages that hold no code")]

use super::own::probe;
use super::{BASE, KERNEL, try_to};
use crate::raw;
use crate::system::{self, Mapping, PAGE, READ_WRITE};
use libc::{PROT_EXEC, PROT_NONE, PROT_READ};
use std::sync::atomic::Ordering::SeqCst;

/// What may be done at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Nothing,
    Reading,
    /// It may be read, and called: the case does not.
    Code,
}

/// Where a bad address is.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In the test's memory, at this offset.
    Within(&'static Mapping, usize),
    /// Where no memory can be.
    Nowhere(usize),
}

impl Place {
    pub(super) fn read(self) {
        match self {
            Self::Within(memory, offset) => _ = memory.read_word(offset),
            Self::Nowhere(address) => _ = system::read_word_nowhere(address),
        }
    }

    fn write(self) {
        match self {
            Self::Within(memory, offset) => memory.write_word(offset, 1),
            Self::Nowhere(address) => system::write_word_nowhere(address),
        }
    }

    fn jump(self) {
        match self {
            // SAFETY: no page of the test's memory but its code page is executable, and that one is not called.
            Self::Within(memory, offset) => unsafe { memory.call(offset & !3) },
            Self::Nowhere(address) => system::jump_nowhere(address & !3),
        }
    }
}

/// Memory of eight pages with one of each kind, whose addresses handlers show as offsets.
pub(super) fn memory() -> &'static Mapping {
    let memory = Mapping::private(8).leak();
    BASE.store(memory.start(), SeqCst);
    memory.fill(0);
    let _ = memory.protect(PAGE, PAGE, PROT_READ);
    let _ = memory.protect(2 * PAGE, PAGE, PROT_NONE);
    let _ = memory.unmap(3 * PAGE, PAGE);
    let _ = memory.protect(4 * PAGE, PAGE, PROT_READ | PROT_EXEC);
    memory
}

/// Places that are bad in every way: name, place, and what may be done there.
pub(super) fn places(memory: &'static Mapping) -> [(&'static str, Place, Allowed); 9] {
    let within = |offset| Place::Within(memory, offset);
    [
        ("null", Place::Nowhere(0), Allowed::Nothing),
        ("low", Place::Nowhere(0x1238), Allowed::Nothing),
        ("read-only", within(PAGE + 8), Allowed::Reading),
        ("no access", within(2 * PAGE + 16), Allowed::Nothing),
        ("unmapped", within(3 * PAGE + 24), Allowed::Nothing),
        ("code", within(4 * PAGE + 32), Allowed::Code),
        ("kernel", Place::Nowhere(KERNEL), Allowed::Nothing),
        ("kernel's middle", Place::Nowhere(0xffff_ff00_0020_0000), Allowed::Nothing),
        ("kernel's end", Place::Nowhere(usize::MAX - 7), Allowed::Nothing),
    ]
}

pub(super) fn bad_reads() {
    for (name, place, allowed) in places(memory()) {
        if allowed == Allowed::Nothing {
            try_to(name, || place.read());
        }
    }
}

pub(super) fn bad_writes() {
    for (name, place, _) in places(memory()) {
        try_to(name, || place.write());
    }
}

pub(super) fn bad_jumps() {
    for (name, place, allowed) in places(memory()) {
        // Programs may execute what the code page holds, and Arm has no instruction at an odd address.
        if allowed != Allowed::Code {
            try_to(name, || place.jump());
        }
    }
}

/// Words that begin in memory and end outside.
pub(super) fn across() {
    let memory = memory();
    let edge = memory.at(3 * PAGE);
    let _ = memory.protect(2 * PAGE, PAGE, READ_WRITE);
    for distance in [1, 4, 7] {
        try_to("read", || _ = probe(edge - distance));
    }
    let none = raw!(libc::SYS_write, 1, edge, 8);
    println!("write of what is not there: {} {}", none.unwrap_or(-1), std::io::Error::last_os_error());
}
