//! The block of data that each CPU reaches through one register (`gs` on x86_64, `TPIDR_EL1` on AArch64).
//!
//! The first fields' offsets are known to the entry code in assembly; [`offset`] names them and a const assertion in
//! each machine's entry file uses them. A field is written by its own CPU only, except [`CpuLocal::request_work`], which
//! any CPU may call; that is why all are atomics with relaxed ordering: they compile to plain loads and stores.

use super::ThreadHead;
use super::interrupt_counts::InterruptCounts;
use super::latency::Records;
use crate::base::{CpuId, VirtualAddress};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// One CPU's block.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CpuLocal {
    self_pointer: AtomicPtr<CpuLocal>,
    kernel_stack: AtomicU64,
    entry_word: AtomicU64,
    current_thread: AtomicPtr<ThreadHead>,
    interrupts: AtomicU64,
    preemption_count: AtomicU32,
    need_reschedule: AtomicBool,
    work_pending: AtomicBool,
    in_interrupt: AtomicBool,
    identifier: AtomicU32,
    held_ranks: AtomicU64,
    reschedules: AtomicU64,
    shootdowns: AtomicU64,
    counts: InterruptCounts,
    latency: Records,
}

/// Byte offsets for assembly.
pub mod offset {
    use super::CpuLocal;
    use core::mem::offset_of;
    /// The block's own address.
    pub const SELF_POINTER: usize = offset_of!(CpuLocal, self_pointer);
    /// The running thread's kernel stack top.
    pub const KERNEL_STACK: usize = offset_of!(CpuLocal, kernel_stack);
    /// A word of the entry code's own: x86_64 parks the user stack pointer there, AArch64 has the address of its system-call handler there.
    pub const ENTRY_WORD: usize = offset_of!(CpuLocal, entry_word);
    /// The running thread; behind the entry code's word.
    pub const CURRENT_THREAD: usize = offset_of!(CpuLocal, current_thread);
    /// The preemption count (32 bits).
    pub const PREEMPTION_COUNT: usize = offset_of!(CpuLocal, preemption_count);
    /// The reschedule flag (8 bits).
    pub const NEED_RESCHEDULE: usize = offset_of!(CpuLocal, need_reschedule);
    /// The work flag (8 bits).
    pub const WORK_PENDING: usize = offset_of!(CpuLocal, work_pending);
}

impl CpuLocal {
    /// A block for CPU `id`; the machine sets its self pointer when it installs it.
    #[must_use]
    pub const fn new(id: CpuId) -> Self {
        Self {
            self_pointer: AtomicPtr::new(core::ptr::null_mut()),
            kernel_stack: AtomicU64::new(0),
            entry_word: AtomicU64::new(0),
            current_thread: AtomicPtr::new(core::ptr::null_mut()),
            interrupts: AtomicU64::new(0),
            preemption_count: AtomicU32::new(0),
            need_reschedule: AtomicBool::new(false),
            work_pending: AtomicBool::new(false),
            in_interrupt: AtomicBool::new(false),
            identifier: AtomicU32::new(id.0),
            held_ranks: AtomicU64::new(0),
            reschedules: AtomicU64::new(0),
            shootdowns: AtomicU64::new(0),
            counts: InterruptCounts::new(),
            latency: Records::new(),
        }
    }
    /// Stores the block's own address where the entry code finds it.
    pub fn set_self_pointer(&'static self) {
        self.self_pointer.store(core::ptr::from_ref(self).cast_mut(), Relaxed);
    }
    /// This CPU's number.
    pub fn id(&self) -> CpuId {
        CpuId(self.identifier.load(Relaxed))
    }
    /// For machines: the running thread. Others ask [`super::Cpu::current_thread`].
    pub fn current_thread(&self) -> *const ThreadHead {
        self.current_thread.load(Relaxed)
    }
    /// For machines: [`super::Cpu::set_current_thread`].
    pub fn set_current_thread(&self, thread: *const ThreadHead) {
        self.current_thread.store(thread.cast_mut(), Relaxed);
    }
    /// For machines: the entry code's word ([`offset::ENTRY_WORD`]).
    pub fn set_entry_word(&self, value: u64) {
        self.entry_word.store(value, Relaxed);
    }
    /// The stack on which system calls and interrupts from user mode enter.
    pub fn kernel_stack(&self) -> VirtualAddress {
        VirtualAddress::new(self.kernel_stack.load(Relaxed))
    }
    /// Sets it; the machine's alone, in `ContextSwitch::set_kernel_stack`.
    pub fn set_kernel_stack(&self, top: VirtualAddress) {
        self.kernel_stack.store(top.value(), Relaxed);
    }
    /// For machines: the CPU's own preemption counter, if that is where they count. Others ask [`super::Cpu::preemption_count`].
    pub fn preemption_counter(&self) -> &AtomicU32 {
        &self.preemption_count
    }
    /// Whether a better thread waits for this CPU.
    pub fn need_reschedule(&self) -> bool {
        self.need_reschedule.load(Relaxed)
    }
    /// Says that a better thread waits. Any CPU may call it.
    pub fn request_reschedule(&self) {
        self.need_reschedule.store(true, Relaxed);
        self.work_pending.store(true, Relaxed);
    }
    /// The scheduler's alone, when it has chosen.
    pub fn clear_reschedule(&self) {
        self.need_reschedule.store(false, Relaxed);
    }
    /// Whether there is something to do before user mode: reschedule, signals, a trace stop.
    pub fn work_pending(&self) -> bool {
        self.work_pending.load(Relaxed)
    }
    /// Asks for [`super::TrapHandler::before_return_to_user`]; any CPU may call it.
    pub fn request_work(&self) {
        self.work_pending.store(true, Relaxed);
    }
    /// Clears the request; the handler does it before it looks for work.
    pub fn clear_work(&self) {
        self.work_pending.store(false, Relaxed);
    }
    /// Whether this CPU is in an interrupt handler.
    pub fn in_interrupt(&self) -> bool {
        self.in_interrupt.load(Relaxed)
    }
    /// Enters an interrupt handler; the machine's alone.
    pub fn enter_interrupt(&self) {
        self.in_interrupt.store(true, Relaxed);
        self.interrupts.store(self.interrupts.load(Relaxed).wrapping_add(1), Relaxed);
    }
    /// The lock order's own word: which ranks this CPU holds (`sync::rank`).
    pub const fn held_ranks(&self) -> &AtomicU64 {
        &self.held_ranks
    }
    /// How many interrupts it has taken.
    pub fn interrupt_count(&self) -> u64 {
        self.interrupts.load(Relaxed)
    }
    /// Another CPU asked for a reschedule; the machine's alone.
    pub fn count_reschedule(&self) {
        self.reschedules.store(self.reschedules.load(Relaxed).wrapping_add(1), Relaxed);
    }
    /// How often others have asked.
    pub fn reschedule_count(&self) -> u64 {
        self.reschedules.load(Relaxed)
    }
    /// Another CPU had this one forget translations.
    pub fn count_shootdown(&self) {
        self.shootdowns.store(self.shootdowns.load(Relaxed).wrapping_add(1), Relaxed);
    }
    /// How often others have.
    pub fn shootdown_count(&self) -> u64 {
        self.shootdowns.load(Relaxed)
    }
    /// How often each source has interrupted it.
    pub const fn interrupt_counts(&self) -> &InterruptCounts {
        &self.counts
    }
    /// For how long it could not be interrupted, or its thread be preempted.
    pub const fn latency(&self) -> &Records {
        &self.latency
    }
    /// Leaves it; the machine's alone.
    pub fn leave_interrupt(&self) {
        self.in_interrupt.store(false, Relaxed);
    }
}
