//! Making, linking, removing, renaming, listing; and a random walk against a model.

use crate::base::{Errno, Result};
use crate::fs::directory::{self, RenameFlags};
use crate::fs::inode::{DirectoryEntry, DirectorySink};
use crate::fs::permission::Victim;
use crate::fs::testing::World;
use crate::fs::walk::LookupFlags;
use crate::fs::{FileType, IoDestination, IoSource, OpenFlags, SeekFrom};
use proptest::prelude::*;
use std::collections::BTreeMap;

impl World {
    fn unlink(&self, path: &str) -> Result<()> {
        directory::remove(&self.walker(), None, path.as_bytes(), Victim::Other)
    }
    fn rmdir(&self, path: &str) -> Result<()> {
        directory::remove(&self.walker(), None, path.as_bytes(), Victim::Directory)
    }
    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
        directory::rename(&self.walker(), None, from.as_bytes(), None, to.as_bytes(), flags)
    }
    fn link(&self, from: &str, to: &str) -> Result<()> {
        let existing = self.walker().resolve(None, from.as_bytes(), LookupFlags::empty())?;
        directory::link(&self.walker(), &existing, None, to.as_bytes())
    }
    fn links(&self, path: &str) -> u32 {
        self.resolve(path).unwrap().inode().header().links()
    }
    fn list(&self, path: &str) -> Vec<String> {
        let open = self.open(path, OpenFlags::DIRECTORY, 0).unwrap();
        let mut names = Names { names: Vec::new(), room: usize::MAX };
        open.read_directory(&mut names).unwrap();
        names.names
    }
}

struct Names {
    names: Vec<String>,
    room: usize,
}

impl DirectorySink for Names {
    fn add(&mut self, entry: DirectoryEntry<'_>) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        true
    }
}

const PLAIN: RenameFlags = RenameFlags::empty();

#[test]
fn links_and_sizes_are_counted_as_on_linux() {
    let world = World::new();
    world.mkdir("/d", 0o755).unwrap();
    assert_eq!(world.resolve("/d").unwrap().inode().size(), 40);
    assert_eq!((world.links("/"), world.links("/d")), (3, 2));
    world.mkdir("/d/e", 0o755).unwrap();
    world.write("/d/f", b"x").unwrap();
    assert_eq!(world.resolve("/d").unwrap().inode().size(), 80);
    assert_eq!(world.links("/d"), 3);
    world.link("/d/f", "/g").unwrap();
    assert_eq!(world.links("/g"), 2);
    world.rename("/d/e", "/e", PLAIN).unwrap();
    assert_eq!((world.links("/d"), world.links("/")), (2, 4));
    assert_eq!(world.rmdir("/d"), Err(Errno::ENOTEMPTY));
    world.unlink("/d/f").unwrap();
    world.rmdir("/d").unwrap();
    assert_eq!(world.links("/g"), 1);
}

#[test]
fn removing_refuses_what_linux_refuses() {
    let world = World::new();
    world.mkdir("/d", 0o755).unwrap();
    world.write("/f", b"").unwrap();
    for (path, unlink, rmdir) in [
        ("/d", Errno::EISDIR, None),
        ("/f", Errno::ENOENT, Some(Errno::ENOTDIR)),
        ("/f/", Errno::ENOTDIR, Some(Errno::ENOTDIR)),
        ("/d/.", Errno::EISDIR, Some(Errno::EINVAL)),
        ("/d/..", Errno::EISDIR, Some(Errno::ENOTEMPTY)),
        ("/", Errno::EISDIR, Some(Errno::EBUSY)),
        ("/none", Errno::ENOENT, Some(Errno::ENOENT)),
    ] {
        if path != "/f" {
            assert_eq!(world.unlink(path), Err(unlink), "unlink {path}");
        }
        if let Some(rmdir) = rmdir {
            assert_eq!(world.rmdir(path), Err(rmdir), "rmdir {path}");
        }
    }
    let inside = world.open("/d", OpenFlags::DIRECTORY, 0).unwrap();
    world.rmdir("/d").unwrap();
    assert_eq!(inside.read_directory(&mut Names { names: vec![], room: 9 }), Err(Errno::ENOENT));
    let base = inside.location().unwrap();
    let made = directory::make(&world.walker(), Some(base), b"x", 0o040_755, Default::default(), &[]);
    assert_eq!(made, Err(Errno::ENOENT));
}

#[test]
fn renames_follow_linux() {
    let world = World::new();
    world.mkdir("/a", 0o755).unwrap();
    world.mkdir("/a/b", 0o755).unwrap();
    world.mkdir("/empty", 0o755).unwrap();
    world.write("/f", b"f").unwrap();
    world.write("/g", b"g").unwrap();
    assert_eq!(world.rename("/a", "/a/b/c", PLAIN), Err(Errno::EINVAL));
    assert_eq!(world.rename("/f", "/a", PLAIN), Err(Errno::EISDIR));
    assert_eq!(world.rename("/a", "/f", PLAIN), Err(Errno::ENOTDIR));
    assert_eq!(world.rename("/empty", "/a", PLAIN), Err(Errno::ENOTEMPTY));
    assert_eq!(world.rename("/a/b", "/a", PLAIN), Err(Errno::ENOTEMPTY));
    assert_eq!(world.rename("/f", "/h/", PLAIN), Err(Errno::ENOTDIR));
    assert_eq!(world.rename("/f", "/g", RenameFlags::NO_REPLACE), Err(Errno::EEXIST));
    assert_eq!(world.rename("/f", "/none", RenameFlags::EXCHANGE), Err(Errno::ENOENT));
    assert_eq!(world.rename("/", "/x", PLAIN), Err(Errno::EBUSY));
    world.rename("/f", "/a", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(world.read("/a").unwrap(), b"f");
    assert_eq!(world.canonical("/f/b"), Ok(String::from("/f/b")));
    world.rename("/a", "/g", PLAIN).unwrap();
    assert_eq!(world.read("/g").unwrap(), b"f");
    world.rename("/f", "/empty", PLAIN).unwrap();
    assert_eq!(world.canonical("/empty/b"), Ok(String::from("/empty/b")));
    world.link("/g", "/same").unwrap();
    world.rename("/g", "/same", PLAIN).unwrap();
    assert_eq!(world.links("/g"), 2);
}

#[test]
fn a_listing_goes_from_newest_to_oldest_and_survives_deletion() {
    let world = World::new();
    world.mkdir("/d", 0o755).unwrap();
    for number in 0..100 {
        world.write(&format!("/d/{number}"), b"").unwrap();
    }
    assert_eq!(world.list("/d")[..4], [".", "..", "99", "98"]);
    let open = world.open("/d", OpenFlags::DIRECTORY, 0).unwrap();
    let mut seen = 0;
    loop {
        let mut names = Names { names: Vec::new(), room: 7 };
        open.read_directory(&mut names).unwrap();
        if names.names.is_empty() {
            break;
        }
        for name in names.names.iter().filter(|name| !name.starts_with('.')) {
            world.unlink(&format!("/d/{name}")).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 100);
    assert_eq!(world.list("/d").len(), 2);
    open.seek(0, SeekFrom::Start).unwrap();
}

#[test]
fn a_deep_tree_can_be_made_and_dropped() {
    let world = World::new();
    let mut at = world.resolve("/").unwrap();
    for _ in 0..20_000 {
        directory::make(&world.walker(), Some(&at), b"d", 0o040_755, Default::default(), &[]).unwrap();
        at = world.walker().resolve(Some(&at), b"d", LookupFlags::empty()).unwrap();
    }
    while let Some(parent) = at.dentry.parent() {
        let up = crate::fs::Location { mount: at.mount.clone(), dentry: parent };
        directory::remove(&world.walker(), Some(&up), b"d", Victim::Directory).unwrap();
        at = up;
    }
}

#[test]
fn space_and_inodes_run_out_with_enospc() {
    let world = World::with_options("size=16k,nr_inodes=4");
    let file = world.open("/f", OpenFlags::CREATE | OpenFlags::READ_WRITE, 0o600).unwrap();
    assert_eq!(file.write(&mut IoSource::kernel(&[7; 20_000])), Ok(16_384));
    assert_eq!(file.write(&mut IoSource::kernel(&[7; 10])), Err(Errno::ENOSPC));
    let statistics = world.resolve("/").unwrap().mount.superblock().file_system().statistics();
    assert_eq!((statistics.blocks, statistics.free_blocks, statistics.free_inodes), (4, 0, 2));
    file.inode().unwrap().truncate(4096).unwrap();
    assert_eq!(file.operations().allocate(&file, 0, 0, 20_000), Err(Errno::ENOSPC));
    assert_eq!(file.operations().allocate(&file, 0, 0, 8192), Ok(()));
    assert_eq!(file.metadata().size, 8192);
    assert_eq!(file.operations().allocate(&file, 3, 0, 4096), Ok(()));
    assert_eq!((file.metadata().size, file.metadata().blocks), (8192, 8));
    assert_eq!(file.seek(0, SeekFrom::Data), Ok(4096));
    assert_eq!(file.seek(0, SeekFrom::Hole), Ok(0));
    world.write("/g", b"").unwrap();
    world.write("/h", b"").unwrap();
    assert_eq!(world.write("/i", b""), Err(Errno::ENOSPC));
    drop(file);
    world.unlink("/f").unwrap();
    let statistics = world.resolve("/").unwrap().mount.superblock().file_system().statistics();
    assert_eq!((statistics.free_blocks, statistics.free_inodes), (4, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Write { file: usize, offset: u64, length: usize },
    Append { file: usize, length: usize },
    Truncate { file: usize, length: u64 },
    Punch { file: usize, start: u64, length: u64 },
    Rename { from: usize, to: usize },
    Unlink { file: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0usize..4;
    prop_oneof![
        (file.clone(), 0u64..20_000, 0usize..9000).prop_map(|(file, offset, length)| Step::Write {
            file,
            offset,
            length
        }),
        (file.clone(), 0usize..5000).prop_map(|(file, length)| Step::Append { file, length }),
        (file.clone(), 0u64..20_000).prop_map(|(file, length)| Step::Truncate { file, length }),
        (file.clone(), 0u64..20_000, 1u64..9000).prop_map(|(file, start, length)| Step::Punch { file, start, length }),
        (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        file.prop_map(|file| Step::Unlink { file }),
    ]
}

proptest! {
    #[test]
    fn files_behave_as_byte_vectors(steps in proptest::collection::vec(step(), 1..60)) {
        let world = World::new();
        let mut model: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let create = OpenFlags::CREATE | OpenFlags::READ_WRITE;
        for (number, step) in steps.into_iter().enumerate() {
            let byte = number as u8 + 1;
            let open = |file: usize, flags| world.open(&format!("/{file}"), create | flags, 0o600).unwrap();
            match step {
                Step::Write { file, offset, length } => {
                    let bytes = vec![byte; length];
                    let opened = open(file, OpenFlags::empty());
                    prop_assert_eq!(opened.write_at(offset, &mut IoSource::kernel(&bytes)), Ok(length));
                    let contents = model.entry(file).or_default();
                    let end = offset as usize + length;
                    if length > 0 {
                        contents.resize(contents.len().max(end), 0);
                        contents[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
                Step::Append { file, length } => {
                    let opened = open(file, OpenFlags::APPEND);
                    prop_assert_eq!(opened.write(&mut IoSource::kernel(&vec![byte; length])), Ok(length));
                    model.entry(file).or_default().extend(std::iter::repeat_n(byte, length));
                }
                Step::Truncate { file, length } => {
                    open(file, OpenFlags::empty()).inode().unwrap().truncate(length).unwrap();
                    model.entry(file).or_default().resize(length as usize, 0);
                }
                Step::Punch { file, start, length } => {
                    let opened = open(file, OpenFlags::empty());
                    opened.operations().allocate(&opened, 3, start, length).unwrap();
                    let contents = model.entry(file).or_default();
                    let end = contents.len().min((start + length) as usize);
                    if let Some(hole) = contents.get_mut(start as usize..end) {
                        hole.fill(0);
                    }
                }
                Step::Rename { from, to } => {
                    let result = world.rename(&format!("/{from}"), &format!("/{to}"), PLAIN);
                    match model.remove(&from) {
                        Some(contents) => {
                            prop_assert_eq!(result, Ok(()));
                            model.insert(to, contents);
                        }
                        None => prop_assert_eq!(result, Err(Errno::ENOENT)),
                    }
                }
                Step::Unlink { file } => {
                    let expected = model.remove(&file).map(|_| ()).ok_or(Errno::ENOENT);
                    prop_assert_eq!(world.unlink(&format!("/{file}")), expected);
                }
            }
        }
        for (file, contents) in &model {
            prop_assert_eq!(&world.read(&format!("/{file}")).unwrap(), contents);
        }
        prop_assert_eq!(world.list("/").len(), model.len() + 2);
        let file_system = world.resolve("/").unwrap().mount.superblock().file_system().clone();
        let used = file_system.statistics().blocks - file_system.statistics().free_blocks;
        let counted: u64 = model.keys().map(|file| world.resolve(&format!("/{file}")).unwrap().inode().blocks() / 8).sum();
        prop_assert_eq!(used, counted);
    }
}

#[test]
fn reading_past_the_end_gives_nothing() {
    let world = World::new();
    world.write("/f", b"abc").unwrap();
    let file = world.open("/f", OpenFlags::empty(), 0).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(2, &mut IoDestination::kernel(&mut buffer)), Ok(1));
    assert_eq!(file.read_at(u64::MAX, &mut IoDestination::kernel(&mut buffer)), Ok(0));
    assert_eq!(file.write(&mut IoSource::kernel(b"x")), Err(Errno::EBADF));
    assert_eq!(world.resolve("/f").unwrap().inode().header().file_type(), FileType::Regular);
}
