//! What only x86_64 has: segment bases, flags, addresses that the CPU refuses.

use crate::runner::{Case, in_child};
use crate::{call, raw};
use std::arch::asm;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("x86_64/gs-base", gs_base),
    ("x86_64/gs-base-is-each-thread-s-own", gs_base_of_threads),
    ("x86_64/return-to-nowhere", return_to_nowhere),
    ("x86_64/nested-task-flag-stays", nested_task),
];

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_GET_GS: i32 = 0x1004;

fn base() -> Result<u64, &'static str> {
    let mut base = 1u64;
    raw!(libc::SYS_arch_prctl, ARCH_GET_GS, &raw mut base).map(|_| base)
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
    let word = AtomicU64::new(77);
    set_base(0x7fff_ffff_f000 - 1);
    let address = word.as_ptr() as u64;
    println!("{:?}", raw!(libc::SYS_arch_prctl, ARCH_SET_GS, address));
    let read = || {
        let found: u64;
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
            let _ = call!(usleep(1000));
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
                    let _ = call!(usleep(500));
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

fn install(signal: i32, handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)) {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    let _ = call!(sigaction(signal, &action, std::ptr::null_mut()));
}

extern "C" fn misdirect(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    CAME_FROM.store(registers[libc::REG_RIP as usize], SeqCst);
    registers[libc::REG_RIP as usize] = RETURN_TO.load(SeqCst);
}

extern "C" fn bring_back(_signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    WAS_AT.store(registers[libc::REG_RIP as usize], SeqCst);
    println!("code {:#x}", unsafe { (*information).si_code });
    registers[libc::REG_RIP as usize] = CAME_FROM.load(SeqCst);
}

/// A handler that returns to where the CPU cannot go meets SIGSEGV there, with all registers as it left them. Neither four levels of
/// page tables nor five make the first three addresses canonical.
fn return_to_nowhere() {
    install(libc::SIGUSR1, misdirect);
    install(libc::SIGSEGV, bring_back);
    for nowhere in [
        1 << 56,
        i64::MIN,
        0xfeff_ffff_ffff_f000_u64.cast_signed(),
        0x7fff_ffff_f000,
        0xffff_8000_0000_0000_u64.cast_signed(),
    ] {
        RETURN_TO.store(nowhere, SeqCst);
        println!("{:?} {}", call!(raise(libc::SIGUSR1)), WAS_AT.load(SeqCst) == nowhere);
    }
}

extern "C" fn nothing(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {}

/// NT, which any program can set, outlives system calls and handlers.
fn nested_task() {
    install(libc::SIGUSR1, nothing);
    let (pid, thread) = (std::process::id(), unsafe { libc::gettid() });
    let flags: u64;
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
