//! Signal frames against Linux's layout, hostile ones among them.

use super::*;
use crate::arch::SignalStack;
use crate::arch::user_context::tests::delivery;
use core::mem::offset_of;

const STACK: u64 = 0xffff_f000_0000 - 0x10000;

fn registers() -> TrapFrame {
    TrapFrame {
        general: core::array::from_fn(|index| 0x100 + index as u64),
        stack_pointer: STACK + 0x8008,
        program_counter: 0xaaaa_0000_1234,
        status: 0x6000_0000,
        original_argument: 5,
        system_call: 129,
    }
}

/// A stack in which a frame was built: user memory from [`STACK`] on.
struct Memory(Vec<u8>);

impl Memory {
    fn with_frame(delivery: &SignalDelivery<'_>) -> (Self, u64) {
        let mut memory = Self(vec![0; 0x10000]);
        let placement = place(delivery.top(registers().stack_pointer)).unwrap();
        let mut frame = frame_for(&registers(), delivery);
        frame.vectors.registers.values = core::array::from_fn(|index| index as u64);
        (frame.vectors.registers.status, frame.vectors.registers.control) = (1, 2);
        memory.put(placement.frame + CONTEXT_OFFSET, frame.as_bytes());
        (memory, placement.frame)
    }
    fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - STACK) as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn pop(&self, frame: u64) -> (TrapFrame, Result<(SavedSignalContext, VectorRegisters), UserFault>) {
        let mut now = TrapFrame { stack_pointer: frame, ..TrapFrame::default() };
        let result = pop(&mut now, &mut |target, source| {
            let at = source.value().checked_sub(STACK).ok_or(UserFault)? as usize;
            target.copy_from_slice(self.0.get(at..at + target.len()).ok_or(UserFault)?);
            Ok(())
        });
        (now, result)
    }
}

fn head(magic: u32, size: u32) -> [u8; 8] {
    RecordHead { magic, size }.as_bytes().try_into().unwrap()
}

/// Distances that a C program prints on Linux arm64 (`offsetof` in `struct ucontext` and `struct sigcontext`).
#[test]
fn the_layout_is_linux_s() {
    assert_eq!(offset_of!(UserContext, mask), 40);
    assert_eq!(offset_of!(UserContext, machine), 176 - 8 + 8);
    assert_eq!(offset_of!(MachineContext, general), 8);
    assert_eq!(offset_of!(MachineContext, stack_pointer), 256);
    assert_eq!(offset_of!(MachineContext, program_counter), 264);
    assert_eq!(offset_of!(MachineContext, status), 272);
    assert_eq!(offset_of!(VectorRecord, registers), 8);
    assert_eq!(offset_of!(VectorRegisters, values), 8);
    assert_eq!(CONTEXT_OFFSET + size_of::<UserContext>() as u64, RECORDS_OFFSET);
    assert_eq!(RECORDS_OFFSET + RECORDS_SIZE, FRAME_SIZE);
    assert_eq!(SIGNAL_FRAME_SIZE, 4720);
}

#[test]
fn the_pieces_are_aligned() {
    for low in 0..32 {
        let placement = place(0x2_0000 + low).unwrap();
        assert_eq!((placement.frame % 16, placement.frame_record - placement.frame), (0, FRAME_SIZE));
        assert!(placement.frame_record + FRAME_RECORD_SIZE <= 0x2_0000 + low);
    }
    assert_eq!(place(4000), None);
}

#[test]
fn the_handler_starts_with_linux_s_registers() {
    let information = [0; 128];
    let mut now = registers();
    let placement = place(now.stack_pointer).unwrap();
    start_handler(&mut now, &SignalDelivery { information: Some(&information), ..delivery() }, placement);
    assert_eq!(now.general[..3], [11, placement.frame, placement.frame + 128]);
    assert_eq!((now.general[29], now.general[30]), (placement.frame_record, 0x7fb6_98fb_c050));
    assert_eq!((now.stack_pointer, now.program_counter), (placement.frame, 0x1000));
    assert_eq!(now.system_call_number(), None);
    let mut plain = registers();
    start_handler(&mut plain, &delivery(), placement);
    assert_eq!(plain.general[..3], [11, 0x101, 0x102], "only the signal's number without SA_SIGINFO");
}

#[test]
fn a_frame_brings_everything_back() {
    let (memory, frame) = Memory::with_frame(&delivery());
    let (now, result) = memory.pop(frame);
    let (saved, vectors) = result.unwrap();
    assert_eq!(
        saved,
        SavedSignalContext {
            mask: 0x5a,
            stack: SignalStack { base: 0x1111, size: 0x2222, flags: 2 },
            destination: Destination::Reachable
        }
    );
    assert_eq!(now.general, registers().general);
    assert_eq!((now.stack_pointer, now.program_counter), (registers().stack_pointer, 0xaaaa_0000_1234));
    assert_eq!((now.status, now.system_call_number()), (0x6000_0000, None));
    assert_eq!((vectors.values[63], vectors.status, vectors.control), (63, 1, 2));
}

#[test]
fn the_syndrome_stands_there_only_after_a_fault() {
    let frame = frame_for(&registers(), &delivery());
    assert_eq!((frame.syndrome.head, frame.syndrome.syndrome), (RecordHead { magic: ESR_MAGIC, size: 16 }, 6));
    assert_eq!(frame.end.as_bytes(), [0; 16]);
    let frame = frame_for(&registers(), &SignalDelivery { error_code: 0, ..delivery() });
    assert_eq!(frame.syndrome.as_bytes(), [0; 16]);
}

#[test]
fn a_hostile_status_gains_no_privilege() {
    let saved = |status| MachineContext { status, ..frame_for(&registers(), &delivery()).context.machine };
    for status in [5, 4, 0x10, 1 << 6, 1 << 7, 1 << 8, 1 << 9, u64::MAX] {
        assert_eq!(restore(&mut TrapFrame::default(), &saved(status)), Err(UserFault), "{status:#x}");
    }
    let mut now = TrapFrame::default();
    restore(&mut now, &saved(!(MODE_MASK & !0x20 | INTERRUPT_MASKS))).unwrap();
    assert!(now.is_user());
    assert_eq!(now.status & !USER_STATUS, 0);
}

#[test]
fn wrong_records_are_refused() {
    let fails = |edit: &dyn Fn(&mut Memory, u64)| {
        let (mut memory, frame) = Memory::with_frame(&delivery());
        edit(&mut memory, frame + RECORDS_OFFSET);
        memory.pop(frame).1 == Err(UserFault)
    };
    assert!(!fails(&|_, _| {}));
    assert!(fails(&|memory, at| memory.put(at, &head(FPSIMD_MAGIC, 512))), "too short");
    assert!(fails(&|memory, at| memory.put(at, &head(FPSIMD_MAGIC, 544))), "too long");
    assert!(fails(&|memory, at| memory.put(at, &head(0x5356_4501, 528))), "SVE, which there is not");
    assert!(fails(&|memory, at| memory.put(at, &head(0, 0))), "no vector registers");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(0, 16))), "an end with a length");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(ESR_MAGIC, 8))), "not a multiple of 16");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(ESR_MAGIC, 4))), "shorter than its head");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(ESR_MAGIC, 4096))), "longer than the room");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(FPSIMD_MAGIC, 528))), "twice");
    assert!(!fails(&|memory, at| memory.put(at + 528, &head(ESR_MAGIC, 32))), "its contents do not matter");
    assert!(fails(&|memory, at| memory.put(at + 528, &head(ESR_MAGIC, 3568))), "no end");
    let (memory, frame) = Memory::with_frame(&delivery());
    assert_eq!(memory.pop(frame + 8).1, Err(UserFault), "unaligned");
    assert_eq!(memory.pop(STACK + 0x10000 - 64).1, Err(UserFault), "unreadable");
    assert_eq!(memory.pop(0xffff_0000_0000_0000).1, Err(UserFault), "the kernel's");
}

#[test]
fn records_may_go_on_behind_the_frame() {
    let outcome = |edit: &dyn Fn(&mut ExtraRecord)| {
        let (mut memory, frame) = Memory::with_frame(&delivery());
        let at = frame + RECORDS_OFFSET;
        let begin = at + 32 + 16;
        let mut extra = ExtraRecord::new_zeroed();
        (extra.head, extra.data, extra.size) = (RecordHead { magic: EXTRA_MAGIC, size: 32 }, begin, 1024);
        edit(&mut extra);
        memory.put(at, extra.as_bytes());
        memory.put(at + 32, &[0; 16]);
        memory.put(begin, &head(FPSIMD_MAGIC, 528));
        memory.put(begin + 528, &head(0, 0));
        memory.pop(frame).1.map(|_| ())
    };
    assert_eq!(outcome(&|_| {}), Ok(()));
    assert_eq!(outcome(&|extra| extra.data += 16), Err(UserFault), "not right behind");
    assert_eq!(outcome(&|extra| extra.size = 1000), Err(UserFault), "not a multiple of 16");
    assert_eq!(outcome(&|extra| extra.size = 1 << 20), Err(UserFault), "unreasonably long");
    assert_eq!(outcome(&|extra| extra.size = 512), Err(UserFault), "shorter than its contents");
    assert_eq!(outcome(&|extra| extra.head.size = 16), Err(UserFault), "shorter than itself");
}

#[test]
fn kernel_addresses_show_nothing_of_their_mapping() {
    let user = VirtualAddress::new(0x1000);
    let kernel = VirtualAddress::new(0xffff_8000_0000_0000);
    let write_permission = DATA_ABORT << 26 | INSTRUCTION_LENGTH | WRITE | 0xf;
    assert_eq!(shown_syndrome(write_permission, user), write_permission);
    assert_eq!(shown_syndrome(write_permission | 1 << 24, kernel), DATA_ABORT << 26 | INSTRUCTION_LENGTH | WRITE | 4);
    assert_eq!(shown_syndrome(INSTRUCTION_ABORT << 26 | 0xf, kernel), INSTRUCTION_ABORT << 26 | 4);
    assert_eq!(shown_syndrome(0x15 << 26, kernel), 0);
}
