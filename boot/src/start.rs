//! Starts room after room, from the hardware upwards, then the first process.

use ashlar_kernel::arch::x86_64::boot::{ControllerChoice, initialize_interrupts};
use ashlar_kernel::arch::{Current, Power, boot_information};
use ashlar_kernel::base::command_line::CommandLine;

struct Heap;
#[allow(unsafe_code)]
unsafe impl core::alloc::GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
        static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
        static mut AREA: [u8; 1 << 18] = [0; 1 << 18];
        let at = NEXT.fetch_add(layout.size() + 64, core::sync::atomic::Ordering::Relaxed);
        unsafe { (&raw mut AREA).cast::<u8>().add((at + 63) & !63) }
    }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
#[global_allocator]
static HEAP: Heap = Heap;

/// Called by the machine's entry code when [`boot_information`] is there and faults are reported.
pub fn start() -> ! {
    ashlar_kernel::log::initialize();
    let information = boot_information();
    log::info!("Ashlar {}", env!("CARGO_PKG_VERSION"));
    log::info!("command line: {}", information.command_line);
    log::info!("{information:x?}");
    let line = CommandLine::parse(&information.command_line);
    log::info!("{line:?}");
    initialize_interrupts(if line.legacy_interrupts { ControllerChoice::Legacy } else { ControllerChoice::Best });
    ashlar_kernel::time::initialize();
    log::info!("time {:?}", ashlar_kernel::time::realtime());
    Current::power_off(0)
}
