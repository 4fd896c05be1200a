//! The longest time for which each CPU took no interrupts, and for which its running thread could not be preempted, with the places where that time
//! began and ended: what bounds how soon a thread runs that has been woken.
//!
//! The machines call [`began`] behind each masking of interrupts and each raising of the preemption count from zero, and [`ends`] before each unmasking and
//! each lowering to zero; the ways in and out of traps do the same. So a section goes from the first to the last, whatever is nested in it, and a switch of
//! threads goes on in it: it is the CPU's. Sleeping until an interrupt (`hlt`, `wfi`) and user mode are no sections. Not seen are the few instructions of the entry
//! code itself, and the non-maskable interrupt.
//!
//! # What it costs
//! It is built into kernels with debug assertions alone ([`BUILT_IN`]; the ones that tests boot), where it costs a load and a test that is predicted while it is off. In an optimised kernel
//! nothing of it is left: masking is one instruction there, beside which a load and a test would count. (Rejected: code that is patched when it is switched on. It needs writable
//! code and a list of places, for what one more build gives.)
//!
//! # Invariants
//! - A record is changed by its CPU alone, in sections of its own kind: so never by two at once. Others read it between two looks at its `version`.
//! - What was begun or measured in another generation than the present one counts for nothing: switching it on begins a new one.

#![allow(unsafe_code, reason = "follows frame pointers to see who calls")]

use super::{Cpu, Current, TimerHardware, inter_processor};
use crate::base::{CpuId, Nanoseconds, VirtualAddress};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};

/// Whether this kernel can measure.
pub const BUILT_IN: bool = cfg!(debug_assertions);

/// What cannot happen meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Interrupts.
    InterruptsOff,
    /// Another thread runs.
    PreemptionOff,
}

impl Section {
    /// Both.
    pub const ALL: [Self; 2] = [Self::InterruptsOff, Self::PreemptionOff];
}

/// A place in the kernel, and where that was called from: return addresses, 0 where nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The place.
    pub address: u64,
    /// Its caller.
    pub caller: u64,
}

/// The longest section of one kind on one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Longest {
    /// How long it was.
    pub duration: Nanoseconds,
    /// Where it began.
    pub from: Place,
    /// Where it ended.
    pub to: Place,
}

/// Odd while it is on.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A CPU's record of one kind of section.
#[derive(Debug)]
pub struct Record {
    /// When the present section began; 0 outside of one.
    began_at: AtomicU64,
    /// In which generation.
    began_in: AtomicU32,
    /// Odd while what follows is changed.
    version: AtomicU32,
    began: AtomicPlace,
    generation: AtomicU32,
    duration: AtomicU64,
    from: AtomicPlace,
    to: AtomicPlace,
}

#[derive(Debug)]
struct AtomicPlace {
    address: AtomicU64,
    caller: AtomicU64,
}

impl AtomicPlace {
    const fn new() -> Self {
        Self { address: AtomicU64::new(0), caller: AtomicU64::new(0) }
    }
    fn load(&self) -> Place {
        Place { address: self.address.load(Relaxed), caller: self.caller.load(Relaxed) }
    }
    fn store(&self, place: Place) {
        self.address.store(place.address, Relaxed);
        self.caller.store(place.caller, Relaxed);
    }
}

impl Record {
    /// Nothing measured.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            began_at: AtomicU64::new(0),
            began_in: AtomicU32::new(0),
            version: AtomicU32::new(0),
            began: AtomicPlace::new(),
            generation: AtomicU32::new(0),
            duration: AtomicU64::new(0),
            from: AtomicPlace::new(),
            to: AtomicPlace::new(),
        }
    }

    /// A section begins, unless it has.
    fn begin(&self, generation: u32, now: Nanoseconds, place: impl FnOnce() -> Place) {
        if self.began_at.load(Relaxed) == 0 || self.began_in.load(Relaxed) != generation {
            self.began_at.store(now.0.max(1), Relaxed);
            self.began_in.store(generation, Relaxed);
            self.began.store(place());
        }
    }

    /// The section ends, if its beginning was seen.
    fn end(&self, generation: u32, now: Nanoseconds, place: impl FnOnce() -> Place) {
        let began_at = self.began_at.load(Relaxed);
        self.began_at.store(0, Relaxed);
        if began_at == 0 || self.began_in.load(Relaxed) != generation {
            return;
        }
        let duration = now.0.saturating_sub(began_at);
        if self.generation.load(Relaxed) == generation && duration <= self.duration.load(Relaxed) {
            return;
        }
        let version = self.version.load(Relaxed);
        self.version.store(version.wrapping_add(1), Relaxed);
        fence(Release);
        self.generation.store(generation, Relaxed);
        self.duration.store(duration, Relaxed);
        self.from.store(self.began.load());
        self.to.store(place());
        self.version.store(version.wrapping_add(2), Release);
    }

    /// The longest section of a generation. Any CPU may ask.
    fn longest(&self, generation: u32) -> Option<Longest> {
        loop {
            let version = self.version.load(Acquire);
            let found = Longest {
                duration: Nanoseconds(self.duration.load(Relaxed)),
                from: self.from.load(),
                to: self.to.load(),
            };
            let measured_in = self.generation.load(Relaxed);
            fence(Acquire);
            if version.is_multiple_of(2) && self.version.load(Relaxed) == version {
                return (measured_in == generation).then_some(found);
            }
            Current::relax();
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// Both records of a CPU.
#[derive(Debug, Default)]
pub struct Records {
    interrupts: Record,
    preemption: Record,
}

impl Records {
    /// Nothing measured.
    #[must_use]
    pub const fn new() -> Self {
        Self { interrupts: Record::new(), preemption: Record::new() }
    }
    const fn of(&self, section: Section) -> &Record {
        match section {
            Section::InterruptsOff => &self.interrupts,
            Section::PreemptionOff => &self.preemption,
        }
    }
}

/// Whether it measures now.
#[must_use]
#[inline(always)]
pub fn is_on() -> bool {
    BUILT_IN && GENERATION.load(Relaxed) & 1 != 0
}

/// Begins to measure, from nothing. No effect where it is not built in.
pub fn start() {
    if BUILT_IN {
        let _ = GENERATION.fetch_update(Relaxed, Relaxed, |generation| Some(generation.wrapping_add(1) | 1));
    }
}

/// Measures no more; what was found can still be asked for.
pub fn stop() {
    let _ = GENERATION.fetch_update(Relaxed, Relaxed, |generation| Some(generation.wrapping_add(generation & 1)));
}

/// The longest section on `cpu` since measuring began last.
#[must_use]
pub fn longest(cpu: CpuId, section: Section) -> Option<Longest> {
    let generation = GENERATION.load(Relaxed);
    let measured_in = if generation & 1 == 0 { generation.wrapping_sub(1) } else { generation };
    inter_processor::local_of(cpu)?.latency().of(section).longest(measured_in)
}

/// For machines: a section of this kind has begun on this CPU, or goes on.
#[inline(always)]
pub fn began(section: Section) {
    if is_on() {
        note_beginning(section);
    }
}

/// For machines: a section is about to end, if there is one.
#[inline(always)]
pub fn ends(section: Section) {
    if is_on() {
        note_end(section);
    }
}

#[cold]
#[inline(never)]
fn note_beginning(section: Section) {
    let frame = Current::frame_pointer();
    let record = Current::local().latency().of(section);
    record.begin(GENERATION.load(Relaxed), Current::now(), || place(frame));
}

#[cold]
#[inline(never)]
fn note_end(section: Section) {
    let frame = Current::frame_pointer();
    let record = Current::local().latency().of(section);
    record.end(GENERATION.load(Relaxed), Current::now(), || place(frame));
}

/// Where the function with this frame was called from, and that one.
fn place(frame: VirtualAddress) -> Place {
    /// Kernel addresses begin here on all machines.
    const KERNEL_START: u64 = 0xffff_8000_0000_0000;
    let read = |frame: u64| {
        if cfg!(not(target_os = "none")) || frame < KERNEL_START || !frame.is_multiple_of(8) {
            return (0, 0);
        }
        let frame = frame as *const u64;
        // SAFETY: the kernel is compiled with frame pointers, and the entry code begins each chain with zero: a frame of the present stack.
        unsafe { (frame.read_volatile(), frame.offset(1).read_volatile()) }
    };
    let (next, address) = read(frame.value());
    Place { address, caller: read(next).1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u64) -> impl FnOnce() -> Place {
        move || Place { address, caller: 0 }
    }

    fn section(record: &Record, generation: u32, from: u64, to: u64) {
        record.begin(generation, Nanoseconds(from), at(from));
        record.end(generation, Nanoseconds(to), at(to));
    }

    #[test]
    fn the_longest_stays_with_its_places() {
        let record = Record::new();
        assert_eq!(record.longest(1), None);
        section(&record, 1, 10, 30);
        section(&record, 1, 100, 150);
        section(&record, 1, 200, 250);
        let found = record.longest(1).unwrap();
        assert_eq!((found.duration, found.from.address, found.to.address), (Nanoseconds(50), 100, 150));
    }

    #[test]
    fn a_section_lasts_from_the_first_masking_to_the_unmasking() {
        let record = Record::new();
        record.begin(1, Nanoseconds(10), at(1));
        record.begin(1, Nanoseconds(20), at(2));
        record.end(1, Nanoseconds(40), at(3));
        record.end(1, Nanoseconds(90), at(4));
        assert_eq!(record.longest(1).unwrap().duration, Nanoseconds(30), "unmasking twice ends it once");
    }

    #[test]
    fn what_began_before_it_was_switched_on_does_not_count() {
        let record = Record::new();
        record.begin(1, Nanoseconds(10), at(1));
        record.end(3, Nanoseconds(1000), at(2));
        assert_eq!(record.longest(3), None);
        record.begin(1, Nanoseconds(10), at(1));
        section(&record, 3, 2000, 2005);
        assert_eq!(record.longest(3).unwrap().duration, Nanoseconds(5));
        section(&record, 5, 3000, 3001);
        assert_eq!(record.longest(5).unwrap().duration, Nanoseconds(1), "a shorter one of a new generation");
        assert_eq!(record.longest(3), None);
    }
}
