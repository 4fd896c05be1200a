//! System calls that show and change what a file is: `stat`, `chmod`, `chown`, times, `statfs`, `umask`.

use super::Call;
use super::argument::{Descriptor, Flags, ModeBits, PathPointer, low_half};
use super::path::{Caller, PathBuffer, WORKING_DIRECTORY, base, resolve};
use super::time_values::{TimeSpecification, TimeValue};
use crate::arch::linux_interface::{Field, StatusLayout};
use crate::arch::{Current, Machine};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::directory::{change_mode, change_owner};
use crate::fs::file_system::FileSystemStatistics;
use crate::fs::mount::MountFlags;
use crate::fs::open::{TimesKind, set_times};
use crate::fs::types::{FileType, mode};
use crate::fs::walk::LookupFlags;
use crate::fs::{FileDescriptor, Location, Metadata, Timestamp, pseudo};
use crate::memory::user::{UserPointer, UserSlice};
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

fn time(time: Timestamp) -> [i64; 2] {
    let (seconds, nanoseconds) = time.split();
    [seconds, nanoseconds.into()]
}

fn times(metadata: &Metadata) -> [[i64; 2]; 3] {
    [time(metadata.accessed), time(metadata.modified), time(metadata.changed)]
}

/// Writes `metadata` as this machine's `struct stat`.
fn write_stat(metadata: &Metadata, target: VirtualAddress) -> Result<()> {
    let layout = Current::LINUX.status;
    let mut bytes = [0; StatusLayout::LONGEST];
    for (field, value) in [
        (layout.st_dev, metadata.device.encode()),
        (layout.st_ino, metadata.inode),
        (layout.st_mode, metadata.mode.into()),
        (layout.st_nlink, metadata.links.into()),
        (layout.st_uid, metadata.uid.into()),
        (layout.st_gid, metadata.gid.into()),
        (layout.st_rdev, metadata.device_id.encode()),
        (layout.st_size, metadata.size),
        (layout.st_blksize, metadata.block_size.into()),
        (layout.st_blocks, metadata.blocks),
    ] {
        field.put(&mut bytes, value);
    }
    for (field, [seconds, nanoseconds]) in layout.times.into_iter().zip(times(metadata)) {
        field.put(&mut bytes, seconds.cast_unsigned());
        Field { offset: field.offset + 8, ..field }.put(&mut bytes, nanoseconds.cast_unsigned());
    }
    UserSlice::new(target, layout.size).write(bytes.get(..layout.size).unwrap_or_default())
}

/// `stat(2)`.
pub fn stat(call: &mut Call<'_>, path: PathPointer, target: VirtualAddress) -> Result<()> {
    let location = resolve(call, WORKING_DIRECTORY, path, LookupFlags::FOLLOW)?;
    write_stat(&location.inode().metadata(), target)
}

/// `lstat(2)`.
pub fn lstat(call: &mut Call<'_>, path: PathPointer, target: VirtualAddress) -> Result<()> {
    let location = resolve(call, WORKING_DIRECTORY, path, LookupFlags::empty())?;
    write_stat(&location.inode().metadata(), target)
}

/// `fstat(2)`.
pub fn fstat(call: &mut Call<'_>, descriptor: Descriptor, target: VirtualAddress) -> Result<()> {
    let file = call.thread.files().get_any(FileDescriptor(descriptor.0))?;
    write_stat(&file.metadata(), target)
}

const NO_AUTOMOUNT: u32 = linux::AT_NO_AUTOMOUNT;

/// What a path argument with flags tells, with the location where there is one.
fn look(
    call: &Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    flags: u32,
) -> Result<(Metadata, Option<Location>)> {
    let mut buffer = PathBuffer::new();
    let path = if path.0.value() == 0 && flags & linux::AT_EMPTY_PATH != 0 { &[] } else { buffer.read(path)? };
    if path.is_empty() && flags & linux::AT_EMPTY_PATH != 0 && descriptor != WORKING_DIRECTORY {
        let file = call.thread.files().get_any(FileDescriptor(descriptor.0))?;
        return Ok((file.metadata(), file.location().cloned()));
    }
    let base = base(call, descriptor, path)?;
    let location = Caller::of(call).walker().resolve(base.as_ref(), path, LookupFlags::from_at_flags(flags))?;
    Ok((location.inode().metadata(), Some(location)))
}

/// `newfstatat(2)`.
pub fn newfstatat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    target: VirtualAddress,
    flags: Flags,
) -> Result<()> {
    const SYNC_TYPE: u32 = 0x6000;
    if flags.0 & !(linux::AT_SYMLINK_NOFOLLOW | NO_AUTOMOUNT | linux::AT_EMPTY_PATH | SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let (metadata, _) = look(call, descriptor, path, flags.0)?;
    write_stat(&metadata, target)
}

/// `struct statx`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    inode: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    accessed: StatxTime,
    created: StatxTime,
    changed: StatxTime,
    modified: StatxTime,
    device_id: [u32; 2],
    device: [u32; 2],
    mount_id: u64,
    alignments: [u32; 2],
    spare: [u64; 12],
}

/// `struct statx_timestamp`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct StatxTime {
    seconds: i64,
    nanoseconds: u32,
    padding: u32,
}

impl From<Timestamp> for StatxTime {
    fn from(time: Timestamp) -> Self {
        let (seconds, nanoseconds) = time.split();
        Self { seconds, nanoseconds, padding: 0 }
    }
}

const STATX_BASIC: u32 = 0x7ff;
const STATX_CREATED: u32 = 0x800;
const STATX_MOUNT_ID: u32 = 0x1000;
const STATX_RESERVED: u32 = 1 << 31;
const ATTRIBUTE_MOUNT_ROOT: u64 = 0x2000;

/// `statx(2)`.
pub fn statx(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    flags: Flags,
    mask: Flags,
    target: VirtualAddress,
) -> Result<()> {
    const SYNC_TYPE: u32 = 0x6000;
    if mask.0 & STATX_RESERVED != 0 || flags.0 & SYNC_TYPE == SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    if flags.0 & !(linux::AT_SYMLINK_NOFOLLOW | NO_AUTOMOUNT | linux::AT_EMPTY_PATH | SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let (metadata, location) = look(call, descriptor, path, flags.0)?;
    let mount_root = location.as_ref().is_some_and(Location::is_mount_root);
    let mut filled = STATX_BASIC | (mask.0 & STATX_CREATED);
    if location.is_some() {
        filled |= STATX_MOUNT_ID;
    }
    UserPointer::new(target).write(&Statx {
        mask: filled,
        block_size: metadata.block_size,
        attributes: if mount_root { ATTRIBUTE_MOUNT_ROOT } else { 0 },
        links: metadata.links,
        uid: metadata.uid,
        gid: metadata.gid,
        // Type and permissions: a mode has 16 bits.
        mode: u16::try_from(metadata.mode).unwrap_or(u16::MAX),
        padding: 0,
        inode: metadata.inode,
        size: metadata.size,
        blocks: metadata.blocks,
        attributes_mask: ATTRIBUTE_MOUNT_ROOT,
        accessed: metadata.accessed.into(),
        created: if filled & STATX_CREATED != 0 { metadata.created.into() } else { Timestamp(0).into() },
        changed: metadata.changed.into(),
        modified: metadata.modified.into(),
        device_id: [metadata.device_id.major, metadata.device_id.minor],
        device: [metadata.device.major, metadata.device.minor],
        mount_id: location.map_or(0, |location| location.mount.id().into()),
        alignments: [0; 2],
        spare: [0; 12],
    })
}

/// `chmod(2)`.
pub fn chmod(call: &mut Call<'_>, path: PathPointer, permissions: ModeBits) -> Result<()> {
    fchmodat(call, WORKING_DIRECTORY, path, permissions)
}

/// `fchmod(2)`.
pub fn fchmod(call: &mut Call<'_>, descriptor: Descriptor, permissions: ModeBits) -> Result<()> {
    let location = opened(call, descriptor)?;
    change_mode(&Caller::of(call).walker(), &location, permissions.0)
}

/// `fchmodat(2)`.
pub fn fchmodat(call: &mut Call<'_>, descriptor: Descriptor, path: PathPointer, permissions: ModeBits) -> Result<()> {
    fchmodat2(call, descriptor, path, permissions, Flags(0))
}

/// `fchmodat2(2)`.
pub fn fchmodat2(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    permissions: ModeBits,
    flags: Flags,
) -> Result<()> {
    if flags.0 & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let location = resolve(call, descriptor, path, LookupFlags::from_at_flags(flags.0))?;
    change_mode(&Caller::of(call).walker(), &location, permissions.0)
}

/// The location of an open file, for calls that change its attributes.
fn opened(call: &Call<'_>, descriptor: Descriptor) -> Result<Location> {
    let file = call.thread.files().get(FileDescriptor(descriptor.0))?;
    Ok(pseudo::location_of(&file))
}

/// An owner argument: -1 leaves it alone.
fn owner(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// `chown(2)`.
pub fn chown(call: &mut Call<'_>, path: PathPointer, uid: u32, gid: u32) -> Result<()> {
    fchownat(call, WORKING_DIRECTORY, path, uid, gid, Flags(0))
}

/// `lchown(2)`.
pub fn lchown(call: &mut Call<'_>, path: PathPointer, uid: u32, gid: u32) -> Result<()> {
    fchownat(call, WORKING_DIRECTORY, path, uid, gid, Flags(linux::AT_SYMLINK_NOFOLLOW))
}

/// `fchown(2)`.
pub fn fchown(call: &mut Call<'_>, descriptor: Descriptor, uid: u32, gid: u32) -> Result<()> {
    let location = opened(call, descriptor)?;
    change_owner(&Caller::of(call).walker(), &location, owner(uid), owner(gid))
}

/// `fchownat(2)`.
pub fn fchownat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    uid: u32,
    gid: u32,
    flags: Flags,
) -> Result<()> {
    if flags.0 & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let location = resolve(call, descriptor, path, LookupFlags::from_at_flags(flags.0))?;
    change_owner(&Caller::of(call).walker(), &location, owner(uid), owner(gid))
}

/// `umask(2)`: gives the old one.
pub fn umask(call: &mut Call<'_>, mask: ModeBits) -> Result<u32> {
    Ok(call.thread.file_system().set_umask(mask.0 & mode::PERMISSIONS))
}

/// `UTIME_NOW` and `UTIME_OMIT`.
const NOW: i64 = (1 << 30) - 1;
const OMIT: i64 = (1 << 30) - 2;

fn requested(times: Option<[TimeSpecification; 2]>) -> Result<([Option<Timestamp>; 2], TimesKind)> {
    let now = Timestamp::now();
    let Some(times) = times else { return Ok(([Some(now); 2], TimesKind::BothNow)) };
    let mut result = [None; 2];
    for (result, time) in result.iter_mut().zip(times) {
        *result = match time.nanoseconds {
            NOW => Some(now),
            OMIT => None,
            nanoseconds @ 0..1_000_000_000 => {
                Some(Timestamp::new(time.seconds, u32::try_from(nanoseconds).unwrap_or(0)))
            }
            _ => return Err(Errno::EINVAL),
        };
    }
    let both_now = times.iter().all(|time| time.nanoseconds == NOW);
    Ok((result, if both_now { TimesKind::BothNow } else { TimesKind::Given }))
}

fn set_path_times(
    call: &Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    times: Option<[TimeSpecification; 2]>,
    flags: u32,
) -> Result<()> {
    let ([accessed, modified], kind) = requested(times)?;
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    if flags & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let location = if path.0.value() == 0 && descriptor != WORKING_DIRECTORY {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        opened(call, descriptor)?
    } else {
        resolve(call, descriptor, path, LookupFlags::from_at_flags(flags))?
    };
    set_times(&location, accessed, modified, kind, &call.thread.credentials())
}

/// `utimensat(2)`.
pub fn utimensat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    times: UserPointer<[TimeSpecification; 2]>,
    flags: Flags,
) -> Result<()> {
    let times = times.read_optional()?;
    set_path_times(call, descriptor, path, times, flags.0)
}

fn from_values(times: Option<[TimeValue; 2]>) -> Result<Option<[TimeSpecification; 2]>> {
    let Some(times) = times else { return Ok(None) };
    if times.iter().any(|time| !(0..1_000_000).contains(&time.microseconds)) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(times.map(|time| TimeSpecification { seconds: time.seconds, nanoseconds: time.microseconds * 1000 })))
}

/// `utimes(2)`.
pub fn utimes(call: &mut Call<'_>, path: PathPointer, times: UserPointer<[TimeValue; 2]>) -> Result<()> {
    let times = from_values(times.read_optional()?)?;
    set_path_times(call, WORKING_DIRECTORY, path, times, 0)
}

/// `futimesat(2)`.
pub fn futimesat(
    call: &mut Call<'_>,
    descriptor: Descriptor,
    path: PathPointer,
    times: UserPointer<[TimeValue; 2]>,
) -> Result<()> {
    let times = from_values(times.read_optional()?)?;
    set_path_times(call, descriptor, path, times, 0)
}

/// `utime(2)`.
pub fn utime(call: &mut Call<'_>, path: PathPointer, times: UserPointer<[i64; 2]>) -> Result<()> {
    let times = times.read_optional()?;
    let times = times.map(|times| times.map(|seconds| TimeSpecification { seconds, nanoseconds: 0 }));
    set_path_times(call, WORKING_DIRECTORY, path, times, 0)
}

/// `struct statfs`, the same on both machines.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct StatFs {
    magic: u64,
    block_size: u64,
    blocks: u64,
    free_blocks: u64,
    available_blocks: u64,
    inodes: u64,
    free_inodes: u64,
    identity: [u32; 2],
    name_length: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}

fn write_statfs(location: &Location, target: VirtualAddress) -> Result<()> {
    let file_system = location.mount.superblock().file_system();
    let FileSystemStatistics { magic, block_size, blocks, free_blocks, inodes, free_inodes } = file_system.statistics();
    let device = file_system.device().encode();
    const VALID: u64 = 0x20;
    const RELATIVE_ACCESS_TIME: u64 = 0x1000;
    let flags = location.mount.flags();
    let mut shown = VALID;
    for (flag, bit) in [
        (MountFlags::NO_SET_UID, 2),
        (MountFlags::NO_DEVICES, 4),
        (MountFlags::NO_EXECUTE, 8),
        (MountFlags::NO_ACCESS_TIME, 0x400),
        (MountFlags::NO_DIRECTORY_ACCESS_TIME, 0x800),
        (MountFlags::RELATIVE_ACCESS_TIME, RELATIVE_ACCESS_TIME),
        (MountFlags::NO_SYMBOLIC_LINKS, 0x2000),
    ] {
        if flags.contains(flag) {
            shown |= bit;
        }
    }
    if location.mount.is_read_only() {
        shown |= 1;
    }
    UserPointer::new(target).write(&StatFs {
        magic,
        block_size,
        blocks,
        free_blocks,
        available_blocks: free_blocks,
        inodes,
        free_inodes,
        identity: [low_half(device), low_half(device >> 32)],
        name_length: crate::fs::name::NAME_MAX as u64,
        fragment_size: block_size,
        flags: shown,
        spare: [0; 4],
    })
}

/// `statfs(2)`.
pub fn statfs(call: &mut Call<'_>, path: PathPointer, target: VirtualAddress) -> Result<()> {
    let location = resolve(call, WORKING_DIRECTORY, path, LookupFlags::FOLLOW)?;
    write_statfs(&location, target)
}

/// `fstatfs(2)`.
pub fn fstatfs(call: &mut Call<'_>, descriptor: Descriptor, target: VirtualAddress) -> Result<()> {
    let file = call.thread.files().get_any(FileDescriptor(descriptor.0))?;
    write_statfs(&pseudo::location_of(&file), target)
}

/// Whether a mode's type is one that `mknod` makes.
pub(super) fn node_type(mode: u32) -> Result<FileType> {
    if mode & !0o7777 == 0 {
        return Ok(FileType::Regular);
    }
    match FileType::from_mode(mode).ok_or(Errno::EINVAL)? {
        FileType::Directory => Err(Errno::EPERM),
        FileType::SymbolicLink => Err(Errno::EINVAL),
        other => Ok(other),
    }
}
