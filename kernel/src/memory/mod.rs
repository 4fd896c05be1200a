//! Memory: frames, the kernel heap, page tables, address spaces and the objects that they map.

pub mod user;
