//! The machine contract: what the rest of the kernel may ask of a machine, and what a machine asks back.
//!
//! [`Current`] names the machine that the kernel was compiled for; it implements every trait below. All of them are
//! stateless: functions without `self`, because a machine is not a value. `cfg(target_arch)` stands in this file and
//! nowhere else. The traits themselves are in `contract`. Three machines exist: `x86_64`, `aarch64` and [`hosted`], an emulated one for unit tests.
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
//! | [`Speculation`] | `vulnerabilities`, on each CPU | interrupts disabled; takes no lock |
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

#[cfg(any(test, all(target_os = "none", target_arch = "aarch64")))]
pub mod aarch64;
pub mod affinity;
pub mod arrival;
pub mod boot_information;
pub mod call_table;
mod contract;
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
pub mod vulnerabilities;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

pub use boot_information::{BootInformation, boot_information};
pub use contract::{
    AccessKind, ContextSwitch, ControllerChoice, Cpu, Destination, Exception, ExtendedStateOperations, Mmu, PageFault,
    Power, Registers, SavedSignalContext, SerialConsole, SharedObject, SignalDelivery, SignalFrame, SignalStack,
    Startup, TableFormat, TimerHardware, TrapHandler, UserAccess, UserFault,
};
pub use cpu_local::CpuLocal;
pub use cpu_topology::Topology;
pub use inter_processor::{InterProcessor, InterProcessorInterrupt};
pub use interrupt_report::InterruptReport;
pub use linux_interface::LinuxInterface;
pub use thread_head::ThreadHead;
pub use vulnerabilities::Speculation;

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
    + Speculation
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
