//! Mounts.

use crate::base::VirtualAddress;
use crate::security::Capability;
use crate::syscall::argument::{Flags, LongFlags, PathPointer};
use crate::syscall::mount;
use crate::syscall::names::file as file_names;

crate::system_call_rows! {
    /// Moves the root to another mount. EINVAL: not a mount, or not below it. EBUSY: it is the root. ENOTDIR.
    pivot_root { x86_64: 155, aarch64: 41, needs: Always(Capability::SysAdmin), support: Full } = mount::pivot_root,
        (new_root: PathPointer, put_old: PathPointer);
    /// Mounts, binds, moves or changes a file system. ENODEV: no such type. EINVAL: bad options, or no mount to change. EBUSY: mounted there already, or open for writing. ENOTDIR, ENOENT, ELOOP.
    mount { x86_64: 165, aarch64: 40, needs: Always(Capability::SysAdmin), support: Partial("every mount is private; no MS_MANDLOCK") } = mount::mount,
        (source: PathPointer, target: PathPointer, kind: VirtualAddress as Text, flags: LongFlags as Bits(&file_names::MOUNT), data: VirtualAddress as Text);
    /// Unmounts. EINVAL: not a mount, or unknown flags. EBUSY: it is used. EAGAIN: marked by MNT_EXPIRE.
    umount2 { x86_64: 166, aarch64: 39, needs: Always(Capability::SysAdmin), support: Full } = mount::umount2,
        (target: PathPointer, flags: Flags as Bits(&file_names::UNMOUNT));
    /// Watches files.
    inotify_init { x86_64: 253, aarch64: none, needs: Nothing, support: Absent };
    /// Watches files.
    inotify_init1 { x86_64: 294, aarch64: 26, needs: Nothing, support: Absent };
    /// Adds a file to those that are watched.
    inotify_add_watch { x86_64: 254, aarch64: 27, needs: Nothing, support: Absent };
    /// Takes a file from those that are watched.
    inotify_rm_watch { x86_64: 255, aarch64: 28, needs: Nothing, support: Absent };
    /// Watches and answers for file access.
    fanotify_init { x86_64: 300, aarch64: 262, needs: Nothing, support: Absent };
    /// Marks what fanotify watches.
    fanotify_mark { x86_64: 301, aarch64: 263, needs: Nothing, support: Absent };
    /// Gives a file's handle.
    name_to_handle_at { x86_64: 303, aarch64: 264, needs: Nothing, support: Absent };
    /// Opens a file by its handle.
    open_by_handle_at { x86_64: 304, aarch64: 265, needs: Nothing, support: Absent };
    /// Opens a tree of mounts.
    open_tree { x86_64: 428, aarch64: 428, needs: Nothing, support: Absent };
    /// Moves a mount.
    move_mount { x86_64: 429, aarch64: 429, needs: Nothing, support: Absent };
    /// Opens a file system to be configured.
    fsopen { x86_64: 430, aarch64: 430, needs: Nothing, support: Absent };
    /// Configures a file system.
    fsconfig { x86_64: 431, aarch64: 431, needs: Nothing, support: Absent };
    /// Makes a mount of a configured file system.
    fsmount { x86_64: 432, aarch64: 432, needs: Nothing, support: Absent };
    /// Opens a mounted file system to be configured.
    fspick { x86_64: 433, aarch64: 433, needs: Nothing, support: Absent };
    /// Changes a mount's attributes.
    mount_setattr { x86_64: 442, aarch64: 442, needs: Nothing, support: Absent };
    /// Sets disk quotas.
    quotactl { x86_64: 179, aarch64: 60, needs: Nothing, support: Absent };
    /// Shows a file system's space, of old.
    ustat { x86_64: 136, aarch64: none, needs: Nothing, support: Absent };
    /// Shows the types of file system, of old.
    sysfs { x86_64: 139, aarch64: none, needs: Nothing, support: Absent };
}
