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
mod tests {
    use super::*;
    use crate::arch::user_context::tests::delivery;
    use core::mem::offset_of;

    fn registers() -> TrapFrame {
        TrapFrame {
            r15: 15,
            r14: 14,
            r13: 13,
            r12: 12,
            rbp: 20,
            rbx: 21,
            r11: 11,
            r10: 10,
            r9: 9,
            r8: 8,
            rax: 22,
            rcx: 23,
            rdx: 24,
            rsi: 25,
            rdi: 26,
            vector: 14,
            error_code: 6,
            rip: 0x55e9_16e0_b490,
            cs: 0x33,
            rflags: 0x10202,
            rsp: 0x7ffd_f626_c9a0,
            ss: 0x2b,
        }
    }

    /// A program on Linux 6.18 printed these for a SIGSEGV with an image of 2432 bytes: distances inside the frame, and
    /// the stack pointer at the fault less the image's end.
    #[test]
    fn the_pieces_lie_where_linux_puts_them() {
        let rsp = 0x7ffd_f626_c9a0;
        let placement = place(rsp - RED_ZONE, 2436).unwrap();
        assert_eq!(placement.extended_state, 0x7ffd_f626_bf80);
        assert_eq!(placement.extended_state - placement.frame, 456);
        assert_eq!(placement.frame % 16, 8);
        assert_eq!(rsp - placement.extended_state - 2436, 156);
    }

    #[test]
    fn the_context_is_byte_for_byte_linux_s() {
        let placement = Placement { frame: 0x8000, extended_state: 0x9000 };
        let frame = frame_for(&registers(), &delivery(), placement, true);
        let words: Vec<u64> =
            frame.as_bytes().chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[..6], [0x7fb6_98fb_c050, 7, 0, 0x1111, 2, 0x2222]);
        // r8..r15, di si bp bx dx ax cx sp ip, flags, selectors (ss in the top 16 bits), err trapno oldmask cr2, fpstate
        let machine = [
            8,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
            26,
            25,
            20,
            21,
            24,
            22,
            23,
            0x7ffd_f626_c9a0,
            0x55e9_16e0_b490,
            0x10202,
            0x002b_0000_0000_0033,
            6,
            14,
            0x5a,
            0x1234,
            0x9000,
        ];
        assert_eq!(words[6..30], machine);
        assert_eq!(words[38], 0x5a);
        assert_eq!(offset_of!(UserContext, mask), 296);
        assert_eq!(offset_of!(UserContext, machine), 40);
        assert_eq!(offset_of!(MachineContext, extended_state), 184);
    }

    #[test]
    fn restoring_gives_back_what_was_saved() {
        let placement = Placement { frame: 0x8000, extended_state: 0 };
        let frame = frame_for(&registers(), &delivery(), placement, true);
        let mut now = TrapFrame { rflags: 0x246, ..TrapFrame::default() };
        restore(&mut now, &frame.context).unwrap();
        let mut expected = registers();
        (expected.vector, expected.error_code, expected.rflags) = (NO_VECTOR, 0, 0x10202);
        assert_eq!(format!("{now:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_hostile_frame_gains_no_privilege() {
        let placement = Placement { frame: 0x8000, extended_state: 0 };
        let good = frame_for(&registers(), &delivery(), placement, true).context;
        let mut hostile = good;
        hostile.machine.flags = u64::MAX;
        let mut now = TrapFrame { rflags: 0x202, ..TrapFrame::default() };
        restore(&mut now, &hostile).unwrap();
        assert_eq!(now.rflags & 0x0020_0000_u64.wrapping_sub(1) & 0x0002_3000, 0, "neither VM nor IOPL");
        assert_ne!(now.rflags & 0x200, 0, "interrupts stay enabled");
        assert!(now.is_user());
        for (cs, ss) in [(0x10, 0x2b), (0x33, 0x18), (0x23, 0x2b)] {
            let mut hostile = good;
            (hostile.machine.cs, hostile.machine.ss) = (cs, ss);
            assert_eq!(restore(&mut TrapFrame::default(), &hostile), Err(UserFault), "{cs:#x} {ss:#x}");
        }
        let mut lenient = good;
        (lenient.head.flags, lenient.machine.ss) = (0, 0);
        let mut now = TrapFrame::default();
        assert_eq!(restore(&mut now, &lenient), Ok(()));
        assert_eq!(now.ss, u64::from(USER_DATA_SELECTOR));
    }

    #[test]
    fn flags_that_the_frame_does_not_choose_stay() {
        const NESTED_TASK: u64 = 0x4000;
        let placement = Placement { frame: 0x8000, extended_state: 0 };
        let mut context = frame_for(&registers(), &delivery(), placement, true).context;
        context.machine.flags = 0x40;
        let mut now = TrapFrame { rflags: 0x202 | NESTED_TASK | 1, ..TrapFrame::default() };
        restore(&mut now, &context).unwrap();
        assert_eq!(now.rflags, 0x242 | NESTED_TASK);
    }

    #[test]
    fn an_address_that_the_cpu_refuses_comes_back_but_is_marked() {
        let stack: &'static mut [u8] = Box::leak(vec![0u8; 16384].into_boxed_slice());
        let top = stack.as_ptr().addr() as u64 + 16384;
        for (rip, destination) in [
            (0x7fff_ffff_ffff, Destination::Reachable),
            (1 << 47, Destination::Refused),
            (0xffff_7fff_ffff_ffff, Destination::Refused),
            (0xffff_8000_0000_0000, Destination::Reachable),
        ] {
            let mut now = TrapFrame { rsp: top, rip, ..registers() };
            now.push_signal(&delivery()).unwrap();
            now.rsp += 8;
            assert_eq!(now.pop_signal().map(|saved| saved.destination), Ok(destination), "{rip:#x}");
            assert_eq!(now.rip, rip);
        }
    }

    #[test]
    fn an_image_counts_as_extended_only_when_its_words_agree() {
        let good =
            SoftwareReserved { magic: MAGIC1, extended_size: 2436, components: 7, image_size: 2432, padding: [0; 7] };
        assert!(is_extended(&good, 2432));
        assert!(!is_extended(&good, 2431), "longer than this CPU's");
        assert!(!is_extended(&SoftwareReserved { magic: 0, ..good }, 2432));
        assert!(!is_extended(&SoftwareReserved { image_size: 575, ..good }, 2432));
        assert!(!is_extended(&SoftwareReserved { extended_size: 2431, ..good }, 2432));
    }

    #[test]
    fn a_frame_goes_to_user_memory_and_comes_back() {
        // On the host the processor's own user memory is ours: a leaked buffer is the stack.
        let stack: &'static mut [u8] = Box::leak(vec![0u8; 16384].into_boxed_slice());
        let top = stack.as_ptr().addr() as u64 + 16384;
        let mut now = TrapFrame { rsp: top, ..registers() };
        let information = [7u8; 128];
        now.push_signal(&SignalDelivery { information: Some(&information), ..delivery() }).unwrap();
        assert_eq!((now.rip, now.rdi, now.rax), (0x1000, 11, 0));
        assert_eq!((now.rsi - now.rsp, now.rdx - now.rsp, now.rsp % 16), (312, 8, 8));
        assert_eq!(now.rflags & CLEARED_FLAGS, 0);
        let at = (now.rsi - (top - 16384)) as usize;
        assert_eq!(stack[at..at + 128], information);
        now.rsp += 8;
        let saved = now.pop_signal().unwrap();
        assert_eq!(saved.mask, 0x5a);
        assert_eq!(saved.stack, delivery().stack);
        assert_eq!((now.rip, now.rsp, now.r15, now.rcx), (0x55e9_16e0_b490, top, 15, 23));
    }

    #[test]
    fn a_frame_that_does_not_fit_its_stack_is_refused() {
        let mut now = registers();
        let limit = Some(VirtualAddress::new(now.rsp - 600));
        assert_eq!(now.push_signal(&SignalDelivery { limit, ..delivery() }), Err(UserFault));
        let nowhere = SignalDelivery { restorer: VirtualAddress::new(0), ..delivery() };
        assert_eq!(now.push_signal(&nowhere), Err(UserFault));
        now.rsp = 100;
        assert_eq!(now.push_signal(&delivery()), Err(UserFault));
    }
}
