//! devtmpfs and devpts: the device files under `/dev`.
//!
//! devtmpfs is one tmpfs for all its mounts, filled from [`super::names`] at the first mount; programs may add and remove files there.
//! devpts shows the slaves that exist ([`super::pty`]); a node keeps its mode and owner as long as its slave lives.

use super::{names, pty};
use crate::base::{Errno, Result};
use crate::fs::file_system::{self, FileSystemType, Superblock};
use crate::fs::inode::NewInode;
use crate::fs::pseudo::{self, Attributes, Listed, PseudoDirectory};
use crate::fs::tmpfs::{self, MountOptions};
use crate::fs::{DeviceNumber, FileType, Inode};
use crate::security::Credentials;
use crate::sync::{LockRank, Mutex, SpinLock};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The type `devtmpfs`.
struct DeviceFileSystem;

static DEVTMPFS: Mutex<Option<Arc<Superblock>>> = Mutex::new(None);

impl FileSystemType for DeviceFileSystem {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }
    fn mount(&self, _source: &[u8], options: &[u8], _credentials: &Credentials) -> Result<Arc<Superblock>> {
        let mut known = DEVTMPFS.lock();
        if let Some(superblock) = &*known {
            return Ok(superblock.clone());
        }
        let mut options = MountOptions::parse(options)?;
        options.mode = options.mode.or(Some(0o755));
        let superblock = tmpfs::superblock("devtmpfs", &options)?;
        fill(&superblock)?;
        *known = Some(superblock.clone());
        Ok(superblock)
    }
}

fn fill(superblock: &Arc<Superblock>) -> Result<()> {
    for device in names::all() {
        let new = NewInode {
            mode: FileType::CharacterDevice.mode_bits() | device.permissions,
            uid: 0,
            gid: 0,
            device_id: device.number,
            target: &[],
        };
        let name = device.name.as_bytes();
        let inode = superblock.root().inode().create(name, &new)?;
        superblock.root().add_child(name, inode);
    }
    Ok(())
}

/// The type `devpts`.
struct SlaveFileSystem;

/// What devpts' mount options change: the mode and group of new nodes, the mode of its own `ptmx`.
static NODE_MODE: AtomicU32 = AtomicU32::new(0o600);
static NODE_GROUP: AtomicU32 = AtomicU32::new(u32::MAX);
static PTMX_MODE: AtomicU32 = AtomicU32::new(0);

static DEVPTS: Mutex<Option<Arc<Superblock>>> = Mutex::new(None);

/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS_MAGIC: u64 = 0x1cd1;

fn parse_options(options: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(options).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let number = |radix| u32::from_str_radix(value, radix).map_err(|_| Errno::EINVAL);
        match key {
            "mode" => NODE_MODE.store(number(8)? & 0o777, Relaxed),
            "ptmxmode" => PTMX_MODE.store(number(8)? & 0o777, Relaxed),
            "gid" => NODE_GROUP.store(number(10)?, Relaxed),
            "uid" | "max" => {
                number(10)?;
            }
            "newinstance" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(())
}

impl FileSystemType for SlaveFileSystem {
    fn name(&self) -> &'static str {
        "devpts"
    }
    fn mount(&self, _source: &[u8], options: &[u8], _credentials: &Credentials) -> Result<Arc<Superblock>> {
        parse_options(options)?;
        let mut known = DEVPTS.lock();
        let superblock = known.get_or_insert_with(|| {
            pseudo::superblock("devpts", DEVPTS_MAGIC, |device| {
                let directory = SlaveDirectory { device, nodes: SpinLock::new(LockRank::FileSystem, BTreeMap::new()) };
                pseudo::directory(Attributes::new(device, 1, 0o755), Arc::new(directory))
            })
        });
        Ok(superblock.clone())
    }
}

type Nodes = BTreeMap<u32, (Weak<super::terminal::Terminal>, Arc<dyn Inode>)>;

/// The root of devpts.
struct SlaveDirectory {
    device: DeviceNumber,
    nodes: SpinLock<Nodes>,
}

/// The position of `ptmx` in the listing; the slave `n` is at `n + FIRST_SLAVE`.
const PTMX_POSITION: u64 = 2;
const FIRST_SLAVE: u64 = 3;

impl SlaveDirectory {
    fn node(&self, number: u32) -> Result<Arc<dyn Inode>> {
        let slave = pty::slave(number).ok_or(Errno::ENOENT)?;
        let group = match NODE_GROUP.load(Relaxed) {
            u32::MAX => slave.gid,
            group => group,
        };
        let attributes = Attributes::new(self.device, u64::from(number) + FIRST_SLAVE, NODE_MODE.load(Relaxed))
            .owned_by(slave.uid, group);
        let fresh = pseudo::device_node(attributes, slave.terminal.number());
        let mut nodes = self.nodes.lock();
        let is_same = |(terminal, _): &(Weak<super::terminal::Terminal>, _)| {
            core::ptr::eq(terminal.as_ptr(), Arc::as_ptr(&slave.terminal))
        };
        let old = match nodes.get(&number) {
            Some(known) if is_same(known) => return Ok(known.1.clone()),
            _ => nodes.insert(number, (Arc::downgrade(&slave.terminal), fresh.clone())),
        };
        drop(nodes);
        drop(old);
        Ok(fresh)
    }
}

impl PseudoDirectory for SlaveDirectory {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if name == b"ptmx" {
            let attributes = Attributes::new(self.device, PTMX_POSITION, PTMX_MODE.load(Relaxed));
            return Ok(pseudo::device_node(attributes, DeviceNumber::new(5, 2)));
        }
        let text = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let number: u32 = text.parse().map_err(|_| Errno::ENOENT)?;
        // "01" and "+1" are not the name of slave 1.
        if number.to_string().as_bytes() == name { self.node(number) } else { Err(Errno::ENOENT) }
    }
    fn list(&self, from: u64, add: &mut dyn FnMut(Listed<'_>) -> bool) -> Result<()> {
        let device = FileType::CharacterDevice;
        let ptmx = Listed { position: PTMX_POSITION, name: b"ptmx", number: PTMX_POSITION, file_type: device };
        if from <= PTMX_POSITION && !add(ptmx) {
            return Ok(());
        }
        for number in pty::numbers() {
            let position = u64::from(number) + FIRST_SLAVE;
            let name = number.to_string();
            let listed = Listed { position, name: name.as_bytes(), number: position, file_type: device };
            if position >= from && !add(listed) {
                break;
            }
        }
        Ok(())
    }
}

/// Registers both types.
pub fn initialize() {
    file_system::register(&DeviceFileSystem);
    file_system::register(&SlaveFileSystem);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devtmpfs_is_one_file_system_with_the_registered_names() {
        names::add("test0", 1, 250, 0o640);
        let credentials = Credentials::root();
        let first = DeviceFileSystem.mount(b"", b"", &credentials).unwrap();
        let second = DeviceFileSystem.mount(b"", b"", &credentials).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let name = crate::fs::name::hash(b"test0");
        let node = first.root().child(b"test0", name).unwrap();
        assert_eq!(node.inode().metadata().device_id, DeviceNumber::new(1, 250));
        assert_eq!(node.inode().metadata().mode, 0o020_640);
    }

    #[test]
    fn devpts_shows_the_slaves_that_exist() {
        let superblock = SlaveFileSystem.mount(b"", b"gid=5,mode=620,ptmxmode=666", &Credentials::root()).unwrap();
        assert!(SlaveFileSystem.mount(b"", b"nonsense", &Credentials::root()).is_err());
        let master = pty::Master::new(7, 8).unwrap();
        let number = master.terminal().number().minor;
        let root = superblock.root().inode();
        let name = number.to_string();
        let node = root.lookup(name.as_bytes()).unwrap();
        assert_eq!((node.header().uid(), node.header().gid(), node.header().mode() & 0o777), (7, 5, 0o620));
        assert!(root.lookup(format!("0{name}").as_bytes()).is_err());
        drop(master);
        assert_eq!(root.lookup(name.as_bytes()).err(), Some(Errno::ENOENT));
    }
}
