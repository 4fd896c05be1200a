//! Mounts.

use crate::base::{Errno, Result};
use crate::fs::mounting::{self, Depth, RemountKind, UnmountKind};
use crate::fs::testing::World;
use crate::fs::{OpenFlags, tmpfs};

fn world() -> World {
    tmpfs::initialize();
    let world = World::new();
    for path in ["/m", "/n", "/m/x"] {
        world.mkdir(path, 0o755).unwrap();
    }
    world
}

impl World {
    fn mount(&self, path: &str, flags: u64) -> Result<()> {
        let target = self.resolve(path)?;
        mounting::mount_new(&self.context, &target, b"tmpfs", b"none", b"", flags, &self.credentials)
    }
    fn umount(&self, path: &str, kind: UnmountKind) -> Result<()> {
        mounting::unmount(&self.context, self.resolve(path)?, kind)
    }
}

#[test]
fn a_mount_covers_and_uncovers() {
    let world = world();
    world.mount("/m", 0).unwrap();
    assert_eq!(world.canonical("/m/x"), Err(Errno::ENOENT));
    world.mkdir("/m/inside", 0o755).unwrap();
    assert_eq!(world.canonical("/m/inside/../.."), Ok(String::from("/")));
    assert_eq!(world.canonical("/m/inside"), Ok(String::from("/m/inside")));
    world.mount("/m", 0).unwrap();
    assert_eq!(world.canonical("/m/inside"), Err(Errno::ENOENT));
    assert_eq!(world.context.namespace().collect_mounts().len(), 3);
    world.umount("/m", UnmountKind::Unused).unwrap();
    let open = world.open("/m/inside", OpenFlags::DIRECTORY, 0).unwrap();
    assert_eq!(world.umount("/m", UnmountKind::Unused), Err(Errno::EBUSY));
    world.umount("/m", UnmountKind::Detach).unwrap();
    assert_eq!(world.canonical("/m/x"), Ok(String::from("/m/x")));
    drop(open);
    assert_eq!(world.umount("/m", UnmountKind::Unused), Err(Errno::EINVAL));
    assert_eq!(world.umount("/m/x", UnmountKind::Unused), Err(Errno::EINVAL));
}

#[test]
fn a_mount_point_cannot_be_removed_or_renamed() {
    let world = world();
    world.mount("/m/x", 0).unwrap();
    let walker = world.walker();
    let remove = crate::fs::directory::remove(&walker, None, b"/m/x", crate::fs::permission::Victim::Directory);
    assert_eq!(remove, Err(Errno::EBUSY));
    let flags = crate::fs::directory::RenameFlags::empty();
    assert_eq!(crate::fs::directory::rename(&walker, None, b"/m/x", None, b"/y", flags), Err(Errno::EBUSY));
}

#[test]
fn read_only_is_kept_for_mount_and_file_system() {
    let world = world();
    world.mount("/m", 1).unwrap();
    assert_eq!(world.mkdir("/m/a", 0o755), Err(Errno::EROFS));
    let create = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
    assert_eq!(world.open("/m/f", create, 0o644).err(), Some(Errno::EROFS));
    let location = world.resolve("/m").unwrap();
    mounting::remount(&location, 32, b"", RemountKind::FileSystem).unwrap();
    world.write("/m/f", b"1").unwrap();
    mounting::remount(&location, 32 | 4096 | 1, b"", RemountKind::MountAlone).unwrap();
    assert_eq!(world.open("/m/f", OpenFlags::WRITE_ONLY, 0).err(), Some(Errno::EROFS));
    assert_eq!(world.read("/m/f").unwrap(), b"1");
    mounting::remount(&location, 32, b"", RemountKind::MountAlone).unwrap();
    let writer = world.open("/m/f", OpenFlags::WRITE_ONLY, 0).unwrap();
    assert_eq!(mounting::remount(&location, 33, b"", RemountKind::FileSystem), Err(Errno::EBUSY));
    drop(writer);
    assert_eq!(mounting::remount(&location, 33, b"", RemountKind::FileSystem), Ok(()));
}

#[test]
fn binds_show_the_same_files() {
    let world = world();
    world.mount("/m/x", 0).unwrap();
    world.write("/m/x/f", b"deep").unwrap();
    let (source, target) = (world.resolve("/m").unwrap(), world.resolve("/n").unwrap());
    mounting::bind(&world.context, &source, &target, Depth::Single).unwrap();
    assert_eq!(world.canonical("/n/x/f"), Err(Errno::ENOENT));
    world.umount("/n", UnmountKind::Unused).unwrap();
    mounting::bind(&world.context, &source, &target, Depth::Recursive).unwrap();
    assert_eq!(world.read("/n/x/f").unwrap(), b"deep");
    world.write("/n/x/f", b"changed").unwrap();
    assert_eq!(world.read("/m/x/f").unwrap(), b"changed");
    assert_eq!(world.canonical("/n/x/.."), Ok(String::from("/n")));
}

#[test]
fn mounts_move_and_the_root_pivots() {
    let world = world();
    world.mount("/m", 0).unwrap();
    world.write("/m/f", b"moved").unwrap();
    let (source, target) = (world.resolve("/m").unwrap(), world.resolve("/n").unwrap());
    mounting::move_mount(&world.context, &source, &target).unwrap();
    drop((source, target));
    assert_eq!(world.read("/n/f").unwrap(), b"moved");
    assert_eq!(world.canonical("/m/x"), Ok(String::from("/m/x")));
    world.mkdir("/n/old", 0o755).unwrap();
    let (new_root, put_old) = (world.resolve("/n").unwrap(), world.resolve("/n/old").unwrap());
    mounting::pivot_root(&world.context, &new_root, &put_old).unwrap();
    assert_eq!(world.read("/f").unwrap(), b"moved");
    assert_eq!(world.canonical("/old/m/x"), Ok(String::from("/old/m/x")));
    assert_eq!(world.canonical("/old/.."), Ok(String::from("/")));
}
