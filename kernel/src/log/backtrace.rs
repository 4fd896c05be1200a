//! Who called whom, for reports of kernel bugs.
//!
//! The kernel is compiled with frame pointers: each frame begins with the caller's frame pointer and the return address, and
//! the entry code starts each chain with zero. The chain is read without trust: it must rise, be aligned, and stay within
//! the length of a stack.

#![allow(unsafe_code, reason = "reads the stack through its frame pointers")]

use super::symbols;
use crate::arch::{Cpu, Current};
use crate::base::VirtualAddress;

/// No kernel stack is longer.
const LONGEST_STACK: u64 = 128 * 1024;
/// Frames shown at most.
const MAXIMUM_FRAMES: usize = 32;
/// Kernel addresses begin here on both machines.
const KERNEL_START: u64 = 0xffff_8000_0000_0000;

/// Follows frame pointers: the `read` function gives the two words at an address.
pub fn walk(frame_pointer: u64, read: impl Fn(u64) -> Option<(u64, u64)>, mut each: impl FnMut(u64)) {
    walk_while(frame_pointer, read, |address| {
        each(address);
        true
    });
}

/// As [`walk`], until `each` says `false`.
fn walk_while(frame_pointer: u64, read: impl Fn(u64) -> Option<(u64, u64)>, mut each: impl FnMut(u64) -> bool) {
    let mut current = frame_pointer;
    for _ in 0..MAXIMUM_FRAMES {
        if current < KERNEL_START || !current.is_multiple_of(8) {
            return;
        }
        let Some((next, return_address)) = read(current) else { return };
        if return_address < KERNEL_START {
            return;
        }
        if !each(return_address) {
            return;
        }
        if next <= current || next - frame_pointer > LONGEST_STACK {
            return;
        }
        current = next;
    }
}

/// Reads two words of the stack.
fn read_stack(address: u64) -> Option<(u64, u64)> {
    if cfg!(not(target_os = "none")) {
        return None;
    }
    // SAFETY: the address came from a chain of frame pointers on a kernel stack, which is mapped up to its end; a damaged
    // chain faults, which the panic path survives by not reporting twice.
    unsafe { Some(((address as *const u64).read_volatile(), (address as *const u64).offset(1).read_volatile())) }
}

fn show_one(address: u64, distance: u64) {
    // A return address may lie just behind the function's end: look one byte before it.
    match symbols::find(VirtualAddress::new(address.wrapping_sub(distance))) {
        Some(location) => log::error!("  {address:#018x} {}+{:#x}", location.name, location.offset + distance),
        None => log::error!("  {address:#018x}"),
    }
}

/// Tells `each` the return addresses from here on, nearest first, until it says `false`. For debug builds, which keep them.
pub fn collect_callers(each: impl FnMut(u64) -> bool) {
    walk_while(Current::frame_pointer().value(), read_stack, each);
}

/// Logs one return address of those that [`collect_callers`] told.
pub fn show_caller(address: u64) {
    show_one(address, 1);
}

/// Logs the chain of calls that begins at `instruction_pointer` with `frame_pointer`.
pub fn show(instruction_pointer: VirtualAddress, frame_pointer: VirtualAddress) {
    log::error!("backtrace:");
    show_one(instruction_pointer.value(), 0);
    walk(frame_pointer.value(), read_stack, |address| show_one(address, 1));
}

/// Logs the chain of calls that `frame_pointer` leads to.
pub fn show_calls(frame_pointer: VirtualAddress) {
    log::error!("backtrace:");
    walk(frame_pointer.value(), read_stack, show_call);
}

/// Logs the call that returns to `address`.
pub fn show_call(address: u64) {
    show_one(address, 1);
}

/// Writes the return addresses that `frame_pointer` leads to into `calls`, innermost first, as far as they fit; the rest stays as it is.
pub fn collect(frame_pointer: VirtualAddress, calls: &mut [u64]) {
    let mut free = calls.iter_mut();
    walk(frame_pointer.value(), read_stack, |address| {
        if let Some(call) = free.next() {
            *call = address;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0xffff_c800_0000_0000;

    fn collect(frames: &[(u64, u64, u64)], start: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let read = |at| frames.iter().find(|frame| frame.0 == at).map(|frame| (frame.1, frame.2));
        walk(start, read, |address| found.push(address));
        found
    }

    #[test]
    fn the_chain_is_followed_to_its_zero() {
        let code = 0xffff_ff00_0020_0000;
        let frames = [(STACK, STACK + 32, code + 1), (STACK + 32, STACK + 64, code + 2), (STACK + 64, 0, code + 3)];
        assert_eq!(collect(&frames, STACK), [code + 1, code + 2, code + 3]);
    }

    #[test]
    fn a_damaged_chain_ends() {
        let code = 0xffff_ff00_0020_0000;
        assert_eq!(collect(&[(STACK, STACK, code)], STACK), [code], "a loop");
        assert_eq!(collect(&[(STACK, STACK + (1 << 30), code)], STACK), [code], "far away");
        assert!(collect(&[(STACK, STACK + 16, 5)], STACK).is_empty(), "no code there");
        assert!(collect(&[], 0x1234).is_empty());
        assert!(collect(&[], STACK + 1).is_empty());
    }
}
