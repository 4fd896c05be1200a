//! The bare-metal binary: entry points, linker scripts and wiring. It exports nothing.
//!
//! Built for the host (as `cargo clippy --workspace` does) it is an ordinary program that says how to boot the real one.

#![cfg_attr(target_os = "none", no_std, no_main)]

/// Says what this binary is when somebody runs it on the host.
#[cfg(not(target_os = "none"))]
fn main() {
    println!("This is the kernel's boot binary; build and boot it with `cargo xtask run`.");
}
