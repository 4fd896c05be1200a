//! x87, SSE and AVX registers of a thread.
//!
//! Saving is eager: the scheduler saves at every switch away from a user thread and restores at every switch to one. The
//! kernel itself is compiled without vector registers, so between the two the registers belong to the thread. Two counted
//! instructions per switch are cheaper than any trap.
//!
//! The area is in XSAVE's standard format (as the signal frame needs it), or FXSAVE's 512 bytes on a CPU without XSAVE.
//! Components are those of [`enabled_components`]: x87, SSE, AVX and AVX-512; protection keys are not offered.

#![allow(unsafe_code, reason = "XSAVE, XRSTOR and an over-aligned allocation")]

use super::features::{self, Features};
use super::user_access;
use crate::arch::{ExtendedStateOperations, UserFault};
use crate::base::VirtualAddress;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The bytes of the x87 and SSE part.
pub const LEGACY_SIZE: usize = 512;
/// The bytes of XSAVE's header, which follows it.
pub const HEADER_SIZE: usize = 64;
const CONTROL_WORD_OFFSET: usize = 0;
const MXCSR_OFFSET: usize = 24;
/// All exceptions masked, 64-bit precision: the state that a program starts with.
const INITIAL_CONTROL_WORD: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;

static COMPONENTS: AtomicU32 = AtomicU32::new(0);
static SIZE: AtomicU32 = AtomicU32::new(LEGACY_SIZE as u32);

/// The bits of XCR0 that are set; 0 on a CPU without XSAVE.
#[must_use]
pub fn enabled_components() -> u32 {
    COMPONENTS.load(Relaxed)
}

/// Bytes of the saved area.
#[inline]
#[must_use]
pub fn size() -> usize {
    SIZE.load(Relaxed) as usize
}

/// Sets XCR0 and measures the area. CR4.OSXSAVE is set where [`Features::XSAVE`] is there.
pub fn initialize() {
    if !features::has(Features::XSAVE) {
        return;
    }
    let offered = core::arch::x86_64::__cpuid_count(0xd, 0).eax;
    // x87 and SSE always; AVX; the three AVX-512 parts only together.
    let mut components = 0b11;
    if offered & 0b100 != 0 && features::has(Features::AVX) {
        components |= 0b100;
        if offered & 0xe0 == 0xe0 {
            components |= 0xe0;
        }
    }
    // SAFETY: the components are among those that CPUID offers.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") components, in("edx") 0, options(nostack)) };
    COMPONENTS.store(components, Relaxed);
    SIZE.store(core::arch::x86_64::__cpuid_count(0xd, 0).ebx, Relaxed);
}

/// A thread's saved registers: an allocation of [`size`] bytes, aligned to 64.
#[derive(Debug)]
pub struct ExtendedState {
    area: NonNull<u8>,
}

// SAFETY: the allocation is owned and has no thread affinity.
unsafe impl Send for ExtendedState {}
// SAFETY: shared references only read it.
unsafe impl Sync for ExtendedState {}

impl ExtendedState {
    fn layout() -> Layout {
        // SAFETY: 64 is a power of two, and the size is some kilobytes at most.
        unsafe { Layout::from_size_align_unchecked(size(), 64) }
    }

    fn allocate() -> Option<Self> {
        // SAFETY: the size is at least 512.
        NonNull::new(unsafe { alloc_zeroed(Self::layout()) }).map(|area| Self { area })
    }

    /// The saved image, in the format that the signal frame shows.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the allocation has that many initialised bytes.
        unsafe { core::slice::from_raw_parts(self.area.as_ptr(), size()) }
    }

    fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), size()) }
    }

    /// Saves the running thread's registers straight to user memory, [`size`] bytes, in XSAVE's standard format. `target` is
    /// 64-byte aligned.
    ///
    /// # Errors
    /// [`UserFault`].
    pub fn save_current_to_user(target: VirtualAddress) -> Result<(), UserFault> {
        use crate::arch::UserAccess;
        match enabled_components() {
            0 => user_access::fxsave_to_user(target),
            components => {
                super::X86_64::zero_user(target.offset(LEGACY_SIZE as u64), HEADER_SIZE)?;
                user_access::xsave_to_user(target, size(), components)
            }
        }
    }

    /// Loads the running thread's registers straight from user memory, `size()` bytes in standard format; what the
    /// image does not contain goes to its initial value.
    ///
    /// # Errors
    /// [`UserFault`] on an unreachable or damaged image; the registers are then in no particular state and the caller
    /// kills the thread or calls [`ExtendedStateOperations::restore`].
    pub fn restore_current_from_user(source: VirtualAddress) -> Result<(), UserFault> {
        match enabled_components() {
            0 => user_access::fxrstor_from_user(source),
            components => user_access::xrstor_from_user(source, size(), components),
        }
    }

    /// As [`Self::restore_current_from_user`] for an image with nothing but the 512 legacy bytes.
    ///
    /// # Errors
    /// [`UserFault`].
    pub fn restore_current_legacy_from_user(source: VirtualAddress) -> Result<(), UserFault> {
        user_access::fxrstor_from_user(source)
    }
}

impl Drop for ExtendedState {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout; the size is set once, before the first allocation.
        unsafe { dealloc(self.area.as_ptr(), Self::layout()) };
    }
}

impl ExtendedStateOperations for ExtendedState {
    fn initial() -> Option<Self> {
        let mut state = Self::allocate()?;
        state.reset();
        Some(state)
    }
    fn try_clone(&self) -> Option<Self> {
        let mut copy = Self::allocate()?;
        copy.as_bytes_mut().copy_from_slice(self.as_bytes());
        Some(copy)
    }
    #[inline]
    fn save(&mut self) {
        let area = self.area.as_ptr();
        // SAFETY: the area is large enough for the enabled components and aligned to 64.
        unsafe {
            if features::has(Features::XSAVEOPT) {
                asm!("xsaveopt64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else if features::has(Features::XSAVE) {
                asm!("xsave64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                asm!("fxsave64 [{}]", in(reg) area, options(nostack));
            }
        }
    }
    #[inline]
    fn restore(&self) {
        let area = self.area.as_ptr();
        // SAFETY: the area was written by `save`, `reset` or a copy of one, so the image is well formed.
        unsafe {
            if features::has(Features::XSAVE) {
                asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack));
            }
        }
    }
    fn reset(&mut self) {
        let bytes = self.as_bytes_mut();
        bytes.fill(0);
        // An empty component mask in the header means "initial" to XRSTOR, which takes MXCSR from here all the same.
        if let Some(place) = bytes.get_mut(CONTROL_WORD_OFFSET..CONTROL_WORD_OFFSET + 2) {
            place.copy_from_slice(&INITIAL_CONTROL_WORD.to_le_bytes());
        }
        if let Some(place) = bytes.get_mut(MXCSR_OFFSET..MXCSR_OFFSET + 4) {
            place.copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_image_has_every_exception_masked() {
        let state = ExtendedState::initial().unwrap();
        assert_eq!(state.as_bytes()[..2], [0x7f, 0x03]);
        assert_eq!(state.as_bytes()[24..28], [0x80, 0x1f, 0, 0]);
        let copy = state.try_clone().unwrap();
        assert_eq!(copy.as_bytes(), state.as_bytes());
    }
}
