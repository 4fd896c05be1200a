//! The GDT, the task-state segment and each CPU's block of data, in one structure per CPU.
//!
//! ```text
//! CpuBlock   gs -> CpuLocal         known to the entry code
//!                  TaskState        rsp0: the running thread's kernel stack; ist1..4: the stacks below
//!                  GDT              Linux's selectors, because signal frames show them
//!                  stacks           one per IST entry; the word above each stack's top points back to the block, so that
//!                                   an entry that cannot trust gs finds it (see entry.rs)
//! ```
//!
//! Invariant: a block is written by its own CPU only.

#![allow(unsafe_code, reason = "descriptor-table registers")]

use super::model_specific;
use super::trap_frame::{KERNEL_CODE_SELECTOR, KERNEL_DATA_SELECTOR, TASK_STATE_SELECTOR};
use super::vdso::CPU_NUMBER_SELECTOR;
use crate::arch::x86_64::X86_64;
use crate::arch::{Cpu, CpuLocal};
use crate::base::{CpuId, VirtualAddress};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;

/// Entries of the interrupt stack table, numbered from 1 as in a gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum InterruptStack {
    /// Non-maskable interrupt.
    NonMaskable = 1,
    /// Double fault.
    DoubleFault = 2,
    /// Machine check.
    MachineCheck = 3,
    /// Debug exception, which can hit on the first instruction of the system-call entry.
    Debug = 4,
}

const STACK_COUNT: usize = 4;
const STACK_SIZE: usize = 12 * 1024;

/// The hardware's task-state segment.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug)]
struct TaskState {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map_base: u16,
}

const TASK_STATE_SIZE: usize = 104;
const _: () = assert!(size_of::<TaskState>() == TASK_STATE_SIZE);

#[repr(C, align(16))]
struct InterruptStackArea {
    bytes: [u8; STACK_SIZE],
    /// The block's address, then padding to keep the top aligned.
    owner: [u64; 2],
}

#[repr(C, align(64))]
struct BlockContents {
    local: CpuLocal,
    /// Puts `privilege_stacks` at an address that is a multiple of eight.
    padding: u32,
    task_state: TaskState,
    descriptors: [u64; DESCRIPTOR_COUNT],
    stacks: [InterruptStackArea; STACK_COUNT],
}

/// One CPU's data, descriptors and emergency stacks.
#[repr(transparent)]
pub struct CpuBlock(UnsafeCell<BlockContents>);

// SAFETY: only its own CPU writes it, before it takes interrupts; afterwards only `rsp0` changes, by one store.
unsafe impl Sync for CpuBlock {}

impl core::fmt::Debug for CpuBlock {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("CpuBlock")
    }
}

const PRIVILEGE_STACK_OFFSET: usize = offset_of!(BlockContents, task_state) + offset_of!(TaskState, privilege_stacks);
const _: () = assert!(offset_of!(BlockContents, local) == 0);
const _: () = assert!(PRIVILEGE_STACK_OFFSET.is_multiple_of(8));

const DESCRIPTOR_COUNT: usize = 16;
const ACCESSED_CODE_64: u64 = 0x00af_9b00_0000_ffff;
const ACCESSED_CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const ACCESSED_DATA: u64 = 0x00cf_9300_0000_ffff;
const USER: u64 = 3 << 45;

/// The two words of a task-state descriptor for the segment at `base`.
const fn task_state_descriptor(base: u64) -> [u64; 2] {
    let low = (TASK_STATE_SIZE as u64 - 1) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// A user data segment whose limit is CPU `id` and, above its 12 bits, `node`: what `getcpu` of the vDSO reads with `lsl`.
const fn cpu_number_descriptor(id: u32, node: u8) -> u64 {
    let limit = (id as u64 & 0xfff) | (node as u64) << 12;
    0x0040_f500_0000_0000 | (limit & 0xffff) | (limit >> 16 & 0xf) << 48
}

/// The table: null, unused, kernel code, kernel data, user code (32-bit), user data, user code, unused, task state (two words),
/// five unused, CPU number.
const fn descriptors(task_state: u64, id: u32) -> [u64; DESCRIPTOR_COUNT] {
    let [low, high] = task_state_descriptor(task_state);
    [
        0,
        0,
        ACCESSED_CODE_64,
        ACCESSED_DATA,
        ACCESSED_CODE_32 | USER,
        ACCESSED_DATA | USER,
        ACCESSED_CODE_64 | USER,
        0,
        low,
        high,
        0,
        0,
        0,
        0,
        0,
        cpu_number_descriptor(id, 0),
    ]
}

impl CpuBlock {
    /// A block for CPU `id`.
    #[must_use]
    pub const fn new(id: CpuId) -> Self {
        Self(UnsafeCell::new(BlockContents {
            local: CpuLocal::new(id),
            padding: 0,
            task_state: TaskState {
                reserved0: 0,
                privilege_stacks: [0; 3],
                reserved1: 0,
                interrupt_stacks: [0; 7],
                reserved2: 0,
                reserved3: 0,
                io_map_base: TASK_STATE_SIZE as u16,
            },
            descriptors: [0; DESCRIPTOR_COUNT],
            stacks: [const { InterruptStackArea { bytes: [0; STACK_SIZE], owner: [0; 2] } }; STACK_COUNT],
        }))
    }

    /// A block for CPU `id` in memory of its own, for good; `None` when there is none. It is made in place: it would not fit a kernel stack.
    #[must_use]
    pub fn allocate(id: CpuId) -> Option<&'static Self> {
        // SAFETY: the type has a size. Zeros are a valid block but for the fields that are written here, each within the allocation.
        unsafe {
            let block = alloc::alloc::alloc_zeroed(core::alloc::Layout::new::<Self>()).cast::<BlockContents>();
            if block.is_null() {
                return None;
            }
            (&raw mut (*block).local).write(CpuLocal::new(id));
            (*block).task_state.io_map_base = TASK_STATE_SIZE as u16;
            Some(&*block.cast_const().cast::<Self>())
        }
    }

    /// Makes the block this CPU's: `gs`, GDT, task register.
    ///
    /// # Safety
    /// Called once per CPU and block after each reset of the CPU, in kernel mode with interrupts disabled, before anything reads `gs`.
    pub unsafe fn install(&'static self) {
        let contents = self.0.get();
        let address = contents.addr() as u64;
        // SAFETY: nobody else uses the block yet, as the caller says. The segments loaded are those just written; kernel
        // code and data keep the flat meaning that the boot code's had.
        unsafe {
            (*contents).local.set_self_pointer();
            for (index, stack) in (*contents).stacks.iter_mut().enumerate() {
                stack.owner = [address, 0];
                let top = (&raw const stack.owner).addr() as u64;
                (*contents).task_state.set_interrupt_stack(index, top);
            }
            (*contents).descriptors =
                descriptors((&raw const (*contents).task_state).addr() as u64, (*contents).local.id().0);
            let pointer = TablePointer {
                limit: (size_of::<[u64; DESCRIPTOR_COUNT]>() - 1) as u16,
                base: (&raw const (*contents).descriptors).addr() as u64,
            };
            asm!(
                "lgdt [{pointer}]",
                "push {code}",
                "lea {scratch}, [rip + 2f]",
                "push {scratch}",
                "retfq",
                "2:",
                "mov ss, {data:x}",
                "xor {scratch:e}, {scratch:e}",
                "mov ds, {scratch:x}",
                "mov es, {scratch:x}",
                "mov fs, {scratch:x}",
                "mov gs, {scratch:x}",
                "ltr {task:x}",
                pointer = in(reg) &raw const pointer,
                code = const KERNEL_CODE_SELECTOR,
                data = in(reg) u32::from(KERNEL_DATA_SELECTOR),
                task = in(reg) u32::from(TASK_STATE_SELECTOR),
                scratch = out(reg) _,
            );
            model_specific::write(model_specific::GS_BASE, address);
            model_specific::write(model_specific::KERNEL_GS_BASE, 0);
        }
    }
}

impl TaskState {
    fn set_interrupt_stack(&mut self, index: usize, top: u64) {
        let mut stacks = self.interrupt_stacks;
        if let Some(entry) = stacks.get_mut(index) {
            *entry = top;
        }
        self.interrupt_stacks = stacks;
    }
}

/// The operand of `lgdt` and `lidt`.
#[repr(C, packed)]
#[derive(Debug)]
pub(super) struct TablePointer {
    /// The table's size less one.
    pub limit: u16,
    /// Its address.
    pub base: u64,
}

/// Sets the stack on which interrupts from user mode enter on this CPU.
#[inline]
pub(super) fn set_privilege_stack(top: VirtualAddress) {
    // SAFETY: in the kernel `gs` points to this CPU's block; one store to its own task-state segment.
    unsafe {
        asm!(
            "mov gs:[{offset}], {top}",
            offset = const PRIVILEGE_STACK_OFFSET,
            top = in(reg) top.value(),
            options(nostack, preserves_flags),
        );
    }
}

/// Makes the vDSO's `getcpu` say that this CPU is on `node`. Called with the caller bound to the CPU.
pub(super) fn set_node(node: u8) {
    const OFFSET: usize = offset_of!(BlockContents, descriptors) + (CPU_NUMBER_SELECTOR as usize & !7);
    let descriptor = cpu_number_descriptor(X86_64::id().0, node);
    // SAFETY: in the kernel `gs` points to this CPU's block; one store to its own table, to a segment that only `lsl` looks at.
    unsafe {
        asm!(
            "mov gs:[{offset}], {descriptor}",
            offset = const OFFSET,
            descriptor = in(reg) descriptor,
            options(nostack, preserves_flags),
        );
    }
}

/// The block of the CPU that booted.
pub static BOOT_CPU: CpuBlock = CpuBlock::new(CpuId(0));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_state_descriptor_spreads_its_base() {
        let [low, high] = task_state_descriptor(0x1234_5678_9abc_def0);
        assert_eq!(low & 0xffff, 103);
        assert_eq!((low >> 16 & 0xff_ffff) | (low >> 56) << 24, 0x9abc_def0);
        assert_eq!(high, 0x1234_5678);
        assert_eq!(low >> 40 & 0xff, 0x89, "present, available 64-bit task state");
    }

    #[test]
    fn selectors_find_their_descriptors() {
        let table = descriptors(0, 3);
        let of = |selector: u16| table[usize::from(selector >> 3)];
        let level = |descriptor: u64| descriptor >> 45 & 3;
        let long = |descriptor: u64| descriptor >> 53 & 1;
        assert_eq!((level(of(KERNEL_CODE_SELECTOR)), long(of(KERNEL_CODE_SELECTOR))), (0, 1));
        assert_eq!((level(of(0x33)), long(of(0x33))), (3, 1));
        assert_eq!((level(of(0x2b)), of(0x2b) >> 41 & 1), (3, 1), "user data is writable");
        assert_eq!(of(TASK_STATE_SELECTOR) >> 40 & 0x1f, 9);
        assert_eq!((level(of(0x7b)), of(0x7b) & 0xffff), (3, 3), "the CPU's number as a limit");
    }

    #[test]
    fn the_sysret_selectors_stand_in_the_order_the_cpu_wants() {
        use super::super::trap_frame::{USER_CODE_32_SELECTOR, USER_CODE_SELECTOR, USER_DATA_SELECTOR};
        assert_eq!(USER_DATA_SELECTOR, USER_CODE_32_SELECTOR + 8);
        assert_eq!(USER_CODE_SELECTOR, USER_CODE_32_SELECTOR + 16);
        assert_eq!(KERNEL_DATA_SELECTOR, KERNEL_CODE_SELECTOR + 8);
    }
}
