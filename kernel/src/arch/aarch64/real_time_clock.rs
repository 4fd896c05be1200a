//! The PL031 real-time clock: seconds since 1970 in its first register.

#![allow(unsafe_code, reason = "reads a device's register")]

use super::mmu::physmap;
use crate::base::PhysicalAddress;
use spin::Once;

static REGISTERS: Once<PhysicalAddress> = Once::new();

/// Says where it is.
pub(super) fn set_registers(address: PhysicalAddress) {
    REGISTERS.call_once(|| address);
}

/// Seconds since 1970, if there is a clock.
pub(super) fn read() -> Option<u64> {
    let data: *const u32 = core::ptr::with_exposed_provenance(physmap(*REGISTERS.get()?).value() as usize);
    // SAFETY: the device tree says that the register is there; physmap has it as Device, and reading has no effect.
    Some(unsafe { data.read_volatile() }.into())
}
