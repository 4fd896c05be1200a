//! What debug builds write into freed frames, and what is said about frames that are freed wrongly.
//!
//! ```text
//! word 0      : the others below, folded together with a seal
//! words 1..16 : the calls that led to the free, innermost first
//! words 16..  : POISON
//! ```
//!
//! So a use after the free is seen when the frame is allocated again, and a second free can say who did the first. Who allocated a frame or block is
//! noted beside ([`note_allocated`]), so that a free with a wrong order can say that. Release builds say
//! the first misuse there is and refuse the others silently: a program that found a way to cause them shall not fill the log.

use super::{DeallocateError, FRAMES, POISON};
use crate::arch::{Cpu, Current};
use crate::base::{FrameNumber, PAGE_SIZE};
use crate::log::backtrace;
use crate::memory::frame_descriptor::FrameDescriptor;
use crate::memory::{physmap, traces};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Descriptor flag: the frame is full of poison.
pub(super) const POISONED: u16 = 1 << 15;
const SEAL: u64 = 0x5ea1_ed0f_f4ee_f4a3;
const TRACE_WORDS: usize = 16;
const WORDS: usize = PAGE_SIZE / 8;

/// Places for who allocated what: by the frame's number, a later one in the place of an earlier one.
const NOTES: usize = if cfg!(debug_assertions) { 16_384 } else { 1 };

/// The frame's number and the way to its allocation, 32 bits each.
static ALLOCATED: [AtomicU64; NOTES] = [const { AtomicU64::new(0) }; NOTES];

fn note_of(number: FrameNumber) -> Option<&'static AtomicU64> {
    #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits wide")]
    ALLOCATED.get(number.value() as usize % NOTES)
}

/// Notes that the frame or block at `number` was allocated on the way that leads here.
pub(super) fn note_allocated(number: FrameNumber) {
    if let Some(note) = note_of(number) {
        note.store(number.value() << 32 | u64::from(traces::take()), Ordering::Relaxed);
    }
}

/// The way on which the frame or block at `number` was allocated, if that is still known.
fn allocation_of(number: FrameNumber) -> Option<traces::TraceId> {
    let note = note_of(number)?.load(Ordering::Relaxed);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    (note >> 32 == number.value()).then_some(note as u32)
}

/// What was done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misuse {
    /// It was freed.
    Free,
    /// It was to be split.
    Split,
}

type Trace = [u64; TRACE_WORDS];

fn sealed(trace: &Trace) -> u64 {
    trace.iter().skip(1).fold(SEAL, |seal, word| seal.rotate_left(7) ^ word)
}

/// Fills a frame that is being freed.
pub(super) fn fill(frame: &'static FrameDescriptor) {
    let mut trace: Trace = [0; TRACE_WORDS];
    if let Some(calls) = trace.get_mut(1..) {
        backtrace::collect(Current::frame_pointer(), calls);
    }
    trace[0] = sealed(&trace);
    let words = trace.into_iter().chain(core::iter::repeat_n(POISON, WORDS - TRACE_WORDS));
    physmap::write_words(frame.number(), words);
    frame.set_flags(POISONED);
}

/// The calls that led to the free of `frame`, if it is as [`fill`] left it.
fn trace_of(frame: &'static FrameDescriptor) -> Option<Trace> {
    let mut trace: Trace = [0; TRACE_WORDS];
    let mut words = physmap::read_words(frame.number());
    trace.iter_mut().zip(&mut words).for_each(|(copy, word)| *copy = word);
    (words.all(|word| word == POISON) && trace[0] == sealed(&trace)).then_some(trace)
}

/// Whether a frame is as [`fill`] left it.
#[cfg(test)]
pub(super) fn is_intact(frame: &'static FrameDescriptor) -> bool {
    trace_of(frame).is_some()
}

/// Looks whether a frame that is being allocated is as it was when it was freed.
pub(super) fn check(frame: &'static FrameDescriptor) {
    if frame.flags() & POISONED != 0 {
        if trace_of(frame).is_none() {
            log::error!("frame {:#x} was written to while it was free", frame.number().value());
        }
        frame.set_flags(0);
    }
}

/// Says that the frame or block at `number` was misused, by whom, and who freed it before.
#[cold]
pub(super) fn report(misuse: Misuse, number: FrameNumber, order: u8, error: DeallocateError) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !cfg!(debug_assertions) && SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let what = match (misuse, error) {
        (Misuse::Free, DeallocateError::DoubleFree) => "was freed twice",
        (Misuse::Free, DeallocateError::WrongOrder) => "was freed with another order than it has",
        (Misuse::Free, DeallocateError::NotManaged) => "was freed, but is not managed",
        (Misuse::Split, _) => "was to be split, but is not such a block",
    };
    log::error!("frame {:#x} (order {order}) {what}", number.value());
    backtrace::show_calls(Current::frame_pointer());
    if error == DeallocateError::WrongOrder
        && let Some(trace) = allocation_of(number)
    {
        traces::show("it was allocated", trace);
    }
    let first = FRAMES.touched(number).filter(|frame| frame.flags() & POISONED != 0);
    if let Some(trace) = first.and_then(trace_of) {
        log::error!("it was freed before by:");
        trace.iter().skip(1).take_while(|call| **call != 0).for_each(|call| backtrace::show_call(*call));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_allocation_in_a_place_is_known() {
        // Frames that the emulated machine does not have, in one place.
        let (first, second) = (FrameNumber::new(0xf000_0000), FrameNumber::new(0xf000_0000 + NOTES as u64));
        assert_eq!(allocation_of(first), None);
        note_allocated(first);
        // The emulated machine's stacks are not followed: no way, but the frame is known.
        assert_eq!((allocation_of(first), allocation_of(second)), (Some(0), None));
        note_allocated(second);
        assert_eq!((allocation_of(first), allocation_of(second)), (None, Some(0)));
    }
}
