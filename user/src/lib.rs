//! Small Linux programs that test a kernel.
//!
//! `conformance` prints a transcript of what each case sees: run on Linux it is the oracle, and a kernel passes when its transcript is the
//! same to the byte. So cases print nothing that may differ between two correct runs: no addresses, no process numbers, no times.
//! `hostile` throws bad arguments at every system call.
//!
//! Cases talk to the kernel through [`system`], which is thin enough that a case still says which call it makes.

pub mod cases;
pub mod checks;
pub mod counter;
pub mod runner;
pub mod system;

pub use checks::*;
pub use system::{Errno, Must, Outcome, c, worked};
