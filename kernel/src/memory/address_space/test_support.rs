//! Hosted tests that touch user memory: [`enter`] makes an address space the active one of the test's thread, so that
//! `memory::user` works on it, faults included.

#![allow(unsafe_code, reason = "activates tables on the emulated machine")]

use super::AddressSpace;
use crate::arch::hosted::set_translator;
use crate::arch::{AccessKind, Current, Mmu, PageFault};
use crate::base::{PhysicalAddress, VirtualAddress};
use crate::memory::paging::PageFlags;
use alloc::sync::Arc;
use std::cell::RefCell;

std::thread_local! {
    static ENTERED: RefCell<Option<Arc<AddressSpace>>> = const { RefCell::new(None) };
}

/// Makes `space` the active one of this host thread.
pub fn enter(space: &Arc<AddressSpace>) {
    ENTERED.set(Some(space.clone()));
    // SAFETY: the emulated machine only notes the number, and the reference above keeps the tables.
    unsafe { Current::activate(space.root(), 0) };
    set_translator(translate);
}

/// Leaves it again, so that it can be dropped.
pub fn leave() {
    ENTERED.set(None);
    // SAFETY: as in `enter`.
    unsafe { Current::activate(PhysicalAddress::new(0), 0) };
}

fn translate(_root: PhysicalAddress, address: VirtualAddress, access: AccessKind) -> Option<PhysicalAddress> {
    let space = ENTERED.with_borrow(Clone::clone)?;
    loop {
        let leaf = space.lock().tables.translate(address);
        let allowed = leaf.is_some_and(|leaf| {
            !leaf.flags.contains(PageFlags::NO_ACCESS)
                && match access {
                    AccessKind::Read => true,
                    AccessKind::Write => leaf.flags.contains(PageFlags::WRITABLE),
                    AccessKind::Execute => leaf.flags.contains(PageFlags::EXECUTABLE),
                }
        });
        if allowed && let Some(leaf) = leaf {
            return Some(PhysicalAddress::new(leaf.frame.address().value() + address.page_offset() as u64));
        }
        space
            .handle_fault(PageFault { address, access, present: leaf.is_some(), user: false, vector: 0, error_code: 0 })
            .ok()?;
    }
}
