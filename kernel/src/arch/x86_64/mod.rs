//! The x86_64 machine.
//!
//! | file | what |
//! |---|---|
//! | `features` `model_specific` `port` | the CPU's abilities, its registers, its ports |
//! | `boot` | from the boot protocol's start information to the final page tables |
//! | `cpu_information` `topology` `vulnerabilities` | what programs learn of the CPU, where it stands, what it leaks |
//! | `segments` `interrupts` `vectors` | GDT, TSS and per-CPU block; IDT; its numbers |
//! | `secondary` | starting the other CPUs and interrupting them |
//! | `trap_frame` `entry` `exceptions` | saved registers; the ways in and out; sorting traps |
//! | `signal_frame` | starting signal handlers and coming back |
//! | `affinity` | which memory and CPUs are near each other |
//! | `interrupt_controller` `pic` `local_apic` `io_apic` `acpi` | who interrupts, and where that is written |
//! | `clock` `timer` `pit` `real_time_clock` | time |
//! | `cpu` `mmu` `user_access` `context_switch` `extended_state` `serial` `power` | the contract's traits |
//!
//! Everything is compiled on the host too, where the pure parts are tested; what needs the machine's own trap frame or
//! linker symbols is for bare metal alone.

#![allow(unsafe_code, reason = "vouches for its parts where the contract asks for unsafe functions")]

/// Opens user memory to the kernel: a no-operation that becomes `stac` on CPUs with SMAP.
macro_rules! open_user {
    () => {
        "88801: .byte 0x0f, 0x1f, 0x00
        .pushsection ashlar_stac, \"a\"
        .long 88801b - .
        .popsection"
    };
}

/// Closes it: a no-operation that becomes `clac`.
macro_rules! close_user {
    () => {
        "88802: .byte 0x0f, 0x1f, 0x00
        .pushsection ashlar_clac, \"a\"
        .long 88802b - .
        .popsection"
    };
}

#[cfg(target_os = "none")]
mod abandoned_stack;
pub mod acpi;
pub mod affinity;
pub mod boot;
pub mod clock;
pub mod context_switch;
pub mod cpu;
mod cpu_information;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod exceptions;
pub mod extended_state;
pub mod features;
pub mod interrupt_controller;
pub mod interrupts;
pub mod io_apic;
pub mod local_apic;
mod machine_check;
pub mod mmu;
pub mod model_specific;
mod page_copy;
pub mod pic;
pub mod pit;
pub mod port;
pub mod power;
pub mod real_time_clock;
pub mod secondary;
pub mod segments;
pub mod serial;
pub mod signal_frame;
pub mod timer;
mod topology;
pub mod trap_frame;
pub mod user_access;
pub mod vdso;
pub mod vectors;
mod vulnerabilities;

#[cfg(target_os = "none")]
use super::affinity::{Affinity, AffinityError};
use super::{LinuxInterface, Machine, SharedObject};
use crate::base::VirtualAddress;
use alloc::vec::Vec;

/// The machine's name as a type.
#[derive(Debug, Clone, Copy)]
pub struct X86_64;

impl Machine for X86_64 {
    const LINUX: LinuxInterface = LinuxInterface::X86_64;
    const NAME: &'static str = "x86_64";
    const PLATFORM: &'static str = "x86_64";
    const AUDIT_ARCHITECTURE: u32 = 0xc000_003e;
    type TrapFrame = trap_frame::TrapFrame;
    type ExtendedState = extended_state::ExtendedState;
    #[cfg(target_os = "none")]
    fn affinity() -> Option<Result<&'static Affinity, AffinityError>> {
        static AFFINITY: spin::Once<Result<Affinity, AffinityError>> = spin::Once::new();
        let table = boot::acpi_table(*b"SRAT")?;
        let found = AFFINITY.call_once(|| affinity::parse(&table, boot::acpi_table(*b"SLIT").as_deref()));
        Some(found.as_ref().map_err(|error| *error))
    }
    #[cfg(target_os = "none")]
    fn set_system_call_handler<H: super::TrapHandler>(handler: &'static H) {
        entry::set_system_call_handler(handler);
    }
}

impl super::Startup for X86_64 {
    #[cfg(target_os = "none")]
    fn initialize_interrupts(choice: super::ControllerChoice) {
        boot::initialize_interrupts(choice);
    }
    #[cfg(not(target_os = "none"))]
    fn initialize_interrupts(_choice: super::ControllerChoice) {}
}

impl super::InterruptReport for X86_64 {
    const LINES: usize = vectors::LINE_COUNT as usize;
    fn interrupt_rows(add: &mut dyn FnMut(super::interrupt_report::InterruptRow)) {
        interrupt_controller::rows(add);
    }
}

impl SharedObject for X86_64 {
    fn shared_object() -> Option<Vec<u8>> {
        Some(vdso::image())
    }
    unsafe fn set_shared_data(page: VirtualAddress) {
        // SAFETY: the caller's promise.
        unsafe { vdso::set_data(page) };
    }
    fn hardware_capabilities() -> [u64; 2] {
        const USER_FSGSBASE: u64 = 1 << 1;
        let basic = core::arch::x86_64::__cpuid(1).edx;
        [basic.into(), if features::has(features::Features::FSGSBASE) { USER_FSGSBASE } else { 0 }]
    }
}
