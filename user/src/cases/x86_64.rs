//! What only x86_64 has: segment bases, flags, addresses that the CPU refuses.
#![allow(unsafe_code, reason = "instructions of this machine, and contexts that are changed")]

use crate::raw;
use crate::runner::{Case, in_child};
use crate::system::{self, Delivery, Errno};
use std::arch::asm;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("x86_64/gs-base", gs_base),
    ("x86_64/gs-base-is-each-thread-s-own", gs_base_of_threads),
    ("x86_64/return-to-nowhere", return_to_nowhere),
    ("x86_64/nested-task-flag-stays", nested_task),
];

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_GET_GS: i32 = 0x1004;

fn base() -> Result<u64, Errno> {
    let mut base = 1u64;
    raw!(libc::SYS_arch_prctl, ARCH_GET_GS, &mut base).map(|_| base)
}

fn set_base(value: u64) {
    println!("{value:#x} {:?} {:x?}", raw!(libc::SYS_arch_prctl, ARCH_SET_GS, value), base());
}

fn gs_base() {
    println!("{:x?}", base());
    set_base(0x1234_5000);
    // Beyond user space with tables of four levels and of five.
    set_base(1 << 56);
    set_base(u64::MAX);
    println!("{:?}", raw!(libc::SYS_arch_prctl, ARCH_GET_GS, 8));
    let word = [77u64];
    set_base(0x7fff_ffff_f000 - 1);
    let address = word.as_ptr().expose_provenance() as u64;
    println!("{:?}", raw!(libc::SYS_arch_prctl, ARCH_SET_GS, address));
    let read = || {
        let found: u64;
        // SAFETY: the base is that of `word`, which lives.
        unsafe { asm!("mov {}, gs:[0]", out(reg) found) };
        found
    };
    println!("{}", read());
    // A child has its parent's, and its own afterwards.
    println!(
        "{}",
        in_child(|| {
            let inherited = base() == Ok(address);
            let _ = raw!(libc::SYS_arch_prctl, ARCH_SET_GS, 0);
            let _ = system::usleep(1000);
            i32::from(inherited && base() == Ok(0))
        })
    );
    println!("{} {}", read(), base() == Ok(address));
    // A new program begins with none; the shell here only shows that it runs.
    println!("{:?}", raw!(libc::SYS_arch_prctl, ARCH_SET_GS, 0));
}

fn gs_base_of_threads() {
    let threads: Vec<_> = (1..=4u64)
        .map(|number| {
            std::thread::spawn(move || {
                let mine = number << 20;
                let _ = raw!(libc::SYS_arch_prctl, ARCH_SET_GS, mine);
                (0..50).all(|_| {
                    let _ = system::usleep(500);
                    base() == Ok(mine)
                })
            })
        })
        .collect();
    for thread in threads {
        println!("{:?}", thread.join().ok());
    }
    println!("{:x?}", base());
}

static RETURN_TO: AtomicI64 = AtomicI64::new(0);
static WAS_AT: AtomicI64 = AtomicI64::new(0);
static CAME_FROM: AtomicI64 = AtomicI64::new(0);

fn misdirect(delivery: &mut Delivery<'_>) {
    CAME_FROM.store(delivery.context.general(libc::REG_RIP), SeqCst);
    // SAFETY: nothing runs there: the next signal brings the program back.
    unsafe { delivery.context.set_general(libc::REG_RIP, RETURN_TO.load(SeqCst)) };
}

fn bring_back(delivery: &mut Delivery<'_>) {
    WAS_AT.store(delivery.context.general(libc::REG_RIP), SeqCst);
    println!("code {:#x}", delivery.code());
    // SAFETY: where `misdirect` found it.
    unsafe { delivery.context.set_general(libc::REG_RIP, CAME_FROM.load(SeqCst)) };
}

/// A handler that returns to where the CPU cannot go meets SIGSEGV there, with all registers as it left them. Neither four levels of
/// page tables nor five make the first three addresses canonical.
fn return_to_nowhere() {
    system::install(libc::SIGUSR1, misdirect, 0);
    system::install(libc::SIGSEGV, bring_back, 0);
    for nowhere in [
        1 << 56,
        i64::MIN,
        0xfeff_ffff_ffff_f000_u64.cast_signed(),
        0x7fff_ffff_f000,
        0xffff_8000_0000_0000_u64.cast_signed(),
    ] {
        RETURN_TO.store(nowhere, SeqCst);
        println!("{:?} {}", system::raise(libc::SIGUSR1), WAS_AT.load(SeqCst) == nowhere);
    }
}

/// NT, which any program can set, outlives system calls and handlers.
fn nested_task() {
    system::install(libc::SIGUSR1, |_| {}, 0);
    let (pid, thread) = (std::process::id(), system::gettid());
    let flags: u64;
    // SAFETY: `tgkill` of the own thread, whose handler does nothing; the stack is as it was and the registers are named.
    unsafe {
        asm!(
            "pushfq",
            "or qword ptr [rsp], 0x4000",
            "popfq",
            "syscall",
            "pushfq",
            "pop {flags}",
            "push {flags}",
            "and qword ptr [rsp], -0x4001",
            "popfq",
            flags = out(reg) flags,
            inout("rax") libc::SYS_tgkill => _, in("rdi") pid, in("rsi") thread, in("rdx") libc::SIGUSR1,
            out("rcx") _, out("r11") _,
        );
    }
    println!("{:#x}", flags & 0x4000);
}
