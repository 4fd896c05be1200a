//! System calls on the caller's (and others') memory: thin shells around [`AddressSpace`] that decode flags and keep Linux's order
//! of errors.

use super::argument::{Descriptor, Flags, LongFlags, PathPointer, ProcessIdentifier};
use super::call::Call;
use crate::arch::{Current, Machine, Mmu};
use crate::base::{Errno, PAGE_SIZE, Result, VirtualAddress, VirtualRange};
use crate::fs::file::{FileMode, OpenFile};
use crate::fs::file_table::CloseOnExec;
use crate::fs::mount::MountFlags;
use crate::fs::tmpfs::{Sealing, create_memfd, seal};
use crate::memory::address_space::{
    AddressSpace, Advice, Invalidate, LOWEST_ADDRESS, LockLimit, LockMode, MapFlags, MapRequest, MapSource,
    ObjectSource, Placement, Protection, RemapFlags, RemapRequest, Writing,
};
use crate::memory::user::{IO_VECTOR_MAX, UserPointer, UserSlice, is_user_range, read_c_string_into, read_io_vectors};
use crate::process::resource_limits::Resource;
use crate::security::Capability;
use alloc::sync::Arc;
use alloc::vec::Vec;

const PROT_SEM: u64 = 8;
const PROT_GROWSDOWN: u64 = 0x0100_0000;
const PROT_GROWSUP: u64 = 0x0200_0000;

const MAP_TYPE: u64 = 0x0f;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
/// Nothing on machines without it.
const MAP_32BIT: u64 = Current::LINUX.map_low;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_DENYWRITE: u64 = 0x800;
const MAP_EXECUTABLE: u64 = 0x1000;
const MAP_LOCKED: u64 = 0x2000;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_NONBLOCK: u64 = 0x1_0000;
const MAP_STACK: u64 = 0x2_0000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// Linux's `LEGACY_MAP_MASK` and what it takes beside it: all that `MAP_SHARED_VALIDATE` lets through.
const MAP_KNOWN: u64 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_32BIT
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | (0x3f << 26);

fn space(call: &Call<'_>) -> Result<Arc<AddressSpace>> {
    // A process that is exiting has none any more.
    call.process.address_space().ok_or(Errno::ENOMEM)
}

fn lock_limit(call: &Call<'_>) -> LockLimit {
    if call.thread.credentials().may(Capability::IpcLock) { LockLimit::Exempt } else { LockLimit::Enforced }
}

fn protection(bits: u64) -> Protection {
    Protection::from_bits_truncate((bits & 7) as u32)
}

/// `mmap(2)`.
pub fn mmap(
    call: &mut Call<'_>,
    address: VirtualAddress,
    length: u64,
    bits: LongFlags,
    flags: LongFlags,
    descriptor: Descriptor,
    offset: u64,
) -> Result<VirtualAddress> {
    let flags = flags.0;
    if offset & (PAGE_SIZE as u64 - 1) != 0 {
        return Err(Errno::EINVAL);
    }
    let is_anonymous = flags & MAP_ANONYMOUS != 0;
    let file = if is_anonymous {
        if flags & MAP_HUGETLB != 0 {
            // There is no pool of reserved large pages, as on a Linux that was given none.
            return Err(if length == 0 { Errno::EINVAL } else { Errno::ENOMEM });
        }
        None
    } else {
        let file = call.thread.files().get(crate::fs::FileDescriptor(descriptor.0))?;
        if flags & MAP_HUGETLB != 0 {
            return Err(Errno::EINVAL);
        }
        Some(file)
    };
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let placement = if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed
    } else if Current::LINUX.wants_low(flags) {
        Placement::Low
    } else {
        Placement::Anywhere
    };
    let is_fixed = matches!(placement, Placement::Fixed | Placement::FixedNoReplace);
    if is_fixed && address.is_page_aligned() && address.value() < LOWEST_ADDRESS {
        let fits = length <= Current::USER_END.value();
        if fits && !call.thread.credentials().may(Capability::SysRawio) {
            return Err(Errno::EPERM);
        }
    }
    let lock_limit = lock_limit(call);
    let space = space(call)?;
    if flags & MAP_LOCKED != 0 && lock_limit == LockLimit::Enforced && space.limits().locked == 0 {
        return Err(Errno::EPERM);
    }
    let mut map_flags = MapFlags::empty();
    map_flags.set(MapFlags::GROWS_DOWN, flags & MAP_GROWSDOWN != 0);
    map_flags.set(MapFlags::LOCKED, flags & MAP_LOCKED != 0);
    map_flags.set(MapFlags::NO_RESERVE, flags & MAP_NORESERVE != 0);
    map_flags.set(MapFlags::POPULATE, flags & MAP_POPULATE != 0 && flags & MAP_NONBLOCK == 0);
    let protection = protection(bits.0);
    let kind = flags & MAP_TYPE;
    let source = match &file {
        None => match kind {
            MAP_SHARED if flags & MAP_GROWSDOWN != 0 => return Err(Errno::EINVAL),
            MAP_SHARED => MapSource::SharedAnonymous,
            MAP_PRIVATE => MapSource::Anonymous,
            _ => return Err(Errno::EINVAL),
        },
        Some(file) => file_source(file, kind, flags, protection, offset, length)?,
    };
    space.map(&MapRequest { address, length, placement, protection, flags: map_flags, source, lock_limit })
}

/// Checks that `file` may be mapped so, in Linux's order, and makes it a source.
fn file_source(
    file: &OpenFile,
    kind: u64,
    flags: u64,
    protection: Protection,
    offset: u64,
    length: u64,
) -> Result<MapSource> {
    let mode = file.mode();
    let mut maximum = Protection::all();
    match kind {
        MAP_SHARED | MAP_SHARED_VALIDATE => {
            if kind == MAP_SHARED_VALIDATE && flags & !(MAP_KNOWN | MAP_FIXED_NOREPLACE) != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            if protection.contains(Protection::WRITE) && !mode.contains(FileMode::WRITE) {
                return Err(Errno::EACCES);
            }
            if !mode.contains(FileMode::WRITE) {
                maximum -= Protection::WRITE;
            }
            // What is sealed against writing can still be shared for reading.
            if file.operations().seals().is_ok_and(|seals| seals & (seal::WRITE | seal::FUTURE_WRITE) != 0) {
                if protection.contains(Protection::WRITE) {
                    return Err(Errno::EPERM);
                }
                maximum -= Protection::WRITE;
            }
        }
        MAP_PRIVATE => {}
        _ => return Err(Errno::EINVAL),
    }
    if !mode.contains(FileMode::READ) {
        return Err(Errno::EACCES);
    }
    if file.location().is_some_and(|location| location.mount.flags().contains(MountFlags::NO_EXECUTE)) {
        if protection.contains(Protection::EXECUTE) {
            return Err(Errno::EPERM);
        }
        maximum -= Protection::EXECUTE;
    }
    let object = file.operations().memory_object(file)?;
    // A file ends at 2^63 - 1 at the latest, so nothing can be mapped beyond.
    if offset.checked_add(length).is_none_or(|end| end > i64::MAX.cast_unsigned()) {
        return Err(Errno::EOVERFLOW);
    }
    if flags & MAP_GROWSDOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let source = ObjectSource { object, offset, maximum };
    Ok(if kind == MAP_PRIVATE { MapSource::Private(source) } else { MapSource::Shared(source) })
}

/// `munmap(2)`.
pub fn munmap(call: &mut Call<'_>, address: VirtualAddress, length: u64) -> Result<()> {
    space(call)?.unmap(address, length)
}

/// `mprotect(2)`.
pub fn mprotect(call: &mut Call<'_>, address: VirtualAddress, length: u64, bits: LongFlags) -> Result<()> {
    let grows = bits.0 & (PROT_GROWSDOWN | PROT_GROWSUP);
    let bits = bits.0 & !(PROT_GROWSDOWN | PROT_GROWSUP);
    if grows == PROT_GROWSDOWN | PROT_GROWSUP || !address.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(());
    }
    let end = length
        .checked_add(PAGE_SIZE as u64 - 1)
        .map(|length| length & !(PAGE_SIZE as u64 - 1))
        .and_then(|length| address.checked_add(length))
        .ok_or(Errno::ENOMEM)?;
    if bits & !(7 | PROT_SEM) != 0 {
        return Err(Errno::EINVAL);
    }
    let space = space(call)?;
    let start = match grows {
        // No area here grows upwards.
        PROT_GROWSUP => return Err(Errno::EINVAL),
        PROT_GROWSDOWN => space.stack_bottom(address)?,
        _ => address,
    };
    space.protect(start, end.value() - start.value(), protection(bits))
}

/// `mremap(2)`.
pub fn mremap(
    call: &mut Call<'_>,
    address: VirtualAddress,
    old_length: u64,
    new_length: u64,
    flags: LongFlags,
    new_address: VirtualAddress,
) -> Result<VirtualAddress> {
    let flags = u32::try_from(flags.0).ok().and_then(RemapFlags::from_bits).ok_or(Errno::EINVAL)?;
    let lock_limit = lock_limit(call);
    space(call)?.remap(&RemapRequest { address, old_length, new_length, flags, new_address, lock_limit })
}

/// `brk(2)`, which answers with the end of the heap, moved or not.
pub fn brk(call: &mut Call<'_>, address: VirtualAddress) -> Result<VirtualAddress> {
    Ok(space(call)?.set_break(address))
}

/// `madvise(2)`.
pub fn madvise(call: &mut Call<'_>, address: VirtualAddress, length: u64, advice: i32) -> Result<()> {
    let advice = Advice::from_number(advice).ok_or(Errno::EINVAL)?;
    space(call)?.advise(address, length, advice)
}

/// `mincore(2)`.
pub fn mincore(call: &mut Call<'_>, address: VirtualAddress, length: usize, vector: UserPointer<u8>) -> Result<()> {
    /// Pages that are looked at in one go.
    const STEP: u64 = 4096;
    if !address.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    if !is_user_range(address, length) {
        return Err(Errno::ENOMEM);
    }
    let mut pages = length.div_ceil(PAGE_SIZE) as u64;
    let mut target = UserSlice::new(vector.address(), usize::try_from(pages).map_err(|_| Errno::ENOMEM)?);
    target.check()?;
    let space = space(call)?;
    let mut start = address;
    while pages != 0 {
        let count = pages.min(STEP);
        let range = VirtualRange::new(start, count * PAGE_SIZE as u64).ok_or(Errno::ENOMEM)?;
        let residence = space.residence(range)?;
        target.write(&residence)?;
        target = target.skip(residence.len());
        start = range.end;
        pages -= count;
    }
    Ok(())
}

/// `msync(2)`.
pub fn msync(call: &mut Call<'_>, address: VirtualAddress, length: u64, flags: i32) -> Result<()> {
    const MS_ASYNC: i32 = 1;
    const MS_INVALIDATE: i32 = 2;
    const MS_SYNC: i32 = 4;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || !address.is_page_aligned()
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
    {
        return Err(Errno::EINVAL);
    }
    // As on Linux the length may wrap to zero.
    let length = length.wrapping_add(PAGE_SIZE as u64 - 1) & !(PAGE_SIZE as u64 - 1);
    let range = VirtualRange::new(address, length).ok_or(Errno::ENOMEM)?;
    if length == 0 {
        return Ok(());
    }
    let invalidate = if flags & MS_INVALIDATE != 0 { Invalidate::Yes } else { Invalidate::No };
    let writing = if flags & MS_SYNC != 0 { Writing::Wait } else { Writing::Later };
    space(call)?.synchronise(range, invalidate, writing)
}

/// `mlock(2)`.
pub fn mlock(call: &mut Call<'_>, address: VirtualAddress, length: u64) -> Result<()> {
    let limit = lock_limit(call);
    space(call)?.lock_range(address, length, LockMode::Now, limit)
}

/// `mlock2(2)`.
pub fn mlock2(call: &mut Call<'_>, address: VirtualAddress, length: u64, flags: i32) -> Result<()> {
    let mode = match flags {
        0 => LockMode::Now,
        1 => LockMode::OnFault,
        _ => return Err(Errno::EINVAL),
    };
    let limit = lock_limit(call);
    space(call)?.lock_range(address, length, mode, limit)
}

/// `munlock(2)`.
pub fn munlock(call: &mut Call<'_>, address: VirtualAddress, length: u64) -> Result<()> {
    space(call)?.unlock_range(address, length)
}

/// `mlockall(2)`.
pub fn mlockall(call: &mut Call<'_>, flags: i32) -> Result<()> {
    const MCL_CURRENT: i32 = 1;
    const MCL_FUTURE: i32 = 2;
    const MCL_ONFAULT: i32 = 4;
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    let mode = if flags & MCL_ONFAULT != 0 { LockMode::OnFault } else { LockMode::Now };
    let present = (flags & MCL_CURRENT != 0).then_some(mode);
    let future = (flags & MCL_FUTURE != 0).then_some(mode);
    let limit = lock_limit(call);
    space(call)?.lock_all(present, future, limit)
}

/// `munlockall(2)`.
pub fn munlockall(call: &mut Call<'_>) -> Result<()> {
    space(call)?.unlock_all();
    Ok(())
}

/// `memfd_create(2)`.
pub fn memfd_create(call: &mut Call<'_>, name: PathPointer, flags: Flags) -> Result<i32> {
    const MFD_CLOEXEC: u32 = 1;
    const MFD_ALLOW_SEALING: u32 = 2;
    /// `NAME_MAX` less the `memfd:` that goes before it.
    const NAME_LIMIT: usize = 249;
    if flags.0 & !(MFD_CLOEXEC | MFD_ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut buffer = [0; NAME_LIMIT + 1];
    let length = read_c_string_into(name.0, &mut buffer)?.ok_or(Errno::EINVAL)?;
    let name = buffer.get(..length).ok_or(Errno::EINVAL)?;
    let sealing = if flags.0 & MFD_ALLOW_SEALING != 0 { Sealing::Allowed } else { Sealing::Forbidden };
    let file = create_memfd(name, sealing, &call.thread.credentials())?;
    let close_on_exec = if flags.0 & MFD_CLOEXEC != 0 { CloseOnExec::Yes } else { CloseOnExec::No };
    let limit = call.process.limit(Resource::OpenFiles);
    Ok(call.thread.files().install(file, limit, close_on_exec)?.0)
}

/// The other process's memory and the two lists of buffers of `process_vm_*`.
fn foreign(
    call: &Call<'_>,
    pid: ProcessIdentifier,
    local: (UserPointer<u8>, u64),
    remote: (UserPointer<[u64; 2]>, u64),
    flags: u64,
) -> Result<Transfer> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let local = read_io_vectors(local.0.address(), usize::try_from(local.1).map_err(|_| Errno::EINVAL)?)?;
    let count = usize::try_from(remote.1).map_err(|_| Errno::EINVAL)?;
    if count > IO_VECTOR_MAX {
        return Err(Errno::EINVAL);
    }
    let remote = remote.0.read_vector(count)?;
    if remote.iter().any(|[_, length]| i64::try_from(*length).is_err()) {
        return Err(Errno::EINVAL);
    }
    let thread = crate::process::table::find_thread(pid.0).ok_or(Errno::ESRCH)?;
    let process = thread.process();
    if !Arc::ptr_eq(process, call.process) {
        let (caller, target) = (call.thread.credentials(), thread.credentials());
        if !caller.may_trace(&target) {
            return Err(Errno::EPERM);
        }
    }
    let space = process.address_space().ok_or(Errno::ESRCH)?;
    Ok(Transfer { space, local: local.to_vec(), remote })
}

struct Transfer {
    space: Arc<AddressSpace>,
    local: Vec<UserSlice>,
    remote: Vec<[u64; 2]>,
}

impl Transfer {
    /// Moves bytes piece by piece until either side ends or fails; gives the count.
    fn run(self, copy: impl Fn(&AddressSpace, VirtualAddress, UserSlice) -> Result<usize>) -> Result<u64> {
        let mut local = self.local.into_iter();
        let mut here = UserSlice::new(VirtualAddress::new(0), 0);
        let mut total = 0u64;
        for [address, length] in self.remote {
            let mut done = 0;
            while done < length {
                while here.is_empty() {
                    let Some(next) = local.next() else { return Ok(total) };
                    here = next;
                }
                let wanted = usize::try_from(length - done).unwrap_or(usize::MAX);
                let piece = here.take(wanted);
                let Some(there) = VirtualAddress::new(address).checked_add(done) else {
                    return if total == 0 { Err(Errno::EFAULT) } else { Ok(total) };
                };
                match copy(&self.space, there, piece) {
                    Ok(count) => {
                        total += count as u64;
                        done += count as u64;
                        here = here.skip(count);
                        if count < piece.len() {
                            return Ok(total);
                        }
                    }
                    Err(error) if total == 0 => return Err(error),
                    Err(_) => return Ok(total),
                }
            }
        }
        Ok(total)
    }
}

/// `process_vm_readv(2)`.
pub fn process_vm_readv(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    local: UserPointer<u8>,
    local_count: u64,
    remote: UserPointer<[u64; 2]>,
    remote_count: u64,
    flags: LongFlags,
) -> Result<u64> {
    foreign(call, pid, (local, local_count), (remote, remote_count), flags.0)?.run(AddressSpace::copy_to_active)
}

/// `process_vm_writev(2)`.
pub fn process_vm_writev(
    call: &mut Call<'_>,
    pid: ProcessIdentifier,
    local: UserPointer<u8>,
    local_count: u64,
    remote: UserPointer<[u64; 2]>,
    remote_count: u64,
    flags: LongFlags,
) -> Result<u64> {
    foreign(call, pid, (local, local_count), (remote, remote_count), flags.0)?.run(AddressSpace::copy_from_active)
}
