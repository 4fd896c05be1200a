//! Signal frames against Linux's layout, hostile ones among them.

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
    let words: Vec<u64> = frame.as_bytes().chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
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
