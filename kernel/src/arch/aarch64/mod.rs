//! The AArch64 machine.
//!
//! | file | what |
//! |---|---|
//! | `trap_frame` | saved registers |
//! | `signal_frame` | starting signal handlers and coming back |
//! | `extended_state` | vector registers |
//! | `user_access` `page_copy` | user memory; whole pages |
//! | `cpu_information` | what programs learn of the CPU |
//! | `vdso` | the code that programs share |
//!
//! The pure parts are compiled for unit tests on any host; what has instructions of the machine in it, for bare metal alone.

pub mod cpu_information;
pub mod extended_state;
pub mod signal_frame;
pub mod trap_frame;

/// The machine's name as a type.
#[derive(Debug, Clone, Copy)]
pub struct Aarch64;
