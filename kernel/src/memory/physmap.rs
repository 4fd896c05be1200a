//! Physical memory as the kernel sees it: every frame at a fixed distance from its physical address.

use crate::arch::{Current, Mmu};
use crate::base::{PhysicalAddress, VirtualAddress};

/// Where the kernel sees physical address `address`.
#[inline]
#[must_use]
pub fn address_of(address: PhysicalAddress) -> VirtualAddress {
    Current::physmap_base().offset(address.value())
}

/// The physical address behind a physmap address.
#[inline]
#[must_use]
pub fn physical_of(address: VirtualAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.value().wrapping_sub(Current::physmap_base().value()))
}

/// A pointer to the memory at `address`. Making it is safe; using it needs the frame to be the caller's.
#[inline]
#[must_use]
pub fn pointer<T>(address: PhysicalAddress) -> *mut T {
    core::ptr::with_exposed_provenance_mut(address_of(address).value() as usize)
}
