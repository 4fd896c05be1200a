//! The AArch64 machine.
//!
//! | file | what |
//! |---|---|
//! | `boot` `device_tree` `physmap_layout` | from the boot protocol to the final page tables; what the machine consists of |
//! | `trap_frame` `entry` `exceptions` | saved registers; the ways in and out; sorting exceptions |
//! | `signal_frame` | starting signal handlers and coming back |
//! | `interrupt_controller` `timer` `clock` `clock_scale` `real_time_clock` | who interrupts; time |
//! | `cpu` `mmu` `context_switch` `extended_state` `serial` `power` | the contract's traits |
//! | `user_access` `page_copy` | user memory; whole pages |
//! | `processors` `secondary` | which CPUs there are; starting the others and interrupting them |
//! | `cpu_information` `topology` `vulnerabilities` | what programs learn of the CPU, where it stands, what it leaks |
//! | `affinity` | which memory and CPUs are near each other |
//! | `vdso` | the code that programs share |
//!
//! The pure parts are compiled for unit tests on any host; what has instructions of the machine in it, for bare metal alone.

pub mod affinity;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod clock;
pub mod clock_scale;
#[cfg(target_os = "none")]
pub mod context_switch;
#[cfg(target_os = "none")]
pub mod cpu;
pub mod cpu_information;
pub mod device_tree;
#[cfg(target_os = "none")]
pub mod entry;
pub mod exceptions;
pub mod extended_state;
#[cfg(target_os = "none")]
pub mod interrupt_controller;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
mod page_copy;
pub mod physmap_layout;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(target_os = "none")]
mod processors;
#[cfg(target_os = "none")]
pub mod real_time_clock;
#[cfg(target_os = "none")]
mod secondary;
#[cfg(target_os = "none")]
pub mod serial;
pub mod signal_frame;
#[cfg(target_os = "none")]
pub mod timer;
pub mod topology;
pub mod trap_frame;
#[cfg(target_os = "none")]
pub mod user_access;
#[cfg(target_os = "none")]
pub mod vdso;
pub mod vulnerabilities;

/// The machine's name as a type.
#[derive(Debug, Clone, Copy)]
pub struct Aarch64;

#[cfg(target_os = "none")]
impl super::InterruptReport for Aarch64 {
    const LINES: usize = super::interrupt_counts::SOURCES;
    fn interrupt_rows(add: &mut dyn FnMut(super::interrupt_report::InterruptRow)) {
        interrupt_controller::rows(add);
    }
}

#[cfg(target_os = "none")]
impl super::Machine for Aarch64 {
    const LINUX: super::LinuxInterface = super::LinuxInterface::AARCH64;
    const NAME: &'static str = "aarch64";
    const PLATFORM: &'static str = "aarch64";
    const AUDIT_ARCHITECTURE: u32 = 0xc000_00b7;
    type TrapFrame = trap_frame::TrapFrame;
    type ExtendedState = extended_state::ExtendedState;
    fn affinity() -> Option<Result<&'static super::affinity::Affinity, super::affinity::AffinityError>> {
        affinity::noted()
    }
    fn set_system_call_handler<H: super::TrapHandler>(handler: &'static H) {
        entry::set_system_call_handler(handler);
    }
}
