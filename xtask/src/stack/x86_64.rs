//! Instructions of x86_64 (crate `iced-x86`).

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::walk::{Change, Next, Step};

/// The instructions of `code`, which lies at `address`.
pub fn steps(code: &[u8], address: u64) -> Vec<Step> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter().map(|instruction| step(&instruction)).collect()
}

fn step(instruction: &Instruction) -> Step {
    let next = match instruction.flow_control() {
        FlowControl::UnconditionalBranch => Next::Only(instruction.near_branch_target()),
        FlowControl::ConditionalBranch => Next::Either(instruction.near_branch_target()),
        FlowControl::IndirectBranch => Next::Anywhere,
        FlowControl::Return | FlowControl::Exception => Next::Nowhere,
        _ => Next::Behind,
    };
    Step { address: instruction.ip(), change: change(instruction), next }
}

fn change(instruction: &Instruction) -> Change {
    let constant = |operand: u32| instruction.immediate(operand).cast_signed();
    let moves_stack = instruction.op0_register() == Register::RSP
        && matches!(instruction.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64);
    match (instruction.mnemonic(), instruction.flow_control()) {
        (Mnemonic::Sub, _) if moves_stack => Change::By(constant(1)),
        (Mnemonic::Add, _) if moves_stack => Change::By(-constant(1)),
        // Nothing is kept below the stack pointer: a place there is where a loop ends.
        (Mnemonic::Lea, _)
            if instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None
                && instruction.memory_displacement64().cast_signed() < 0 =>
        {
            Change::Until(-instruction.memory_displacement64().cast_signed())
        }
        // Who is called gives back what the call takes.
        (_, FlowControl::Next) => Change::By(-i64::from(instruction.stack_pointer_increment())),
        _ => Change::By(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::walk::deepest;

    #[test]
    fn a_prologue() {
        // push rbp; mov rbp,rsp; push rbx; sub rsp,0x3f8; call +0; add rsp,0x3f8; pop rbx; pop rbp; ret
        let code =
            b"\x55\x48\x89\xe5\x53\x48\x81\xec\xf8\x03\x00\x00\xe8\0\0\0\0\x48\x81\xc4\xf8\x03\x00\x00\x5b\x5d\xc3";
        assert_eq!(deepest(&steps(code, 0x1000)), 0x3f8 + 16);
    }

    #[test]
    fn a_frame_of_eight_pages() {
        // lea r11,[rsp-0x8000]; 1: sub rsp,0x1000; mov qword [rsp],0; cmp rsp,r11; jne 1b; sub rsp,0x20; ret
        let code = b"\x4c\x8d\x9c\x24\x00\x80\xff\xff\x48\x81\xec\x00\x10\x00\x00\x48\xc7\x04\x24\0\0\0\0\x4c\x39\xdc\x75\xec\x48\x83\xec\x20\xc3";
        assert_eq!(deepest(&steps(code, 0)), 0x8020);
    }
}
