//! Both formats, through the physmap and the (emulated) recursive window, against a map from pages to leaves; the TLB against what a
//! real one might still hold.

mod model;

use super::arm_lpae::{ArmLpaeFormat, map_contiguous_lpae, map_to_lpae, translate_lpae, unmap_lpae};
use super::format::{Half, TOP_LEVEL, size_level};
use super::mapper::Mapper;
use super::tlb::{Batch, Tlb};
use super::x86_64_paging::{X86_64Format, map_to, translate, unmap};
use super::*;
use crate::base::{PAGE_SIZE, PhysicalAddress, VirtualAddress, VirtualRange};
use crate::memory::frame::Frame;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

const PAGE: u64 = PAGE_SIZE as u64;
/// The bytes of a run, where the format has them.
const RUN: u64 = 16 * PAGE;

/// A TLB that keeps every translation until it is told to forget it.
#[derive(Clone, Debug, Default)]
struct RecordingTlb {
    cached: Rc<RefCell<HashMap<(u64, u64), Leaf>>>,
    calls: Rc<RefCell<u64>>,
    /// The runs that are cached as one translation, by the space's root and their first page.
    runs: Rc<RefCell<BTreeSet<(u64, u64)>>>,
}

impl Tlb for RecordingTlb {
    fn invalidate_page(&self, root: PhysicalAddress, page: VirtualAddress) {
        *self.calls.borrow_mut() += 1;
        let page = page.align_down().value();
        self.runs.borrow_mut().remove(&(root.value(), page & !(RUN - 1)));
        self.cached.borrow_mut().retain(|(owner, at), leaf| {
            let span = super::format::level_span(size_level(leaf.size));
            *owner != root.value() || !(*at..*at + span).contains(&page)
        });
    }
    fn invalidate_all(&self, root: PhysicalAddress) {
        *self.calls.borrow_mut() += 1;
        self.cached.borrow_mut().retain(|(owner, _), _| *owner != root.value());
        self.runs.borrow_mut().retain(|(owner, _)| *owner != root.value());
    }
}

type Space<F, A> = Tables<F, A, RecordingTlb>;

fn large_leaves<F: Format>() {
    let tlb = RecordingTlb::default();
    let mut space: Space<F, Physmap> = Tables::with(Physmap::from, tlb).unwrap();
    let page = VirtualAddress::new(0x4000_0000);
    let block = Frame::allocate_block(9).unwrap();
    block.write(5 * PAGE_SIZE, b"five");
    let flags = PageFlags::USER | PageFlags::WRITABLE | PageFlags::DIRTY;
    let first = block.number();
    space.map(page, block, flags).unwrap();
    assert_eq!(space.map(page.offset(PAGE), Frame::allocate().unwrap(), flags), Err(MapError::AlreadyMapped));
    let leaf = space.translate(page.offset(0x12_3456)).unwrap();
    assert_eq!((leaf.frame, leaf.size), (first, PageSize::Large));
    // A fork shares it; a change in the child splits a copy of it.
    let mut batch = Batch::for_tables(&space);
    let mut child = space.fork(&mut batch).unwrap();
    drop(batch);
    let mut batch = Batch::for_tables(&child);
    assert!(child.unmap(page.offset(7 * PAGE), &mut batch).unwrap().is_some());
    drop(batch);
    let part = child.translate(page.offset(5 * PAGE)).unwrap();
    assert_eq!(part.size, PageSize::Small);
    assert_ne!(part.frame, first.offset(5));
    assert!(part.flags.contains(PageFlags::COPY_ON_WRITE));
    let mut bytes = [0; 4];
    child.frame(page.offset(5 * PAGE)).unwrap().read(0, &mut bytes);
    assert_eq!(&bytes, b"five");
    drop(child);
    // Alone again, the parent's is split in place.
    let mut batch = Batch::for_tables(&space);
    let range = VirtualRange::new(page.offset(PAGE), PAGE * 510).unwrap();
    assert_eq!(space.unmap_range(range, &mut batch), Ok(510));
    drop(batch);
    let last = space.translate(page.offset(511 * PAGE)).unwrap();
    assert_eq!((last.frame, last.size), (first.offset(511), PageSize::Small));
    // And collapsed into a new block.
    let block = Frame::allocate_block(9).unwrap();
    let number = block.number();
    let mut batch = Batch::for_tables(&space);
    space.collapse(page, block, flags, &mut batch).unwrap();
    drop(batch);
    assert_eq!(space.translate(page).map(|leaf| (leaf.frame, leaf.size)), Some((number, PageSize::Large)));
    assert_eq!(space.table_count(), 3);
}

#[test]
fn large_leaves_are_mapped_split_and_collapsed_in_both_formats() {
    large_leaves::<X86_64Format>();
    large_leaves::<ArmLpaeFormat>();
}

#[test]
fn huge_leaves_split_by_levels() {
    let root = Frame::allocate_zeroed().unwrap();
    let mut mapper: Mapper<X86_64Format, Physmap, RecordingTlb> =
        Mapper::new(root.number(), Half::User, Physmap, RecordingTlb::default());
    let page = VirtualAddress::new(3 << 30);
    let flags = PageFlags::WRITABLE | PageFlags::USER;
    map_to(&mut mapper, page, FrameNumber::new(1 << 18), PageSize::Huge, flags).unwrap();
    let inside = page.offset(0x1234_5678);
    assert_eq!(translate(&mapper, inside), Some(PhysicalAddress::new((1 << 30) + 0x1234_5678)));
    assert!(mapper.reach(inside, 0, super::mapper::Absent::Stop).unwrap().is_some());
    assert_eq!(translate(&mapper, inside), Some(PhysicalAddress::new((1 << 30) + 0x1234_5678)));
    assert_eq!(mapper.find(inside).level, 0);
    assert_eq!(unmap(&mut mapper, inside.align_down()).map(|leaf| leaf.size), Some(PageSize::Small));
    assert_eq!(translate(&mapper, inside), None);
    assert!(translate(&mapper, inside.offset(PAGE)).is_some());
}

#[test]
fn the_mission_s_functions_work_on_both_formats() {
    let root = Frame::allocate_zeroed().unwrap();
    let tlb = RecordingTlb::default();
    let mut mapper: Mapper<X86_64Format, Physmap, RecordingTlb> =
        Mapper::new(root.number(), Half::User, Physmap, tlb.clone());
    let page = VirtualAddress::new(0x7fff_1234_5000);
    map_to(&mut mapper, page, FrameNumber::new(9), PageSize::Small, PageFlags::USER).unwrap();
    let error = map_to(&mut mapper, page, FrameNumber::new(9), PageSize::Small, PageFlags::USER);
    assert_eq!(error, Err(MapError::AlreadyMapped));
    let error = map_to(&mut mapper, page, FrameNumber::new(9), PageSize::Large, PageFlags::USER);
    assert_eq!(error, Err(MapError::Unaligned));
    assert_eq!(translate(&mapper, page.offset(7)), Some(PhysicalAddress::new(9 * PAGE + 7)));
    assert_eq!(unmap(&mut mapper, page).unwrap().frame, FrameNumber::new(9));
    assert!(*tlb.calls.borrow() > 0);
    // Every table but the root is gone.
    assert_eq!(mapper.find(page).level, TOP_LEVEL);

    let root = Frame::allocate_zeroed().unwrap();
    let mut mapper: Mapper<ArmLpaeFormat, Physmap, RecordingTlb> = Mapper::new(root.number(), Half::User, Physmap, tlb);
    map_to_lpae(&mut mapper, page, FrameNumber::new(9), PageSize::Small, PageFlags::USER).unwrap();
    assert_eq!(translate_lpae(&mapper, page.offset(7)), Some(PhysicalAddress::new(9 * PAGE + 7)));
    assert!(unmap_lpae(&mut mapper, page).is_some());
    assert!(unmap_lpae(&mut mapper, page).is_none());
    let aligned = VirtualAddress::new(0x10_0000);
    map_contiguous_lpae(&mut mapper, aligned, FrameNumber::new(0x40), PageFlags::USER | PageFlags::ACCESSED).unwrap();
    assert_ne!(mapper.find(aligned.offset(15 * PAGE)).entry & 1 << 52, 0);
    let error = map_contiguous_lpae(&mut mapper, aligned.offset(PAGE), FrameNumber::new(0x40), PageFlags::USER);
    assert_eq!(error, Err(MapError::Unaligned));
    assert!((0..16).all(|index| unmap_lpae(&mut mapper, aligned.offset(index * PAGE)).is_some()));
}

fn large_leaves_are_noted<F: Format>() {
    let mut space: Space<F, Physmap> = Tables::with(Physmap::from, RecordingTlb::default()).unwrap();
    let page = VirtualAddress::new(0x4000_0000);
    space.map(page, Frame::allocate_block(9).unwrap(), PageFlags::USER | PageFlags::WRITABLE).unwrap();
    let mut batch = Batch::for_tables(&space);
    let noted = PageFlags::ACCESSED | PageFlags::DIRTY;
    assert_eq!(space.note(page.offset(7 * PAGE), noted, &mut batch), Ok(true));
    let leaf = space.translate(page).unwrap();
    assert_eq!((leaf.size, leaf.flags), (PageSize::Large, PageFlags::USER | PageFlags::WRITABLE | noted));
    assert_eq!(space.note(page.offset(512 * PAGE), noted, &mut batch), Ok(false));
}

#[test]
fn an_access_is_noted_in_the_block_s_own_entry() {
    large_leaves_are_noted::<X86_64Format>();
    large_leaves_are_noted::<ArmLpaeFormat>();
}

#[test]
fn user_tables_refuse_kernel_addresses() {
    let mut space = PageTables::new().unwrap();
    for address in [1 << 47, 0xffff_8000_0000_0000, u64::MAX - 4095] {
        let page = VirtualAddress::new(address);
        let error = space.map(page, Frame::allocate().unwrap(), PageFlags::USER);
        assert_eq!(error, Err(MapError::Unaligned));
        assert_eq!(space.translate(page), None);
        assert!(space.frame(page).is_none());
        let mut batch = TlbBatch::new(&space);
        assert_eq!(space.unmap(page, &mut batch), Ok(None));
        assert_eq!(space.protect(page, PageFlags::USER, &mut batch), Ok(false));
    }
    let everything = VirtualRange { start: VirtualAddress::new(0), end: VirtualAddress::new(u64::MAX) };
    let mut batch = TlbBatch::new(&space);
    assert_eq!(space.unmap_range(everything, &mut batch), Ok(0));
}

#[test]
fn forked_shared_memory_stays_shared_and_private_memory_is_copied() {
    let mut space = PageTables::new().unwrap();
    let (private, shared) = (VirtualAddress::new(0x1000), VirtualAddress::new(0x2000));
    let flags = PageFlags::USER | PageFlags::WRITABLE;
    space.map(private, Frame::allocate().unwrap(), flags).unwrap();
    space.map(shared, Frame::allocate().unwrap(), flags | PageFlags::SHARED).unwrap();
    let mut batch = TlbBatch::new(&space);
    let mut child = space.fork(&mut batch).unwrap();
    drop(batch);
    for tables in [&mut space, &mut child] {
        tables.unshare(private).unwrap();
        let leaf = tables.translate(private).unwrap();
        assert_eq!(leaf.flags, PageFlags::USER | PageFlags::COPY_ON_WRITE);
        assert_eq!(tables.translate(shared).unwrap().flags, flags | PageFlags::SHARED);
    }
    assert_eq!(space.frame(private).unwrap().reference_count(), 3);
    drop(child);
    assert_eq!(space.frame(private).unwrap().reference_count(), 2);
}

#[test]
fn the_upper_half_of_arm_s_user_space_is_used() {
    let mut space: Space<ArmLpaeFormat, Physmap> = Tables::with(Physmap::from, RecordingTlb::default()).unwrap();
    let flags = PageFlags::USER | PageFlags::WRITABLE | PageFlags::DIRTY | PageFlags::ACCESSED;
    let pages = [1 << 47, 300 << 39, (1 << 48) - PAGE].map(VirtualAddress::new);
    for page in pages {
        space.map(page, Frame::allocate().unwrap(), flags).unwrap();
    }
    let beyond = VirtualAddress::new(1 << 48);
    assert_eq!(space.map(beyond, Frame::allocate().unwrap(), flags), Err(MapError::Unaligned));
    assert_eq!(space.translate(beyond), None);
    assert_eq!(space.table_count(), 1 + 3 * 3);
    let mut batch = Batch::for_tables(&space);
    let mut child = space.fork(&mut batch).unwrap();
    drop(batch);
    assert!(pages.iter().all(|page| child.translate(*page).is_some()));
    let everything = VirtualRange { start: VirtualAddress::new(0), end: VirtualAddress::new(u64::MAX) };
    let mut batch = Batch::for_tables(&child);
    assert_eq!(child.unmap_range(everything, &mut batch), Ok(3));
    drop(batch);
    assert_eq!(child.table_count(), 1);
    assert!(pages.iter().all(|page| space.translate(*page).is_some_and(|leaf| leaf.size == PageSize::Small)));
}
