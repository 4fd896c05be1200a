//! Kernel stacks: mapped in their own area, each above a page that is never mapped, so that an overflow faults at once.
//!
//! ```text
//! STACK_AREA + n * SLOT:   | guard page | STACK_SIZE bytes of stack, growing down | next slot's guard ...
//! ```
//!
//! Stacks that are given back stay mapped in a cache for the next threads: making a thread costs a pop, not page-table work and
//! not a TLB shootdown. [`places`] says where stacks may lie. Invariant: a stack in the cache or in a [`KernelStack`] has all its pages mapped, one
//! reference to each frame held by the mapping. Lock: one spinlock of rank `Frames` around the cache and the places, never held while pages are mapped.
//!
//! On a machine of several nodes a thread gets a stack on the node of the CPU that makes it, an older one of another node only when there is no memory
//! for a new one.
//!
//! The emulated machine cannot run on addresses that only its own tables know: there a stack is a block of frames in the physmap.

#![allow(unsafe_code, reason = "takes back the references that the mapping of a stack holds")]

mod places;

use super::frame::Frame;
use super::numa::{NodeId, current_node, has_several_nodes};
use super::paging::kernel::{self, AREA_LENGTH, STACK_AREA};
use super::paging::{MapError, PageFlags};
use crate::base::{PAGE_SIZE, VirtualAddress};
use crate::sync::{InterruptsDisabled, LockRank, SpinLock};
use arrayvec::ArrayVec;
use places::{HELD_TOGETHER, Places, WINDOW};

/// Frames of a stack as a power of two: 16 KiB, and twice that for unoptimised code.
const STACK_ORDER: u8 = if cfg!(debug_assertions) { 3 } else { 2 };
/// Pages of a kernel stack.
const PAGES: u64 = 1 << STACK_ORDER;
/// Bytes of a kernel stack.
pub const STACK_SIZE: usize = PAGE_SIZE << STACK_ORDER;
/// Bytes from one stack to the next: the stack and its guard page.
pub const SLOT: u64 = (STACK_SIZE + PAGE_SIZE) as u64;

/// Stacks that are kept mapped for reuse; these are 2 MiB. The emulated machine has little memory.
const CACHED: usize = if cfg!(target_os = "none") { 128 } else { 32 };
/// How many stacks are unmapped together when there are more than that: each time all other CPUs are interrupted and waited for, which costs as much
/// as many stacks, or many threads that end would keep every CPU busy with that alone.
const UNMAPPED_TOGETHER: usize = 32;

struct State {
    /// Stacks that are ready: their lowest addresses, and their nodes.
    ready: ArrayVec<(VirtualAddress, NodeId), CACHED>,
    places: Places,
}

const _: () = assert!(places::COUNT as u64 * SLOT <= AREA_LENGTH);

static STACKS: SpinLock<State, InterruptsDisabled> =
    SpinLock::new(LockRank::Frames, State { ready: ArrayVec::new_const(), places: Places::new() });

/// A kernel stack. It must not be dropped while it is in use: the thread that runs next drops it.
#[derive(Debug)]
pub struct KernelStack {
    bottom: VirtualAddress,
    node: NodeId,
}

impl State {
    /// Takes the stack that was used last, on `node` if one is said.
    fn pop(&mut self, node: Option<NodeId>) -> Option<KernelStack> {
        let (bottom, node) = match node {
            None => self.ready.pop()?,
            Some(node) => {
                let place = self.ready.iter().rposition(|(_, other)| *other == node)?;
                self.ready.remove(place)
            }
        };
        Some(KernelStack { bottom, node })
    }
}

impl KernelStack {
    /// A stack with undefined content; `None` when memory is out.
    #[must_use]
    pub fn allocate() -> Option<Self> {
        let node = has_several_nodes().then(current_node);
        if let Some(stack) = STACKS.lock().pop(node) {
            return Some(stack);
        }
        let new = if cfg!(target_os = "none") { map_new() } else { block() };
        new.or_else(|| STACKS.lock().pop(None))
    }

    /// The node of its memory, or of most of it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its upper end: the first address past it, page-aligned.
    #[inline]
    #[must_use]
    pub fn top(&self) -> VirtualAddress {
        self.bottom.offset(STACK_SIZE as u64)
    }

    /// Its lowest address.
    #[must_use]
    pub fn bottom(&self) -> VirtualAddress {
        self.bottom
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut superfluous: ArrayVec<VirtualAddress, UNMAPPED_TOGETHER> = ArrayVec::new();
        {
            let mut state = STACKS.lock();
            if state.ready.is_full() {
                // The longest unused, whose lines are in no cache any more.
                superfluous.extend(state.ready.drain(..UNMAPPED_TOGETHER).map(|(bottom, _)| bottom));
            }
            // There is room: it was just made.
            let _ = state.ready.try_push((self.bottom, self.node));
        }
        if !superfluous.is_empty() {
            release(&superfluous);
        }
    }
}

/// Gives up the stacks that are kept for the next threads, and the tables that no stack needs: memory is short, or somebody wants to know what is
/// in use. Thread context.
pub fn shrink() {
    loop {
        let superfluous: ArrayVec<VirtualAddress, UNMAPPED_TOGETHER> = {
            let mut state = STACKS.lock();
            let count = state.ready.len().min(UNMAPPED_TOGETHER);
            state.ready.drain(..count).map(|(bottom, _)| bottom).collect()
        };
        if superfluous.is_empty() {
            break;
        }
        release(&superfluous);
    }
    release_tables();
}

/// Gives the page tables back that map no stack. Nobody maps a stack there meanwhile, because the places are held; hence a CPU that still has the
/// way to such a table cached does not go it.
fn release_tables() {
    let mut from = 0;
    loop {
        let Some(windows) = STACKS.lock().places.hold_unused(from) else { return };
        from = windows.end;
        let starts = windows.clone().map(|window| STACK_AREA.offset(window as u64 * WINDOW));
        kernel::release_tables::<HELD_TOGETHER>(starts);
        STACKS.lock().places.release(windows);
    }
}

/// Frames of the stacks that are kept for the next threads.
#[must_use]
pub fn kept_frames() -> u64 {
    STACKS.lock().ready.len() as u64 * PAGES
}

/// Whether `address` lies in the guard page of a kernel stack: a fault there is an overflow.
#[must_use]
pub fn is_guard(address: VirtualAddress) -> bool {
    let offset = address.value().wrapping_sub(STACK_AREA.value());
    offset < AREA_LENGTH && offset % SLOT < PAGE_SIZE as u64
}

/// A stack in the physmap: the emulated machine's.
fn block() -> Option<KernelStack> {
    let block = Frame::allocate_block(STACK_ORDER)?;
    let stack = KernelStack { bottom: block.physmap_address(), node: block.node() };
    // The stack holds the reference.
    let _ = block.into_raw();
    Some(stack)
}

fn map_new() -> Option<KernelStack> {
    let place = STACKS.lock().places.take()?;
    let slot = STACK_AREA.offset(u64::from(place) * SLOT);
    let bottom = slot.offset(PAGE_SIZE as u64);
    let mut node = NodeId::default();
    for index in 0..PAGES {
        match map_page(bottom.offset(index * PAGE_SIZE as u64)) {
            Ok(found) => node = found,
            Err(_) => {
                unmap(&[bottom]);
                return None;
            }
        }
    }
    Some(KernelStack { bottom, node })
}

/// Maps a frame of this CPU's node, or the nearest that has one. Gives the node.
fn map_page(page: VirtualAddress) -> Result<NodeId, MapError> {
    let frame = Frame::allocate().ok_or(MapError::OutOfMemory)?;
    let node = frame.node();
    kernel::map(page, frame.number(), PageFlags::WRITABLE)?;
    // The mapping holds the reference.
    let _ = frame.into_raw();
    Ok(node)
}

fn release(bottoms: &[VirtualAddress]) {
    if cfg!(target_os = "none") {
        unmap(bottoms);
        return;
    }
    for bottom in bottoms {
        let number = super::physmap::physical_of(*bottom).frame();
        // SAFETY: the reference that `block` left with the stack.
        drop(unsafe { Frame::from_raw(number) });
    }
}

/// The place of the stack whose lowest address is `bottom`.
fn place_of(bottom: VirtualAddress) -> places::Place {
    #[expect(clippy::cast_possible_truncation, reason = "the area has no more places")]
    {
        ((bottom.value() - STACK_AREA.value()) / SLOT) as places::Place
    }
}

/// Unmaps what is mapped of the stacks, at most [`UNMAPPED_TOGETHER`], and frees it; their slots may be used again.
fn unmap(bottoms: &[VirtualAddress]) {
    let pages = bottoms.iter().flat_map(|bottom| (0..PAGES).map(|index| bottom.offset(index * PAGE_SIZE as u64)));
    for number in kernel::unmap_all::<{ UNMAPPED_TOGETHER << STACK_ORDER }>(pages) {
        // SAFETY: the reference that `map_page` left with the mapping, whose translation is gone.
        drop(unsafe { Frame::from_raw(number) });
    }
    let mut state = STACKS.lock();
    for bottom in bottoms {
        state.places.give(place_of(*bottom));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test at a time maps stacks: what lies beside them matters.
    static MAPPING: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// A stack in the area, which the test unmaps itself.
    fn mapped() -> VirtualAddress {
        let stack = map_new().unwrap();
        let bottom = stack.bottom();
        core::mem::forget(stack);
        bottom
    }

    #[test]
    fn stacks_are_apart_and_writable() {
        let stacks: Vec<_> = (0..CACHED + 8).map(|_| KernelStack::allocate().unwrap()).collect();
        for stack in &stacks {
            assert_eq!(stack.top().value() - stack.bottom().value(), STACK_SIZE as u64);
            assert!(stack.top().is_page_aligned());
            let word = core::ptr::with_exposed_provenance_mut::<u64>(stack.top().value() as usize - 8);
            // SAFETY: inside the stack, which nothing runs on.
            unsafe { word.write(stack.bottom().value()) };
        }
        for stack in &stacks {
            let word = core::ptr::with_exposed_provenance::<u64>(stack.top().value() as usize - 8);
            // SAFETY: as above.
            assert_eq!(unsafe { word.read() }, stack.bottom().value());
        }
    }

    #[test]
    fn a_stack_of_a_node_is_the_one_used_last_there() {
        let stack = |number: u64| VirtualAddress::new(STACK_AREA.value() + number * SLOT);
        let mut state = State { ready: ArrayVec::new_const(), places: Places::new() };
        state.ready.extend([
            (stack(0), NodeId(1)),
            (stack(1), NodeId(0)),
            (stack(2), NodeId(1)),
            (stack(3), NodeId(0)),
        ]);
        let mut pop = |node: Option<u8>| {
            state.pop(node.map(NodeId)).map(|stack| {
                let found = (stack.bottom(), stack.node().0);
                // It has no memory to give back.
                core::mem::forget(stack);
                found
            })
        };
        assert_eq!(pop(Some(1)), Some((stack(2), 1)));
        assert_eq!(pop(Some(2)), None);
        assert_eq!(pop(None), Some((stack(3), 0)));
        assert_eq!((pop(Some(1)), pop(Some(1))), (Some((stack(0), 1)), None));
        assert_eq!((pop(None), pop(None)), (Some((stack(1), 0)), None));
    }

    #[test]
    fn a_mapped_stack_has_a_guard_page_and_comes_back_whole() {
        let _turn = MAPPING.lock().unwrap();
        let bottom = mapped();
        assert!(kernel::translate(bottom).is_some());
        assert!(kernel::translate(bottom.offset(STACK_SIZE as u64 - 1)).is_some());
        let below = VirtualAddress::new(bottom.value() - 1);
        assert_eq!(kernel::translate(below), None);
        assert!(is_guard(below) && !is_guard(bottom) && !is_guard(VirtualAddress::new(0x1000)));
        unmap(&[bottom]);
        assert_eq!(kernel::translate(bottom), None);
    }

    #[test]
    fn stacks_are_unmapped_together_and_tables_that_map_none_go() {
        let _turn = MAPPING.lock().unwrap();
        let bottoms: Vec<_> = (0..4 * UNMAPPED_TOGETHER).map(|_| mapped()).collect();
        let tables = |bottoms: &[VirtualAddress]| bottoms.iter().filter(|bottom| kernel::has_table(**bottom)).count();
        assert_eq!(tables(&bottoms), bottoms.len());
        for some in bottoms.chunks(UNMAPPED_TOGETHER) {
            unmap(some);
        }
        for bottom in &bottoms {
            assert_eq!(kernel::translate(*bottom), None);
            assert_eq!(kernel::translate(bottom.offset(STACK_SIZE as u64 - 1)), None);
        }
        release_tables();
        assert_eq!(tables(&bottoms), 0);
        let again = mapped();
        assert!(kernel::translate(again).is_some());
        unmap(&[again]);
    }
}
