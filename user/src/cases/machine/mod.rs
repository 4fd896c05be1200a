//! What a program can do wrong with the machine itself: bad addresses, instructions that are not its own, stacks and signal frames
//! that are none. The signal, its code and its address are Linux's.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod own;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod own;

mod addresses;
mod context;

use crate::runner::{Case, in_child};
use crate::system::{self, Delivery, Handler, Mapping, PAGE};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("machine/bad-reads", addresses::bad_reads),
    ("machine/bad-writes", addresses::bad_writes),
    ("machine/bad-jumps", addresses::bad_jumps),
    ("machine/accesses-across-an-edge", addresses::across),
    ("machine/a-handler-moves-on", context::move_on),
    ("machine/a-handler-changes-registers", context::change_registers),
    ("machine/bad-stack-pointers", context::bad_stack_pointers),
    ("machine/bad-signal-frames", context::bad_frames),
    ("machine/vector-registers-in-a-context", context::vectors),
    ("machine/privileged-instructions", own::privileged),
    ("machine/breakpoints", own::breakpoints),
    ("machine/alignment", own::alignment),
    ("machine/system-call-instructions", own::system_calls),
    ("machine/addresses-with-tags", own::tags),
];

/// Where the kernel's half begins, on every machine.
const KERNEL: usize = 0xffff_8000_0000_0000;

/// The page whose addresses a handler shows as offsets.
static BASE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Lets faults kill: Rust's library catches two of them.
fn catch_nothing() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        system::set_default(signal);
    }
}

/// Says which signal came and why, and ends the process with status 3.
fn report(delivery: &mut Delivery<'_>) {
    let address = delivery.address();
    let base = BASE.load(SeqCst);
    let shown = match address {
        _ if address == delivery.context.instruction() && address >= 0x10_0000 => "of the instruction".into(),
        _ if (base..base.saturating_add(16 * PAGE)).contains(&address) => format!("base + {:#x}", address - base),
        _ if address == delivery.context.stack() && (0x10_0000..KERNEL).contains(&address) => {
            "of the stack pointer".into()
        }
        _ => format!("{address:#x}"),
    };
    println!("signal {} code {} address {shown}", delivery.signal, delivery.code());
    let _ = std::io::stdout().flush();
    system::exit_now(3)
}

/// Catches every signal that a fault can mean, on a stack of its own.
fn catch_all(handler: Handler) {
    let memory = Mapping::private(16).leak();
    let _ = system::set_alternate_stack(memory);
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS] {
        system::install(signal, handler, libc::SA_ONSTACK);
    }
}

/// Shows what becomes of a child that does `action`.
fn try_to(name: &str, action: impl FnOnce()) {
    print!("{name}: ");
    let end = in_child(|| {
        catch_all(report);
        action();
        println!("goes on");
        0
    });
    if end != "exit 3" && end != "exit 0" {
        println!("{end}");
    }
}
