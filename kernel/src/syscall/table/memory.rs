//! Memory.

use crate::base::VirtualAddress;
use crate::memory::user::UserPointer;
use crate::security::Capability;
use crate::syscall::argument::{Descriptor, Flags, LongFlags, PathPointer, ProcessIdentifier};
use crate::syscall::names::memory as memory_names;
use crate::syscall::{memory, numa};

crate::system_call_rows! {
    /// Maps a file or anonymous memory.
    /// EINVAL: length 0, an address or offset that is not page-aligned, no or an unknown type. EBADF: no such descriptor.
    /// EACCES: the file is not open for that. EPERM: executable on a noexec mount, below `mmap_min_addr`, or locking is not allowed.
    /// ENODEV: the file cannot be mapped. EEXIST: MAP_FIXED_NOREPLACE and something is there. EOPNOTSUPP: MAP_SHARED_VALIDATE with an
    /// unknown flag. ENOMEM: no room, a limit, or more than the machine has. EAGAIN: too much locked memory.
    mmap { x86_64: 9, aarch64: 222, needs: Conditional(&[Capability::IpcLock, Capability::SysRawio]),
           support: Partial("MAP_HUGETLB finds no pool: ENOMEM") }
        = memory::mmap, (address: VirtualAddress, length: u64, protection: LongFlags as Bits(&memory_names::PROTECTION), flags: LongFlags as Bits(&memory_names::MAP), fd: Descriptor, offset: u64 as Flags);
    /// Takes mappings away.
    /// EINVAL: not page-aligned, length 0, or outside user space. ENOMEM: too many areas.
    munmap { x86_64: 11, aarch64: 215, needs: Nothing, support: Full } = memory::munmap, (address: VirtualAddress, length: u64);
    /// Changes what is allowed on pages.
    /// EINVAL: not page-aligned, unknown bits. ENOMEM: a part is not mapped. EACCES: the file was not opened so.
    mprotect { x86_64: 10, aarch64: 226, needs: Nothing, support: Full }
        = memory::mprotect, (address: VirtualAddress, length: u64, protection: LongFlags as Bits(&memory_names::PROTECTION));
    /// Resizes or moves a mapping.
    /// EINVAL: unknown or contradicting flags, not page-aligned, new length 0, overlap. EFAULT: the old range is not one mapping.
    /// ENOMEM: no room. EAGAIN: too much locked memory.
    mremap { x86_64: 25, aarch64: 216, needs: Conditional(&[Capability::IpcLock]), support: Full }
        = memory::mremap, (old_address: VirtualAddress, old_length: u64, new_length: u64, flags: LongFlags as Bits(&memory_names::REMAP), new_address: VirtualAddress as FixedAddress);
    /// Moves the end of the heap; answers where it is then.
    brk { x86_64: 12, aarch64: 214, needs: Nothing, support: Full } = memory::brk, (address: VirtualAddress);
    /// Gives advice about the use of memory.
    /// EINVAL: not page-aligned, unknown advice, or not for this kind of area. ENOMEM: a part is not mapped.
    madvise { x86_64: 28, aarch64: 233, needs: Nothing,
              support: Partial("MADV_REMOVE, MADV_COLLAPSE and the memory-error tests are refused; MADV_FREE drops at once") }
        = memory::madvise, (address: VirtualAddress, length: u64, advice: i32 as Value(&memory_names::ADVICE));
    /// Tells which pages are in memory.
    /// EINVAL: not page-aligned. ENOMEM: a part is not mapped. EFAULT: the vector.
    mincore { x86_64: 27, aarch64: 232, needs: Nothing, support: Full }
        = memory::mincore, (address: VirtualAddress, length: usize, vector: UserPointer<u8>);
    /// Writes shared mappings back.
    /// EINVAL: not page-aligned, unknown or contradicting flags. ENOMEM: a part is not mapped. EBUSY: MS_INVALIDATE on locked memory.
    msync { x86_64: 26, aarch64: 227, needs: Nothing, support: Full } = memory::msync, (address: VirtualAddress, length: u64, flags: i32 as Bits(&memory_names::SYNCHRONISE));
    /// Keeps pages in memory.
    /// EPERM: the limit is 0. ENOMEM: over the limit, or a part is not mapped. EINVAL: past the end of the address space.
    mlock { x86_64: 149, aarch64: 228, needs: Conditional(&[Capability::IpcLock]), support: Full }
        = memory::mlock, (address: VirtualAddress, length: u64);
    /// As mlock, at once or when touched (MLOCK_ONFAULT).
    /// As mlock; EINVAL: unknown flags.
    mlock2 { x86_64: 325, aarch64: 284, needs: Conditional(&[Capability::IpcLock]), support: Full }
        = memory::mlock2, (address: VirtualAddress, length: u64, flags: i32 as Bits(&memory_names::LOCK));
    /// Lets pages go out of memory again.
    /// ENOMEM: a part is not mapped. EINVAL: past the end of the address space.
    munlock { x86_64: 150, aarch64: 229, needs: Nothing, support: Full } = memory::munlock, (address: VirtualAddress, length: u64);
    /// Keeps all pages in memory, present and future ones.
    /// EINVAL: no or unknown flags. EPERM: the limit is 0. ENOMEM: over the limit.
    mlockall { x86_64: 151, aarch64: 230, needs: Conditional(&[Capability::IpcLock]), support: Full } = memory::mlockall, (flags: i32 as Bits(&memory_names::LOCK_ALL));
    /// Undoes mlockall.
    munlockall { x86_64: 152, aarch64: 231, needs: Nothing, support: Full } = memory::munlockall;
    /// Makes a file that lives in memory alone.
    /// EINVAL: unknown flags, or the name is too long. EFAULT: the name. EMFILE: too many descriptors.
    memfd_create { x86_64: 319, aarch64: 279, needs: Nothing, support: Partial("no MFD_HUGETLB") }
        = memory::memfd_create, (name: PathPointer as Text, flags: Flags as Bits(&memory_names::MEMORY_FILE));
    /// Reads another process's memory.
    /// EINVAL: flags, too many buffers or a negative length. ESRCH: no such process. EPERM: not allowed to trace it. EFAULT: an address.
    process_vm_readv { x86_64: 310, aarch64: 270, needs: Conditional(&[Capability::SysPtrace]), support: Full }
        = memory::process_vm_readv, (pid: ProcessIdentifier, local: UserPointer<u8>, local_count: u64,
                                     remote: UserPointer<[u64; 2]>, remote_count: u64, flags: LongFlags);
    /// Writes another process's memory.
    /// As process_vm_readv.
    process_vm_writev { x86_64: 311, aarch64: 271, needs: Conditional(&[Capability::SysPtrace]), support: Full }
        = memory::process_vm_writev, (pid: ProcessIdentifier, local: UserPointer<u8>, local_count: u64,
                                      remote: UserPointer<[u64; 2]>, remote_count: u64, flags: LongFlags);
    /// Changes the protection key of pages.
    pkey_mprotect { x86_64: 329, aarch64: 288, needs: Nothing, support: Absent };
    /// Makes a protection key.
    pkey_alloc { x86_64: 330, aarch64: 289, needs: Nothing, support: Absent };
    /// Frees a protection key.
    pkey_free { x86_64: 331, aarch64: 290, needs: Nothing, support: Absent };
    /// Remaps pages of a file mapping.
    remap_file_pages { x86_64: 216, aarch64: 234, needs: Nothing, support: Absent };
    /// Takes advice about another process's memory.
    process_madvise { x86_64: 440, aarch64: 440, needs: Nothing, support: Absent };
    /// Frees a dying process's memory.
    process_mrelease { x86_64: 448, aarch64: 448, needs: Nothing, support: Absent };
    /// Handles page faults in user space.
    userfaultfd { x86_64: 323, aarch64: 282, needs: Nothing, support: Absent };
    /// Sets the thread's memory policy.
    /// EINVAL: no such mode, flags that exclude each other, nodes where none may be, none where some must be, or none that has memory. EFAULT: the mask.
    set_mempolicy { x86_64: 238, aarch64: 237, needs: Nothing, support: Full }
        = numa::set_mempolicy, (mode: i32 as Bits(&memory_names::POLICY), nodes: UserPointer<u64>, maximum: u64);
    /// Tells the thread's memory policy, or that of an address, the node of a page, or the nodes allowed.
    /// EINVAL: unknown or contradicting flags, an address without MPOL_F_ADDR, a mask shorter than there are nodes, or the thread does not interleave
    /// (MPOL_F_NODE). EFAULT: nothing is mapped there, or where the answer goes.
    get_mempolicy { x86_64: 239, aarch64: 236, needs: Nothing, support: Full }
        = numa::get_mempolicy, (mode: UserPointer<u32>, nodes: UserPointer<u64>, maximum: u64, address: VirtualAddress, flags: LongFlags as Bits(&memory_names::POLICY_QUESTION));
    /// Sets the memory policy of a range.
    /// EINVAL: as set_mempolicy, unknown flags, or not page-aligned. EPERM: MPOL_MF_MOVE_ALL without the capability. EFAULT: a part is not mapped, or the
    /// mask. EIO: MPOL_MF_STRICT and pages are elsewhere, or could not be moved. ENOMEM: no memory, or too many areas.
    mbind { x86_64: 237, aarch64: 235, needs: Conditional(&[Capability::SysNice]), support: Full }
        = numa::mbind, (start: VirtualAddress, length: u64, mode: i32 as Bits(&memory_names::POLICY), nodes: UserPointer<u64>, maximum: u64, flags: u32 as Bits(&memory_names::POLICY_MOVE));
    /// Sets the home node of the policies of a range.
    /// EINVAL: not page-aligned, flags, no such node. ENOENT: no area there has a policy. EOPNOTSUPP: a policy other than MPOL_BIND and
    /// MPOL_PREFERRED_MANY. ENOMEM.
    set_mempolicy_home_node { x86_64: 450, aarch64: 450, needs: Nothing, support: Full }
        = numa::set_mempolicy_home_node, (start: VirtualAddress, length: u64, home: u64, flags: LongFlags);
    /// Moves a process's pages to nodes, or tells where they are; answers how many were not moved.
    /// EINVAL: unknown flags, or a process without memory. EPERM: MPOL_MF_MOVE_ALL without the capability, or not allowed to look into the process. ESRCH.
    /// EFAULT: an array. ENODEV: a node that is not there or has no memory. ENOMEM: a node has no memory left.
    move_pages { x86_64: 279, aarch64: 239, needs: Conditional(&[Capability::SysNice, Capability::SysPtrace]),
                 support: Full }
        = numa::move_pages, (pid: ProcessIdentifier, count: u64, pages: UserPointer<u64>, nodes: UserPointer<i32>, status: UserPointer<i32>, flags: u32 as Bits(&memory_names::POLICY_MOVE));
    /// Moves all of a process's pages from some nodes to others; answers how many could not be moved.
    /// EINVAL: a node that can never be, no target that has memory, or a process without memory. EPERM: not allowed to look into the process, or targets
    /// without memory and without the capability. ESRCH. EFAULT: a mask. ENOMEM: a node has no memory left.
    migrate_pages { x86_64: 256, aarch64: 238, needs: Conditional(&[Capability::SysNice, Capability::SysPtrace]), support: Full }
        = numa::migrate_pages, (pid: ProcessIdentifier, maximum: u64, from: UserPointer<u64>, to: UserPointer<u64>);
}
