//! Linux's signal frame on x86_64, and the way back out of it.
//!
//! What a handler finds on its stack, highest address first:
//!
//! ```text
//!   the interrupted stack pointer, less the red zone of 128 bytes   (or the top of the alternate stack)
//!   extended state: XSAVE image, then the 4 bytes of MAGIC2         64-byte aligned
//!   siginfo, 128 bytes                                              frame + 312
//!   ucontext, 304 bytes                                             frame + 8
//!   return address: the restorer                                    frame: 8 below a multiple of 16
//! ```
//!
//! The image's bytes 464..512, which the CPU leaves alone, say how long it is ([`SoftwareReserved`]); programs walk them.
//! The vector registers go straight from the CPU to user memory and back: nothing is copied twice.
//!
//! [`restore`] trusts nothing: whatever the frame holds, the registers that result are ones that user mode could have made.

use super::X86_64;
use super::extended_state::{self, ExtendedState};
use super::trap_frame::{FIXED_USER_FLAGS, NO_VECTOR, TrapFrame, USER_CODE_SELECTOR, USER_DATA_SELECTOR};
use crate::arch::user_context::ContextHead;
use crate::arch::{
    Destination, ExtendedStateOperations, Mmu, Registers, SavedSignalContext, SignalDelivery, SignalFrame, UserAccess,
    UserFault,
};
use crate::base::VirtualAddress;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes below the stack pointer that a function may use without moving it.
const RED_ZONE: u64 = 128;
/// Where [`SoftwareReserved`] lies in the image.
const SOFTWARE_RESERVED_OFFSET: u64 = 464;
/// `FP_XSTATE_MAGIC1`: the image is longer than the legacy 512 bytes.
const MAGIC1: u32 = 0x4650_5853;
/// `FP_XSTATE_MAGIC2`: stands right behind it.
const MAGIC2: u32 = 0x4650_5845;
/// Legacy part and XSAVE's header.
const SHORTEST_IMAGE: u32 = 576;
/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const UC_FP_XSTATE: u64 = 1;
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
/// Flags that `sigreturn` takes from the frame: CF PF AF ZF SF TF DF OF RF AC (Linux's `FIX_EFLAGS`).
const RESTORED_FLAGS: u64 = 0x0005_0dd5;
/// Flags that are clear in a handler: TF DF RF.
const CLEARED_FLAGS: u64 = 0x0001_0500;

/// `struct sigcontext`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MachineContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    flags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error_code: u64,
    trap_number: u64,
    old_mask: u64,
    cr2: u64,
    extended_state: u64,
    reserved: [u64; 8],
}

/// `struct ucontext` as the kernel has it, with a mask of 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UserContext {
    head: ContextHead,
    machine: MachineContext,
    mask: u64,
}

/// `struct rt_sigframe` without the `siginfo` at its end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Frame {
    return_address: u64,
    context: UserContext,
}

/// `struct _fpx_sw_bytes`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SoftwareReserved {
    magic: u32,
    extended_size: u32,
    components: u64,
    image_size: u32,
    padding: [u32; 7],
}

/// The length of the frame with its `siginfo`.
const FRAME_SIZE: u64 = 440;
const INFORMATION_OFFSET: u64 = 312;
const CONTEXT_OFFSET: u64 = 8;

const _: () = assert!(size_of::<MachineContext>() == 256 && size_of::<UserContext>() == 304);
const _: () = assert!(size_of::<Frame>() as u64 == INFORMATION_OFFSET && size_of::<SoftwareReserved>() == 48);

/// Where the pieces of a frame go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Placement {
    frame: u64,
    extended_state: u64,
}

/// Finds the places below `top`, for an image of `image` bytes (MAGIC2 included).
fn place(top: u64, image: u64) -> Option<Placement> {
    let extended_state = top.checked_sub(image)? & !63;
    let frame = (extended_state.checked_sub(FRAME_SIZE)? & !15).checked_sub(8)?;
    Some(Placement { frame, extended_state })
}

/// The image's length, and with MAGIC2 behind it where there is more than the legacy part.
fn image_sizes() -> (u32, u64) {
    let size = extended_state::size() as u32;
    (size, u64::from(size) + if extended_state::enabled_components() == 0 { 0 } else { 4 })
}

fn frame_for(registers: &TrapFrame, delivery: &SignalDelivery<'_>, placement: Placement, has_xsave: bool) -> Frame {
    Frame {
        return_address: delivery.restorer.value(),
        context: UserContext {
            head: ContextHead::new(
                UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | if has_xsave { UC_FP_XSTATE } else { 0 },
                delivery.stack,
            ),
            machine: MachineContext {
                r8: registers.r8,
                r9: registers.r9,
                r10: registers.r10,
                r11: registers.r11,
                r12: registers.r12,
                r13: registers.r13,
                r14: registers.r14,
                r15: registers.r15,
                rdi: registers.rdi,
                rsi: registers.rsi,
                rbp: registers.rbp,
                rbx: registers.rbx,
                rdx: registers.rdx,
                rax: registers.rax,
                rcx: registers.rcx,
                rsp: registers.rsp,
                rip: registers.rip,
                flags: registers.rflags,
                cs: registers.cs as u16,
                gs: 0,
                fs: 0,
                ss: registers.ss as u16,
                error_code: delivery.error_code,
                trap_number: delivery.vector,
                old_mask: delivery.mask,
                cr2: delivery.fault_address.value(),
                extended_state: placement.extended_state,
                reserved: [0; 8],
            },
            mask: delivery.mask,
        },
    }
}

/// Whether the CPU can return to `address` at all: bits 47..64 are equal.
const fn is_canonical(address: u64) -> bool {
    let top = address.cast_signed() >> 47;
    top == 0 || top == -1
}

/// Puts the registers of `context` into `registers` as far as user mode may choose them.
fn restore(registers: &mut TrapFrame, context: &UserContext) -> Result<(), UserFault> {
    let saved = &context.machine;
    let strict = context.head.flags & UC_STRICT_RESTORE_SS != 0;
    if saved.cs | 3 != USER_CODE_SELECTOR || strict && saved.ss | 3 != USER_DATA_SELECTOR {
        return Err(UserFault);
    }
    // What the frame does not choose stays as user mode had it when it called: NT, which it can set by itself.
    let flags = registers.rflags & !RESTORED_FLAGS | saved.flags & RESTORED_FLAGS;
    *registers = TrapFrame {
        r15: saved.r15,
        r14: saved.r14,
        r13: saved.r13,
        r12: saved.r12,
        rbp: saved.rbp,
        rbx: saved.rbx,
        r11: saved.r11,
        r10: saved.r10,
        r9: saved.r9,
        r8: saved.r8,
        rax: saved.rax,
        rcx: saved.rcx,
        rdx: saved.rdx,
        rsi: saved.rsi,
        rdi: saved.rdi,
        vector: NO_VECTOR,
        error_code: 0,
        rip: saved.rip,
        cs: USER_CODE_SELECTOR.into(),
        rflags: flags | FIXED_USER_FLAGS,
        rsp: saved.rsp,
        ss: USER_DATA_SELECTOR.into(),
    };
    Ok(())
}

/// Loads the vector registers from the image at `address`.
fn restore_extended_state(address: u64) -> Result<(), UserFault> {
    if address == 0 {
        // No image: the initial state. Without memory for one the frame counts as bad.
        ExtendedState::initial().ok_or(UserFault)?.restore();
        return Ok(());
    }
    let image = VirtualAddress::new(address);
    if extended_state::enabled_components() != 0 {
        let mut reserved = SoftwareReserved::new_zeroed();
        X86_64::copy_from_user(
            reserved.as_mut_bytes(),
            VirtualAddress::new(address.wrapping_add(SOFTWARE_RESERVED_OFFSET)),
        )?;
        let (size, _) = image_sizes();
        if is_extended(&reserved, size) && X86_64::load_u32(image.offset(reserved.image_size.into())) == Ok(MAGIC2) {
            return ExtendedState::restore_current_from_user(image);
        }
    }
    ExtendedState::restore_current_legacy_from_user(image)
}

/// Whether the words say that an XSAVE image follows which this CPU (whose images have `size` bytes) can load.
const fn is_extended(reserved: &SoftwareReserved, size: u32) -> bool {
    reserved.magic == MAGIC1
        && reserved.image_size >= SHORTEST_IMAGE
        && reserved.image_size <= size
        && reserved.image_size <= reserved.extended_size
}

impl SignalFrame for TrapFrame {
    fn push_signal(&mut self, delivery: &SignalDelivery<'_>) -> Result<(), UserFault> {
        let (size, with_magic) = image_sizes();
        let components = extended_state::enabled_components();
        let top = delivery.top(self.rsp.wrapping_sub(RED_ZONE));
        let placement = place(top, with_magic).ok_or(UserFault)?;
        // A program without a restorer would return to nowhere; Linux refuses it in the same way. The CPU refuses to go to an
        // address that is not canonical, so the fault is taken here instead.
        if delivery.restorer.value() == 0
            || delivery.handler >= X86_64::USER_END
            || !delivery.has_room_for(placement.frame)
        {
            return Err(UserFault);
        }
        let image = VirtualAddress::new(placement.extended_state);
        ExtendedState::save_current_to_user(image)?;
        if components != 0 {
            let reserved = SoftwareReserved {
                magic: MAGIC1,
                extended_size: size + 4,
                components: components.into(),
                image_size: size,
                padding: [0; 7],
            };
            X86_64::copy_to_user(image.offset(SOFTWARE_RESERVED_OFFSET), reserved.as_bytes())?;
            X86_64::copy_to_user(image.offset(size.into()), &MAGIC2.to_le_bytes())?;
        }
        let frame = frame_for(self, delivery, placement, components != 0);
        let address = VirtualAddress::new(placement.frame);
        X86_64::copy_to_user(address, frame.as_bytes())?;
        if let Some(information) = delivery.information {
            X86_64::copy_to_user(address.offset(INFORMATION_OFFSET), information)?;
        }
        self.rdi = delivery.signal.into();
        self.rsi = placement.frame + INFORMATION_OFFSET;
        self.rdx = placement.frame + CONTEXT_OFFSET;
        self.rax = 0;
        self.rsp = placement.frame;
        self.rip = delivery.handler.value();
        self.rflags &= !CLEARED_FLAGS;
        self.forget_system_call();
        Ok(())
    }

    fn pop_signal(&mut self) -> Result<SavedSignalContext, UserFault> {
        // The handler's return has taken the first word off the frame: the stack pointer is at the context.
        let mut context = UserContext::new_zeroed();
        X86_64::copy_from_user(context.as_mut_bytes(), self.stack_pointer())?;
        restore(self, &context)?;
        restore_extended_state(context.machine.extended_state)?;
        Ok(SavedSignalContext {
            mask: context.mask,
            stack: context.head.stack(),
            destination: if is_canonical(self.rip) { Destination::Reachable } else { Destination::Refused },
        })
    }

    fn signal_frame_size() -> usize {
        let (_, image) = image_sizes();
        // Both alignments at their worst, as Linux counts them.
        (FRAME_SIZE + image + RED_ZONE + 63 + 15) as usize
    }
}

#[cfg(test)]
mod tests;
