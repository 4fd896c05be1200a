//! The last words.

use arrayvec::ArrayString;
use ashlar_kernel::arch::{Cpu, Current, SerialConsole};
use core::fmt::Write;

/// A Rust panic: a bug.
#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    Current::disable_interrupts();
    let mut text = ArrayString::<512>::new();
    let _ = write!(text, "\r\nkernel panic: {information}\r\n");
    Current::write_console(text.as_bytes());
    Current::halt()
}
