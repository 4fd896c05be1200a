//! What a user thread needs of the CPU beside its kernel registers: address space, vector registers, thread pointer.
//!
//! See [`super`] on whose registers are in the CPU. A CPU holds the vector registers of thread *t*, as they are in *t*'s area, exactly when
//! its `extended_owner` is *t* and *t*'s `extended_cpu` is that CPU: the owner's pointer alone may be that of a thread that ran elsewhere since,
//! or of one that has ended and whose memory is another's by now; it is compared, never followed.

#![allow(unsafe_code, reason = "saves and loads the machine state of threads")]

use super::Uninterrupted;
use super::machine::{CpuState, is_alone, this_cpu};
use crate::arch::{ContextSwitch, Cpu, Current, ExtendedStateOperations};
use crate::base::{PhysicalAddress, VirtualAddress};
use crate::memory::paging::shootdown;
use crate::process::thread::Thread;
use core::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

/// Saves what a user thread that is being left has in the CPU.
#[inline]
pub(super) fn save_user(old: &Thread) {
    old.thread_pointer.store(Current::thread_pointer(), Relaxed);
    old.second_thread_pointer.store(Current::second_thread_pointer(), Relaxed);
    if old.extended_cpu.load(Relaxed) != Thread::NO_CPU {
        // SAFETY: it is the running thread, whose area is its own CPU's to write; the lock of the scheduler keeps others from running it.
        if let Some(state) = unsafe { &mut *old.extended_state.get() } {
            state.save();
        }
    }
}

/// Loads what a user thread needs of the CPU beside its kernel registers.
#[inline]
pub(super) fn prepare_user(cpu: &CpuState, new: &Thread) {
    let here = Current::id();
    let root = PhysicalAddress::new(new.space_root.load(Relaxed));
    if root.value() != 0 && !shootdown::resume(root) {
        // SAFETY: the thread's process holds its address space, and gives it up only after `release_address_space`.
        unsafe { shootdown::activate(root) };
    }
    let pointer = core::ptr::from_ref(new).cast_mut();
    if cpu.extended_owner.load(Relaxed) != pointer || new.extended_cpu.load(Relaxed) != here.0 {
        // SAFETY: the new thread does not run yet, so its area is this CPU's to read.
        if let Some(state) = unsafe { &*new.extended_state.get() } {
            state.restore();
        }
        cpu.extended_owner.store(pointer, Relaxed);
        new.extended_cpu.store(here.0, Relaxed);
    }
    Current::set_thread_pointer(new.thread_pointer.load(Relaxed));
    Current::set_second_thread_pointer(new.second_thread_pointer.load(Relaxed));
    Current::set_kernel_stack(new.stack_top);
    if !is_alone() {
        // Its state is Running by now: who notes work from here on interrupts this CPU (`machine::interrupt_if_running_elsewhere`).
        fence(SeqCst);
    }
    let is_settled = || new.sequences.duties().is_empty() || root.value() != 0 && new.sequences.is_settled(here);
    if new.signals.has_work() || !is_settled() {
        new.sequences.note_away();
        Current::local().request_work();
    }
}

/// A thread without user mode is about to run: the user space stays active, for mostly the next user thread is of it, too.
#[inline]
pub(super) fn rest_in_user_space() {
    if !is_alone() {
        shootdown::rest();
    }
}

/// This CPU is about to go off line: it leaves the last user space.
pub(super) fn leave_user_space() {
    let _interrupts = Uninterrupted::new();
    shootdown::activate_kernel();
}

/// Writes the vector registers of the running thread to its area, so that they can be copied (`fork`).
pub fn save_extended_state(thread: &Thread) {
    let _interrupts = Uninterrupted::new();
    if thread.extended_cpu.load(Relaxed) != Thread::NO_CPU {
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
    thread.extended_cpu.store(Current::id().0, Relaxed);
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
