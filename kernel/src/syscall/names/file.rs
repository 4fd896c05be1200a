//! Values that file calls take.

use super::{BitNames, FieldNames, ValueNames};
use crate::arch::{Current, Machine};

/// `O_*`.
pub static OPEN: BitNames = BitNames {
    unknown: "O_???",
    zero: "O_RDONLY",
    field: Some(FieldNames { mask: 3, values: &[(0, "O_RDONLY"), (1, "O_WRONLY"), (2, "O_RDWR"), (3, "O_ACCMODE")] }),
    bits: OPEN_BITS,
};

const OPEN_BITS: &[(u64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o4_010_000, "O_SYNC"),
    (0o10000, "O_DSYNC"),
    (Current::LINUX.open_flags.direct as u64, "O_DIRECT"),
    (Current::LINUX.open_flags.large_file as u64, "O_LARGEFILE"),
    (Current::LINUX.open_flags.no_follow as u64, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (0o20_000_000 | Current::LINUX.open_flags.directory as u64, "O_TMPFILE"),
    (Current::LINUX.open_flags.directory as u64, "O_DIRECTORY"),
    (0o20000, "FASYNC"),
];

/// The same where no access mode is among them: `pipe2`, `dup3`, `eventfd2`.
pub static DESCRIPTOR_FLAGS: BitNames = BitNames { unknown: "O_???", zero: "0", field: None, bits: OPEN_BITS };

/// `AT_*`.
pub static AT: BitNames = BitNames {
    unknown: "AT_???",
    zero: "0",
    field: None,
    bits: &[
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x200, "AT_REMOVEDIR"),
        (0x400, "AT_SYMLINK_FOLLOW"),
        (0x800, "AT_NO_AUTOMOUNT"),
        (0x1000, "AT_EMPTY_PATH"),
        (0x8000, "AT_RECURSIVE"),
    ],
};

/// `AT_*` of `faccessat2`, where one bit has another meaning.
pub static AT_ACCESS: BitNames = BitNames {
    unknown: "AT_???",
    zero: "0",
    field: None,
    bits: &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_EACCESS"), (0x1000, "AT_EMPTY_PATH")],
};

/// `AT_*` of `statx`, with how fresh its answer must be.
pub static AT_STATX: BitNames = BitNames {
    unknown: "AT_???",
    zero: "AT_STATX_SYNC_AS_STAT",
    field: Some(FieldNames {
        mask: 0x6000,
        values: &[(0, "AT_STATX_SYNC_AS_STAT"), (0x2000, "AT_STATX_FORCE_SYNC"), (0x4000, "AT_STATX_DONT_SYNC")],
    }),
    bits: AT.bits,
};

/// `STATX_*`.
pub static STATX_MASK: BitNames = BitNames {
    unknown: "STATX_???",
    zero: "0",
    field: None,
    bits: &[
        (0xfff, "STATX_ALL"),
        (0x7ff, "STATX_BASIC_STATS"),
        (0x1, "STATX_TYPE"),
        (0x2, "STATX_MODE"),
        (0x4, "STATX_NLINK"),
        (0x8, "STATX_UID"),
        (0x10, "STATX_GID"),
        (0x20, "STATX_ATIME"),
        (0x40, "STATX_MTIME"),
        (0x80, "STATX_CTIME"),
        (0x100, "STATX_INO"),
        (0x200, "STATX_SIZE"),
        (0x400, "STATX_BLOCKS"),
        (0x800, "STATX_BTIME"),
        (0x1000, "STATX_MNT_ID"),
    ],
};

/// `access`.
pub static ACCESS: BitNames =
    BitNames { unknown: "?_OK", zero: "F_OK", field: None, bits: &[(4, "R_OK"), (2, "W_OK"), (1, "X_OK")] };

/// `SEEK_*`.
pub static WHENCE: ValueNames = ValueNames {
    unknown: "SEEK_???",
    values: &[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")],
};

/// `posix_fadvise`.
pub static FILE_ADVICE: ValueNames = ValueNames {
    unknown: "POSIX_FADV_???",
    values: &[
        (0, "POSIX_FADV_NORMAL"),
        (1, "POSIX_FADV_RANDOM"),
        (2, "POSIX_FADV_SEQUENTIAL"),
        (3, "POSIX_FADV_WILLNEED"),
        (4, "POSIX_FADV_DONTNEED"),
        (5, "POSIX_FADV_NOREUSE"),
    ],
};

/// `fallocate`.
pub static ALLOCATE: BitNames = BitNames {
    unknown: "FALLOC_FL_???",
    zero: "0",
    field: None,
    bits: &[
        (1, "FALLOC_FL_KEEP_SIZE"),
        (2, "FALLOC_FL_PUNCH_HOLE"),
        (4, "FALLOC_FL_NO_HIDE_STALE"),
        (8, "FALLOC_FL_COLLAPSE_RANGE"),
        (0x10, "FALLOC_FL_ZERO_RANGE"),
        (0x20, "FALLOC_FL_INSERT_RANGE"),
        (0x40, "FALLOC_FL_UNSHARE_RANGE"),
    ],
};

/// `flock`.
pub static LOCK: BitNames = BitNames {
    unknown: "LOCK_???",
    zero: "0",
    field: None,
    bits: &[(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN"), (0x20, "LOCK_MAND")],
};

/// `renameat2`.
pub static RENAME: BitNames = BitNames {
    unknown: "RENAME_??",
    zero: "0",
    field: None,
    bits: &[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")],
};

/// `setxattr`.
pub static ATTRIBUTE: BitNames =
    BitNames { unknown: "XATTR_???", zero: "0", field: None, bits: &[(1, "XATTR_CREATE"), (2, "XATTR_REPLACE")] };

/// `splice` and its kind.
pub static SPLICE: BitNames = BitNames {
    unknown: "SPLICE_F_???",
    zero: "0",
    field: None,
    bits: &[(1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT")],
};

/// `preadv2`.
pub static READ_WRITE: BitNames = BitNames {
    unknown: "RWF_???",
    zero: "0",
    field: None,
    bits: &[(1, "RWF_HIPRI"), (2, "RWF_DSYNC"), (4, "RWF_SYNC"), (8, "RWF_NOWAIT"), (0x10, "RWF_APPEND")],
};

/// `close_range`.
pub static CLOSE_RANGE: BitNames = BitNames {
    unknown: "CLOSE_RANGE_???",
    zero: "0",
    field: None,
    bits: &[(2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC")],
};

/// `umount2`.
pub static UNMOUNT: BitNames = BitNames {
    unknown: "MNT_???",
    zero: "0",
    field: None,
    bits: &[(1, "MNT_FORCE"), (2, "MNT_DETACH"), (4, "MNT_EXPIRE"), (8, "UMOUNT_NOFOLLOW")],
};

/// `mount`.
pub static MOUNT: BitNames = BitNames {
    unknown: "MS_???",
    zero: "0",
    field: None,
    bits: &[
        (0x1, "MS_RDONLY"),
        (0x2, "MS_NOSUID"),
        (0x4, "MS_NODEV"),
        (0x8, "MS_NOEXEC"),
        (0x10, "MS_SYNCHRONOUS"),
        (0x20, "MS_REMOUNT"),
        (0x40, "MS_MANDLOCK"),
        (0x80, "MS_DIRSYNC"),
        (0x100, "MS_NOSYMFOLLOW"),
        (0x400, "MS_NOATIME"),
        (0x800, "MS_NODIRATIME"),
        (0x1000, "MS_BIND"),
        (0x2000, "MS_MOVE"),
        (0x4000, "MS_REC"),
        (0x8000, "MS_SILENT"),
        (0x1_0000, "MS_POSIXACL"),
        (0x2_0000, "MS_UNBINDABLE"),
        (0x4_0000, "MS_PRIVATE"),
        (0x8_0000, "MS_SLAVE"),
        (0x10_0000, "MS_SHARED"),
        (0x20_0000, "MS_RELATIME"),
        (0x80_0000, "MS_I_VERSION"),
        (0x100_0000, "MS_STRICTATIME"),
        (0x200_0000, "MS_LAZYTIME"),
    ],
};

/// `fcntl`.
pub static CONTROL: ValueNames = ValueNames {
    unknown: "F_???",
    values: &[
        (0, "F_DUPFD"),
        (1, "F_GETFD"),
        (2, "F_SETFD"),
        (3, "F_GETFL"),
        (4, "F_SETFL"),
        (5, "F_GETLK"),
        (6, "F_SETLK"),
        (7, "F_SETLKW"),
        (8, "F_SETOWN"),
        (9, "F_GETOWN"),
        (10, "F_SETSIG"),
        (11, "F_GETSIG"),
        (15, "F_SETOWN_EX"),
        (16, "F_GETOWN_EX"),
        (17, "F_GETOWNER_UIDS"),
        (36, "F_OFD_GETLK"),
        (37, "F_OFD_SETLK"),
        (38, "F_OFD_SETLKW"),
        (1024, "F_SETLEASE"),
        (1025, "F_GETLEASE"),
        (1026, "F_NOTIFY"),
        (1030, "F_DUPFD_CLOEXEC"),
        (1031, "F_SETPIPE_SZ"),
        (1032, "F_GETPIPE_SZ"),
        (1033, "F_ADD_SEALS"),
        (1034, "F_GET_SEALS"),
    ],
};

/// `F_SETFD`.
pub static CLOSE_ON_EXEC: BitNames = BitNames { unknown: "FD_???", zero: "0", field: None, bits: &[(1, "FD_CLOEXEC")] };

/// `l_type` of a lock.
pub static LOCK_KIND: ValueNames =
    ValueNames { unknown: "F_???", values: &[(0, "F_RDLCK"), (1, "F_WRLCK"), (2, "F_UNLCK")] };

/// `ioctl`; a request without a name is written as `_IOC(…)`.
pub static REQUEST: ValueNames = ValueNames {
    unknown: "",
    values: &[
        (0x5401, "TCGETS"),
        (0x5402, "TCSETS"),
        (0x5403, "TCSETSW"),
        (0x5404, "TCSETSF"),
        (0x5405, "TCGETA"),
        (0x5409, "TCSBRK"),
        (0x540a, "TCXONC"),
        (0x540b, "TCFLSH"),
        (0x540e, "TIOCSCTTY"),
        (0x540f, "TIOCGPGRP"),
        (0x5410, "TIOCSPGRP"),
        (0x5411, "TIOCOUTQ"),
        (0x5412, "TIOCSTI"),
        (0x5413, "TIOCGWINSZ"),
        (0x5414, "TIOCSWINSZ"),
        (0x541b, "FIONREAD"),
        (0x5421, "FIONBIO"),
        (0x5422, "TIOCNOTTY"),
        (0x5429, "TIOCGSID"),
        (0x5450, "FIONCLEX"),
        (0x5451, "FIOCLEX"),
        (0x5452, "FIOASYNC"),
        (0x5456, "TIOCGLCKTRMIOS"),
        (0x5457, "TIOCSLCKTRMIOS"),
        (0x8004_5430, "TIOCGPTN"),
        (0x4004_5431, "TIOCSPTLCK"),
        (0x8008_6601, "FS_IOC_GETFLAGS"),
        (0x4008_6602, "FS_IOC_SETFLAGS"),
    ],
};
