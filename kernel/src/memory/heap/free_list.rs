//! The first-fit list: any size and alignment out of a few contiguous arenas.
//!
//! ```text
//! block in use:  | size, flags | payload ...                              |
//! free block:    | size, flags | next | previous | ... unused ... | size  |
//!                ^ 8 modulo 16  ^ payload, 16-aligned               ^ the tag by which the block after it finds its start
//! ```
//!
//! Blocks lie in address order without gaps, and boundary tags lead to both neighbours, so a freed block coalesces with them at
//! once; two free blocks are never adjacent. Free blocks are also on lists by size class (powers of two), with a bit
//! per class that is not empty. A request takes the first block that fits in its own class, else the first of a higher class: no
//! search over the whole heap. An arena's first block says that it is, and the arena ends with a block of size 0 that is in use: a free
//! block between the two is an arena that its owner can have back.
//!
//! No lock: [`super::Heap`] has one around it.

#![allow(unsafe_code, reason = "an allocator lives in the memory that it hands out")]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

const IN_USE: usize = 1;
const PREVIOUS_IN_USE: usize = 2;
/// The first block of an arena.
const FIRST: usize = 4;
/// What a block keeps of its place when it is taken or freed.
const PLACE: usize = PREVIOUS_IN_USE | FIRST;
const FLAGS: usize = 15;
const HEADER: usize = 8;
const SMALLEST: usize = 32;
const ALIGNMENT: usize = 16;
const CLASSES: usize = 32;

/// A block, by the address of its header.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Block(NonNull<usize>);

/// The list. Blocks of its arenas are its own until they are handed out.
#[derive(Debug)]
pub struct FreeList {
    heads: [*mut usize; CLASSES],
    filled: u32,
    total: usize,
    free: usize,
    empty_arenas: usize,
}

/// What became of memory that was given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// It was free already: nothing was done.
    Twice,
    /// It is free, and something else in its arena is in use.
    Part,
    /// Nothing in its arena is in use; this is the arena's first block, for [`FreeList::take_arena`].
    LastOfArena(NonNull<u8>),
}

// SAFETY: the pointers lead into arenas that belong to the list, whichever thread uses it.
unsafe impl Send for FreeList {}

// SAFETY (all of `Block`'s methods): a `Block` is the header of a block in an arena of the list that is exclusively borrowed; headers,
// links and tags lie inside the block at the places that the drawing shows, and sizes are kept so by the list's invariants.
impl Block {
    fn at(address: *mut u8) -> Option<Self> {
        NonNull::new(address.cast::<usize>()).map(Self)
    }
    fn header(self) -> usize {
        // SAFETY: see above.
        unsafe { self.0.read() }
    }
    fn set_header(self, value: usize) {
        // SAFETY: see above.
        unsafe { self.0.write(value) };
    }
    fn size(self) -> usize {
        self.header() & !FLAGS
    }
    fn is_in_use(self) -> bool {
        self.header() & IN_USE != 0
    }
    /// Whether it is all of its arena.
    fn is_whole_arena(self) -> bool {
        self.header() & FIRST != 0 && self.offset(self.size()).size() == 0
    }
    fn payload(self) -> *mut u8 {
        // SAFETY: see above.
        unsafe { self.0.as_ptr().add(1).cast() }
    }
    fn of_payload(payload: NonNull<u8>) -> Self {
        // SAFETY: the payload was handed out by the list, so its header lies before it.
        Self(unsafe { payload.cast::<usize>().sub(1) })
    }
    fn offset(self, bytes: usize) -> Self {
        // SAFETY: see above; the result is the next block, or the end.
        Self(unsafe { self.0.byte_add(bytes) })
    }
    fn next(self) -> *mut usize {
        // SAFETY: see above; the block is free.
        unsafe { self.0.add(1).cast::<*mut usize>().read() }
    }
    fn set_next(self, next: *mut usize) {
        // SAFETY: as above.
        unsafe { self.0.add(1).cast::<*mut usize>().write(next) };
    }
    fn previous(self) -> *mut usize {
        // SAFETY: as above.
        unsafe { self.0.add(2).cast::<*mut usize>().read() }
    }
    fn set_previous(self, previous: *mut usize) {
        // SAFETY: as above.
        unsafe { self.0.add(2).cast::<*mut usize>().write(previous) };
    }
    fn set_tag(self, size: usize) {
        // SAFETY: as above.
        unsafe { self.0.byte_add(size - HEADER).write(size) };
    }
    /// The block before this one, which is free.
    fn before(self) -> Self {
        // SAFETY: this block says that the one before is free, so its tag lies just before this header.
        unsafe { Self(self.0.byte_sub(self.0.sub(1).read())) }
    }
}

/// The class of blocks of `size` bytes: its power of two.
fn class_of(size: usize) -> usize {
    (size.ilog2() as usize).min(CLASSES - 1)
}

impl FreeList {
    /// A list without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { heads: [null_mut(); CLASSES], filled: 0, total: 0, free: 0, empty_arenas: 0 }
    }

    /// Bytes in all arenas.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }
    /// Bytes that are free, headers included.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free
    }
    /// Arenas of which nothing is in use.
    #[must_use]
    pub const fn empty_arenas(&self) -> usize {
        self.empty_arenas
    }

    /// Adds the `length` bytes at `start`.
    ///
    /// # Safety
    /// They are memory that nobody else uses, until [`FreeList::take_arena`] takes it away or for as long as the list is used.
    pub unsafe fn add_arena(&mut self, start: *mut u8, length: usize) {
        let skip = (start.addr().wrapping_neg() + ALIGNMENT - HEADER) % ALIGNMENT;
        let usable = length.saturating_sub(skip + HEADER) & !(ALIGNMENT - 1);
        if usable < SMALLEST {
            return;
        }
        // SAFETY: inside the arena.
        let Some(block) = Block::at(unsafe { start.add(skip) }) else { return };
        block.set_header(usable | PREVIOUS_IN_USE | FIRST);
        block.offset(usable).set_header(IN_USE);
        self.total += usable;
        self.free += usable;
        self.empty_arenas += 1;
        self.insert(block, usable);
    }

    /// Takes an arena of which nothing is in use away, by its first block as [`Freed::LastOfArena`] gave it. Gives the bytes that the list used of it.
    ///
    /// # Safety
    /// Nothing was allocated since.
    pub unsafe fn take_arena(&mut self, first: NonNull<u8>) -> usize {
        let block = Block(first.cast());
        let size = block.size();
        self.remove(block);
        self.total -= size;
        self.free -= size;
        self.empty_arenas -= 1;
        size
    }

    fn insert(&mut self, block: Block, size: usize) {
        let class = class_of(size);
        let Some(head) = self.heads.get_mut(class) else { return };
        block.set_next(*head);
        block.set_previous(null_mut());
        block.set_tag(size);
        if let Some(next) = NonNull::new(*head) {
            Block(next).set_previous(block.0.as_ptr());
        }
        *head = block.0.as_ptr();
        self.filled |= 1 << class;
    }

    fn remove(&mut self, block: Block) {
        let class = class_of(block.size());
        let (next, previous) = (block.next(), block.previous());
        if let Some(next) = NonNull::new(next) {
            Block(next).set_previous(previous);
        }
        match NonNull::new(previous) {
            Some(previous) => Block(previous).set_next(next),
            None => {
                if let Some(head) = self.heads.get_mut(class) {
                    *head = next;
                }
                if next.is_null() {
                    self.filled &= !(1 << class);
                }
            }
        }
    }

    /// Bytes that must precede the payload's block so that the payload is aligned: 0, or enough for a free block.
    fn lead(block: Block, alignment: usize) -> usize {
        let mut lead = block.payload().addr().wrapping_neg() & (alignment - 1);
        while lead != 0 && lead < SMALLEST {
            lead += alignment;
        }
        lead
    }

    /// The first free block with room for `size` bytes (header included) at `alignment`, with the lead that it takes.
    fn find(&self, size: usize, alignment: usize) -> Option<(Block, usize)> {
        let mut classes = self.filled & (u32::MAX << class_of(size));
        while classes != 0 {
            let mut at = *self.heads.get(classes.trailing_zeros() as usize)?;
            while let Some(block) = NonNull::new(at).map(Block) {
                let lead = Self::lead(block, alignment);
                if block.size() >= size + lead {
                    return Some((block, lead));
                }
                at = block.next();
            }
            classes &= classes - 1;
        }
        None
    }

    /// Memory for `layout`, or null.
    pub fn allocate(&mut self, layout: Layout) -> *mut u8 {
        let alignment = layout.align().max(ALIGNMENT);
        let Some(size) = layout.size().checked_add(HEADER + ALIGNMENT - 1) else { return null_mut() };
        let size = (size & !(ALIGNMENT - 1)).max(SMALLEST);
        let Some((block, lead)) = self.find(size, alignment) else { return null_mut() };
        self.remove(block);
        let whole = block.size();
        self.empty_arenas -= usize::from(block.is_whole_arena());
        let before = block.header() & PLACE;
        let (block, before) = if lead > 0 {
            block.set_header(lead | before);
            self.insert(block, lead);
            (block.offset(lead), 0)
        } else {
            (block, before)
        };
        let rest = whole - lead - size;
        let taken = if rest >= SMALLEST {
            let tail = block.offset(size);
            tail.set_header(rest | PREVIOUS_IN_USE);
            self.insert(tail, rest);
            size
        } else {
            let after = block.offset(whole - lead);
            after.set_header(after.header() | PREVIOUS_IN_USE);
            whole - lead
        };
        block.set_header(taken | before | IN_USE);
        self.free -= taken;
        block.payload()
    }

    /// Gives `payload` back.
    ///
    /// # Safety
    /// `payload` came from this list.
    pub unsafe fn deallocate(&mut self, payload: NonNull<u8>) -> Freed {
        let mut block = Block::of_payload(payload);
        if !block.is_in_use() {
            return Freed::Twice;
        }
        let mut size = block.size();
        self.free += size;
        let after = block.offset(size);
        if !after.is_in_use() {
            self.remove(after);
            size += after.size();
        }
        if block.header() & PREVIOUS_IN_USE == 0 {
            block = block.before();
            self.remove(block);
            size += block.size();
        }
        block.set_header(size | block.header() & PLACE);
        let after = block.offset(size);
        after.set_header(after.header() & !PREVIOUS_IN_USE);
        self.insert(block, size);
        if block.is_whole_arena() {
            self.empty_arenas += 1;
            return Freed::LastOfArena(block.0.cast());
        }
        Freed::Part
    }

    /// How many bytes can be used at `payload`.
    ///
    /// # Safety
    /// `payload` came from this list and was not given back.
    #[must_use]
    pub unsafe fn usable_size(&self, payload: NonNull<u8>) -> usize {
        Block::of_payload(payload).size() - HEADER
    }

    /// Checks every invariant of the lists; gives the free bytes found. For tests.
    #[must_use]
    pub fn validate(&self) -> Option<usize> {
        let mut free = 0;
        for (class, head) in self.heads.iter().enumerate() {
            if head.is_null() != (self.filled & 1 << class == 0) {
                return None;
            }
            let mut previous: *mut usize = null_mut();
            let mut at = *head;
            while let Some(block) = NonNull::new(at).map(Block) {
                let after = block.offset(block.size());
                let well_formed = !block.is_in_use()
                    && class_of(block.size()) == class
                    && block.previous() == previous
                    && block.header() & PREVIOUS_IN_USE != 0
                    && after.is_in_use()
                    && after.header() & PREVIOUS_IN_USE == 0
                    && after.before() == block;
                if !well_formed {
                    return None;
                }
                free += block.size();
                previous = at;
                at = block.next();
            }
        }
        (free == self.free).then_some(free)
    }
}

impl Default for FreeList {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(bytes: usize) -> FreeList {
        let memory = vec![0u8; bytes].leak();
        let mut list = FreeList::new();
        // SAFETY: leaked for this list.
        unsafe { list.add_arena(memory.as_mut_ptr(), bytes) };
        list
    }

    fn layout(size: usize, alignment: usize) -> Layout {
        Layout::from_size_align(size, alignment).unwrap()
    }

    #[test]
    fn neighbours_coalesce_in_every_order() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut list = list(4096);
            let whole = list.validate().unwrap();
            let blocks: Vec<_> = (0..3).map(|_| NonNull::new(list.allocate(layout(100, 8))).unwrap()).collect();
            for index in order {
                // SAFETY: handed out above, freed once.
                assert_ne!(unsafe { list.deallocate(blocks[index]) }, Freed::Twice);
                list.validate().unwrap();
            }
            assert_eq!(list.validate(), Some(whole));
            assert!(!list.allocate(layout(whole - HEADER, 8)).is_null());
        }
    }

    #[test]
    fn failure_is_null_and_a_double_free_is_refused() {
        let mut list = list(1000);
        assert!(list.allocate(layout(2000, 8)).is_null());
        assert!(FreeList::new().allocate(layout(1, 1)).is_null());
        let block = NonNull::new(list.allocate(layout(64, 8))).unwrap();
        // SAFETY: handed out above.
        unsafe {
            assert!(list.usable_size(block) >= 64);
            assert!(matches!(list.deallocate(block), Freed::LastOfArena(_)));
            assert_eq!(list.deallocate(block), Freed::Twice);
        }
    }

    #[test]
    fn an_arena_can_be_had_back_when_its_last_block_is_free() {
        let mut list = list(4096);
        let mut second = vec![0u64; 512];
        // SAFETY: the vector outlives the list.
        unsafe { list.add_arena(second.as_mut_ptr().cast(), 4096) };
        assert_eq!(list.empty_arenas(), 2);
        let total = list.total();
        let blocks: Vec<_> = (0..6).map(|_| NonNull::new(list.allocate(layout(1200, 8))).unwrap()).collect();
        assert_eq!(list.empty_arenas(), 0);
        assert!(list.allocate(layout(1200, 8)).is_null());
        let mut arenas = Vec::new();
        for (index, block) in blocks.into_iter().enumerate() {
            // SAFETY: handed out above, freed once.
            match unsafe { list.deallocate(block) } {
                Freed::Twice => panic!("freed once"),
                Freed::Part => assert_ne!(index % 3, 2),
                Freed::LastOfArena(first) => arenas.push(first),
            }
            list.validate().unwrap();
        }
        assert_eq!((list.empty_arenas(), arenas.len()), (2, 2));
        // SAFETY: nothing was allocated since.
        assert_eq!(unsafe { list.take_arena(arenas[0]) }, total / 2);
        assert_eq!((list.empty_arenas(), list.total(), list.validate()), (1, total / 2, Some(total / 2)));
        assert!(!list.allocate(layout(total / 2 - HEADER, 8)).is_null());
        assert_eq!((list.empty_arenas(), list.validate()), (0, Some(0)));
        assert!(list.allocate(layout(8, 8)).is_null());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn blocks_never_overlap_and_all_memory_comes_back(
            steps in proptest::collection::vec((any::<bool>(), 1usize..3000, 0u32..9, any::<usize>()), 1..300)
        ) {
            let mut list = list(100 * 1024);
            let whole = list.validate().unwrap();
            let mut live: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
            for (tag, (allocate, size, alignment, pick)) in steps.into_iter().enumerate() {
                if allocate {
                    let alignment = 1usize << alignment;
                    let Some(block) = NonNull::new(list.allocate(layout(size, alignment))) else { continue };
                    prop_assert_eq!(block.addr().get() % alignment, 0);
                    // SAFETY: `size` bytes were handed out.
                    unsafe { block.write_bytes(tag as u8, size) };
                    live.push((block, size, tag as u8));
                } else if !live.is_empty() {
                    let (block, size, tag) = live.swap_remove(pick % live.len());
                    // SAFETY: handed out above, freed once.
                    unsafe {
                        prop_assert!(core::slice::from_raw_parts(block.as_ptr(), size).iter().all(|byte| *byte == tag));
                        prop_assert_ne!(list.deallocate(block), Freed::Twice);
                    }
                }
                prop_assert!(list.validate().is_some());
            }
            for (block, _, _) in live {
                // SAFETY: handed out above, freed once.
                let freed = unsafe { list.deallocate(block) };
                prop_assert_ne!(freed, Freed::Twice);
            }
            prop_assert_eq!(list.validate(), Some(whole));
        }
    }
}
