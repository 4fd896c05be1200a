//! What a user thread needs of the CPU beside its kernel registers: address space, vector registers, thread pointer.
//!
//! All of it stays in the CPU while the idle thread and kernel threads run; see [`super`] on whose registers are in the CPU.

#![allow(unsafe_code, reason = "saves and loads the machine state of threads")]

use super::{CpuState, Uninterrupted, this_cpu};
use crate::arch::{ContextSwitch, Cpu, Current, ExtendedStateOperations};
use crate::base::{PhysicalAddress, VirtualAddress};
use crate::memory::paging::shootdown;
use crate::process::thread::Thread;
use core::sync::atomic::Ordering::Relaxed;

/// Loads what a user thread needs of the CPU beside its kernel registers.
#[inline]
pub(super) fn prepare_user(cpu: &CpuState, new: &Thread) {
    let root = new.space_root.load(Relaxed);
    if root != 0 && !shootdown::is_active(PhysicalAddress::new(root)) {
        // SAFETY: the thread's process holds its address space, and gives it up only after `release_address_space`.
        unsafe { shootdown::activate(PhysicalAddress::new(root)) };
    }
    let pointer = core::ptr::from_ref(new).cast_mut();
    let owner = cpu.extended_owner.load(Relaxed);
    if owner != pointer {
        if !owner.is_null() {
            // SAFETY: the owner clears the field before it is freed; it does not run, so its area is this CPU's to write.
            if let Some(state) = unsafe { &mut *(*owner).extended_state.get() } {
                state.save();
            }
        }
        // SAFETY: the new thread does not run yet, so its area is this CPU's to read.
        if let Some(state) = unsafe { &*new.extended_state.get() } {
            state.restore();
        }
        cpu.extended_owner.store(pointer, Relaxed);
    }
    Current::set_thread_pointer(new.thread_pointer.load(Relaxed));
    Current::set_second_thread_pointer(new.second_thread_pointer.load(Relaxed));
    Current::set_kernel_stack(new.stack_top);
    if new.signals.has_work() || new.set_child_tid.load(Relaxed) != 0 {
        Current::local().request_work();
    }
}

/// Writes the vector registers of the running thread to its area, so that they can be copied (`fork`).
pub fn save_extended_state(thread: &Thread) {
    let _interrupts = Uninterrupted::new();
    if core::ptr::eq(this_cpu().extended_owner.load(Relaxed), thread) {
        // SAFETY: the area belongs to the running thread, which is the caller.
        if let Some(state) = unsafe { &mut *thread.extended_state.get() } {
            state.save();
        }
    }
}

/// Sets the running thread's vector registers and thread pointer to what a new program finds.
pub fn reset_user_registers(thread: &Thread) {
    let _interrupts = Uninterrupted::new();
    // SAFETY: the area belongs to the running thread, which is the caller.
    if let Some(state) = unsafe { &mut *thread.extended_state.get() } {
        state.reset();
        state.restore();
    }
    this_cpu().extended_owner.store(core::ptr::from_ref(thread).cast_mut(), Relaxed);
    thread.thread_pointer.store(0, Relaxed);
    thread.second_thread_pointer.store(0, Relaxed);
    Current::set_thread_pointer(0);
    Current::set_second_thread_pointer(0);
}

/// The running thread's second base register (GS base).
#[must_use]
pub fn second_thread_pointer() -> u64 {
    let _interrupts = Uninterrupted::new();
    Current::second_thread_pointer()
}

/// Sets it; `value` is a user address.
pub fn set_second_thread_pointer(value: VirtualAddress) {
    let _interrupts = Uninterrupted::new();
    Current::set_second_thread_pointer(value.value());
}

/// Makes the address space with top table `root` the running thread's, on this CPU at once.
pub fn use_address_space(thread: &Thread, root: PhysicalAddress) {
    let _interrupts = Uninterrupted::new();
    thread.space_root.store(root.value(), Relaxed);
    Current::set_kernel_stack(thread.stack_top);
    // SAFETY: the caller's process holds the address space.
    unsafe { shootdown::activate(root) };
}

/// Leaves the running thread's address space for the kernel's own, so that it can be freed.
pub fn release_address_space(thread: &Thread) {
    let _interrupts = Uninterrupted::new();
    thread.space_root.store(0, Relaxed);
    shootdown::activate_kernel();
}
