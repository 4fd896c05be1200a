//! Which CPUs there are: their numbers, and the affinities by which the machine knows them (`MPIDR_EL1`).
//!
//! CPU 0 is the one that boots; the others have the device tree's order.

#![allow(unsafe_code, reason = "reads the CPU's affinity")]

use super::device_tree::{ListedCpu, StartMethod};
use crate::base::{CpuId, MAXIMUM_CPUS};
use arrayvec::ArrayVec;
use core::arch::asm;
use spin::Once;

/// The bits of `MPIDR_EL1` that are a CPU's place.
pub(super) const AFFINITY: u64 = 0xff_00ff_ffff;

/// What the tree lists, by CPU number, once it is known.
static PROCESSORS: Once<ArrayVec<ListedCpu, MAXIMUM_CPUS>> = Once::new();

/// This CPU's affinity.
pub(super) fn affinity() -> u64 {
    let value: u64;
    // SAFETY: reads a system register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value & AFFINITY
}

/// Says which CPUs the device tree lists; this one becomes CPU 0. Once, at boot.
pub(super) fn set_processors(listed: &[ListedCpu]) {
    let me = affinity();
    PROCESSORS.call_once(|| {
        let mut processors = ArrayVec::new();
        let first = listed.iter().find(|cpu| cpu.affinity == me).copied();
        processors.push(first.unwrap_or(ListedCpu { affinity: me, start: StartMethod::Firmware }));
        for &other in listed.iter().filter(|other| other.affinity != me) {
            // More than there is room for are left alone.
            let _ = processors.try_push(other);
        }
        processors
    });
}

/// What the tree says of `cpu`.
pub(super) fn listed(cpu: CpuId) -> Option<ListedCpu> {
    PROCESSORS.get()?.get(cpu.0 as usize).copied()
}

/// The affinity of `cpu`.
pub(super) fn affinity_of(cpu: CpuId) -> Option<u64> {
    Some(listed(cpu)?.affinity)
}

/// How many there are: the first one at least.
pub(super) fn count() -> usize {
    PROCESSORS.get().map_or(1, ArrayVec::len)
}

/// All that the tree lists, by CPU number; none before it is known.
pub(super) fn all() -> &'static [ListedCpu] {
    PROCESSORS.get().map_or(&[], |processors| processors)
}
