//! Restartable sequences, `rseq(2)`: a thread's area in user memory that says on which CPU it runs, and short pieces of its code that are begun anew, at an
//! address of their own, when the thread was interrupted in them.
//!
//! A thread with an area has a standing duty ([`Duties::SEQUENCES`]), which the scheduler sees by the same test as the others when it
//! goes over to the thread. Unless the area is as it should be ([`Sequences::is_settled`]), it notes that the thread was away. Before user mode [`Sequences::resume`] then sees to the area. A signal's handler comes on
//! top of whatever ran: [`Sequences::leave`] comes before it.
//!
//! The area and the descriptions of pieces of code are in user memory and may be anything: what is malformed is SIGSEGV, as in Linux.

use crate::arch::{Cpu, Current, Mmu, Registers, TrapFrame, UserAccess};
use crate::base::{CpuId, Errno, Result, VirtualAddress};
use crate::memory::user::UserPointer;
use bitflags::bitflags;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// What a thread has to see to before user mode when a CPU has gone over to it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Duties: u32 {
        /// It is new, and writes its number where `CLONE_CHILD_SETTID` said.
        const CHILD_TID = 1;
        /// It has an area.
        const SEQUENCES = 2;
        /// It has been away since it last saw to its area; only with [`Self::SEQUENCES`].
        const AWAY = 4;
    }
}

/// `sizeof(struct rseq)`, which is also its alignment.
const SIZE: u64 = 32;
/// `cpu_id` of an area that nobody keeps up any more (`RSEQ_CPU_ID_UNINITIALIZED`).
const NO_CPU: u32 = u32::MAX;
/// Where `rseq_cs` is in it: behind `cpu_id_start` and `cpu_id`.
const SEQUENCE: u64 = 8;
/// Where `flags` is.
const FLAGS: u64 = 16;

/// A thread's area, and its duties. Changed by the thread itself; `duties` also by the CPU that runs it.
#[derive(Debug)]
pub struct Sequences {
    duties: AtomicU32,
    area: AtomicU64,
    signature: AtomicU32,
    /// The CPU that the area says, or [`NO_CPU`].
    said: AtomicU32,
}

/// `struct rseq_cs`: a piece of code.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Sequence {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

impl Sequence {
    /// Whether it is well-formed, but for the signature.
    fn check(&self) -> Result<()> {
        let limit = Current::USER_END.value();
        let end = self.start.wrapping_add(self.length);
        let is_bad = self.start >= limit
            || end >= limit
            || self.abort >= limit
            || self.version > 0
            || end < self.start
            || self.abort.wrapping_sub(self.start) < self.length;
        if is_bad { Err(Errno::EINVAL) } else { Ok(()) }
    }

    const fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.length
    }
}

impl Sequences {
    /// No area, no duties.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            duties: AtomicU32::new(0),
            area: AtomicU64::new(0),
            signature: AtomicU32::new(0),
            said: AtomicU32::new(NO_CPU),
        }
    }

    /// The duties.
    #[must_use]
    #[inline]
    pub fn duties(&self) -> Duties {
        Duties::from_bits_retain(self.duties.load(Relaxed))
    }
    /// Adds one.
    pub fn add_duty(&self, duty: Duties) {
        self.duties.fetch_or(duty.bits(), Relaxed);
    }
    /// One is done.
    pub fn remove_duty(&self, duty: Duties) {
        self.duties.fetch_and(!duty.bits(), Relaxed);
    }
    /// The CPU goes over to the thread, or the thread is to be taken for interrupted.
    #[inline]
    pub fn note_away(&self) {
        if self.duties().contains(Duties::SEQUENCES) {
            self.add_duty(Duties::AWAY);
        }
    }

    /// Whether the area, if that is the only duty, says what it has to on `here` and names no sequence: then nothing need be done for the thread that the CPU goes over to,
    /// which is what nearly always is the case. Its address space is active. User memory is looked at without waiting: where the page is not at hand, no
    /// is the answer.
    #[inline]
    pub fn is_settled(&self, here: CpuId) -> bool {
        if self.duties() != Duties::SEQUENCES || self.said.load(Relaxed) != here.0 {
            return false;
        }
        let place = VirtualAddress::new(self.area.load(Relaxed)).offset(SEQUENCE);
        let half = |address| Current::load_u32(address) == Ok(0);
        half(place) && half(place.offset(4))
    }

    /// Takes over the area of the thread that forked this one's process.
    pub fn inherit(&self, other: &Self) {
        if other.duties().contains(Duties::SEQUENCES) {
            self.area.store(other.area.load(Relaxed), Relaxed);
            self.signature.store(other.signature.load(Relaxed), Relaxed);
            self.add_duty(Duties::SEQUENCES | Duties::AWAY);
        }
    }

    /// Forgets the area: another program begins, or the thread has taken it back.
    pub fn clear(&self) {
        self.remove_duty(Duties::SEQUENCES | Duties::AWAY);
        self.area.store(0, Relaxed);
        self.said.store(NO_CPU, Relaxed);
    }

    /// The running thread names its area, which names no sequence then. The CPU is written on the way to user mode.
    ///
    /// # Errors
    /// `EBUSY`: it has this one already. `EPERM`: with another signature. `EINVAL`: it has another one; its length or alignment. `EFAULT`: it
    /// cannot be written.
    pub fn register(&self, area: VirtualAddress, length: u32, signature: u32) -> Result<()> {
        let present = self.area.load(Relaxed);
        let is_whole = u64::from(length) == SIZE;
        if present != 0 {
            return Err(match (present == area.value() && is_whole, self.signature.load(Relaxed) == signature) {
                (false, _) => Errno::EINVAL,
                (true, false) => Errno::EPERM,
                (true, true) => Errno::EBUSY,
            });
        }
        if !is_whole || !area.value().is_multiple_of(SIZE) {
            return Err(Errno::EINVAL);
        }
        if area.value().checked_add(SIZE).is_none_or(|end| end > Current::USER_END.value()) {
            return Err(Errno::EFAULT);
        }
        UserPointer::<u64>::new(area.offset(SEQUENCE)).write(&0)?;
        self.begin(area, signature);
        Current::local().request_work();
        Ok(())
    }

    fn begin(&self, area: VirtualAddress, signature: u32) {
        self.area.store(area.value(), Relaxed);
        self.signature.store(signature, Relaxed);
        self.add_duty(Duties::SEQUENCES | Duties::AWAY);
    }

    /// The running thread takes its area back.
    ///
    /// # Errors
    /// `EINVAL`: it has none, or another, or its length. `EPERM`: another signature. `EFAULT`: it cannot be written.
    pub fn unregister(&self, area: VirtualAddress, length: u32, signature: u32) -> Result<()> {
        let present = self.area.load(Relaxed);
        if present == 0 || present != area.value() || u64::from(length) != SIZE {
            return Err(Errno::EINVAL);
        }
        if self.signature.load(Relaxed) != signature {
            return Err(Errno::EPERM);
        }
        UserPointer::<[u32; 2]>::new(area).write(&[0, NO_CPU])?;
        self.clear();
        Ok(())
    }

    /// The sequence that the area names, if it names one.
    fn read_sequence(&self) -> Result<Option<Sequence>> {
        let area = VirtualAddress::new(self.area.load(Relaxed));
        let place = UserPointer::<u64>::new(area.offset(SEQUENCE)).read()?;
        if place == 0 {
            return Ok(None);
        }
        let limit = Current::USER_END.value();
        if place >= limit {
            return Err(Errno::EINVAL);
        }
        let sequence = UserPointer::<Sequence>::new(VirtualAddress::new(place)).read()?;
        sequence.check()?;
        // So that an address that somebody smuggled in leads nowhere: the program has put its signature before each such place.
        let signature = UserPointer::<u32>::new(VirtualAddress::new(sequence.abort.wrapping_sub(4))).read()?;
        if signature == self.signature.load(Relaxed) { Ok(Some(sequence)) } else { Err(Errno::EINVAL) }
    }

    /// The thread was interrupted where `frame` says: if that is inside the sequence that its area names, it goes on where the
    /// sequence says, and in any case the area names none any more.
    ///
    /// # Errors
    /// `EINVAL`, `EFAULT`: what is there is malformed.
    fn abort(&self, frame: &mut TrapFrame) -> Result<()> {
        let Some(sequence) = self.read_sequence()? else { return Ok(()) };
        let area = VirtualAddress::new(self.area.load(Relaxed));
        let is_inside = sequence.contains(frame.instruction_pointer().value());
        if is_inside && (sequence.flags != 0 || UserPointer::<u32>::new(area.offset(FLAGS)).read()? != 0) {
            // Flags that once held restarting off.
            return Err(Errno::EINVAL);
        }
        UserPointer::<u64>::new(area.offset(SEQUENCE)).write(&0)?;
        if is_inside {
            frame.set_instruction_pointer(VirtualAddress::new(sequence.abort));
        }
        Ok(())
    }

    /// Says in the area on which CPU the thread is.
    fn say(&self, cpu: CpuId) -> Result<()> {
        if self.said.load(Relaxed) != cpu.0 {
            UserPointer::<[u32; 2]>::new(VirtualAddress::new(self.area.load(Relaxed))).write(&[cpu.0, cpu.0])?;
            self.said.store(cpu.0, Relaxed);
        }
        Ok(())
    }

    /// The thread, which runs and has been away, goes to user mode with `frame`: its area is seen to. Interrupts are enabled.
    ///
    /// # Errors
    /// The area or what it names is malformed: SIGSEGV.
    pub fn resume(&self, frame: &mut TrapFrame) -> Result<()> {
        // Before anything is looked at: who is moved after that comes here again.
        self.remove_duty(Duties::AWAY);
        self.abort(frame)?;
        self.say(Current::id())
    }

    /// A handler is about to begin on top of what `frame` says.
    ///
    /// # Errors
    /// As [`Self::resume`].
    #[inline]
    pub fn leave(&self, frame: &mut TrapFrame) -> Result<()> {
        if self.duties().contains(Duties::SEQUENCES) { self.abort(frame) } else { Ok(()) }
    }
}

impl Default for Sequences {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn sequence(start: u64, length: u64, abort: u64) -> Sequence {
        Sequence { version: 0, flags: 0, start, length, abort }
    }

    #[test]
    fn what_cannot_be_a_sequence_is_refused() {
        assert_eq!(sequence(0x1000, 16, 0x2000).check(), Ok(()));
        assert_eq!(sequence(0x1000, 16, 0x1010).check(), Ok(()), "just behind it");
        for bad in [
            sequence(0x1000, 16, 0x1008),
            sequence(u64::MAX - 8, 16, 0x2000),
            sequence(Current::USER_END.value(), 16, 0x2000),
            sequence(0x1000, Current::USER_END.value(), 0x2000),
            sequence(0x1000, 16, Current::USER_END.value()),
            Sequence { version: 1, ..sequence(0x1000, 16, 0x2000) },
        ] {
            assert_eq!(bad.check(), Err(Errno::EINVAL), "{bad:?}");
        }
        let inside = sequence(0x1000, 16, 0x2000);
        assert!(inside.contains(0x1000) && inside.contains(0x100f));
        assert!(!inside.contains(0x1010) && !inside.contains(0xfff));
    }

    #[test]
    fn an_area_is_registered_once() {
        let sequences = Sequences::new();
        let area = VirtualAddress::new(0x1000);
        assert_eq!(sequences.unregister(area, 32, 7), Err(Errno::EINVAL));
        assert_eq!(sequences.register(area.offset(8), 32, 7), Err(Errno::EINVAL));
        assert_eq!(sequences.register(area, 31, 7), Err(Errno::EINVAL));
        assert_eq!(sequences.register(VirtualAddress::new(u64::MAX - 31), 32, 7), Err(Errno::EFAULT));
        sequences.begin(area, 7);
        assert_eq!(sequences.register(area, 32, 7), Err(Errno::EBUSY));
        assert_eq!(sequences.register(area, 32, 8), Err(Errno::EPERM));
        assert_eq!(sequences.register(area.offset(32), 32, 7), Err(Errno::EINVAL));
        assert_eq!(sequences.unregister(area, 32, 8), Err(Errno::EPERM));
        let child = Sequences::new();
        child.inherit(&sequences);
        assert_eq!(child.duties(), Duties::SEQUENCES | Duties::AWAY);
        child.clear();
        assert_eq!(child.duties(), Duties::empty());
        child.note_away();
        assert_eq!(child.duties(), Duties::empty(), "nothing to see to");
    }
}
