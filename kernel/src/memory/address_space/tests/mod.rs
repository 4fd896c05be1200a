//! Address spaces on the hosted machine.

mod model;

use super::test_support::{enter, leave};
use super::*;
use crate::arch::{AccessKind, PageFault};
use crate::memory::object::{MemoryObject, SharedPages};
use crate::memory::user::{UserPointer, copy_from_user, copy_to_user};

const BASE: u64 = 0x1000_0000;
pub(super) const PAGE: u64 = PAGE_SIZE as u64;

pub(super) fn at(page: u64) -> VirtualAddress {
    VirtualAddress::new(BASE + page * PAGE)
}

pub(super) fn read_write() -> Protection {
    Protection::READ | Protection::WRITE
}

pub(super) fn space_with(pages: u64) -> Arc<AddressSpace> {
    let space = AddressSpace::new().unwrap();
    space.map(&MapRequest::anonymous(pages * PAGE, read_write()).at(at(0))).unwrap();
    space
}

fn put(address: VirtualAddress, value: u8) -> Result<()> {
    copy_to_user(address, &[value])
}

fn get(address: VirtualAddress) -> Result<u8> {
    let mut byte = [0];
    copy_from_user(&mut byte, address)?;
    Ok(byte[0])
}

pub(super) fn fault(
    space: &AddressSpace,
    address: VirtualAddress,
    access: AccessKind,
) -> Result<FaultKind, FaultError> {
    space.handle_fault(PageFault { address, access, present: false, user: true, vector: 0, error_code: 0 })
}

#[test]
fn untouched_memory_reads_as_zeros_and_costs_nothing() {
    let space = space_with(100);
    enter(&space);
    assert_eq!(get(at(50)), Ok(0));
    assert_eq!(space.statistics().resident(), 0);
    put(at(50), 7).unwrap();
    assert_eq!(get(at(50)), Ok(7));
    assert_eq!(get(at(51)), Ok(0));
    assert_eq!((space.statistics().anonymous, space.statistics().total), (1, 100));
    assert!(space.validate());
    leave();
}

#[test]
fn fork_shares_until_somebody_writes() {
    let parent = space_with(4);
    enter(&parent);
    put(at(0), 1).unwrap();
    put(at(1), 2).unwrap();
    let child = parent.fork().unwrap();
    assert_eq!(child.statistics().anonymous, 2);
    put(at(0), 3).unwrap();
    enter(&child);
    assert_eq!((get(at(0)), get(at(1))), (Ok(1), Ok(2)));
    put(at(1), 4).unwrap();
    assert!(child.validate() && parent.validate());
    enter(&parent);
    assert_eq!((get(at(0)), get(at(1))), (Ok(3), Ok(2)));
    leave();
    drop(child);
    enter(&parent);
    put(at(1), 5).unwrap();
    assert_eq!(get(at(1)), Ok(5));
    assert!(parent.validate());
    leave();
}

#[test]
fn the_last_owner_of_a_page_writes_without_a_copy() {
    let parent = space_with(1);
    enter(&parent);
    put(at(0), 1).unwrap();
    let before = parent.lock().tables.translate(at(0)).unwrap().frame;
    drop(parent.fork().unwrap());
    put(at(0), 2).unwrap();
    assert_eq!(parent.lock().tables.translate(at(0)).unwrap().frame, before);
    leave();
}

#[test]
fn mprotect_after_fork_does_not_leak_writes() {
    let parent = space_with(1);
    enter(&parent);
    put(at(0), 1).unwrap();
    parent.protect(at(0), PAGE, Protection::READ).unwrap();
    let child = parent.fork().unwrap();
    parent.protect(at(0), PAGE, read_write()).unwrap();
    put(at(0), 9).unwrap();
    enter(&child);
    assert_eq!(get(at(0)), Ok(1));
    assert_eq!(put(at(0), 1), Err(Errno::EFAULT));
    leave();
}

#[test]
fn shared_memory_is_seen_on_both_sides_of_a_fork() {
    let parent = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(2 * PAGE, read_write()).of(MapSource::SharedAnonymous);
    let address = parent.map(&request).unwrap();
    enter(&parent);
    put(address, 1).unwrap();
    let child = parent.fork().unwrap();
    enter(&child);
    put(address, 2).unwrap();
    put(address.offset(PAGE), 3).unwrap();
    enter(&parent);
    assert_eq!((get(address), get(address.offset(PAGE))), (Ok(2), Ok(3)));
    let key = |space: &AddressSpace| space.futex_key(address, AccessKind::Write).unwrap();
    assert_eq!(key(&parent), key(&child));
    assert_ne!(parent.private_futex_key(address), child.private_futex_key(address));
    assert!(parent.validate() && child.validate());
    leave();
}

#[test]
fn a_futex_is_known_where_its_word_can_change() {
    let space = AddressSpace::new().unwrap();
    let own = space.map(&MapRequest::anonymous(PAGE, Protection::READ)).unwrap();
    let shared = space.map(&MapRequest::anonymous(PAGE, Protection::READ).of(MapSource::SharedAnonymous)).unwrap();
    let hidden = space.map(&MapRequest::anonymous(PAGE, Protection::empty())).unwrap();
    for access in [AccessKind::Read, AccessKind::Write] {
        assert_eq!(space.futex_key(own, access), Err(Errno::EFAULT), "nobody else sees it, and it stays as it is");
        assert_eq!(space.futex_key(hidden, access), Err(Errno::EFAULT));
    }
    assert!(matches!(space.futex_key(shared, AccessKind::Read), Ok(FutexKey::Shared { .. })));
    assert_eq!(space.futex_key(shared, AccessKind::Write), Err(Errno::EFAULT));
}

fn object_with(bytes: &[u8]) -> Arc<SharedPages> {
    let object = Arc::new(SharedPages::new());
    object.write_at(0, bytes).unwrap();
    object
}

fn source(object: &Arc<SharedPages>) -> ObjectSource {
    ObjectSource { object: object.clone(), offset: 0, maximum: Protection::all() }
}

#[test]
fn private_file_mappings_copy_and_shared_ones_do_not() {
    let object = object_with(&[5; 3 * PAGE_SIZE]);
    let space = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(3 * PAGE, read_write());
    let private = space.map(&request.clone().of(MapSource::Private(source(&object)))).unwrap();
    let shared = space.map(&request.of(MapSource::Shared(source(&object)))).unwrap();
    enter(&space);
    assert_eq!(get(private), Ok(5));
    // The neighbours came along.
    assert_eq!(space.statistics().shared, 3);
    put(private, 6).unwrap();
    assert_eq!((get(private), get(shared)), (Ok(6), Ok(5)));
    put(shared.offset(PAGE), 7).unwrap();
    assert_eq!(get(private.offset(PAGE)), Ok(7));
    put(private.offset(PAGE), 8).unwrap();
    assert_eq!(get(shared.offset(PAGE)), Ok(7));
    assert!(space.validate());
    let mut byte = [0];
    object.read_at(PAGE, &mut byte);
    assert_eq!(byte, [7]);
    space.unmap(private, 3 * PAGE).unwrap();
    assert_eq!(space.statistics().anonymous, 0);
    assert!(space.validate());
    leave();
}

#[test]
fn touching_beyond_the_object_is_a_bus_error() {
    let object = object_with(&[1; 10]);
    let space = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(2 * PAGE, read_write()).of(MapSource::Shared(source(&object)));
    let address = space.map(&request).unwrap();
    assert_eq!(fault(&space, address, AccessKind::Read), Ok(FaultKind::Minor));
    let beyond = address.offset(PAGE);
    let expected = FaultError::Signal { signal: 7, code: 2, address: beyond };
    assert_eq!(fault(&space, beyond, AccessKind::Read), Err(expected));
}

#[test]
fn a_mapping_loses_what_the_object_loses() {
    let object = object_with(&[1; 3 * PAGE_SIZE]);
    let space = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(3 * PAGE, read_write());
    let shared = space.map(&request.clone().of(MapSource::Shared(source(&object)))).unwrap();
    let private = space.map(&request.of(MapSource::Private(source(&object)))).unwrap();
    enter(&space);
    for page in 0..3 {
        put(shared.offset(page * PAGE), 2).unwrap();
        put(private.offset(page * PAGE), 3).unwrap();
    }
    object.truncate(PAGE + 10);
    assert_eq!((get(shared.offset(PAGE)), get(shared.offset(2 * PAGE))), (Ok(2), Err(Errno::EFAULT)));
    assert_eq!((get(private.offset(PAGE)), get(private.offset(2 * PAGE))), (Ok(3), Err(Errno::EFAULT)));
    object.truncate(3 * PAGE);
    assert_eq!(get(shared.offset(2 * PAGE)), Ok(0));
    object.punch_hole(0, PAGE);
    assert_eq!((get(shared), get(private)), (Ok(0), Ok(3)));
    leave();
}

#[test]
fn a_cut_takes_copies_whose_page_nobody_else_maps() {
    let object = object_with(&[1; 3 * PAGE_SIZE]);
    let space = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(3 * PAGE, read_write());
    let private = space.map(&request.of(MapSource::Private(source(&object)))).unwrap();
    enter(&space);
    for round in 0..2 {
        (0..3).for_each(|page| put(private.offset(page * PAGE), 3).unwrap());
        object.truncate(PAGE);
        object.truncate(3 * PAGE);
        let seen = (get(private), get(private.offset(PAGE)), get(private.offset(2 * PAGE)));
        assert_eq!(seen, (Ok(3), Ok(0), Ok(0)), "round {round}");
        assert!(space.validate());
    }
    leave();
}

#[test]
fn faults_say_why() {
    let space = space_with(1);
    space.map(&MapRequest::anonymous(PAGE, Protection::READ).at(at(5))).unwrap();
    let error = |code, address| Err(FaultError::Signal { signal: 11, code, address });
    assert_eq!(fault(&space, at(3), AccessKind::Read), error(1, at(3)));
    assert_eq!(fault(&space, at(5), AccessKind::Write), error(2, at(5)));
    assert_eq!(fault(&space, at(0), AccessKind::Execute), error(2, at(0)));
    let top = VirtualAddress::new(u64::MAX);
    assert_eq!(fault(&space, top, AccessKind::Write), error(1, top));
}

#[test]
fn a_stack_grows_down_to_its_limit_and_keeps_its_distance() {
    let space = AddressSpace::new().unwrap();
    let top = 0x7000_0000_0000u64;
    let request = MapRequest::anonymous(2 * PAGE, read_write()).with(MapFlags::GROWS_DOWN);
    space.map(&request.at(VirtualAddress::new(top - 2 * PAGE))).unwrap();
    let below = |distance: u64| VirtualAddress::new(top - distance);
    assert!(fault(&space, below(1 << 20), AccessKind::Write).is_ok());
    assert_eq!(space.statistics().stack, 256);
    assert!(fault(&space, below((8 << 20) + 1), AccessKind::Write).is_err());
    assert!(fault(&space, below(8 << 20), AccessKind::Write).is_ok());
    // A neighbour within 256 pages stops it.
    let space = AddressSpace::new().unwrap();
    let request = MapRequest::anonymous(2 * PAGE, read_write()).with(MapFlags::GROWS_DOWN);
    space.map(&request.at(VirtualAddress::new(top - 2 * PAGE))).unwrap();
    space.map(&MapRequest::anonymous(PAGE, read_write()).at(below(300 * PAGE))).unwrap();
    assert!(fault(&space, below(10 * PAGE), AccessKind::Write).is_ok());
    assert!(fault(&space, below(43 * PAGE), AccessKind::Write).is_ok());
    assert!(fault(&space, below(44 * PAGE), AccessKind::Write).is_err());
}

#[test]
fn the_heap_moves_and_stops_at_its_limits() {
    let space = AddressSpace::new().unwrap();
    let heap = VirtualAddress::new(0x2000_0123);
    space.set_layout(Layout { heap_start: heap, ..Layout::default() });
    assert_eq!(space.set_break(VirtualAddress::new(0)), heap);
    let end = heap.offset(10 * PAGE);
    assert_eq!(space.set_break(end), end);
    enter(&space);
    put(end.align_down(), 1).unwrap();
    assert_eq!(space.set_break(heap.offset(PAGE)), heap.offset(PAGE));
    assert_eq!(get(end.align_down()), Err(Errno::EFAULT));
    assert_eq!(space.set_break(VirtualAddress::new(u64::MAX)), heap.offset(PAGE));
    space.set_limits(MemoryLimits { data: 4 * PAGE, ..MemoryLimits::default() });
    assert_eq!(space.set_break(end), heap.offset(PAGE));
    assert_eq!(space.areas(Detail::Plain)[0].details.name, b"[heap]");
    leave();
}

#[test]
fn areas_split_and_merge_as_linux_shows_them() {
    let space = space_with(10);
    assert_eq!(space.areas(Detail::Plain).len(), 1);
    space.protect(at(3), 2 * PAGE, Protection::READ).unwrap();
    assert_eq!(space.areas(Detail::Plain).len(), 3);
    space.protect(at(3), 2 * PAGE, read_write()).unwrap();
    assert_eq!(space.areas(Detail::Plain).len(), 1);
    space.unmap(at(4), PAGE).unwrap();
    assert_eq!(space.areas(Detail::Plain).len(), 2);
    assert_eq!(space.protect(at(0), 10 * PAGE, Protection::READ), Err(Errno::ENOMEM));
    assert_eq!(space.statistics().total, 9);
    assert!(space.validate());
}

#[test]
fn hostile_numbers_get_their_errno() {
    let space = space_with(2);
    let map = |address: u64, length, placement| {
        let request = MapRequest::anonymous(length, read_write());
        space.map(&MapRequest { address: VirtualAddress::new(address), placement, ..request })
    };
    assert_eq!(map(0, 0, Placement::Anywhere), Err(Errno::EINVAL));
    assert_eq!(map(0, u64::MAX, Placement::Anywhere), Err(Errno::ENOMEM));
    assert_eq!(map(0, u64::MAX - 8191, Placement::Anywhere), Err(Errno::ENOMEM));
    assert_eq!(map(0, 1 << 46, Placement::Anywhere), Err(Errno::ENOMEM));
    assert_eq!(map(1, PAGE, Placement::Fixed), Err(Errno::EINVAL));
    assert_eq!(map(u64::MAX - 4095, PAGE, Placement::Fixed), Err(Errno::ENOMEM));
    assert_eq!(map(BASE + PAGE, PAGE, Placement::FixedNoReplace), Err(Errno::EEXIST));
    assert_eq!(space.unmap(VirtualAddress::new(u64::MAX - 4095), PAGE), Err(Errno::EINVAL));
    assert_eq!(space.unmap(at(0), 0), Err(Errno::EINVAL));
    assert_eq!(space.unmap(at(0), u64::MAX), Err(Errno::EINVAL));
    assert_eq!(space.protect(at(0), u64::MAX, Protection::READ), Err(Errno::ENOMEM));
    assert_eq!(space.advise(at(0), u64::MAX, Advice::DontNeed), Err(Errno::EINVAL));
    assert_eq!(space.advise(at(0), 3 * PAGE, Advice::DontNeed), Err(Errno::ENOMEM));
    let remap = |old_length, new_length, flags| {
        let (address, new_address) = (at(0), at(100));
        space.remap(&RemapRequest {
            address,
            old_length,
            new_length,
            flags,
            new_address,
            lock_limit: LockLimit::Enforced,
        })
    };
    assert_eq!(remap(PAGE, 0, RemapFlags::MAY_MOVE), Err(Errno::EINVAL));
    assert_eq!(remap(0, PAGE, RemapFlags::MAY_MOVE), Err(Errno::EINVAL));
    assert_eq!(remap(3 * PAGE, 4 * PAGE, RemapFlags::MAY_MOVE), Err(Errno::EFAULT));
    assert_eq!(remap(PAGE, u64::MAX - 8191, RemapFlags::MAY_MOVE), Err(Errno::ENOMEM));
    assert_eq!(remap(PAGE, PAGE, RemapFlags::FIXED), Err(Errno::EINVAL));
    assert!(space.validate());
}

#[test]
fn foreign_access_reaches_an_inactive_space() {
    let space = space_with(3);
    let text = [9u8; 5000];
    assert_eq!(space.write_foreign(at(0).offset(100), &text, ForeignAccess::Checked), Ok(5000));
    let mut back = [0u8; 5000];
    assert_eq!(space.read_foreign(at(0).offset(100), &mut back, ForeignAccess::Checked), Ok(5000));
    assert_eq!(back, text);
    assert_eq!(space.write_foreign(at(2).offset(4000), &text, ForeignAccess::Checked), Ok(96));
    assert_eq!(space.write_foreign(at(9), &text, ForeignAccess::Checked), Err(Errno::EFAULT));
    space.protect(at(0), PAGE, Protection::READ).unwrap();
    assert_eq!(space.write_foreign(at(0), &text[..1], ForeignAccess::Checked), Err(Errno::EFAULT));
    assert_eq!(space.write_foreign(at(0), &text[..1], ForeignAccess::Forced), Ok(1));
    enter(&space);
    assert_eq!((get(at(0)), put(at(0), 1)), (Ok(9), Err(Errno::EFAULT)));
    assert_eq!(UserPointer::<u64>::new(at(3).offset(u64::MAX - 3)).read(), Err(Errno::EFAULT));
    assert!(space.validate());
    leave();
}

#[test]
fn locking_counts_and_is_limited() {
    let space = space_with(10);
    space.set_limits(MemoryLimits { locked: 4 * PAGE, ..MemoryLimits::default() });
    space.lock_range(at(0), 3 * PAGE, LockMode::Now, LockLimit::Enforced).unwrap();
    assert_eq!((space.statistics().locked, space.statistics().anonymous), (3, 3));
    space.lock_range(at(1), 3 * PAGE, LockMode::OnFault, LockLimit::Enforced).unwrap();
    assert_eq!(space.lock_range(at(1), 6 * PAGE, LockMode::Now, LockLimit::Enforced), Err(Errno::ENOMEM));
    assert_eq!(space.advise(at(0), PAGE, Advice::DontNeed), Err(Errno::EINVAL));
    space.unlock_range(at(0), 10 * PAGE).unwrap();
    assert_eq!((space.statistics().locked, space.areas(Detail::Plain).len()), (0, 1));
}

#[test]
fn a_dropped_space_gives_every_frame_back() {
    // What is made once and for all is there already.
    let _ = zero_page();
    drop(AddressSpace::new());
    // Whoever needs the page of zeros first pays for it.
    let _ = super::zero_page();
    let held = crate::memory::frame_ledger::held_when_quiet();
    let object = object_with(&[1; 2 * PAGE_SIZE]);
    let frame = object.page(0, crate::memory::object::PageIntent::Read).unwrap();
    let space = space_with(4);
    let address =
        space.map(&MapRequest::anonymous(PAGE, Protection::READ).of(MapSource::Private(source(&object)))).unwrap();
    enter(&space);
    put(at(0), 1).unwrap();
    assert_eq!(get(address), Ok(1));
    let own = space.lock().tables.frame(at(0)).unwrap();
    let child = space.fork().unwrap();
    leave();
    drop(child);
    assert_eq!((own.reference_count(), frame.reference_count()), (2, 3));
    drop(space);
    assert_eq!((own.reference_count(), frame.reference_count()), (1, 2));
    drop((own, frame, object));
    assert_eq!(crate::memory::frame_ledger::held_at_last(held), held);
}
