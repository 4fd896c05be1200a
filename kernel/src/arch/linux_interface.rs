//! What differs between the machines in the interface that Linux gives to programs: numbers and layouts, side by side.
//!
//! [`Machine::LINUX`](super::Machine::LINUX) is the one that programs of this machine see; the rooms above take every value from there and
//! know nothing of machines. All values are constants, so what depends on them is decided by the compiler. System-call numbers are
//! in the table of system calls, of which [`NumberColumn`] picks a column; registers and signal frames are in each machine's folder.

/// Numbers and layouts of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinuxInterface {
    /// `e_machine` of the programs that it runs.
    pub elf_machine: u16,
    /// Which of the system-call table's numbers are its.
    pub system_calls: NumberColumn,
    /// The number of `restart_syscall`, which the kernel makes programs call.
    pub restart_system_call: u64,
    /// The flags of `open` whose values differ.
    pub open_flags: OpenFlagValues,
    /// `struct stat`.
    pub status: StatusLayout,
    /// Bytes of `struct epoll_event`, the user data in the last eight.
    pub epoll_event_size: usize,
    /// The order of the last two arguments of `clone`.
    pub clone_order: CloneOrder,
    /// `MAP_32BIT`, or nothing.
    pub map_low: u64,
    /// What SIGSEGV says of a signal frame from which there is no return.
    pub bad_signal_frame: BadSignalFrame,
    /// `MAX_NUMNODES` of Debian's Linux: masks of nodes may name so many.
    pub most_nodes: u64,
    /// `MINSIGSTKSZ`: the shortest alternate signal stack that is taken. Frames may be longer.
    pub shortest_signal_stack: u64,
}

/// A column of numbers in the table of system calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberColumn {
    /// 64-bit x86's.
    X86_64,
    /// 64-bit Arm's, which are those of all younger machines.
    Aarch64,
}

impl NumberColumn {
    /// Its number of a row that has these.
    #[must_use]
    pub const fn pick(self, x86_64: Option<u16>, aarch64: Option<u16>) -> Option<u16> {
        match self {
            Self::X86_64 => x86_64,
            Self::Aarch64 => aarch64,
        }
    }
}

/// What SIGSEGV says of a signal frame from which there is no return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadSignalFrame {
    /// `SI_KERNEL` and no address.
    FromKernel,
    /// The stack pointer, and whether memory is mapped there or above it.
    AtStackPointer,
}

/// Flags of `open` whose values differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFlagValues {
    /// `O_DIRECT`.
    pub direct: u32,
    /// `O_LARGEFILE`.
    pub large_file: u32,
    /// `O_DIRECTORY`.
    pub directory: u32,
    /// `O_NOFOLLOW`.
    pub no_follow: u32,
}

/// What `clone`'s fourth and fifth argument are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloneOrder {
    /// The address for the child's number, then the thread pointer.
    ChildThenThreadPointer,
    /// The other way round, as on most machines (`CONFIG_CLONE_BACKWARDS`).
    ThreadPointerThenChild,
}

/// A number in a structure: its place, and its length in bytes (4 or 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Where it begins.
    pub offset: usize,
    /// Its bytes.
    pub width: usize,
}

impl Field {
    const fn word(offset: usize) -> Self {
        Self { offset, width: 4 }
    }
    const fn long(offset: usize) -> Self {
        Self { offset, width: 8 }
    }
    /// Writes the low bytes of `value` to its place in `structure`.
    #[inline]
    pub fn put(self, structure: &mut [u8], value: u64) {
        if let (Some(place), Some(bytes)) =
            (structure.get_mut(self.offset..self.offset + self.width), value.to_le_bytes().get(..self.width))
        {
            place.copy_from_slice(bytes);
        }
    }
}

/// `struct stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the structure's")]
pub struct StatusLayout {
    /// Bytes of the structure.
    pub size: usize,
    pub st_dev: Field,
    pub st_ino: Field,
    pub st_mode: Field,
    pub st_nlink: Field,
    pub st_uid: Field,
    pub st_gid: Field,
    pub st_rdev: Field,
    pub st_size: Field,
    pub st_blksize: Field,
    pub st_blocks: Field,
    /// Seconds of the access, modification and change time; each one's nanoseconds are eight bytes behind.
    pub times: [Field; 3],
}

impl StatusLayout {
    /// The longest structure of any machine.
    pub const LONGEST: usize = 144;
}

impl LinuxInterface {
    /// Whether the flags of an `mmap` ask for a place in the lowest 2 GiB.
    #[must_use]
    pub const fn wants_low(&self, flags: u64) -> bool {
        flags & self.map_low != 0
    }

    /// 64-bit x86.
    pub const X86_64: Self = Self {
        elf_machine: 62,
        system_calls: NumberColumn::X86_64,
        restart_system_call: 219,
        open_flags: OpenFlagValues { direct: 0o40000, large_file: 0o100000, directory: 0o200000, no_follow: 0o400000 },
        status: StatusLayout {
            size: 144,
            st_dev: Field::long(0),
            st_ino: Field::long(8),
            st_nlink: Field::long(16),
            st_mode: Field::word(24),
            st_uid: Field::word(28),
            st_gid: Field::word(32),
            st_rdev: Field::long(40),
            st_size: Field::long(48),
            st_blksize: Field::long(56),
            st_blocks: Field::long(64),
            times: [Field::long(72), Field::long(88), Field::long(104)],
        },
        epoll_event_size: 12,
        clone_order: CloneOrder::ChildThenThreadPointer,
        map_low: 0x40,
        bad_signal_frame: BadSignalFrame::FromKernel,
        most_nodes: 1024,
        shortest_signal_stack: 2048,
    };

    /// 64-bit Arm.
    pub const AARCH64: Self = Self {
        elf_machine: 183,
        system_calls: NumberColumn::Aarch64,
        restart_system_call: 128,
        open_flags: OpenFlagValues { directory: 0o40000, no_follow: 0o100000, direct: 0o200000, large_file: 0o400000 },
        status: StatusLayout {
            size: 128,
            st_dev: Field::long(0),
            st_ino: Field::long(8),
            st_mode: Field::word(16),
            st_nlink: Field::word(20),
            st_uid: Field::word(24),
            st_gid: Field::word(28),
            st_rdev: Field::long(32),
            st_size: Field::long(48),
            st_blksize: Field::word(56),
            st_blocks: Field::long(64),
            times: [Field::long(72), Field::long(88), Field::long(104)],
        },
        epoll_event_size: 16,
        clone_order: CloneOrder::ThreadPointerThenChild,
        map_low: 0,
        bad_signal_frame: BadSignalFrame::AtStackPointer,
        most_nodes: 16,
        shortest_signal_stack: 5120,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use linux_raw_sys::general as linux;

    /// The machine that these tests run on, if it is one of ours.
    fn host() -> Option<LinuxInterface> {
        match std::env::consts::ARCH {
            "x86_64" => Some(LinuxInterface::X86_64),
            "aarch64" => Some(LinuxInterface::AARCH64),
            _ => None,
        }
    }

    #[test]
    fn the_host_s_values_are_those_of_linux_s_headers() {
        let Some(host) = host() else { return };
        let flags = OpenFlagValues {
            direct: linux::O_DIRECT,
            large_file: linux::O_LARGEFILE,
            directory: linux::O_DIRECTORY,
            no_follow: linux::O_NOFOLLOW,
        };
        assert_eq!(host.open_flags, flags);
        assert_eq!(host.restart_system_call, linux::__NR_restart_syscall.into());
        assert_eq!(host.epoll_event_size, size_of::<linux::epoll_event>());
        assert_eq!(host.shortest_signal_stack, linux::MINSIGSTKSZ.into());
        let status = host.status;
        assert_eq!(status.size, size_of::<linux::stat>());
        let fields = [
            (status.st_dev, offset_of!(linux::stat, st_dev)),
            (status.st_ino, offset_of!(linux::stat, st_ino)),
            (status.st_mode, offset_of!(linux::stat, st_mode)),
            (status.st_nlink, offset_of!(linux::stat, st_nlink)),
            (status.st_uid, offset_of!(linux::stat, st_uid)),
            (status.st_gid, offset_of!(linux::stat, st_gid)),
            (status.st_rdev, offset_of!(linux::stat, st_rdev)),
            (status.st_size, offset_of!(linux::stat, st_size)),
            (status.st_blksize, offset_of!(linux::stat, st_blksize)),
            (status.st_blocks, offset_of!(linux::stat, st_blocks)),
            (status.times[0], offset_of!(linux::stat, st_atime)),
            (status.times[1], offset_of!(linux::stat, st_mtime)),
            (status.times[2], offset_of!(linux::stat, st_ctime)),
        ];
        fields.iter().for_each(|(field, offset)| assert_eq!(field.offset, *offset));
    }

    #[test]
    fn system_calls_are_restarted_by_their_own_number() {
        let x86 = syscalls::x86_64::Sysno::restart_syscall as u64;
        assert_eq!(LinuxInterface::X86_64.restart_system_call, x86);
        let arm = syscalls::aarch64::Sysno::restart_syscall as u64;
        assert_eq!(LinuxInterface::AARCH64.restart_system_call, arm);
    }

    #[test]
    fn machines_and_flags_are_distinct() {
        assert_eq!(LinuxInterface::X86_64.elf_machine, elf::abi::EM_X86_64);
        assert_eq!(LinuxInterface::AARCH64.elf_machine, elf::abi::EM_AARCH64);
        for machine in [LinuxInterface::X86_64, LinuxInterface::AARCH64] {
            let OpenFlagValues { direct, large_file, directory, no_follow } = machine.open_flags;
            assert_eq!(direct | large_file | directory | no_follow, 0o740000, "the same four bits on both");
        }
    }

    #[test]
    fn no_two_fields_of_a_status_overlap() {
        for LinuxInterface { status, .. } in [LinuxInterface::X86_64, LinuxInterface::AARCH64] {
            let [accessed, modified, changed] = status.times;
            let mut fields = vec![status.st_dev, status.st_ino, status.st_mode, status.st_nlink, status.st_uid];
            fields.extend([status.st_gid, status.st_rdev, status.st_size, status.st_blksize, status.st_blocks]);
            fields.extend([accessed, modified, changed].map(|seconds| Field { width: 16, ..seconds }));
            fields.sort_by_key(|field| field.offset);
            for pair in fields.windows(2) {
                assert!(pair[0].offset + pair[0].width <= pair[1].offset);
            }
            assert!(fields.iter().all(|field| field.offset + field.width <= status.size));
            assert!(status.size <= StatusLayout::LONGEST);
        }
    }

    #[test]
    fn a_field_takes_its_own_bytes() {
        let mut bytes = [0xff; 12];
        Field::word(4).put(&mut bytes, 0x1_0203_0405);
        assert_eq!(bytes, [0xff, 0xff, 0xff, 0xff, 5, 4, 3, 2, 0xff, 0xff, 0xff, 0xff]);
        Field::long(8).put(&mut bytes, 0);
        assert_eq!(bytes[8..], [0xff; 4], "what does not fit is left out");
    }
}
