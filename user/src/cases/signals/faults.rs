//! Signals that the program causes itself, and alternate stacks.
#![allow(unsafe_code, reason = "instructions that fault on purpose")]

use super::note;
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Delivery, Mapping, Must, PAGE, block, install};
use std::arch::asm;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Says which signal came and why, and ends the process with status 3.
fn fault(delivery: &mut Delivery<'_>) {
    let (signal, address) = (delivery.signal, delivery.address());
    let shown = if !(0x10_0000..1 << 48).contains(&address) {
        format!("{address:#x}")
    } else if matches!(signal, libc::SIGFPE | libc::SIGILL | libc::SIGTRAP) && address == delivery.context.instruction()
    {
        // Where in the program that is changes with each build.
        "of the instruction".into()
    } else {
        format!("page offset {:#x}", address & 0xfff)
    };
    println!("signal {signal} code {} address {shown}", delivery.code());
    let _ = std::io::stdout().flush();
    system::exit_now(3)
}

fn faulting(action: impl FnOnce()) {
    println!(
        "{}",
        in_child(|| {
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                install(signal, fault, 0);
            }
            action();
            0
        })
    );
}

pub(super) fn fault_information() {
    faulting(|| system::write_nowhere(0x123));
    faulting(|| _ = system::read_nowhere(0x456));
    let page = Mapping::anonymous(1, libc::PROT_READ, libc::MAP_PRIVATE);
    faulting(|| page.write(0x10, 1));
    faulting(|| _ = system::read_nowhere(0xffff_8000_0000_0000));
    // SAFETY: the page is not executable.
    faulting(|| unsafe { page.call(0) });
    faulting(|| {
        let name = c"/tmp/conformance-bus";
        let file = system::open(name, libc::O_RDWR | libc::O_CREAT, 0o600).must();
        let _ = system::unlink(name);
        let memory = Mapping::new(PAGE, libc::PROT_READ, libc::MAP_SHARED, file).must();
        let _ = memory.read(0x20);
    });
    #[cfg(target_arch = "x86_64")]
    faulting(|| _ = system::read_nowhere(0x8000_1234_0000_0000));
}

/// Executes instructions each of which ends its process.
macro_rules! faulting_instructions {
    ($(($($assembly:tt)+);)+) => { $(
        // SAFETY: the instruction faults, and touches the child's named registers alone.
        faulting(|| unsafe { asm!($($assembly)+) });
    )+ };
}

#[cfg(target_arch = "x86_64")]
pub(super) fn divide_and_trap() {
    faulting_instructions! {
        ("xor edx, edx", "xor ecx, ecx", "div ecx", out("rax") _, out("rcx") _, out("rdx") _);
        ("ud2");
        ("int3");
        ("hlt");
        ("cli");
        ("int 0x3");
        ("int 0x20");
        ("in al, dx", out("al") _, in("dx") 0x60u16);
        ("mov {0}, cr3", out(reg) _);
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) fn divide_and_trap() {
    faulting_instructions! {
        ("udf #0");
        ("brk #0");
        ("brk #1000");
        ("mrs {0}, ttbr0_el1", out(reg) _);
        ("hvc #0");
        ("smc #0");
    }
}

pub(super) fn alternate_stack() {
    static STACK: AtomicUsize = AtomicUsize::new(0);
    const SIZE: usize = 65536;
    let set = |start: usize, size: usize, flags: i32| raw!(libc::SYS_sigaltstack, &description(start, size, flags), 0);
    fn look(_delivery: &mut Delivery<'_>) {
        let here = 0u8;
        let base = STACK.load(SeqCst);
        println!("on it: {}", (base..base + SIZE).contains(&(&raw const here).addr()));
        let mut old: libc::stack_t = system::zeroed();
        println!("{:?} flags {}", raw!(libc::SYS_sigaltstack, 0, &mut old), old.ss_flags);
        println!("change while on it {:?}", raw!(libc::SYS_sigaltstack, &description(base, SIZE, 0), 0));
    }
    let memory = Mapping::private(SIZE / PAGE).leak();
    let start = memory.start();
    STACK.store(start, SeqCst);
    println!("{:?}", set(start, SIZE, 0));
    install(libc::SIGUSR1, look, libc::SA_ONSTACK);
    let _ = system::raise(libc::SIGUSR1);
    println!("too small {:?}", set(start, 100, 0));
    println!("odd flags {:?}", set(start, SIZE, 77));
    // A stack overflow is caught on the other stack.
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGSEGV, fault_quietly, libc::SA_ONSTACK);
            let _ = system::limit(libc::RLIMIT_STACK, 1 << 20);
            overflow(0) as i32
        })
    );
}

/// `stack_t` of the stack at `start`.
fn description(start: usize, size: usize, flags: i32) -> libc::stack_t {
    libc::stack_t { ss_sp: std::ptr::with_exposed_provenance_mut(start), ss_flags: flags, ss_size: size }
}

fn fault_quietly(_delivery: &mut Delivery<'_>) {
    system::exit_now(17)
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let block = std::hint::black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    overflow(depth + 1) + std::hint::black_box(&block)[3]
}

pub(super) fn blocked_fault() {
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGSEGV, note, 0);
            block(&[libc::SIGSEGV]);
            system::write_nowhere(8);
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            system::ignore(libc::SIGSEGV);
            system::write_nowhere(8);
            0
        })
    );
}
