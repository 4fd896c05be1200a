//! Plain values of the file interface: types and modes of files, device numbers, times, open flags, descriptors, `stat`'s answer.

use crate::arch::linux_interface::OpenFlagValues;
use crate::arch::{Current, Machine};
use crate::base::Nanoseconds;
use linux_raw_sys::general as linux;

/// A file descriptor: a small non-negative number, or one of the special negative ones in calls that take them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct FileDescriptor(pub i32);

impl FileDescriptor {
    /// `AT_FDCWD`: the working directory.
    pub const WORKING_DIRECTORY: Self = Self(-100);

    /// As an index into a table; `None` for a negative number.
    #[inline]
    #[must_use]
    pub fn index(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// The type of a file, with the value that `st_mode >> 12` and `d_type` have for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FileType {
    /// A FIFO or pipe.
    Fifo = 1,
    /// A character device.
    CharacterDevice = 2,
    /// A directory.
    Directory = 4,
    /// A block device.
    BlockDevice = 6,
    /// A regular file.
    Regular = 8,
    /// A symbolic link.
    SymbolicLink = 10,
    /// A socket.
    Socket = 12,
}

impl FileType {
    /// The type's bits in `st_mode`.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }
    /// The type in the `S_IFMT` bits of `mode`; `None` for a combination that names none.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode >> 12 & 0o17 {
            1 => Self::Fifo,
            2 => Self::CharacterDevice,
            4 => Self::Directory,
            6 => Self::BlockDevice,
            8 => Self::Regular,
            10 => Self::SymbolicLink,
            12 => Self::Socket,
            _ => return None,
        })
    }
    /// Whether it is a character or block device.
    #[must_use]
    pub const fn is_device(self) -> bool {
        matches!(self, Self::CharacterDevice | Self::BlockDevice)
    }
}

/// Permission bits of a mode and the special three above them.
pub mod mode {
    /// All bits that `chmod` sets.
    pub const ALL: u32 = 0o7777;
    /// The `rwx` bits of all three classes.
    pub const PERMISSIONS: u32 = 0o777;
    /// Set-user-ID.
    pub const SET_UID: u32 = 0o4000;
    /// Set-group-ID.
    pub const SET_GID: u32 = 0o2000;
    /// Sticky.
    pub const STICKY: u32 = 0o1000;
    /// Group execute.
    pub const GROUP_EXECUTE: u32 = 0o010;
}

/// A device's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DeviceNumber {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl DeviceNumber {
    /// The device `major:minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
    /// As `st_dev`, `st_rdev` and `mknod` hold it: 12 bits of major, 20 of minor.
    #[must_use]
    pub const fn encode(self) -> u64 {
        ((self.minor & 0xff) | (self.major & 0xfff) << 8 | (self.minor & !0xff) << 12) as u64
    }
    /// The inverse of [`Self::encode`].
    #[must_use]
    pub const fn decode(number: u32) -> Self {
        Self { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xf_ff00 }
    }
}

/// A file's time: nanoseconds since 1970, which reach from 1677 to 2262.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From seconds and nanoseconds, held at the ends of what can be represented.
    #[must_use]
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds as i64))
    }
    /// Seconds (rounded down) and nanoseconds (0..=999,999,999).
    #[must_use]
    pub const fn split(self) -> (i64, u32) {
        (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000) as u32)
    }
    /// The present, on the realtime clock.
    #[must_use]
    #[inline]
    pub fn now() -> Self {
        crate::time::realtime().into()
    }
}

impl From<Nanoseconds> for Timestamp {
    fn from(time: Nanoseconds) -> Self {
        Self(i64::try_from(time.0).unwrap_or(i64::MAX))
    }
}

/// Those flags of `open` whose values differ between machines.
const VALUES: OpenFlagValues = Current::LINUX.open_flags;

bitflags::bitflags! {
    /// The flags of `open`, with the values that they have on this machine.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct OpenFlags: u32 {
        /// Write only. Neither this nor `READ_WRITE` means read only.
        const WRITE_ONLY = linux::O_WRONLY;
        /// Read and write.
        const READ_WRITE = linux::O_RDWR;
        /// Make the file if it is not there.
        const CREATE = linux::O_CREAT;
        /// With `CREATE`: fail if it is there.
        const EXCLUSIVE = linux::O_EXCL;
        /// A terminal does not become the controlling one.
        const NO_CONTROLLING_TERMINAL = linux::O_NOCTTY;
        /// Cut the file to nothing.
        const TRUNCATE = linux::O_TRUNC;
        /// Every write goes to the end.
        const APPEND = linux::O_APPEND;
        /// Do not wait.
        const NON_BLOCKING = linux::O_NONBLOCK;
        /// Writes wait for the data to be stored.
        const DATA_SYNC = linux::O_DSYNC;
        /// Send a signal when the file becomes ready.
        const ASYNCHRONOUS = linux::FASYNC;
        /// No page cache.
        const DIRECT = VALUES.direct;
        /// Accepted and without effect.
        const LARGE_FILE = VALUES.large_file;
        /// Fail unless it is a directory.
        const DIRECTORY = VALUES.directory;
        /// Fail if the last component is a symbolic link.
        const NO_FOLLOW = VALUES.no_follow;
        /// Reading does not change the access time.
        const NO_ACCESS_TIME = linux::O_NOATIME;
        /// Close on `execve`.
        const CLOSE_ON_EXEC = linux::O_CLOEXEC;
        /// The sync bit beyond `DATA_SYNC`.
        const FULL_SYNC = linux::O_SYNC & !linux::O_DSYNC;
        /// Only a handle on the location, no I/O.
        const PATH = linux::O_PATH;
        /// A nameless file in the directory (the bit without `DIRECTORY`).
        const TEMPORARY_BIT = 0o20000000;
    }
}

impl OpenFlags {
    /// The flags that `fcntl(F_SETFL)` can change.
    pub const CHANGEABLE: Self = Self::APPEND
        .union(Self::NON_BLOCKING)
        .union(Self::ASYNCHRONOUS)
        .union(Self::DIRECT)
        .union(Self::NO_ACCESS_TIME);
    /// `O_TMPFILE`.
    pub const TEMPORARY: Self = Self::TEMPORARY_BIT.union(Self::DIRECTORY);
    /// The two bits of the access mode.
    pub const ACCESS_MODE: Self = Self::WRITE_ONLY.union(Self::READ_WRITE);
}

/// What `stat` and `statx` tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// The device of the file system.
    pub device: DeviceNumber,
    /// The inode number.
    pub inode: u64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Names that it has.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// For a device file, its device.
    pub device_id: DeviceNumber,
    /// Length in bytes.
    pub size: u64,
    /// The preferred size of I/O.
    pub block_size: u32,
    /// Space used, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the contents.
    pub modified: Timestamp,
    /// Last change of contents or attributes.
    pub changed: Timestamp,
    /// When it was made.
    pub created: Timestamp,
}

impl Metadata {
    /// The type in the mode.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        match FileType::from_mode(self.mode) {
            Some(file_type) => file_type,
            None => FileType::Regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_encode_as_linux_does() {
        assert_eq!(DeviceNumber::new(5, 1).encode(), 0x501);
        let wide = DeviceNumber::new(0xabc, 0x12345);
        assert_eq!(wide.encode(), 0x123a_bc45);
        assert_eq!(DeviceNumber::decode(0x123a_bc45), wide);
    }

    #[test]
    fn times_before_1970_split_downwards() {
        assert_eq!(Timestamp::new(-1, 5).split(), (-1, 5));
        assert_eq!(Timestamp::new(i64::MAX, 5).0, i64::MAX);
    }

    #[test]
    fn types_and_modes_agree() {
        assert_eq!(FileType::Directory.mode_bits(), 0o040_000);
        assert_eq!(FileType::from_mode(0o120_777), Some(FileType::SymbolicLink));
        assert_eq!(FileType::from_mode(0o777), None);
    }
}
