//! System calls that change the tree of mounts.

use super::Call;
use super::argument::{Flags, LongFlags, PathPointer};
use super::path::{Caller, WORKING_DIRECTORY, resolve};
use crate::base::{Errno, Result, VirtualAddress};
use crate::fs::mounting::{self, Depth, RemountKind, UnmountKind};
use crate::fs::walk::LookupFlags;
use crate::memory::user::{PATH_MAX, read_c_string};
use alloc::vec::Vec;

const REMOUNT: u64 = 32;
const BIND: u64 = 4096;
const MOVE: u64 = 8192;
const RECURSIVE: u64 = 16384;
const SILENT: u64 = 32768;
/// `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`.
const PROPAGATION: u64 = 0xf << 17;
/// `MS_MGC_VAL` in the high half, which old programs give.
const MAGIC: u64 = 0xc0ed_0000;
const MAGIC_MASK: u64 = 0xffff_0000;

/// A string argument that may be left out.
fn optional_string(address: VirtualAddress) -> Result<Vec<u8>> {
    if address.value() == 0 {
        return Ok(Vec::new());
    }
    read_c_string(address, PATH_MAX).map_err(|error| if error == Errno::ENAMETOOLONG { Errno::EINVAL } else { error })
}

/// `mount(2)`.
pub fn mount(
    call: &mut Call<'_>,
    source: PathPointer,
    target: PathPointer,
    type_name: VirtualAddress,
    flags: LongFlags,
    data: VirtualAddress,
) -> Result<()> {
    let type_name_given = type_name.value() != 0;
    let type_name = optional_string(type_name)?;
    let source_name = optional_string(source.0)?;
    let options = optional_string(data)?;
    let target = resolve(call, WORKING_DIRECTORY, target, LookupFlags::FOLLOW)?;
    let caller = Caller::of(call);
    let mut flags = flags.0;
    if flags & MAGIC_MASK == MAGIC {
        flags &= !MAGIC_MASK;
    }
    if flags & (REMOUNT | BIND) == REMOUNT | BIND {
        return mounting::remount(&target, flags, &options, RemountKind::MountAlone);
    }
    if flags & REMOUNT != 0 {
        return mounting::remount(&target, flags, &options, RemountKind::FileSystem);
    }
    if flags & (BIND | MOVE) != 0 {
        if source_name.is_empty() {
            return Err(if source.0.value() == 0 { Errno::EINVAL } else { Errno::ENOENT });
        }
        let source = caller.walker().resolve(None, &source_name, LookupFlags::FOLLOW)?;
        if flags & BIND != 0 {
            let depth = if flags & RECURSIVE != 0 { Depth::Recursive } else { Depth::Single };
            return mounting::bind(&caller.context, &source, &target, depth);
        }
        return mounting::move_mount(&caller.context, &source, &target);
    }
    if flags & PROPAGATION != 0 {
        let kinds = flags & PROPAGATION;
        if !kinds.is_power_of_two() || flags & !(PROPAGATION | RECURSIVE | SILENT) != 0 || !target.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        return Ok(());
    }
    if !type_name_given {
        return Err(Errno::EINVAL);
    }
    mounting::mount_new(&caller.context, &target, &type_name, &source_name, &options, flags, &caller.credentials)
}

/// `umount2(2)`.
pub fn umount2(call: &mut Call<'_>, target: PathPointer, flags: Flags) -> Result<()> {
    const FORCE: u32 = 1;
    const DETACH: u32 = 2;
    const EXPIRE: u32 = 4;
    const NO_FOLLOW: u32 = 8;
    if flags.0 & !(FORCE | DETACH | EXPIRE | NO_FOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut how = LookupFlags::empty();
    how.set(LookupFlags::FOLLOW, flags.0 & NO_FOLLOW == 0);
    let kind = match flags.0 & (FORCE | DETACH | EXPIRE) {
        kind if kind & EXPIRE != 0 && kind & (FORCE | DETACH) != 0 => return Err(Errno::EINVAL),
        kind if kind & EXPIRE != 0 => UnmountKind::Expire,
        kind if kind & DETACH != 0 => UnmountKind::Detach,
        _ => UnmountKind::Unused,
    };
    let location = resolve(call, WORKING_DIRECTORY, target, how)?;
    mounting::unmount(&call.thread.file_system(), location, kind)
}

/// `pivot_root(2)`.
pub fn pivot_root(call: &mut Call<'_>, new_root: PathPointer, put_old: PathPointer) -> Result<()> {
    let how = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new_root = resolve(call, WORKING_DIRECTORY, new_root, how)?;
    let put_old = resolve(call, WORKING_DIRECTORY, put_old, how)?;
    mounting::pivot_root(&call.thread.file_system(), &new_root, &put_old)
}
