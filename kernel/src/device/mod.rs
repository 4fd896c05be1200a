//! Devices: terminals, pseudo terminals, the memory devices, and their names under `/dev`.
//!
//! [`initialize`] registers every driver with `fs::device_registry` and its device file with [`names`], from which devtmpfs is
//! filled. Lock order: a terminal's lock (`FileObject`) before wait queues and hardware; none of this room's locks is
//! held when another room is called, except those.

pub mod console;
pub mod descriptors;
pub mod memory;
pub mod names;
pub mod pty;
pub mod terminal;

/// Registers all drivers, once, at boot, before the first program runs.
pub fn initialize() {
    memory::initialize();
    console::initialize();
    pty::initialize();
}
