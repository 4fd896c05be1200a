//! The frame allocator under load in the running kernel: frames and blocks of all orders, taken and given back in random order.
//!
//! `/proc/sys/kernel/ashlar_frame_soak`, written by root, has the writing thread do so many rounds; one writer on each CPU makes them meet. Every block is
//! marked at both ends, so that memory that was given out twice is noticed. Reading tells what was found, and whether the tables agree.

use super::frame::Frame;
use super::frame_allocator;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Blocks that a thread holds at most.
const MOST_BLOCKS: usize = 200;
/// The share of all memory that a thread holds at most.
const MOST_MEMORY: u64 = 32;
/// How often the tables are looked at before they are said not to agree: others use them meanwhile.
const LOOKS: usize = 50;

static ROUNDS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

/// What all soaks since boot have found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Findings {
    /// Rounds done.
    pub rounds: u64,
    /// Blocks that were not as they were left, and zeroed frames that were not zero.
    pub wrong: u64,
    /// A group whose bits and counters do not agree.
    pub inconsistent: Option<(&'static str, u64)>,
}

/// What all soaks since boot have found. Empties the caches.
#[must_use]
pub fn findings() -> Findings {
    let mut inconsistent = frame_allocator::validate();
    for _ in 1..LOOKS {
        if inconsistent.is_none() {
            break;
        }
        inconsistent = frame_allocator::validate();
    }
    Findings { rounds: ROUNDS.load(Relaxed), wrong: WRONG.load(Relaxed), inconsistent }
}

/// Takes or gives something `rounds` times; at the end everything has been given back.
pub fn soak(rounds: u64, seed: u64) {
    let mut random = seed | 1;
    let mut number = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let most_frames = frame_allocator::total_frames() / MOST_MEMORY;
    let (mut held, mut frames) = (Vec::new(), 0u64);
    for _ in 0..rounds {
        if held.len() < MOST_BLOCKS && frames < most_frames && number(100) < 55 {
            let block = match number(10) {
                0..6 => Frame::allocate_for_user(),
                6..8 => Frame::allocate_zeroed_for_user().inspect(expect_zero),
                _ => Frame::allocate_block(u8::try_from(number(10)).unwrap_or(0)),
            };
            let Some(block) = block else { continue };
            if block.order() == 3 && number(2) == 0 {
                let pages = block.into_pages::<8>().into_iter().flatten();
                pages.for_each(|page| {
                    frames += 1;
                    mark(&page);
                    held.push(page);
                });
                continue;
            }
            frames += 1 << block.order();
            mark(&block);
            held.push(block);
        } else if !held.is_empty() {
            let at = usize::try_from(number(held.len() as u64)).unwrap_or(0);
            let block = held.swap_remove(at);
            frames -= 1 << block.order();
            expect_mark(&block);
        }
    }
    held.iter().for_each(expect_mark);
    ROUNDS.fetch_add(rounds, Relaxed);
}

fn mark_of(block: &Frame) -> [u8; 8] {
    (block.number().value() << 8 | u64::from(block.order())).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes()
}

fn mark(block: &Frame) {
    let mark = mark_of(block);
    block.write(0, &mark);
    block.write(block.size() - mark.len(), &mark);
}

fn expect_mark(block: &Frame) {
    let mark = mark_of(block);
    for offset in [0, block.size() - mark.len()] {
        let mut found = [0; 8];
        block.read(offset, &mut found);
        if found != mark {
            WRONG.fetch_add(1, Relaxed);
        }
    }
}

fn expect_zero(frame: &Frame) {
    let mut found = [1; 64];
    frame.read(frame.size() / 2, &mut found);
    if found != [0; 64] {
        WRONG.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_soak_do_not_disturb_each_other() {
        drop(Frame::allocate());
        std::thread::scope(|scope| {
            (1..=3).for_each(|seed| {
                scope.spawn(move || soak(3000, seed));
            });
        });
        assert_eq!((ROUNDS.load(Relaxed), WRONG.load(Relaxed)), (9000, 0));
    }
}
