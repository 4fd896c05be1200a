//! From the boot protocol's entry to a machine that takes interrupts.
//!
//! 1. `boot/src/aarch64.rs` (the binary) turns the MMU on, on the tables of [`tables`], and calls [`initialize_early`]: per-CPU
//!    block, vectors, the device tree, physmap. No heap is needed.
//! 2. The kernel starts its memory; then [`crate::arch::Startup::initialize_interrupts`] starts the interrupt controller and the timer.

#![allow(unsafe_code, reason = "system registers and the boot protocol's memory")]

mod exception_level;
pub mod tables;

use crate::arch::aarch64::clock_scale::event_stream_bit;
use crate::arch::aarch64::device_tree::{self, Devices};
use crate::arch::aarch64::{
    Aarch64, affinity, clock, cpu, entry, interrupt_controller, power, processors, real_time_clock, serial, timer,
    topology, user_access,
};
use crate::arch::boot_information::set_boot_information;
use crate::arch::{ControllerChoice, Cpu, Startup};
use crate::base::PhysicalAddress;
use core::arch::asm;
use spin::Once;

static DEVICES: Once<Devices> = Once::new();

/// The first Rust code: see the module's description.
///
/// # Safety
/// Called once, by the entry code, on the boot stack, with the boot tables active and interrupts masked. The image lies at
/// `load_address` and the device tree at `tree`, if there is one.
pub unsafe fn initialize_early(tree: PhysicalAddress, load_address: PhysicalAddress, image_length: u64) {
    clock::start();
    timer::silence();
    tables::set_image(load_address, image_length);
    cpu::install(&cpu::BOOT_CPU);
    entry::install();
    set_control_registers();
    // SAFETY: the first CPU, before any access to user memory; the others are of its kind.
    unsafe { user_access::initialize(has_access_prevention()) };
    // SAFETY: the entry code mapped it.
    let tree = unsafe { tables::tree(tree) };
    tree.iter().for_each(|tree| topology::note_tree(tree));
    tree.iter().for_each(|tree| affinity::note_tree(tree));
    let parsed = tree.and_then(|tree| device_tree::parse(tree).ok());
    // Without a device tree there is neither memory nor a console: nothing can be said.
    let Some((mut information, devices)) = parsed else { Aarch64::halt() };
    let image = tables::image_range();
    information.kernel_image = image;
    // Nothing is kept of the device tree (a MiB in QEMU): what it says was copied.
    if information.reserved.try_push(image).is_err() {
        Aarch64::halt();
    }
    tables::fill_physmap(&information);
    tables::leave_boot_mappings();
    if let Some((registers, line)) = devices.uart {
        serial::initialize(registers, line);
    }
    power::set_conduit(devices.psci);
    set_boot_information(information);
    DEVICES.call_once(|| devices);
}

/// What the entry code did not set: vector registers for user mode, the counter and its events for user mode, PAN.
pub(super) fn set_control_registers() {
    const FLOATING_POINT: u64 = 0b11 << 20;
    const USER_VIRTUAL_COUNTER: u64 = 1 << 1;
    const EVENT_STREAM: u64 = 1 << 2;
    const EVENT_BIT_SHIFT: u32 = 4;
    /// Exceptions set PAN. The bit is one on CPUs that have none.
    const EXCEPTIONS_LEAVE_PAN: u64 = 1 << 23;
    let event_bit = event_stream_bit(clock::frequency());
    let timer_control = USER_VIRTUAL_COUNTER | EVENT_STREAM | event_bit << EVENT_BIT_SHIFT;
    // SAFETY: user mode may use vector registers, which the scheduler saves, and read the virtual counter; SVE and SME stay trapped.
    unsafe {
        asm!("msr cpacr_el1, {}", in(reg) FLOATING_POINT, options(nostack, preserves_flags));
        asm!("msr cntkctl_el1, {}", in(reg) timer_control, options(nostack, preserves_flags));
        asm!("msr tpidrro_el0, xzr", "msr mdscr_el1, xzr", "isb", options(nostack, preserves_flags));
    }
    if has_access_prevention() {
        // SAFETY: the CPU has the bit; the kernel reaches user memory in `user_access` alone.
        unsafe {
            asm!(
                ".arch_extension pan",
                "mrs {control}, sctlr_el1",
                "bic {control}, {control}, #{leave}",
                "msr sctlr_el1, {control}",
                "isb",
                "msr pan, #1",
                control = out(reg) _,
                leave = const EXCEPTIONS_LEAVE_PAN,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Whether the CPU has PAN.
fn has_access_prevention() -> bool {
    let features: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features, options(nomem, nostack, preserves_flags)) };
    features >> 20 & 0xf != 0
}

impl Startup for Aarch64 {
    fn initialize_interrupts(_choice: ControllerChoice) {
        let Some(devices) = DEVICES.get() else { return };
        clock::calibrate();
        match &devices.gic {
            Some(gic) => {
                processors::set_processors(&devices.cpus);
                interrupt_controller::initialize(gic, devices.cpus.len().max(1));
            }
            None => log::error!("the device tree names no interrupt controller that is known"),
        }
        timer::use_line(devices.timer_interrupt);
        interrupt_controller::enable_private();
        if let Some((_, line)) = devices.uart {
            interrupt_controller::enable_device(line);
        }
        if let Some(registers) = devices.rtc {
            real_time_clock::set_registers(registers);
        }
        log::info!(
            "AArch64: {}, counter {} kHz, {} CPUs in the device tree",
            interrupt_controller::name(),
            clock::frequency() / 1000,
            devices.cpus.len(),
        );
    }
}
