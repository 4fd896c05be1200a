//! The VFS as a whole on tmpfs.

mod changes;
mod mounts;
mod permissions;
mod walks;
