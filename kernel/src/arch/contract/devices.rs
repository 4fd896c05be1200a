//! What belongs to every machine beside its CPUs: clock and alarm, the serial console, the way to switch off, what the vDSO is made of; and how they are started.

#![allow(unsafe_code, reason = "the contract has functions that are unsafe to call")]

use crate::base::{Nanoseconds, VirtualAddress};

/// Which interrupt controllers may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControllerChoice {
    /// The best that there is.
    Best,
    /// The oldest, where the machine has several: `noapic` was said.
    Legacy,
}

/// What boot asks of the machine, after the entry code of `boot/` has filled in [`boot_information`](crate::arch::boot_information()) and memory works.
pub trait Startup {
    /// Finds the interrupt controllers, measures the clock and learns how to switch off. Called once, interrupts disabled; they stay so.
    fn initialize_interrupts(choice: ControllerChoice);
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

/// The machine's first serial port (`ttyS0`, `ttyAMA0`), polled for output, by interrupt for input.
pub trait SerialConsole {
    /// The line that [`TrapHandler::device_interrupt`](super::TrapHandler::device_interrupt) is called with when bytes have come in.
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
