//! Who may do what.

use crate::base::Errno;
use crate::fs::directory::{self, RenameFlags};
use crate::fs::permission::{self, Access, Victim};
use crate::fs::testing::World;
use crate::fs::{OpenFlags, open};
use crate::security::{Capability, CapabilitySet, Credentials, credentials::GroupList};

/// What the class that counts allows, written a second time.
fn allowed(mode: u32, is_owner: bool, in_group: bool, access: Access) -> bool {
    let class = if is_owner {
        mode >> 6 & 7
    } else if in_group {
        mode >> 3 & 7
    } else {
        mode & 7
    };
    access.bits() & !class == 0
}

#[test]
fn every_mode_and_class_is_decided_as_the_bits_say() {
    let world = World::new();
    world.write("/f", b"").unwrap();
    let inode = world.resolve("/f").unwrap().inode().clone();
    inode.header().set_owner(10, 20);
    let mut member = Credentials::user(11, 30);
    member.groups = GroupList::new(vec![5, 20]);
    let who = [
        (Credentials::user(10, 20), true, true),
        (Credentials::user(10, 21), true, false),
        (Credentials::user(11, 20), false, true),
        (member, false, true),
        (Credentials::user(11, 21), false, false),
    ];
    for mode in 0..0o1000 {
        inode.header().set_permissions(mode);
        for (credentials, is_owner, in_group) in &who {
            for access in (0..8).map(Access::from_bits_truncate) {
                let expected = if allowed(mode, *is_owner, *in_group, access) { Ok(()) } else { Err(Errno::EACCES) };
                assert_eq!(permission::check(&*inode, credentials, access), expected, "{mode:o} {access:?}");
            }
        }
        let root = Credentials::root();
        let executes = permission::check(&*inode, &root, Access::EXECUTE).is_ok();
        assert_eq!(executes, mode & 0o111 != 0);
        assert!(permission::check(&*inode, &root, Access::READ | Access::WRITE).is_ok());
        let mut reader = Credentials::user(11, 21);
        reader.effective = CapabilitySet::EMPTY.with(Capability::DacReadSearch);
        assert!(permission::check(&*inode, &reader, Access::READ).is_ok());
    }
}

#[test]
fn a_sticky_directory_protects_others_files() {
    let mut world = World::new();
    world.mkdir("/tmp", 0o1777).unwrap();
    world.become_user(1, 1);
    world.write("/tmp/mine", b"").unwrap();
    world.become_user(2, 2);
    let remove = |world: &World| directory::remove(&world.walker(), None, b"/tmp/mine", Victim::Other);
    assert_eq!(remove(&world), Err(Errno::EPERM));
    world.write("/tmp/other", b"").unwrap();
    let over = directory::rename(&world.walker(), None, b"/tmp/other", None, b"/tmp/mine", RenameFlags::empty());
    assert_eq!(over, Err(Errno::EPERM));
    world.become_user(1, 1);
    assert_eq!(remove(&world), Ok(()));
}

#[test]
fn a_set_group_id_directory_gives_its_group_on() {
    let mut world = World::new();
    world.mkdir("/d", 0o777).unwrap();
    let inode = world.resolve("/d").unwrap().inode().clone();
    inode.header().set_owner(0, 77);
    inode.header().set_permissions(0o2777);
    world.become_user(1, 1);
    world.mkdir("/d/sub", 0o755).unwrap();
    world.write("/d/file", b"").unwrap();
    let sub = world.resolve("/d/sub").unwrap().inode().metadata();
    assert_eq!((sub.gid, sub.mode), (77, 0o042_755));
    assert_eq!(world.resolve("/d/file").unwrap().inode().metadata().gid, 77);
}

#[test]
fn a_new_file_may_be_opened_whatever_its_mode_and_not_again() {
    let mut world = World::new();
    world.mkdir("/d", 0o777).unwrap();
    world.become_user(1, 1);
    let flags = OpenFlags::CREATE | OpenFlags::READ_WRITE;
    assert!(world.open("/d/f", flags, 0).is_ok());
    assert_eq!(world.open("/d/f", flags, 0).err(), Some(Errno::EACCES));
    world.become_user(2, 2);
    assert_eq!(world.open("/x", flags, 0).err(), Some(Errno::EACCES));
    assert_eq!(directory::change_mode(&world.walker(), &world.resolve("/d/f").unwrap(), 0o777), Err(Errno::EPERM));
    let inode = world.resolve("/d").unwrap().inode().clone();
    inode.header().set_permissions(0o700);
    assert_eq!(world.canonical("/d/f"), Err(Errno::EACCES));
}

#[test]
fn changing_owner_drops_the_set_id_bits() {
    let world = World::new();
    world.write("/f", b"").unwrap();
    let location = world.resolve("/f").unwrap();
    location.inode().header().set_permissions(0o6755);
    directory::change_owner(&world.walker(), &location, Some(5), None).unwrap();
    assert_eq!(location.inode().header().mode() & 0o7777, 0o755);
    let mut user = World::new();
    user.credentials = Credentials::user(5, 5);
    assert_eq!(directory::change_owner(&user.walker(), &location, Some(6), None), Err(Errno::EPERM));
    assert_eq!(directory::change_owner(&user.walker(), &location, Some(5), Some(5)), Ok(()));
    assert_eq!(directory::change_owner(&user.walker(), &location, None, Some(9)), Err(Errno::EPERM));
}

#[test]
fn an_executed_file_cannot_be_written() {
    let world = World::new();
    world.write("/f", b"").unwrap();
    let location = world.resolve("/f").unwrap();
    location.inode().header().deny_writing().unwrap();
    assert_eq!(world.open("/f", OpenFlags::WRITE_ONLY, 0).err(), Some(Errno::ETXTBSY));
    assert_eq!(open::truncate(&location, 0, &world.credentials), Err(Errno::ETXTBSY));
    location.inode().header().allow_writing();
    let writer = world.open("/f", OpenFlags::WRITE_ONLY, 0).unwrap();
    assert_eq!(location.inode().header().deny_writing(), Err(Errno::ETXTBSY));
    drop(writer);
    assert_eq!(location.inode().header().deny_writing(), Ok(()));
}
