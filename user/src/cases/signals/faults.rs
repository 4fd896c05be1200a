//! Signals that the program causes itself, and alternate stacks.

use super::{block, install, note};
use crate::call;
use crate::runner::in_child;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Where a handler's context goes on.
pub(in super::super) fn instruction_of(context: *const libc::c_void) -> usize {
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let instruction = context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(not(target_arch = "x86_64"))]
    let instruction = context.uc_mcontext.pc as usize;
    instruction
}

pub(super) extern "C" fn fault(signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let information = unsafe { &*information };
    let address = unsafe { information.si_addr() } as usize;
    let shown = if !(0x10_0000..1 << 48).contains(&address) {
        format!("{address:#x}")
    } else if matches!(signal, libc::SIGFPE | libc::SIGILL | libc::SIGTRAP) && address == instruction_of(context) {
        // Where in the program that is changes with each build.
        "of the instruction".into()
    } else {
        format!("page offset {:#x}", address & 0xfff)
    };
    println!("signal {signal} code {} address {shown}", information.si_code);
    use std::io::Write;
    let _ = std::io::stdout().flush();
    unsafe { libc::_exit(3) }
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
    faulting(|| unsafe { (0x123 as *mut u8).write_volatile(1) });
    faulting(|| {
        let _ = unsafe { (0x456 as *const u8).read_volatile() };
    });
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }
    .cast::<u8>();
    faulting(|| unsafe { page.add(0x10).write_volatile(1) });
    faulting(|| {
        let _ = unsafe { (0xffff_8000_0000_0000usize as *const u8).read_volatile() };
    });
    faulting(|| unsafe { std::mem::transmute::<*mut u8, fn()>(page)() });
    faulting(|| {
        let name = crate::c("/tmp/conformance-bus");
        unsafe {
            let file = libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
            libc::unlink(name.as_ptr());
            let memory =
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0).cast::<u8>();
            memory.add(0x20).read_volatile();
        }
    });
    #[cfg(target_arch = "x86_64")]
    faulting(|| {
        let _ = unsafe { (0x8000_1234_0000_0000usize as *const u8).read_volatile() };
    });
}

#[cfg(target_arch = "x86_64")]
pub(super) fn divide_and_trap() {
    use std::arch::asm;
    faulting(|| unsafe { asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("rax") _, out("rcx") _, out("rdx") _) });
    faulting(|| unsafe { asm!("ud2") });
    faulting(|| unsafe { asm!("int3") });
    faulting(|| unsafe { asm!("hlt") });
    faulting(|| unsafe { asm!("cli") });
    faulting(|| unsafe { asm!("int 0x3") });
    faulting(|| unsafe { asm!("int 0x20") });
    faulting(|| unsafe { asm!("in al, dx", out("al") _, in("dx") 0x60u16) });
    faulting(|| unsafe { asm!("mov {0}, cr3", out(reg) _) });
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn divide_and_trap() {
    use std::arch::asm;
    faulting(|| unsafe { asm!("udf #0") });
    faulting(|| unsafe { asm!("brk #0") });
    faulting(|| unsafe { asm!("brk #1000") });
    faulting(|| unsafe { asm!("mrs {0}, ttbr0_el1", out(reg) _) });
    faulting(|| unsafe { asm!("hvc #0") });
    faulting(|| unsafe { asm!("smc #0") });
}

pub(super) fn alternate_stack() {
    static STACK: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn look(_signal: i32, _information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let here = &raw const _signal as usize;
        let base = STACK.load(SeqCst);
        println!("on it: {}", (base..base + 65536).contains(&here));
        let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
        println!("{:?} flags {}", call!(sigaltstack(std::ptr::null(), &mut old)), old.ss_flags);
        let new = libc::stack_t { ss_sp: base as *mut _, ss_flags: 0, ss_size: 65536 };
        println!("change while on it {:?}", call!(sigaltstack(&new, std::ptr::null_mut())));
    }
    let memory = vec![0u8; 65536].leak();
    STACK.store(memory.as_ptr() as usize, SeqCst);
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: 65536 };
    println!("{:?}", call!(sigaltstack(&stack, std::ptr::null_mut())));
    install(libc::SIGUSR1, look, libc::SA_ONSTACK);
    let _ = call!(raise(libc::SIGUSR1));
    let small = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: 100 };
    println!("too small {:?}", call!(sigaltstack(&small, std::ptr::null_mut())));
    let odd = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 77, ss_size: 65536 };
    println!("odd flags {:?}", call!(sigaltstack(&odd, std::ptr::null_mut())));
    // A stack overflow is caught on the other stack.
    println!(
        "{}",
        in_child(|| {
            install(libc::SIGSEGV, fault_quietly, libc::SA_ONSTACK);
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            unsafe { libc::setrlimit(libc::RLIMIT_STACK, &limit) };
            overflow(0) as i32
        })
    );
}

extern "C" fn fault_quietly(signal: i32, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let _ = (signal, information);
    unsafe { libc::_exit(17) }
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
            unsafe { (8 as *mut u8).write_volatile(1) };
            0
        })
    );
    println!(
        "{}",
        in_child(|| {
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_IGN) };
            unsafe { (8 as *mut u8).write_volatile(1) };
            0
        })
    );
}
