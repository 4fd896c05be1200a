//! The machine contract: what the rest of the kernel may ask of a machine, and what a machine asks back.
//!
//! [`Current`] names the machine that the kernel was compiled for; it implements every trait below. All of them are
//! stateless: functions without `self`, because a machine is not a value. `cfg(target_arch)` stands in this file and
//! nowhere else. Three machines exist: `x86_64`, `aarch64` and [`hosted`], an emulated one for unit tests.
//!
//! # Who calls what, and when
//!
//! | trait | called by | with |
//! |---|---|---|
//! | [`Startup`] | `boot/` | once, interrupts disabled |
//! | [`Cpu`] | `sync`, the scheduler | anything; each function is a few instructions |
//! | [`InterProcessor`] | boot, the scheduler, `memory` | see [`inter_processor`] |
//! | [`Topology`] | each CPU as it comes up | see [`cpu_topology`] |
//! | [`InterruptReport`] | `pseudofs` | thread context |
//! | [`Mmu`] | `memory` | the address space's lock held; never from interrupt context |
//! | [`UserAccess`] | `memory::user` | interrupts enabled, no spinlock held: the access may fault and sleep. Else it fails where it would have to |
//! | [`ContextSwitch`] | the scheduler | interrupts disabled, no other lock held |
//! | [`TimerHardware`] | `time` | interrupts disabled |
//! | [`SerialConsole`] | `log`, the terminal driver | anything; the caller keeps writers apart |
//! | [`SharedObject`] | boot, once | a working heap |
//! | [`Power`] | `reboot(2)`, the panic path | anything |
//!
//! A machine calls upwards through [`TrapHandler`], which the kernel registers once with [`set_trap_handler`] before
//! interrupts are first enabled.

#![allow(unsafe_code, reason = "the contract has functions that are unsafe to call")]

use crate::base::{CpuId, Nanoseconds, PhysicalAddress, VirtualAddress};

#[cfg(any(test, all(target_os = "none", target_arch = "aarch64")))]
pub mod aarch64;
pub mod affinity;
pub mod arrival;
pub mod boot_information;
pub mod call_table;
pub mod cpu_local;
pub mod cpu_topology;
#[cfg(not(target_os = "none"))]
pub mod hosted;
pub mod inter_processor;
pub mod interrupt_counts;
pub mod interrupt_report;
pub mod latency;
pub mod linux_interface;
pub mod shared_object;
pub mod thread_head;
pub mod user_context;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

pub use boot_information::{BootInformation, boot_information};
pub use cpu_local::CpuLocal;
pub use cpu_topology::Topology;
pub use inter_processor::{InterProcessor, InterProcessorInterrupt};
pub use interrupt_report::InterruptReport;
pub use linux_interface::LinuxInterface;
pub use thread_head::ThreadHead;

/// The machine that the kernel runs on.
#[cfg(not(target_os = "none"))]
pub type Current = hosted::Hosted;
/// The machine that the kernel runs on.
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub type Current = x86_64::X86_64;
/// The machine that the kernel runs on.
#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub type Current = aarch64::Aarch64;

/// The registers of an interrupted context, as [`Current`] saves them at entry.
pub type TrapFrame = <Current as Machine>::TrapFrame;
/// A thread's floating-point and vector registers.
pub type ExtendedState = <Current as Machine>::ExtendedState;

/// What belongs to a machine as types.
pub trait Machine:
    Startup
    + Cpu
    + InterProcessor
    + Topology
    + InterruptReport
    + Mmu
    + UserAccess
    + ContextSwitch
    + TimerHardware
    + SerialConsole
    + SharedObject
    + Power
{
    /// The numbers and structures that user programs see, where those of machines differ.
    const LINUX: LinuxInterface;
    /// Linux's `utsname.machine`: `x86_64` or `aarch64`.
    const NAME: &'static str;
    /// `AT_PLATFORM`.
    const PLATFORM: &'static str;
    /// Linux's `AUDIT_ARCH_*` value.
    const AUDIT_ARCHITECTURE: u32;
    /// The saved registers.
    type TrapFrame: Registers + SignalFrame;
    /// Floating-point and vector state.
    type ExtendedState: ExtendedStateOperations;
    /// What firmware says of which memory and which CPUs are near each other; `None` where it says nothing. Reads firmware's memory; for
    /// boot, before the frame allocator starts.
    ///
    /// # Errors
    /// [`AffinityError`](affinity::AffinityError), inside: it was said, and is of no use.
    fn affinity() -> Option<Result<&'static affinity::Affinity, affinity::AffinityError>> {
        None
    }
    /// Lets the system-call entry reach `handler` by one indirect call; [`set_trap_handler`]'s alone.
    fn set_system_call_handler<H: TrapHandler>(_handler: &'static H) {}
}

/// Which interrupt controllers may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControllerChoice {
    /// The best that there is.
    Best,
    /// The oldest, where the machine has several: `noapic` was said.
    Legacy,
}

/// What boot asks of the machine, after the entry code of `boot/` has filled in [`boot_information`] and memory works.
pub trait Startup {
    /// Finds the interrupt controllers, measures the clock and learns how to switch off. Called once, interrupts disabled; they stay so.
    fn initialize_interrupts(choice: ControllerChoice);
}

/// Interrupt masking, idling and per-CPU data. Every function is safe to call at any time.
pub trait Cpu {
    /// Whether the preemption count is kept in the running thread's head, not in the CPU's block ([`thread_head`]).
    const COUNTS_PREEMPTION_IN_THREAD: bool = false;
    /// Whether this CPU takes interrupts now.
    fn interrupts_are_enabled() -> bool;
    /// Lets this CPU take interrupts. As all that masks, unmasks and counts, it tells [`latency`].
    fn enable_interrupts();
    /// Masks interrupts on this CPU.
    fn disable_interrupts();
    /// Masks interrupts and says whether they were enabled: one instruction pair on real machines.
    fn save_and_disable_interrupts() -> bool {
        let enabled = Self::interrupts_are_enabled();
        Self::disable_interrupts();
        enabled
    }
    /// Enables interrupts and sleeps until one comes, with no window in which one is missed. Called with interrupts
    /// disabled; returns with them enabled.
    fn wait_for_interrupt();
    /// A hint inside a spin loop.
    fn relax();
    /// What has been written to memory before is what this CPU fetches as instructions after, as far as caches show it.
    fn synchronize_instructions();
    /// This CPU's block. The caller must not be moved to another CPU while it uses the reference for anything
    /// that must be *this* CPU's: disable preemption first. Single fields below are read by one instruction.
    fn local() -> &'static CpuLocal;
    /// The caller's frame pointer, for backtraces.
    fn frame_pointer() -> VirtualAddress;
    /// This CPU's number.
    fn id() -> CpuId {
        Self::local().id()
    }
    /// What firmware calls this CPU (the local APIC's identifier, MPIDR), for its tables. Not for hot paths.
    fn hardware_identifier() -> u64 {
        Self::id().0.into()
    }
    /// Lets user programs that ask which CPU they run on without a system call see that this one is on `node`. Called on each CPU, once it is known.
    fn show_node(_node: u8) {}
    /// Adds one to the preemption count: while it is not zero the running thread stays on this CPU. [`thread_head`] says where it is kept.
    fn disable_preemption();
    /// Takes one from the count. Returns whether it fell to zero while a reschedule is wanted: the caller then calls
    /// the scheduler.
    #[must_use]
    fn enable_preemption() -> bool;
    /// How many reasons there are not to preempt the running thread.
    fn preemption_count() -> u32;
    /// The running thread as the scheduler set it; null until it has. One instruction or two, right wherever the caller is moved meanwhile.
    fn current_thread() -> *const ThreadHead;
    /// Sets the running thread; the scheduler's alone, at a switch: interrupts are disabled and the run queue's lock alone is held.
    ///
    /// # Safety
    /// `thread` stays allocated until another one has been set.
    unsafe fn set_current_thread(thread: *const ThreadHead);
    /// Random bits from the CPU (RDRAND, RNDR), where it has such an instruction and it worked.
    fn random() -> Option<u64>;
    /// Appends what `/proc/cpuinfo` says of a CPU, one `name : value` line each, as Linux writes it for this machine.
    fn describe_cpu(_cpu: CpuId, _text: &mut alloc::vec::Vec<u8>) {}
    /// Stops this CPU for good, interrupts masked.
    fn halt() -> !;
}

/// The page-table formats that machines have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TableFormat {
    /// x86_64, four levels.
    X86_64 = 0,
    /// VMSAv8-64, 4 KiB granule, 48 bits.
    ArmLpae = 1,
}

/// The translation hardware. Page-table *contents* are `memory::paging`'s affair.
pub trait Mmu {
    /// The format that the hardware walks.
    const TABLE_FORMAT: TableFormat = TableFormat::X86_64;
    /// Whether instruction fetch sees what was stored to memory by itself; else [`Self::synchronise_instructions`] is called.
    const COHERENT_INSTRUCTIONS: bool = true;
    /// Whether one CPU's invalidations reach all: `shoot_down_page`, `shoot_down_pages`, `invalidate_all`, `invalidate_everything` and
    /// [`Self::invalidate_tag`] then act on every CPU. Where they do not, `memory::paging::shootdown` asks the others.
    const BROADCASTS_INVALIDATIONS: bool = false;
    /// One past the highest address that user space may use (page-aligned).
    const USER_END: VirtualAddress;
    /// Where all physical memory is mapped: physical address 0 appears here.
    fn physmap_base() -> VirtualAddress;
    /// The table that the CPU translates user addresses with now.
    fn active_root() -> PhysicalAddress;
    /// The table that kernel addresses are translated with: a part of the active one, or one of their own.
    fn kernel_root() -> PhysicalAddress {
        Self::active_root()
    }
    /// Makes entries that were just written where none stood visible to the table walker, for kernel addresses, which nobody retries.
    fn publish_tables() {}
    /// How many address-space tags (PCIDs, ASIDs) the CPUs tell apart, tag 0 included, at most 65536; 1 where they have none.
    /// `memory::paging::tags` hands them out; tag 0 is for tables without user translations.
    #[inline]
    fn tag_count() -> u32 {
        1
    }
    /// Makes `root` the active table, under hardware tag `tag`. Where there are tags nothing is forgotten; where there are none, what was
    /// cached of the last table is, global translations excepted.
    ///
    /// # Safety
    /// `root` maps the kernel as the present one does and stays allocated while it is active on any CPU. Translations that are cached
    /// under a tag other than 0 are those of `root`.
    unsafe fn activate(root: PhysicalAddress, tag: u16);
    /// Forgets the translation of one page of the active table on this CPU.
    fn invalidate_page(address: VirtualAddress);
    /// Forgets all translations under the active table's tag that are not global, on this CPU at least.
    fn invalidate_all();
    /// Forgets all translations under `tag` that are not global, on every CPU; only where invalidations are broadcast.
    fn invalidate_tag(_tag: u16) {
        Self::invalidate_everything();
    }
    /// Forgets all translations of every tag, global ones included, on this CPU at least.
    fn invalidate_everything() {
        Self::invalidate_all();
    }
    /// Forgets the translations of one page on every CPU that may hold it, if invalidations are broadcast, else on this one; returns when they are gone.
    fn shoot_down_page(address: VirtualAddress) {
        Self::invalidate_page(address);
    }
    /// As [`Self::shoot_down_page`], for several pages of the active table: a machine overrides it where waiting once is cheaper.
    #[inline]
    fn shoot_down_pages(addresses: &[VirtualAddress]) {
        for address in addresses {
            Self::shoot_down_page(*address);
        }
    }
    /// Writes zeros over the page at `page` (a kernel address). A machine overrides it where it has something faster.
    ///
    /// # Safety
    /// `page` is page-aligned, mapped writable, and the caller's.
    #[inline]
    unsafe fn zero_page(page: VirtualAddress) {
        let target = core::ptr::with_exposed_provenance_mut::<u8>(page.value() as usize);
        // SAFETY: the caller's promise.
        unsafe { core::ptr::write_bytes(target, 0, crate::base::PAGE_SIZE) };
    }
    /// Copies the page at `source` to `target` (kernel addresses). A machine overrides it where it has something faster.
    ///
    /// # Safety
    /// Both are page-aligned and mapped, `target` is writable and the caller's, `source` may be read, and they differ.
    #[inline]
    unsafe fn copy_page(target: VirtualAddress, source: VirtualAddress) {
        let to = core::ptr::with_exposed_provenance_mut::<u8>(target.value() as usize);
        let from = core::ptr::with_exposed_provenance::<u8>(source.value() as usize);
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from, to, crate::base::PAGE_SIZE) };
    }
    /// Makes freshly written code at `range` of physmap addresses visible to instruction fetch.
    fn synchronise_instructions(_start: VirtualAddress, _length: usize) {}
}

/// A user address could not be reached: nothing is mapped there, or not with the needed permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault;

/// Reaching user memory of the active address space. Each function returns [`UserFault`] instead of faulting for
/// good; a page that is merely absent is brought in by the page-fault path, so these may sleep.
/// Callers check first that the range ends at or below [`Mmu::USER_END`]; implementations check it again.
pub trait UserAccess {
    /// Copies `target.len()` bytes from `source`.
    fn copy_from_user(target: &mut [u8], source: VirtualAddress) -> Result<(), UserFault>;
    /// Copies `source.len()` bytes to `target`.
    fn copy_to_user(target: VirtualAddress, source: &[u8]) -> Result<(), UserFault>;
    /// Writes `length` zero bytes to `target`.
    fn zero_user(target: VirtualAddress, length: usize) -> Result<(), UserFault>;
    /// Copies bytes up to and including the first NUL, at most `target.len()`; gives the number copied without the NUL
    /// in `Ok(Some(n))`, `Ok(None)` where there was no NUL within the limit.
    fn copy_string_from_user(target: &mut [u8], source: VirtualAddress) -> Result<Option<usize>, UserFault>;
    /// Reads an aligned 32-bit word once, atomically.
    fn load_u32(source: VirtualAddress) -> Result<u32, UserFault>;
    /// Compares and exchanges an aligned 32-bit word; gives the value found.
    fn compare_exchange_u32(target: VirtualAddress, expected: u32, new: u32) -> Result<u32, UserFault>;
}

/// The registers of an interrupted context, in the machine's own layout, reached by what they mean.
pub trait Registers: Clone + Default + core::fmt::Debug + core::fmt::Display + Send + 'static {
    /// Registers for a new program: everything zero but these, interrupts enabled, user mode.
    fn for_program(entry: VirtualAddress, stack: VirtualAddress) -> Self;
    /// Whether the context was user mode.
    fn is_user(&self) -> bool;
    /// The system-call number as it was at entry; `None` when the entry was no system call (also set by [`Self::forget_system_call`]).
    fn system_call_number(&self) -> Option<u64>;
    /// The six argument registers.
    fn arguments(&self) -> [u64; 6];
    /// The result register.
    fn result(&self) -> u64;
    /// Sets the result register.
    fn set_result(&mut self, value: u64);
    /// The program counter.
    fn instruction_pointer(&self) -> VirtualAddress;
    /// Sets the program counter.
    fn set_instruction_pointer(&mut self, address: VirtualAddress);
    /// The user stack pointer.
    fn stack_pointer(&self) -> VirtualAddress;
    /// Sets the user stack pointer.
    fn set_stack_pointer(&mut self, address: VirtualAddress);
    /// Frame pointer, for backtraces.
    fn frame_pointer(&self) -> VirtualAddress;
    /// Makes the system call happen again on return to user mode, with the same arguments.
    fn rewind_system_call(&mut self);
    /// As [`Self::rewind_system_call`], with another call number (`restart_syscall`).
    fn rewind_as(&mut self, number: u64);
    /// Marks that this entry is no longer a system call, so that nothing restarts it (`sigreturn`, `execve`).
    fn forget_system_call(&mut self);
}

/// An alternate signal stack as a signal frame carries it (`stack_t`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalStack {
    /// Its lowest byte.
    pub base: u64,
    /// Its length in bytes.
    pub size: u64,
    /// `ss_flags`.
    pub flags: u32,
}

/// What a machine needs to know to start a signal handler.
#[derive(Clone, Copy, Debug)]
pub struct SignalDelivery<'a> {
    /// The signal's number.
    pub signal: u32,
    /// The handler.
    pub handler: VirtualAddress,
    /// Where it returns to: what the program gave, or the vDSO's code where the machine has some; zero for neither.
    pub restorer: VirtualAddress,
    /// The `siginfo`, for handlers that want it.
    pub information: Option<&'a [u8; 128]>,
    /// The mask that `sigreturn` is to bring back.
    pub mask: u64,
    /// The alternate stack to note in the frame.
    pub stack: SignalStack,
    /// Where to build the frame below, when the handler runs on another stack than the interrupted one.
    pub switch_to: Option<VirtualAddress>,
    /// An address that the frame must stay above.
    pub limit: Option<VirtualAddress>,
    /// The vector of the last exception.
    pub vector: u64,
    /// Its error code.
    pub error_code: u64,
    /// The address of the last page fault.
    pub fault_address: VirtualAddress,
}

/// What a signal frame brought back beside the registers. The mask may hold anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedSignalContext {
    /// The mask.
    pub mask: u64,
    /// The alternate stack.
    pub stack: SignalStack,
    /// Whether the CPU can go where the registers lead.
    pub destination: Destination,
}

/// Whether a CPU can go to the instruction that a signal frame names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// It can.
    Reachable,
    /// It would refuse the address in kernel mode: a signal must replace it before the thread goes back to user mode.
    Refused,
}

/// Starting signal handlers and returning from them, in Linux's layout for the machine. For the running thread only, whose vector
/// registers are in the CPU; both functions touch user memory.
pub trait SignalFrame {
    /// Saves the registers in a frame on the user stack and replaces them by those that the handler starts with.
    ///
    /// # Errors
    /// [`UserFault`] when the frame cannot be written or does not fit; the registers are unchanged then.
    fn push_signal(&mut self, delivery: &SignalDelivery<'_>) -> Result<(), UserFault>;
    /// Restores the registers from the frame that the stack pointer is at, as `sigreturn` finds it. The result makes no system
    /// call of this entry, and no register has a value that user mode could not have set, but for the instruction pointer of a
    /// [`Destination::Refused`].
    ///
    /// # Errors
    /// [`UserFault`] when the frame cannot be read or holds what the CPU would refuse.
    fn pop_signal(&mut self) -> Result<SavedSignalContext, UserFault>;
    /// The most bytes of stack that a frame takes: `AT_MINSIGSTKSZ`.
    fn signal_frame_size() -> usize;
}

/// Floating-point and vector registers of a thread that is not running.
pub trait ExtendedStateOperations: Send + Sized {
    /// The state that a new program starts with. Allocates the area; `None` when memory is out.
    fn initial() -> Option<Self>;
    /// A copy, for `fork`.
    fn try_clone(&self) -> Option<Self>;
    /// Saves the CPU's registers here.
    fn save(&mut self);
    /// Loads the CPU's registers from here.
    fn restore(&self);
    /// Back to the initial state, for `execve`.
    fn reset(&mut self);
}

/// Moving from one kernel stack to another.
pub trait ContextSwitch {
    /// Saves the callee-saved registers, stack and program counter of the caller in `*save` and continues with those
    /// in `*load`. Both point to the machine's context layout as `process::context` defines it, which asserts its
    /// field offsets against [`ContextSwitch::OFFSETS`].
    ///
    /// # Safety
    /// Interrupts are disabled; `load` was filled by an earlier switch or by `process::context`, and its stack is alive.
    unsafe fn switch(save: *mut (), load: *const ());
    /// Byte offsets of the fields that `switch` uses, in an order that the machine documents.
    const OFFSETS: &'static [usize];
    /// Tells the CPU which kernel stack to enter on from user mode, and the running thread's TLS registers.
    fn set_kernel_stack(top: VirtualAddress);
    /// Loads the user thread pointer (FS base, `TPIDR_EL0`).
    fn set_thread_pointer(value: u64);
    /// Reads the user thread pointer.
    fn thread_pointer() -> u64;
    /// Loads the second base register that user mode has for itself (GS base); machines without one have nothing to load.
    /// Interrupts are disabled. `value` is one that user mode could have set.
    fn set_second_thread_pointer(_value: u64) {}
    /// Reads it. Interrupts are disabled.
    fn second_thread_pointer() -> u64 {
        0
    }
    /// Leaves for user mode with these registers. Interrupts are disabled by the callee.
    ///
    /// # Safety
    /// The active address space is the thread's own and the kernel stack was set.
    unsafe fn enter_user(frame: &TrapFrame) -> !;
}

/// The CPU's clock and its one-shot alarm.
pub trait TimerHardware {
    /// Time since boot. Never goes back on one CPU; about 20 instructions.
    fn now() -> Nanoseconds;
    /// Asks for a timer interrupt on this CPU at `deadline` (monotonic), or as soon as possible when it has passed.
    /// A later call replaces an earlier one.
    fn set_alarm(deadline: Nanoseconds);
    /// Seconds since 1970 from the battery clock, read once at boot; `None` where the machine has none.
    fn read_wall_clock() -> Option<u64>;
    /// Tells the machine's vDSO what to add to the monotonic clock to get the realtime clock (wrapping).
    fn publish_realtime_offset(_offset: u64) {}
}

/// The vDSO: code of the kernel's that programs call without entering it.
pub trait SharedObject {
    /// The ELF image, whole pages; it is mapped with one data page just before it. `None` where the machine has none.
    fn shared_object() -> Option<alloc::vec::Vec<u8>> {
        None
    }
    /// Says where the kernel sees the data page, and fills it.
    ///
    /// # Safety
    /// The page is the machine's to write for good; nobody else writes it.
    unsafe fn set_shared_data(_page: VirtualAddress) {}
    /// Where in the image signal handlers return to when the program named no place; `None` where it must name one.
    fn signal_return_offset() -> Option<u64> {
        None
    }
    /// `AT_HWCAP` and `AT_HWCAP2`.
    fn hardware_capabilities() -> [u64; 2] {
        [0; 2]
    }
}

/// The machine's first serial port (`ttyS0`, `ttyAMA0`), polled for output, by interrupt for input.
pub trait SerialConsole {
    /// The line that [`TrapHandler::device_interrupt`] is called with when bytes have come in.
    const INPUT_LINE: u32;
    /// Linux's name of the driver: what stands in the device's name before its number.
    const DRIVER: &'static str;
    /// Linux's name of the device.
    const DEVICE_NAME: &'static str;
    /// The speed, in bits per second, that Linux's driver sets where nobody asks for another.
    const DEFAULT_SPEED: u32;
    /// Linux's major and minor number of it.
    const DEVICE_NUMBER: (u32, u32);
    /// Writes the bytes as they are, waiting for room.
    fn write_console(bytes: &[u8]);
    /// Takes a byte that has come in, if there is one.
    fn read_console() -> Option<u8>;
    /// Lets the port interrupt when a byte comes in or is there. Until then input waits in the port.
    fn enable_console_interrupt();
    /// Ends that: the kernel has no room, and what comes in waits in the port.
    fn disable_console_interrupt();
}

/// Ending it.
pub trait Power {
    /// Switches the machine off.
    fn power_off() -> !;
    /// Ends the machine with a status, for an emulator that listens ([`Self::enable_exit_report`]); without one it is switched off.
    fn exit(_status: u8) -> ! {
        Self::power_off()
    }
    /// Resets the machine.
    fn reboot() -> !;
    /// From now on [`Self::exit`] and [`Self::report_panic`] also tell the emulator that runs us how it ended: the command
    /// line said that it listens.
    fn enable_exit_report() {}
    /// Tells a listening emulator, which then ends, that the kernel has panicked. Returns where none listens.
    fn report_panic() {}
}

/// What kind of access faulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// A page fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The address that was touched.
    pub address: VirtualAddress,
    /// How.
    pub access: AccessKind,
    /// Whether a translation was present (so that permission was the trouble).
    pub present: bool,
    /// Whether user mode touched it (false also for the kernel's own accesses to user memory).
    pub user: bool,
    /// The machine's vector and error code, for the signal frame and the log.
    pub vector: u64,
    /// See `vector`. It shows a program nothing of where kernel addresses are mapped.
    pub error_code: u64,
}

/// A synchronous exception other than a page fault, in Linux's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// The signal that Linux sends for it (`SIGFPE`, `SIGILL`, `SIGTRAP`, `SIGSEGV`, `SIGBUS`).
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: VirtualAddress,
    /// The machine's vector and error code, for the log and the signal frame's `trapno` and `err`.
    pub vector: u64,
    /// See `vector`.
    pub error_code: u64,
    /// What signal frames show as the last fault's address from now on, where the machine says one.
    pub fault_address: Option<VirtualAddress>,
    /// A name for the log, such as "divide error".
    pub name: &'static str,
}

/// The kernel as the machine calls it. Registered once; see [`set_trap_handler`].
pub trait TrapHandler: Sync {
    /// A system call, interrupts enabled, on the thread's kernel stack. The result goes into `frame`.
    fn system_call(&self, frame: &mut TrapFrame);
    /// A page fault in user mode or in one of [`UserAccess`]'s functions. Returns whether to go on (the access is
    /// repeated); false only for a kernel access that cannot be satisfied: the machine then makes it a [`UserFault`].
    /// Interrupts are enabled when they were in the interrupted context.
    fn page_fault(&self, frame: &mut TrapFrame, fault: PageFault) -> bool;
    /// An exception in user mode. Interrupts enabled.
    fn exception(&self, frame: &mut TrapFrame, exception: Exception);
    /// An exception or unhandled fault in kernel mode: a kernel bug. Ends the thread's process, or panics. Does not return.
    fn kernel_bug(&self, frame: &TrapFrame, description: &str) -> !;
    /// The alarm of [`TimerHardware::set_alarm`], or the periodic tick. Interrupts disabled; already acknowledged.
    fn timer_interrupt(&self, frame: &TrapFrame);
    /// Another device's interrupt. Interrupts disabled; acknowledged after the return.
    fn device_interrupt(&self, line: u32);
    /// The last thing before interrupted kernel code goes on, interrupts disabled: the place to preempt it.
    fn before_return_to_kernel(&self);
    /// The last thing before user mode, interrupts disabled on entry and on return: reschedule, deliver signals, account.
    /// Called only when [`CpuLocal::work_pending`] is set.
    fn before_return_to_user(&self, frame: &mut TrapFrame);
}

static TRAP_HANDLER: spin::Once<&'static dyn TrapHandler> = spin::Once::new();

/// Registers the kernel with the machine. Later calls change nothing.
///
/// It is generic so that the way from the entry code to `system_call` is one indirect call, with the handler inlined.
pub fn set_trap_handler<H: TrapHandler>(handler: &'static H) {
    TRAP_HANDLER.call_once(|| {
        Current::set_system_call_handler(handler);
        handler
    });
}

/// The registered handler, if there is one yet.
pub fn trap_handler() -> Option<&'static dyn TrapHandler> {
    TRAP_HANDLER.get().copied()
}
