//! From the boot protocol's entry to a machine that takes interrupts.
//!
//! 1. `boot/src/x86_64.rs` (the binary) switches to 64-bit mode on the tables of [`tables`] and calls [`initialize_early`]:
//!    per-CPU block, serial port, IDT, the boot protocol's information, page permissions, control registers. No heap is needed.
//! 2. The kernel starts its memory; then [`crate::arch::Startup::initialize_interrupts`] finds the controllers and measures the clock.

mod multiboot2;
mod start_information;
#[cfg(target_os = "none")]
pub mod tables;

use crate::arch::boot_information::{BootInformation, PhysicalRange, PhysicalReader};
use crate::base::PhysicalAddress;

#[cfg(target_os = "none")]
pub use early::initialize_early;
#[cfg(target_os = "none")]
pub(super) use early::{acpi_table, initialize_interrupts, set_control_registers};

/// Low memory that is never given out: interrupt vectors and firmware's data, and the page in which other CPUs start.
const LOW_MEMORY_END: u64 = 0x1_0000;

/// How the kernel was entered, and so what the structure is that it was handed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Protocol {
    /// Xen's PVH, as QEMU enters with `-kernel`: [`start_information`].
    Pvh = 1,
    /// Multiboot2, as GRUB enters: [`multiboot2`].
    Multiboot2 = 2,
}

impl Protocol {
    /// The one that the entry code names by its number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Pvh),
            2 => Some(Self::Multiboot2),
            _ => None,
        }
    }
}

/// Why what the boot loader handed over is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The entry code names no protocol that is known.
    NoProtocol,
    /// There is no PVH start information at that address.
    NoMagic,
    /// Multiboot2's information has no room for a tag, or more than anybody would write.
    BadLength,
    /// There is no memory map in it.
    NoMemoryMap,
}

impl StartError {
    /// What to say.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoProtocol => "ashlar: entered by no known boot protocol\r\n",
            Self::NoMagic => "ashlar: no PVH start information\r\n",
            Self::BadLength => "ashlar: the Multiboot2 information makes no sense\r\n",
            Self::NoMemoryMap => "ashlar: the boot loader gave no memory map\r\n",
        }
    }
}

/// Copies everything out of the structure at `start`. `image` is where the kernel lies.
///
/// # Errors
/// [`StartError`].
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "called on bare metal alone"))]
fn read_information(
    protocol: Option<Protocol>,
    start: PhysicalAddress,
    image: PhysicalRange,
    read: PhysicalReader<'_>,
) -> Result<BootInformation, StartError> {
    let mut information = BootInformation::new();
    information.kernel_image = image;
    information
        .reserved
        .push(PhysicalRange { start: PhysicalAddress::new(0), end: PhysicalAddress::new(LOW_MEMORY_END) });
    information.reserved.push(image);
    match protocol.ok_or(StartError::NoProtocol)? {
        Protocol::Pvh => start_information::parse(start, read, &mut information)?,
        Protocol::Multiboot2 => multiboot2::parse(start, read, &mut information)?,
    }
    Ok(information)
}

#[cfg(target_os = "none")]
mod early {
    #![allow(unsafe_code, reason = "control registers, physical memory")]

    use super::{Protocol, read_information, tables};
    use crate::arch::boot_information::set_boot_information;
    use crate::arch::x86_64::features::{self, Features};
    use crate::arch::x86_64::{
        acpi, clock, entry, extended_state, interrupt_controller, interrupts, io_apic, local_apic, machine_check, mmu,
        pic, pit, power, secondary, segments, serial, timer, user_access,
    };
    use crate::arch::{ControllerChoice, SerialConsole, boot_information};
    use crate::base::PhysicalAddress;
    use core::arch::asm;

    /// Reads physical memory that may be anything: an address past what is mapped gives zeros.
    fn read_physical(address: PhysicalAddress, target: &mut [u8]) {
        let limit = tables::mapped_memory();
        let inside = address.value().checked_add(target.len() as u64).is_some_and(|end| end <= limit);
        if !inside {
            target.fill(0);
            return;
        }
        let source = mmu::physmap(address).value() as *const u8;
        // SAFETY: physmap covers the range; nothing else runs that could write it.
        unsafe { core::ptr::copy_nonoverlapping(source, target.as_mut_ptr(), target.len()) };
    }

    /// The first Rust code: see the module's description. `start` is where the boot protocol's structure lies, `displacement` how far the image is
    /// from where it was linked to be loaded.
    ///
    /// # Safety
    /// Called once, by the entry code, on the boot stack, with the boot tables active and interrupts disabled.
    pub unsafe fn initialize_early(protocol: Option<Protocol>, start: PhysicalAddress, displacement: u64) {
        tables::set_displacement(displacement);
        clock::start_clock();
        features::detect();
        // SAFETY: the first and only call for this CPU and block.
        unsafe { segments::BOOT_CPU.install() };
        serial::initialize();
        // SAFETY: interrupts are disabled, the block is installed; called once.
        unsafe {
            interrupts::fill();
            interrupts::load();
        }
        if features::has(Features::SMAP) {
            // SAFETY: the boot tables map the image writable.
            unsafe { user_access::patch_smap() };
        }
        entry::enable_system_calls();
        let image = tables::image_range();
        let parsed = read_information(protocol, start, image, &read_physical);
        // SAFETY: nothing uses the identity mapping any more, and the image's sections are as the linker script says.
        unsafe { tables::protect() };
        match parsed {
            Ok(mut information) => {
                tables::extend_physmap(&mut information);
                set_boot_information(information);
            }
            Err(error) => {
                // Without a memory map nothing can be done but to say so.
                crate::arch::x86_64::X86_64::write_console(error.text().as_bytes());
                <crate::arch::x86_64::X86_64 as crate::arch::Cpu>::halt();
            }
        }
        set_control_registers();
        machine_check::initialize();
        extended_state::initialize();
    }

    /// See [`crate::arch::Machine::acpi_table`].
    pub fn acpi_table(signature: [u8; 4]) -> Option<alloc::vec::Vec<u8>> {
        acpi::table(boot_information().rsdp.as_ref()?, signature, &read_physical)
    }

    /// Switches on what the CPU has of what the kernel uses.
    pub(in crate::arch::x86_64) fn set_control_registers() {
        const MONITOR_COPROCESSOR: u64 = 1 << 1;
        const EMULATION: u64 = 1 << 2;
        const NUMERIC_ERROR: u64 = 1 << 5;
        const WRITE_PROTECT: u64 = 1 << 16;
        const ALIGNMENT_MASK: u64 = 1 << 18;
        const FXSAVE: u64 = 1 << 9;
        const SIMD_EXCEPTIONS: u64 = 1 << 10;
        let optional = [
            (Features::PGE, 1 << 7),
            (Features::UMIP, 1 << 11),
            (Features::FSGSBASE, 1 << 16),
            (Features::PCID, 1 << 17),
            (Features::XSAVE, 1 << 18),
            (Features::SMEP, 1 << 20),
            (Features::SMAP, 1 << 21),
        ];
        let wanted = optional.iter().filter(|(feature, _)| features::has(*feature)).map(|(_, bit)| bit);
        let wanted = wanted.fold(FXSAVE | SIMD_EXCEPTIONS, |bits, bit| bits | bit);
        // SAFETY: the CPU has each feature that is switched on; the kernel touches user memory only between `stac` and
        // `clac`, executes none of it, and its page tables have no user mapping now.
        unsafe {
            let (mut cr0, mut cr4): (u64, u64);
            asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack));
            cr0 = (cr0 & !EMULATION) | MONITOR_COPROCESSOR | NUMERIC_ERROR | WRITE_PROTECT | ALIGNMENT_MASK;
            asm!("mov cr0, {}", in(reg) cr0, options(nostack));
            asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack));
            asm!("mov cr4, {}", in(reg) cr4 | wanted, options(nostack));
            asm!("fninit", options(nomem, nostack));
        }
    }

    /// See [`crate::arch::Startup::initialize_interrupts`].
    pub(in crate::arch::x86_64) fn initialize_interrupts(choice: ControllerChoice) {
        let tables = acpi::read(boot_information().rsdp.as_ref(), &read_physical);
        power::set_ports(tables.power);
        pic::initialize();
        let apic = choice == ControllerChoice::Best && features::has(Features::APIC);
        if apic {
            local_apic::enable();
            secondary::set_processors(&tables.processors);
            io_apic::initialize(tables.wiring);
            pic::disable();
            interrupt_controller::select(interrupt_controller::Controller::Apic);
        }
        timer::calibrate(apic);
        if apic {
            timer::use_local_apic();
        } else {
            pit::start_tick();
            interrupt_controller::enable_line(pit::LINE);
        }
        interrupt_controller::enable_line(crate::arch::x86_64::X86_64::INPUT_LINE as u8);
        log::info!(
            "x86_64: {} interrupts, TSC {} kHz, features {:?}",
            if apic { "APIC" } else { "8259" },
            clock::counter_kilohertz(),
            features::all(),
        );
    }
}
