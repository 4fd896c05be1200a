//! The virtual file system: open files and their table, inodes, directory entries, mounts, path walk, tmpfs, the initramfs.
//!
//! | type | what it is | whose |
//! |---|---|---|
//! | [`FileTable`] | descriptors of a process, number to [`OpenFile`] | a process, shared by `CLONE_FILES` |
//! | [`OpenFile`] | Linux's open file description: position, status flags | shared by `dup` and `fork` |
//! | [`FileOperations`] | what reading, writing, polling it does | the kind of file |
//! | [`Inode`] | a file on a file system: type, owner, times, contents | its file system |
//! | [`Dentry`] | a name in a directory and the inode behind it | the directory tree |
//! | [`Mount`], [`Location`] | where a file system appears; a dentry seen through a mount | the mount tree |
//! | [`FsContext`] | root, working directory, umask | a process, shared by `CLONE_FS` |
//!
//! This room knows credentials, not processes: everything that depends on who asks takes [`crate::security::Credentials`].
//! Other rooms register what opens a device number ([`device_registry`]), what opens a FIFO ([`fifo`]) and types of file system
//! ([`file_system`]); generated file systems are built with [`pseudo`].
//!
//! # Lock order
//! A directory's change lock (a sleeping [`crate::sync::Mutex`], parents before children, two directories by address; the rename lock
//! before both), then a file's data lock (sleeping), then spinlocks: a table of children, mounts or descriptors
//! (`LockRank::FileSystem`), then a dentry's place or an inode's extras (`LockRank::FileObject`).

pub mod types;
pub mod io;
pub mod poll;
pub mod name;
pub mod numbers;
pub mod file_locks;
pub mod inode;
pub mod dentry;
pub mod file_system;
pub mod mount;
pub mod file;
pub mod file_table;
pub mod context;
pub mod device_registry;
pub mod fifo;
pub mod signal_hook;
pub mod select;
pub mod eventfd;
pub mod timerfd;
pub mod epoll;
pub mod splice;
pub mod pipe;
pub mod lock;
pub mod permission;
pub mod walk;
pub mod listing;
pub mod directory;
pub mod open;
pub mod tmpfs;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod mounting;
pub mod pseudo;
pub mod initramfs;
pub mod root;

pub use context::FsContext;
pub use dentry::Dentry;
pub use file::{FileMode, FileOperations, FileTraits, OpenFile, SeekFrom};
pub use file_system::{FileSystem, FileSystemStatistics, FileSystemType};
pub use file_table::{CloseOnExec, FileTable};
pub use inode::{Inode, InodeHeader, LinkTarget};
pub use io::{IoDestination, IoSource};
pub use mount::{Location, Mount, MountFlags};
pub use name::Name;
pub use poll::{PollEvents, PollTable};
pub use root::mount_root;
pub use types::{DeviceNumber, FileDescriptor, FileType, Metadata, OpenFlags, Timestamp};
