//! Values that every room uses: addresses and frame numbers, time units, CPU numbers, Linux's error numbers.
//!
//! Nothing here touches hardware, allocates or blocks. Types carry their unit so that a physical address is never
//! added to a virtual one and a tick never compared with a nanosecond.

pub mod address;
pub mod bit_set;
pub mod command_line;
pub mod cpu_mask;
pub mod errno;
pub mod units;

pub use address::{FrameNumber, FrameRange, PAGE_SHIFT, PAGE_SIZE, PhysicalAddress, VirtualAddress, VirtualRange};
pub use bit_set::BitSet;
pub use cpu_mask::{AtomicCpuMask, CpuMask, MAXIMUM_CPUS};
pub use errno::{Errno, Result};
pub use units::{CpuId, Nanoseconds, Ticks};
