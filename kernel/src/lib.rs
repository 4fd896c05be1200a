//! The Ashlar kernel as a library: everything but the bare-metal entry points, which are in `boot/`.
//!
//! It builds `no_std` for bare metal and with `std` on the host, where [`arch`]`::hosted` is the machine and
//! `cargo test --lib` runs every unit test. The rooms below are listed from the hardware upwards; a room imports only rooms
//! listed before it (`cargo xtask layers` checks that). Where a room must call one listed after it, it owns a trait and the
//! other registers an implementation once, at boot.

#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod base;
pub mod arch;
pub mod sync;
pub mod log;
pub mod security;
pub mod time;
pub mod memory;
pub mod fs;
pub mod process;
pub mod device;
pub mod ipc;
pub mod net;
pub mod pseudofs;
pub mod syscall;
