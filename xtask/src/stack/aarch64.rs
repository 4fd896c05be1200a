//! Instructions of 64-bit Arm (crate `yaxpeax-arm`).

use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Instruction, Opcode, Operand, SizeCode};

use super::walk::{Change, Next, Step};

const SIZE: usize = 4;
/// The stack pointer where an operand may be it.
const STACK_POINTER: u16 = 31;

/// The instructions of `code`, which lies at `address`. What is none is data that the code steps over.
pub fn steps(code: &[u8], address: u64) -> Vec<Step> {
    let addresses = (address..).step_by(SIZE);
    addresses.zip(code.chunks_exact(SIZE)).map(|(address, word)| step(address, word)).collect()
}

fn step(address: u64, word: &[u8]) -> Step {
    let Ok(instruction) = InstDecoder::default().decode(&mut U8Reader::new(word)) else {
        return Step { address, change: Change::By(0), next: Next::Nowhere };
    };
    Step { address, change: change(&instruction), next: next(&instruction, address) }
}

fn next(instruction: &Instruction, address: u64) -> Next {
    let target = instruction.operands.iter().find_map(|operand| match operand {
        Operand::PCOffset(offset) => Some(address.wrapping_add_signed(*offset)),
        _ => None,
    });
    match (instruction.opcode, target) {
        (Opcode::B, Some(target)) => Next::Only(target),
        (Opcode::Bcc(_) | Opcode::BCcc(_) | Opcode::CBZ | Opcode::CBNZ | Opcode::TBZ | Opcode::TBNZ, Some(target)) => {
            Next::Either(target)
        }
        (Opcode::BR, _) => Next::Anywhere,
        (Opcode::RET | Opcode::ERET | Opcode::BRK | Opcode::UDF, _) => Next::Nowhere,
        _ => Next::Behind,
    }
}

fn change(instruction: &Instruction) -> Change {
    let is_stack = |operand: &Operand| matches!(operand, Operand::RegisterOrSP(SizeCode::X, register) if *register == STACK_POINTER);
    let [first, second, third, _] = &instruction.operands;
    let constant = match third {
        Operand::Immediate(value) => i64::from(*value),
        Operand::ImmShift(value, shift) => i64::from(*value) << shift,
        _ => 0,
    };
    match instruction.opcode {
        Opcode::SUB if is_stack(first) && is_stack(second) => return Change::By(constant),
        Opcode::ADD if is_stack(first) && is_stack(second) => return Change::By(-constant),
        // Nothing is kept below the stack pointer: a place there is where a loop ends.
        Opcode::SUB if is_stack(second) && constant != 0 => return Change::Until(constant),
        _ => {}
    }
    let moved = instruction.operands.iter().find_map(|operand| match operand {
        Operand::RegPreIndex(STACK_POINTER, offset, true) | Operand::RegPostIndex(STACK_POINTER, offset) => {
            Some(*offset)
        }
        _ => None,
    });
    Change::By(-i64::from(moved.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::walk::deepest;

    fn code(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_prologue() {
        // stp x29,x30,[sp,#-96]!; mov x29,sp; sub sp,sp,#0x4d0; bl +4; add sp,sp,#0x4d0; ldp x29,x30,[sp],#96; ret
        let function =
            code(&[0xa9ba_7bfd, 0x9100_03fd, 0xd113_43ff, 0x9400_0001, 0x9113_43ff, 0xa8c6_7bfd, 0xd65f_03c0]);
        assert_eq!(deepest(&steps(&function, 0x1000)), 96 + 0x4d0);
    }

    #[test]
    fn a_frame_of_seven_pages() {
        // sub x9,sp,#7,lsl #12; 1: sub sp,sp,#1,lsl #12; cmp sp,x9; str xzr,[sp]; b.ne 1b; sub sp,sp,#0x20; ret
        let function =
            code(&[0xd140_1fe9, 0xd140_07ff, 0xeb29_63ff, 0xf900_03ff, 0x54ff_ffa1, 0xd100_83ff, 0xd65f_03c0]);
        assert_eq!(deepest(&steps(&function, 0)), 0x7020);
    }
}
