//! Files: the VFS, tmpfs, and the files that the kernel makes itself (pipes, event objects).

pub mod poll;
