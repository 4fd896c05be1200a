use super::*;
use crate::fs::inode::SetAttributeMode;
use crate::fs::testing::World;
use crate::memory::object::{PageError, PageIntent};

#[test]
fn extended_attributes_are_kept_by_name() {
    let world = World::new();
    world.write("/f", b"").unwrap();
    let inode = world.resolve("/f").unwrap().inode().clone();
    assert_eq!(inode.extended_attribute(b"user.a"), Err(Errno::ENODATA));
    assert_eq!(inode.set_extended_attribute(b"user.a", b"1", SetAttributeMode::Replace), Err(Errno::ENODATA));
    inode.set_extended_attribute(b"user.a", b"1", SetAttributeMode::Create).unwrap();
    assert_eq!(inode.set_extended_attribute(b"user.a", b"2", SetAttributeMode::Create), Err(Errno::EEXIST));
    inode.set_extended_attribute(b"trusted.b", b"22", SetAttributeMode::Any).unwrap();
    assert_eq!(inode.extended_attribute(b"user.a").unwrap(), b"1");
    assert_eq!(inode.set_extended_attribute(b"system.x", b"", SetAttributeMode::Any), Err(Errno::EOPNOTSUPP));
    assert_eq!(inode.set_extended_attribute(b"user.c", &[0; 65_536], SetAttributeMode::Any), Err(Errno::ENOSPC));
    let mut names = Vec::new();
    inode.list_extended_attributes(&mut |name| names.push(name.to_vec())).unwrap();
    assert_eq!(names, [b"trusted.b".to_vec(), b"user.a".to_vec()]);
    inode.remove_extended_attribute(b"user.a").unwrap();
    assert_eq!(inode.remove_extended_attribute(b"user.a"), Err(Errno::ENODATA));
}

#[test]
fn seals_hold() {
    let file = create_memfd(b"name", Sealing::Allowed, &Credentials::root()).unwrap();
    let operations = file.operations();
    file.inode().unwrap().truncate(8192).unwrap();
    assert_eq!(operations.seals(), Ok(0));
    operations.add_seals(inode::seal::GROW | inode::seal::SHRINK).unwrap();
    assert_eq!(file.inode().unwrap().truncate(4096), Err(Errno::EPERM));
    assert_eq!(file.inode().unwrap().truncate(9000), Err(Errno::EPERM));
    let object = operations.memory_object(&file).unwrap();
    object.writer_came().unwrap();
    assert_eq!(operations.add_seals(inode::seal::WRITE), Err(Errno::EBUSY));
    object.writer_left();
    operations.add_seals(inode::seal::WRITE | inode::seal::SEAL).unwrap();
    assert_eq!(file.write(&mut crate::fs::IoSource::kernel(b"x")), Err(Errno::EPERM));
    assert_eq!(object.writer_came(), Err(Errno::EPERM));
    assert_eq!(operations.add_seals(inode::seal::EXEC), Err(Errno::EPERM));
    let plain = create_memfd(b"", Sealing::Forbidden, &Credentials::root()).unwrap();
    assert_eq!(plain.operations().add_seals(inode::seal::GROW), Err(Errno::EPERM));
}

#[test]
fn a_mapping_is_charged_and_refused_when_full() {
    let world = World::with_options("size=8k");
    let flags = crate::fs::OpenFlags::CREATE | crate::fs::OpenFlags::READ_WRITE;
    let file = world.open("/f", flags, 0o600).unwrap();
    file.inode().unwrap().truncate(1 << 20).unwrap();
    let object = file.operations().memory_object(&file).unwrap();
    assert!(object.page(0, PageIntent::Write).is_ok());
    assert!(object.page(1, PageIntent::Write).is_ok());
    assert!(object.page(0, PageIntent::Write).is_ok());
    assert_eq!(object.page(2, PageIntent::Write).err(), Some(PageError::NoSpace));
    assert_eq!(object.page(256, PageIntent::Write).err(), Some(PageError::BeyondEnd));
    assert_eq!(object.details().name, b"/f");
    file.inode().unwrap().truncate(0).unwrap();
    let file_system = world.resolve("/").unwrap().mount.superblock().file_system().clone();
    assert_eq!(file_system.statistics().free_blocks, 2);
}
