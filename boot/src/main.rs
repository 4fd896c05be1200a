//! The bare-metal binary: entry points, linker scripts and wiring. It exports nothing.
//!
//! | file | what |
//! |---|---|
//! | `x86_64.rs`, `x86_64.ld` | PVH entry: from 32-bit mode to [`start::start`] |
//! | `aarch64.rs`, `aarch64.ld` | Linux's `Image`: from EL2 or EL1 without MMU to [`start::start`] |
//! | `start.rs` | starts room after room, then the first process |
//! | `panic.rs` | registers, backtrace, last words |
//!
//! Built for the host (as `cargo clippy --workspace` does) it is an ordinary program that says how to boot the real one.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod start;
#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod aarch64;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod x86_64;

/// Says what this binary is when somebody runs it on the host.
#[cfg(not(target_os = "none"))]
fn main() {
    println!("This is the kernel's boot binary; build and boot it with `cargo xtask run`.");
}
