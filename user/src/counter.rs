//! The counter that programs can read without a system call: with QEMU's `-icount` it ticks once per instruction executed by the machine.
#![allow(unsafe_code, reason = "reads a register of the machine")]

/// Ticks so far.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: reading the time-stamp counter has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks so far.
#[cfg(target_arch = "aarch64")]
#[must_use]
pub fn now() -> u64 {
    let ticks: u64;
    // SAFETY: reading the generic timer's counter has no effect; the barrier keeps the read in its place.
    unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack)) };
    ticks
}
