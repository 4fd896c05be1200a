//! Address-space tags: which space has which PCID or ASID, so that a switch need not forget the last space's translations.
//!
//! This is for machines whose TLB maintenance is broadcast (AArch64: 256 or 65536 ASIDs, in TTBR0): a tag is a space's on every CPU. x86_64's
//! PCIDs are each CPU's own ([`super::shootdown`]).
//!
//! A machine takes part by saying more than 1 in [`Mmu::tag_count`], by keeping what is cached under a tag other than 0 in
//! [`Mmu::activate`], and by forgetting every tag in [`Mmu::invalidate_everything`]. Nothing else changes for it.
//!
//! # Generations
//! A space's *word* is a generation and a tag: `generation << 16 | tag`, 0 for none. It stands in the descriptor of the space's top
//! table ([`descriptor`], field `index`), because that is what all who change tables know. Tags are handed out in order and never
//! taken back; when they are used up a new generation begins:
//!
//! * every space of an older generation gets a new tag the next time that it is activated;
//! * but what a CPU was running then keeps its tag (*reserved*), because nothing makes the CPU look up a new one;
//! * every CPU forgets all translations before it activates a space again (*stale*).
//!
//! So a space that ends needs no work: its tag means nothing until the next generation.
//!
//! # Invariants
//! * Two spaces never have equal words; of two words of the present generation, no CPU has stale translations for either's tag once
//!   it has activated it.
//! * The short way takes no lock: `active` of this CPU is exchanged only while it is not 0, and a new generation makes it 0 first, so a
//!   space that is activated by its old word while a generation begins is seen by it, or goes the long way.
//!
//! Lock: one spinlock of rank `Hardware` around the long way. Interrupts are disabled in [`activate`], as at every switch.

#![allow(unsafe_code, reason = "activates tables")]

use super::super::frame_allocator::descriptor;
use super::super::frame_descriptor::FrameDescriptor;
use crate::arch::{Cpu, Current, Mmu};
use crate::base::PhysicalAddress;
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use core::sync::atomic::{AtomicU64, Ordering, Ordering::Relaxed};

/// CPUs that the kernel can run on.
const CPUS: usize = 64;
/// Where a word's generation begins.
const TAG_BITS: u32 = 16;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
/// The first generation: no word is 0.
const FIRST_GENERATION: u64 = 1 << TAG_BITS;
/// The first tag: 0 is for tables without user translations.
const FIRST_TAG: u64 = 1;

/// What a CPU is to do before it activates a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// Nothing.
    Keep,
    /// Forget the translations of every tag.
    Forget,
}

/// The tags of a machine with at most `CPUS` CPUs (64 at most), of which it does not know how many run.
#[derive(Debug)]
pub struct TagAllocator<const CPUS: usize> {
    generation: AtomicU64,
    /// What each CPU runs; 0 from the beginning of a generation until it activates something.
    active: [AtomicU64; CPUS],
    state: SpinLock<State<CPUS>, InterruptsDisabled>,
}

#[derive(Debug)]
struct State<const CPUS: usize> {
    /// The next tag to hand out.
    next: u64,
    /// The words that CPUs have been running since before the generation began; 0 for none.
    reserved: [u64; CPUS],
    /// The CPUs that have not forgotten the last generation's translations, a bit each.
    stale: u64,
}

impl<const CPUS: usize> TagAllocator<CPUS> {
    /// All tags free.
    #[must_use]
    pub const fn new() -> Self {
        assert!(CPUS <= 64, "a bit for each CPU");
        Self {
            generation: AtomicU64::new(FIRST_GENERATION),
            active: [const { AtomicU64::new(0) }; CPUS],
            state: SpinLock::new(LockRank::Hardware, State { next: FIRST_TAG, reserved: [0; CPUS], stale: 0 }),
        }
    }

    /// CPU `cpu` is about to activate the space whose word is `held` (0 for one without). Gives the space's word from now on and what
    /// the CPU must do first. `tag_count` is the machine's, always the same and more than 1.
    ///
    /// Where all tags are reserved the word is 0, and the space shares tag 0 with others: its CPU forgets each time.
    #[inline]
    pub fn assign(&self, cpu: usize, held: u64, tag_count: u64) -> (u64, Before) {
        if self.may_keep(cpu, held) {
            return (held, Before::Keep);
        }
        self.assign_locked(&mut self.state.lock(), cpu, held, tag_count)
    }

    /// The short way: whether the word `held` is still good, and CPU `cpu` has said that it runs the space.
    #[inline]
    fn may_keep(&self, cpu: usize, held: u64) -> bool {
        let Some(active) = self.active.get(cpu) else { return false };
        let running = active.load(Relaxed);
        let is_current = held >> TAG_BITS == self.generation.load(Ordering::Acquire) >> TAG_BITS;
        running != 0 && is_current && active.compare_exchange(running, held, Relaxed, Relaxed).is_ok()
    }

    /// As [`Self::assign`] for the space whose top table `descriptor` describes. Two CPUs that activate it at the same time get the same word: the
    /// long way looks again under the lock.
    #[inline]
    fn assign_described(&self, cpu: usize, descriptor: &FrameDescriptor, tag_count: u64) -> (u64, Before) {
        let held = descriptor.version();
        if self.may_keep(cpu, held) { (held, Before::Keep) } else { self.renew(cpu, descriptor, tag_count) }
    }

    #[cold]
    fn renew(&self, cpu: usize, descriptor: &FrameDescriptor, tag_count: u64) -> (u64, Before) {
        let mut state = self.state.lock();
        let assigned = self.assign_locked(&mut state, cpu, descriptor.version(), tag_count);
        descriptor.replace_version(assigned.0);
        assigned
    }

    fn assign_locked(&self, state: &mut State<CPUS>, cpu: usize, held: u64, tag_count: u64) -> (u64, Before) {
        let is_current = held >> TAG_BITS == self.generation.load(Relaxed) >> TAG_BITS;
        let word = if is_current { held } else { self.new_word(state, held, tag_count) };
        let Some(active) = self.active.get(cpu) else { return (0, Before::Forget) };
        active.store(word, Relaxed);
        let was_stale = state.stale >> cpu & 1 != 0;
        state.stale &= !(1 << cpu);
        (word, if was_stale || word == 0 { Before::Forget } else { Before::Keep })
    }

    fn new_word(&self, state: &mut State<CPUS>, held: u64, tag_count: u64) -> u64 {
        let generation = self.generation.load(Relaxed);
        // A CPU has been running it since before: it keeps its tag.
        let renewed = generation | held & TAG_MASK;
        let mut is_reserved = false;
        for reserved in state.reserved.iter_mut().filter(|reserved| held != 0 && **reserved == held) {
            *reserved = renewed;
            is_reserved = true;
        }
        if is_reserved {
            return renewed;
        }
        if let Some(tag) = state.take(tag_count) {
            return generation | tag;
        }
        self.begin_generation(state);
        state.take(tag_count).map_or(0, |tag| self.generation.load(Relaxed) | tag)
    }

    fn begin_generation(&self, state: &mut State<CPUS>) {
        self.generation.fetch_add(FIRST_GENERATION, Ordering::AcqRel);
        for (active, reserved) in self.active.iter().zip(&mut state.reserved) {
            let running = active.swap(0, Ordering::AcqRel);
            // A CPU that has activated nothing since the last generation began still runs what it ran then.
            if running != 0 {
                *reserved = running;
            }
        }
        state.next = FIRST_TAG;
        state.stale = u64::MAX;
    }
}

impl<const CPUS: usize> State<CPUS> {
    /// The next tag that no CPU has reserved.
    fn take(&mut self, tag_count: u64) -> Option<u64> {
        while self.next < tag_count {
            let tag = self.next;
            self.next += 1;
            if !self.reserved.iter().any(|reserved| *reserved != 0 && reserved & TAG_MASK == tag) {
                return Some(tag);
            }
        }
        None
    }
}

impl<const CPUS: usize> Default for TagAllocator<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

static TAGS: TagAllocator<CPUS> = TagAllocator::new();

/// Makes the space with top table `root` this CPU's, under its tag. Interrupts are disabled.
///
/// # Safety
/// As for [`Mmu::activate`]; `root` is the root of [`super::Tables`].
#[inline]
pub(super) unsafe fn activate(root: PhysicalAddress) {
    let tag_count = Current::tag_count();
    if tag_count > 1
        && let Some(descriptor) = descriptor(root.frame())
    {
        let (word, before) = TAGS.assign_described(Current::id().0 as usize, descriptor, tag_count.into());
        if before == Before::Forget {
            Current::invalidate_everything();
        }
        // SAFETY: the caller's promise; what is cached under the tag is this space's, by the invariant above.
        unsafe { Current::activate(root, (word & TAG_MASK) as u16) };
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { Current::activate(root, 0) };
}

/// The tables of the space with top table `root` changed while this CPU does not have it active: what is cached of it, on whatever CPU, is
/// under its tag. Without one nothing is; a CPU that gives it one now walks the new tables.
pub(super) fn invalidate_space(root: PhysicalAddress) {
    core::sync::atomic::fence(Ordering::SeqCst);
    match descriptor(root.frame()).map(FrameDescriptor::version) {
        Some(0) => {}
        Some(word) => Current::invalidate_tag((word & TAG_MASK) as u16),
        None => Current::invalidate_everything(),
    }
}

#[cfg(test)]
mod tests;
