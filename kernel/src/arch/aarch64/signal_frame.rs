//! Linux's signal frame on arm64, and the way back out of it.
//!
//! What a handler finds on its stack, highest address first:
//!
//! ```text
//!   the interrupted stack pointer (or the top of the alternate stack)
//!   frame record: fp and lr of the interrupted code           16-byte aligned; x29 points here
//!   struct rt_sigframe, 4688 bytes                            16-byte aligned; sp points here
//!      0  siginfo, 128 bytes
//!    128  ucontext: head, mask; at 176 the machine context: fault address, x0..x30, sp, pc, pstate
//!    592  4096 bytes of records, each a magic number and a length:
//!           FPSIMD 528 bytes; ESR 16 bytes, when a fault was recorded; the end, 16 bytes of zeros
//! ```
//!
//! x30 is the restorer: the program's, or the vDSO's `__kernel_rt_sigreturn`.
//!
//! [`restore`] trusts nothing: whatever the frame holds, the registers that result are ones that user mode could have made.

use super::extended_state::VectorRegisters;
use super::trap_frame::{
    BRANCH_TYPE, INTERRUPT_MASKS, MODE_MASK, NO_SYSTEM_CALL, RESERVED_STATUS, TAG_CHECK_OVERRIDE, TrapFrame,
    USER_STATUS,
};
use crate::arch::user_context::{ContextHead, INFORMATION_SIZE};
use crate::arch::{Destination, Registers, SavedSignalContext, SignalDelivery, UserFault};
use crate::base::VirtualAddress;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `FPSIMD_MAGIC`.
const FPSIMD_MAGIC: u32 = 0x4650_8001;
/// `ESR_MAGIC`.
const ESR_MAGIC: u32 = 0x4553_5201;
/// `EXTRA_MAGIC`: the records go on behind those in the frame.
const EXTRA_MAGIC: u32 = 0x4558_5401;

/// Bytes of `struct rt_sigframe`.
const FRAME_SIZE: u64 = 4688;
/// Where `ucontext` begins in the frame.
const CONTEXT_OFFSET: u64 = INFORMATION_SIZE;
/// Where the records begin in the frame, and how much room they have.
const RECORDS_OFFSET: u64 = 592;
const RECORDS_SIZE: u64 = 4096;
/// A whole frame with records elsewhere is shorter than this.
const LONGEST_FRAME: u64 = 256 << 10;
/// The frame record that unwinders follow.
const FRAME_RECORD_SIZE: u64 = 16;

const EXCEPTION_CLASS: u64 = 0x3f << 26;
const INSTRUCTION_LENGTH: u64 = 1 << 25;
const CACHE_MAINTENANCE: u64 = 1 << 8;
const WRITE: u64 = 1 << 6;
const LEVEL_0_TRANSLATION: u64 = 4;
const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;

/// `struct _aarch64_ctx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RecordHead {
    magic: u32,
    size: u32,
}

/// `struct fpsimd_context`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct VectorRecord {
    head: RecordHead,
    registers: VectorRegisters,
}

/// `struct esr_context`, or nothing but zeros, which is an end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SyndromeRecord {
    head: RecordHead,
    syndrome: u64,
}

/// `struct extra_context`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ExtraRecord {
    head: RecordHead,
    data: u64,
    size: u32,
    reserved: [u32; 3],
}

/// `struct sigcontext` without its records, its padding included.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MachineContext {
    fault_address: u64,
    general: [u64; 31],
    stack_pointer: u64,
    program_counter: u64,
    status: u64,
    padding: u64,
}

/// `struct ucontext` without the records.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UserContext {
    head: ContextHead,
    mask: u64,
    room_for_a_longer_mask: [u64; 15],
    padding: u64,
    machine: MachineContext,
}

/// What is written of a frame beside the `siginfo`: everything up to the end of the last record.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Frame {
    context: UserContext,
    vectors: VectorRecord,
    syndrome: SyndromeRecord,
    end: SyndromeRecord,
}

const _: () = assert!(size_of::<MachineContext>() == 288);
const _: () = assert!(size_of::<UserContext>() as u64 == RECORDS_OFFSET - CONTEXT_OFFSET);
const _: () = assert!(size_of::<VectorRecord>() == 528 && size_of::<SyndromeRecord>() == 16);
const _: () = assert!(size_of::<ExtraRecord>() == 32);

/// Where the pieces of a frame go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Placement {
    frame: u64,
    frame_record: u64,
}

/// Finds the places below `top`.
fn place(top: u64) -> Option<Placement> {
    let frame_record = top.checked_sub(FRAME_RECORD_SIZE)? & !15;
    let frame = frame_record.checked_sub(FRAME_SIZE)?;
    Some(Placement { frame, frame_record })
}

/// What a signal frame shows of a fault's syndrome `esr`: nothing of where kernel addresses are mapped.
#[must_use]
pub fn shown_syndrome(esr: u64, address: VirtualAddress) -> u64 {
    if address.value() >> 55 & 1 == 0 {
        return esr;
    }
    match esr >> 26 & 0x3f {
        DATA_ABORT => esr & (EXCEPTION_CLASS | INSTRUCTION_LENGTH | CACHE_MAINTENANCE | WRITE) | LEVEL_0_TRANSLATION,
        INSTRUCTION_ABORT => esr & (EXCEPTION_CLASS | INSTRUCTION_LENGTH) | LEVEL_0_TRANSLATION,
        _ => 0,
    }
}

/// The frame for `delivery`, but for the vector registers.
fn frame_for(registers: &TrapFrame, delivery: &SignalDelivery<'_>) -> Frame {
    let mut frame = Frame::new_zeroed();
    frame.context.head = ContextHead::new(0, delivery.stack);
    frame.context.mask = delivery.mask;
    frame.context.machine = MachineContext {
        fault_address: delivery.fault_address.value(),
        general: registers.general,
        stack_pointer: registers.stack_pointer,
        program_counter: registers.program_counter,
        status: registers.status,
        padding: 0,
    };
    frame.vectors.head = RecordHead { magic: FPSIMD_MAGIC, size: size_of::<VectorRecord>() as u32 };
    if delivery.error_code != 0 {
        frame.syndrome = SyndromeRecord {
            head: RecordHead { magic: ESR_MAGIC, size: size_of::<SyndromeRecord>() as u32 },
            syndrome: delivery.error_code,
        };
    }
    frame
}

/// Makes `registers` those that the handler starts with.
fn start_handler(registers: &mut TrapFrame, delivery: &SignalDelivery<'_>, placement: Placement) {
    registers.general[0] = delivery.signal.into();
    if delivery.information.is_some() {
        registers.general[1] = placement.frame;
        registers.general[2] = placement.frame + CONTEXT_OFFSET;
    }
    registers.general[29] = placement.frame_record;
    registers.general[30] = delivery.restorer.value();
    registers.stack_pointer = placement.frame;
    registers.program_counter = delivery.handler.value();
    // Programs know nothing of guarded pages here (`HWCAP2_BTI` is hidden), so no branch led to the handler.
    registers.status &= !(BRANCH_TYPE | TAG_CHECK_OVERRIDE);
    registers.forget_system_call();
}

/// Puts the registers of `saved` into `registers` as far as user mode may choose them.
fn restore(registers: &mut TrapFrame, saved: &MachineContext) -> Result<(), UserFault> {
    let status = saved.status & !RESERVED_STATUS;
    if status & (MODE_MASK | INTERRUPT_MASKS) != 0 {
        return Err(UserFault);
    }
    *registers = TrapFrame {
        general: saved.general,
        stack_pointer: saved.stack_pointer,
        program_counter: saved.program_counter,
        status: status & USER_STATUS,
        original_argument: 0,
        system_call: NO_SYSTEM_CALL,
    };
    Ok(())
}

/// Reads user memory: `copy_from_user`, or a test's.
type Reader<'a> = &'a mut dyn FnMut(&mut [u8], VirtualAddress) -> Result<(), UserFault>;

/// Reads a value from user memory.
fn read<T: FromBytes + IntoBytes>(reader: Reader<'_>, address: u64) -> Result<T, UserFault> {
    let mut value = T::new_zeroed();
    reader(value.as_mut_bytes(), VirtualAddress::new(address))?;
    Ok(value)
}

/// Finds the FPSIMD record among the records of the frame at `frame`, as Linux's `parse_user_sigframe` does, and reads it.
fn find_vectors(reader: Reader<'_>, frame: u64) -> Result<VectorRegisters, UserFault> {
    let (mut base, mut limit, mut offset) = (frame + RECORDS_OFFSET, RECORDS_SIZE, 0);
    let (mut found, mut has_extra) = (None, false);
    loop {
        if limit - offset < size_of::<RecordHead>() as u64 || offset % 16 != 0 {
            return Err(UserFault);
        }
        let at = base + offset;
        let head: RecordHead = read(reader, at)?;
        let size = u64::from(head.size);
        if limit - offset < size {
            return Err(UserFault);
        }
        match head.magic {
            0 if size == 0 => break,
            FPSIMD_MAGIC if found.is_none() && size == size_of::<VectorRecord>() as u64 => found = Some(at),
            ESR_MAGIC if size >= size_of::<RecordHead>() as u64 => {}
            EXTRA_MAGIC if !has_extra && size >= size_of::<ExtraRecord>() as u64 => {
                let extra: ExtraRecord = read(reader, at)?;
                // An end stands behind it, and the other records right behind that.
                if limit - offset - size < size_of::<SyndromeRecord>() as u64 {
                    return Err(UserFault);
                }
                let end: RecordHead = read(reader, at + size)?;
                let begin = at + size + size_of::<SyndromeRecord>() as u64;
                let room = frame + LONGEST_FRAME - begin;
                if end != (RecordHead { magic: 0, size: 0 })
                    || extra.data != begin
                    || !begin.is_multiple_of(16)
                    || !extra.size.is_multiple_of(16)
                    || u64::from(extra.size) > room
                {
                    return Err(UserFault);
                }
                (base, limit, offset, has_extra) = (begin, extra.size.into(), 0, true);
                continue;
            }
            _ => return Err(UserFault),
        }
        offset += size;
    }
    let record: VectorRecord = read(reader, found.ok_or(UserFault)?)?;
    Ok(record.registers)
}

/// Restores `registers` from the frame that the stack pointer is at, and gives the vector registers that it holds.
fn pop(registers: &mut TrapFrame, reader: Reader<'_>) -> Result<(SavedSignalContext, VectorRegisters), UserFault> {
    let frame = registers.stack_pointer;
    if !frame.is_multiple_of(16) || frame >= 1 << 48 {
        return Err(UserFault);
    }
    let context: UserContext = read(reader, frame + CONTEXT_OFFSET)?;
    let vectors = find_vectors(reader, frame)?;
    restore(registers, &context.machine)?;
    // A wild program counter faults in user mode.
    let destination = Destination::Reachable;
    Ok((SavedSignalContext { mask: context.mask, stack: context.head.stack(), destination }, vectors))
}

/// `AT_MINSIGSTKSZ` as Linux counts it: the frame, its record, and an alignment.
const SIGNAL_FRAME_SIZE: usize = (FRAME_SIZE + FRAME_RECORD_SIZE + 16) as usize;

#[cfg(target_os = "none")]
impl crate::arch::SignalFrame for TrapFrame {
    fn push_signal(&mut self, delivery: &SignalDelivery<'_>) -> Result<(), UserFault> {
        use super::Aarch64;
        use crate::arch::UserAccess;
        let placement = place(delivery.top(self.stack_pointer)).ok_or(UserFault)?;
        if !delivery.has_room_for(placement.frame) {
            return Err(UserFault);
        }
        let mut frame = frame_for(self, delivery);
        frame.vectors.registers.save();
        let address = VirtualAddress::new(placement.frame);
        Aarch64::copy_to_user(address.offset(CONTEXT_OFFSET), frame.as_bytes())?;
        let record = [self.general[29], self.general[30]];
        Aarch64::copy_to_user(VirtualAddress::new(placement.frame_record), record.as_bytes())?;
        if let Some(information) = delivery.information {
            Aarch64::copy_to_user(address, information)?;
        }
        start_handler(self, delivery, placement);
        Ok(())
    }

    fn pop_signal(&mut self) -> Result<SavedSignalContext, UserFault> {
        use super::Aarch64;
        use crate::arch::UserAccess;
        let (saved, vectors) = pop(self, &mut |target, source| Aarch64::copy_from_user(target, source))?;
        vectors.restore();
        Ok(saved)
    }

    fn signal_frame_size() -> usize {
        SIGNAL_FRAME_SIZE
    }
}

#[cfg(test)]
mod tests;
