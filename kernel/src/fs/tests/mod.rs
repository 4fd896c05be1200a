//! The VFS as a whole on tmpfs.

mod changes;
mod measure;
mod mounts;
mod permissions;
mod walks;
