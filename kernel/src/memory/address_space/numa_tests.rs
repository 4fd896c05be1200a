//! Policies of areas, and moving pages. The emulated machine has one node; a move to a node that it has not takes any other frame.

use super::test_support::{enter, leave};
use super::tests::{PAGE, at, read_write, space_with};
use super::*;
use crate::memory::numa::{MemoryPolicy, Mode, ModeFlags, NamedMode, NamedNodes, NodeId, NodeMask};
use crate::memory::user::{copy_from_user, copy_to_user};
use std::vec::Vec;

const ELSEWHERE: NodeId = NodeId(1);

fn policy(mode: Mode) -> Option<MemoryPolicy> {
    let mut named = NamedNodes::NONE;
    named.0[0] = u64::from(mode != Mode::Local);
    MemoryPolicy::new(NamedMode::Policy(mode), ModeFlags::empty(), &named, NodeMask::from_bits(1)).unwrap()
}

fn put(space: &Arc<AddressSpace>, page: u64, value: u8) {
    enter(space);
    copy_to_user(at(page), &[value]).unwrap();
    leave();
}

fn get(space: &Arc<AddressSpace>, page: u64) -> u8 {
    let mut byte = [0];
    enter(space);
    copy_from_user(&mut byte, at(page)).unwrap();
    leave();
    byte[0]
}

fn frame(space: &AddressSpace, page: u64) -> FrameNumber {
    space.lock().tables.translate(at(page)).unwrap().frame
}

fn set(space: &AddressSpace, first: u64, count: u64, policy: Option<MemoryPolicy>) -> Result<()> {
    space.set_policy(at(first), count * PAGE, || Ok(policy), NodeMask::from_bits(1), Misplaced::default())
}

fn policies(space: &AddressSpace, pages: u64) -> Vec<Option<Mode>> {
    (0..pages).map(|page| space.policy_at(at(page)).unwrap().map(|policy| policy.mode())).collect()
}

#[test]
fn policies_cut_areas_and_join_them_again() {
    let space = space_with(6);
    set(&space, 2, 2, policy(Mode::Bind)).unwrap();
    let bind = Some(Mode::Bind);
    assert_eq!(policies(&space, 6), [None, None, bind, bind, None, None]);
    assert_eq!(space.statistics().areas, 3);
    set(&space, 4, 2, policy(Mode::Bind)).unwrap();
    assert_eq!(space.statistics().areas, 2);
    let child = space.fork().unwrap();
    assert_eq!(policies(&child, 6), [None, None, bind, bind, bind, bind]);
    set(&space, 0, 6, None).unwrap();
    assert_eq!((space.statistics().areas, child.statistics().areas), (1, 2));
    assert!(space.validate() && child.validate());
}

#[test]
fn a_policy_needs_memory_without_holes_and_the_default_does_not() {
    let space = space_with(4);
    space.unmap(at(1), PAGE).unwrap();
    assert_eq!(set(&space, 0, 4, policy(Mode::Local)), Err(Errno::EFAULT));
    assert_eq!(set(&space, 1, 1, None), Err(Errno::EFAULT));
    assert_eq!(set(&space, 2, 3, policy(Mode::Local)), Err(Errno::EFAULT));
    assert_eq!(set(&space, 0, 8, None), Ok(()));
    assert_eq!(policies(&space, 1), [None]);
    let misplaced = Misplaced { is_error: true, moves: None };
    put(&space, 2, 1);
    let bind =
        |named| space.set_policy(at(2), 2 * PAGE, || Ok(policy(Mode::Bind)), NodeMask::from_bits(named), misplaced);
    // The page is on node 0.
    assert_eq!((bind(0b10), bind(0b11)), (Err(Errno::EIO), Ok(())));
    assert_eq!(space.set_policy(at(0).offset(1), PAGE, || Ok(None), NodeMask::EMPTY, misplaced), Err(Errno::EINVAL));
}

#[test]
fn homes_are_for_policies_that_have_one() {
    let space = space_with(4);
    assert_eq!(space.set_home_node(at(0), PAGE, NodeId(0)), Err(Errno::ENOENT));
    set(&space, 1, 1, policy(Mode::PreferredMany)).unwrap();
    assert_eq!(space.set_home_node(at(0), 4 * PAGE, NodeId(0)), Ok(()));
    set(&space, 2, 1, policy(Mode::Interleave)).unwrap();
    assert_eq!(space.set_home_node(at(0), 4 * PAGE, NodeId(0)), Err(Errno::EOPNOTSUPP));
}

#[test]
fn shared_memory_has_its_policy_for_everybody() {
    let space = AddressSpace::new().unwrap();
    let request = MapRequest { source: MapSource::SharedAnonymous, ..MapRequest::anonymous(4 * PAGE, read_write()) };
    space.map(&request.at(at(0))).unwrap();
    let child = space.fork().unwrap();
    set(&child, 1, 2, policy(Mode::Bind)).unwrap();
    let bind = Some(Mode::Bind);
    assert_eq!(policies(&space, 4), [None, bind, bind, None]);
    set(&space, 2, 1, None).unwrap();
    assert_eq!(policies(&child, 4), [None, bind, None, None]);
}

#[test]
fn a_page_moves_with_its_content() {
    let space = space_with(4);
    put(&space, 1, 77);
    let old = frame(&space, 1);
    assert_eq!(space.move_page(at(1), ELSEWHERE, Reach::Own), Ok(()));
    assert_ne!(frame(&space, 1), old);
    assert_eq!(get(&space, 1), 77);
    put(&space, 1, 78);
    assert_eq!(get(&space, 1), 78);
    // Where it is already nothing happens.
    let old = frame(&space, 1);
    assert_eq!(space.move_page(at(1), NodeId(0), Reach::Own), Ok(()));
    assert_eq!(frame(&space, 1), old);
    assert_eq!(get(&space, 2), 0);
    // Untouched, the zero page, nothing at all.
    for page in [3, 2, 100] {
        assert_eq!(space.move_page(at(page), ELSEWHERE, Reach::All), Err(Errno::EFAULT));
    }
    assert!(space.validate());
}

#[test]
fn a_page_that_the_kernel_uses_stays() {
    let space = space_with(1);
    put(&space, 0, 5);
    let held = space.lock().tables.frame(at(0)).unwrap();
    assert_eq!(space.move_page(at(0), ELSEWHERE, Reach::Own), Err(Errno::EACCES));
    assert_eq!(space.move_page(at(0), ELSEWHERE, Reach::All), Err(Errno::EBUSY));
    assert_eq!(frame(&space, 0), held.number());
    drop(held);
    assert_eq!(space.move_page(at(0), ELSEWHERE, Reach::Own), Ok(()));
    assert_eq!(get(&space, 0), 5);
}

#[test]
fn a_page_common_after_a_fork_moves_for_all_or_not_at_all() {
    let space = space_with(2);
    put(&space, 0, 9);
    let children = [space.fork().unwrap(), space.fork().unwrap()];
    let grandchild = children[0].fork().unwrap();
    let old = frame(&space, 0);
    assert_eq!(children[1].move_page(at(0), ELSEWHERE, Reach::Own), Err(Errno::EACCES));
    assert_eq!(frame(&space, 0), old);
    assert_eq!(children[1].move_page(at(0), ELSEWHERE, Reach::All), Ok(()));
    let all = [&space, &children[0], &children[1], &grandchild];
    let new = frame(&space, 0);
    assert_ne!(new, old);
    assert!(all.iter().all(|space| frame(space, 0) == new && get(space, 0) == 9));
    // Still copied on the first store.
    put(&grandchild, 0, 10);
    assert_eq!(all.map(|space| get(space, 0)), [9, 9, 9, 10]);
    assert!(all.iter().all(|space| space.validate()));
}

#[test]
fn a_page_of_shared_memory_moves_for_everybody() {
    let space = AddressSpace::new().unwrap();
    let request = MapRequest { source: MapSource::SharedAnonymous, ..MapRequest::anonymous(2 * PAGE, read_write()) };
    space.map(&request.at(at(0))).unwrap();
    put(&space, 0, 3);
    let old = frame(&space, 0);
    let child = space.fork().unwrap();
    put(&child, 0, 4);
    assert_eq!(space.move_page(at(0), ELSEWHERE, Reach::Own), Err(Errno::EACCES));
    assert_eq!(space.move_page(at(0), ELSEWHERE, Reach::All), Ok(()));
    assert_ne!(frame(&space, 0), old);
    assert_eq!((get(&space, 0), get(&child, 0)), (4, 4));
    put(&child, 0, 5);
    put(&space, 1, 6);
    assert_eq!((get(&space, 0), get(&child, 1)), (5, 6));
    assert!(space.validate() && child.validate());
}

#[test]
fn moving_between_nodes_counts_what_stays() {
    let space = space_with(4);
    (0..3).for_each(|page| put(&space, page, 1));
    let held = space.lock().tables.frame(at(1)).unwrap();
    let (zero, one) = (NodeMask::from_bits(1), NodeMask::from_bits(2));
    assert_eq!(space.move_between_nodes(zero, one, Reach::All), Ok(1));
    assert_eq!(space.move_between_nodes(one, zero, Reach::All), Ok(0));
    drop(held);
    assert_eq!(space.move_between_nodes(zero, one, Reach::All), Ok(0));
    assert_eq!((get(&space, 0), get(&space, 3)), (1, 0));
}
