//! What a program can do wrong with the machine itself: bad addresses, instructions that are not its own, stacks and signal frames
//! that are none. The signal, its code and its address are Linux's.

use super::signals::faults::instruction_of;
use super::signals::{Handler, install};
use crate::runner::{Case, in_child};
use std::arch::asm;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

pub(super) const CASES: &[Case] = &[
    ("machine/bad-reads", bad_reads),
    ("machine/bad-writes", bad_writes),
    ("machine/bad-jumps", bad_jumps),
    ("machine/accesses-across-an-edge", across),
    ("machine/a-handler-moves-on", move_on),
    ("machine/a-handler-changes-registers", change_registers),
    ("machine/bad-stack-pointers", bad_stack_pointers),
    ("machine/bad-signal-frames", bad_frames),
    ("machine/vector-registers-in-a-context", vectors_in_context),
    ("machine/privileged-instructions", own::privileged),
    ("machine/breakpoints", own::breakpoints),
    ("machine/alignment", own::alignment),
    ("machine/system-call-instructions", own::system_calls),
    ("machine/addresses-with-tags", own::tags),
];

const PAGE: usize = 4096;
/// Where the kernel's half begins, on every machine.
const KERNEL: usize = 0xffff_8000_0000_0000;

/// The page whose addresses a handler shows as offsets.
static BASE: AtomicUsize = AtomicUsize::new(usize::MAX);

fn stack_of(context: *const libc::c_void) -> usize {
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let stack = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(not(target_arch = "x86_64"))]
    let stack = context.uc_mcontext.sp as usize;
    stack
}

/// Lets faults kill: Rust's library catches two of them.
fn catch_nothing() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

extern "C" fn report(signal: i32, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let information = unsafe { &*information };
    let address = unsafe { information.si_addr() } as usize;
    let base = BASE.load(SeqCst);
    let shown = match address {
        _ if address == instruction_of(context) && address >= 0x10_0000 => "of the instruction".into(),
        _ if (base..base.saturating_add(16 * PAGE)).contains(&address) => format!("base + {:#x}", address - base),
        _ if address == stack_of(context) && (0x10_0000..KERNEL).contains(&address) => "of the stack pointer".into(),
        _ => format!("{address:#x}"),
    };
    println!("signal {signal} code {} address {shown}", information.si_code);
    use std::io::Write;
    let _ = std::io::stdout().flush();
    unsafe { libc::_exit(3) }
}

/// Catches every signal that a fault can mean, on a stack of its own.
fn catch_all(handler: Handler) {
    let memory = map(16, libc::PROT_READ | libc::PROT_WRITE);
    let stack = libc::stack_t { ss_sp: memory.cast(), ss_flags: 0, ss_size: 16 * PAGE };
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS] {
        install(signal, handler, libc::SA_ONSTACK);
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

fn map(pages: usize, protection: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) }.cast()
}

/// Addresses that are bad in every way: name, address, and whether it may be read and written.
fn addresses() -> Vec<(&'static str, usize, [bool; 2])> {
    let base = map(8, libc::PROT_READ | libc::PROT_WRITE) as usize;
    BASE.store(base, SeqCst);
    unsafe {
        std::ptr::write_bytes(base as *mut u8, 0, 8 * PAGE);
        libc::mprotect((base + PAGE) as *mut _, PAGE, libc::PROT_READ);
        libc::mprotect((base + 2 * PAGE) as *mut _, PAGE, libc::PROT_NONE);
        libc::munmap((base + 3 * PAGE) as *mut _, PAGE);
        libc::mprotect((base + 4 * PAGE) as *mut _, PAGE, libc::PROT_READ | libc::PROT_EXEC);
    }
    vec![
        ("null", 0, [false; 2]),
        ("low", 0x1238, [false; 2]),
        ("read-only", base + PAGE + 8, [true, false]),
        ("no access", base + 2 * PAGE + 16, [false; 2]),
        ("unmapped", base + 3 * PAGE + 24, [false; 2]),
        ("code", base + 4 * PAGE + 32, [true, false]),
        ("kernel", KERNEL, [false; 2]),
        ("kernel's middle", 0xffff_ff00_0020_0000, [false; 2]),
        ("kernel's end", usize::MAX - 7, [false; 2]),
    ]
}

fn bad_reads() {
    for (name, address, [readable, _]) in addresses() {
        if !readable {
            try_to(name, || {
                let _ = unsafe { (address as *const u64).read_volatile() };
            });
        }
    }
}

fn bad_writes() {
    for (name, address, [_, writable]) in addresses() {
        if !writable {
            try_to(name, || unsafe { (address as *mut u64).write_volatile(1) });
        }
    }
}

fn bad_jumps() {
    for (name, address, _) in addresses() {
        // Programs may execute what the code page holds, and Arm has no instruction at an odd address.
        if name != "code" {
            try_to(name, || unsafe { std::mem::transmute::<usize, fn()>(address & !3)() });
        }
    }
}

/// Words that begin in memory and end outside.
fn across() {
    addresses();
    let base = BASE.load(SeqCst);
    let edge = base + 3 * PAGE;
    unsafe { libc::mprotect((base + 2 * PAGE) as *mut _, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
    for distance in [1, 4, 7] {
        try_to("read", || {
            unsafe { probe(edge - distance) };
        });
    }
    let none = unsafe { libc::write(1, edge as *const _, 8) };
    println!("write of what is not there: {none} {}", std::io::Error::last_os_error());
}

/// Reads the word at `x`, by an instruction of known length that a handler can pass over.
#[inline(never)]
unsafe fn probe(x: usize) -> u64 {
    let value;
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov {1}, 77", "mov {1}, [{0}]", "nop", in(reg) x, out(reg) value)
    };
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("mov {1}, #77", "ldr {1}, [{0}]", "nop", in(reg) x, out(reg) value)
    };
    value
}

static FAULTS: AtomicUsize = AtomicUsize::new(0);

fn move_on() {
    extern "C" fn pass_over(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
        FAULTS.fetch_add(1, SeqCst);
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        #[cfg(target_arch = "x86_64")]
        {
            context.uc_mcontext.gregs[libc::REG_RIP as usize] += 3;
        }
        #[cfg(target_arch = "aarch64")]
        {
            context.uc_mcontext.pc += 4;
        }
    }
    catch_all(pass_over);
    let values: Vec<u64> = [0, 0x1238, KERNEL].iter().map(|&address| unsafe { probe(address) }).collect();
    println!("{values:?} after {} faults", FAULTS.load(SeqCst));
}

/// Calls `getpid`'s number with a register that a handler changes meanwhile.
fn change_registers() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn change(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        #[cfg(target_arch = "x86_64")]
        let register = &mut context.uc_mcontext.gregs[libc::REG_R12 as usize];
        #[cfg(target_arch = "aarch64")]
        let register = &mut context.uc_mcontext.regs[21];
        SEEN.store(*register as u64, SeqCst);
        *register = 4321;
        #[cfg(target_arch = "x86_64")]
        {
            context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
        }
        #[cfg(target_arch = "aarch64")]
        {
            context.uc_mcontext.pc += 4;
        }
    }
    catch_all(change);
    let value: u64;
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov r12, 1234", "ud2", "mov {0}, r12", out(reg) value, out("r12") _)
    };
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("mov x21, #1234", "udf #0", "mov {0}, x21", out(reg) value, out("x21") _)
    };
    println!("{} then {value}", SEEN.load(SeqCst));
}

/// A fault while the stack pointer is no stack: with an alternate stack the handler runs, without one the signal kills.
fn bad_stack_pointers() {
    let fault_on = |stack: usize| -> ! {
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("mov rsp, {0}", "ud2", in(reg) stack, options(noreturn))
        }
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!("mov sp, {0}", "udf #0", in(reg) stack, options(noreturn))
        }
    };
    for (name, stack) in [("null", 0), ("low", 0x1000), ("kernel", KERNEL), ("end", usize::MAX & !15)] {
        try_to(name, || fault_on(stack));
        let end = in_child(|| {
            catch_nothing();
            install(libc::SIGILL, report, 0);
            fault_on(stack)
        });
        println!("{name} without an alternate stack: {end}");
    }
}

/// `rt_sigreturn` where there is no frame, or one that asks for too much.
fn bad_frames() {
    let return_with = |stack: usize| -> ! {
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("mov rsp, {0}", "mov eax, 15", "syscall", in(reg) stack, options(noreturn))
        }
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!("mov sp, {0}", "mov x8, #139", "svc #0", in(reg) stack, options(noreturn))
        }
    };
    let page = map(4, libc::PROT_READ | libc::PROT_WRITE) as usize;
    for (name, stack) in [("null", 0), ("kernel", KERNEL), ("end of memory", page + 4 * PAGE - 64), ("zeros", page)] {
        println!(
            "{name}: {}",
            in_child(|| {
                catch_nothing();
                return_with(stack)
            })
        );
    }
    own::damaged_frames();
}

/// A handler finds the interrupted code's vector registers in its context, and what it puts there comes back.
fn vectors_in_context() {
    static FOUND: AtomicU64 = AtomicU64::new(0);
    extern "C" fn change(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // The handler uses the registers itself.
        let sum: f64 = std::hint::black_box([1.25f64; 32]).iter().map(|value| value * 3.0).sum();
        std::hint::black_box(sum);
        let word = unsafe { own::vector_word(context) };
        FOUND.store(unsafe { word.read_unaligned() }, SeqCst);
        unsafe { word.write_unaligned(0x1122_3344_5566_7788) };
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        #[cfg(target_arch = "x86_64")]
        {
            context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
        }
        #[cfg(target_arch = "aarch64")]
        {
            context.uc_mcontext.pc += 4;
        }
    }
    catch_all(change);
    let value: u64;
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("movq xmm9, {0}", "ud2", "movq {0}, xmm9", inout(reg) 0x8877_6655_4433_2211u64 => value, out("xmm9") _)
    };
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("fmov d9, {0}", "udf #0", "fmov {0}, d9", inout(reg) 0x8877_6655_4433_2211u64 => value, out("v9") _)
    };
    println!("{:x} then {value:x}", FOUND.load(SeqCst));
}

/// What 64-bit x86 can be asked that no other machine can.
#[cfg(target_arch = "x86_64")]
mod own {
    use super::{asm, try_to};

    static NOTHING: [u64; 2] = [0; 2];

    pub(super) unsafe fn vector_word(context: *mut libc::c_void) -> *mut u64 {
        let context = unsafe { &*context.cast::<libc::ucontext_t>() };
        let image = context.uc_mcontext.fpregs.cast::<u8>();
        unsafe { image.add(160 + 9 * 16).cast() }
    }

    pub(super) fn privileged() {
        try_to("halt", || unsafe { asm!("hlt") });
        try_to("interrupts on", || unsafe { asm!("sti") });
        try_to("port", || unsafe { asm!("out dx, al", in("dx") 0x80u16, in("al") 0u8) });
        try_to("control register", || unsafe { asm!("mov cr0, {0}", in(reg) 0u64) });
        try_to("model-specific register", || unsafe { asm!("rdmsr", in("ecx") 0x10, out("eax") _, out("edx") _) });
        try_to("caches", || unsafe { asm!("wbinvd") });
        try_to("descriptor table", || unsafe { asm!("lgdt [{0}]", in(reg) NOTHING.as_ptr()) });
        try_to("segment", || unsafe { asm!("mov ds, {0:x}", in(reg) 0x10u16) });
        try_to("system return", || unsafe { asm!("sysretq", in("rcx") 0, in("r11") 0) });
        try_to("virtual machine", || unsafe { asm!("vmlaunch") });
        try_to("flags", || unsafe { asm!("push 0x3202", "popfq") });
    }

    pub(super) fn breakpoints() {
        try_to("breakpoint", || unsafe { asm!("int3") });
        try_to("breakpoint of two bytes", || unsafe { asm!("int 0x3") });
        try_to("overflow", || unsafe { asm!("int 4") });
        for action in [|| unsafe { asm!("int 0") }, || unsafe { asm!("int 14") }, || unsafe { asm!("int 0xff") }] {
            try_to("interrupt", action);
        }
    }

    pub(super) fn alignment() {
        let words = [0u64; 4];
        let odd = words.as_ptr() as usize + 1;
        try_to("vector", || unsafe { asm!("movaps xmm0, [{0}]", in(reg) odd & !15 | 1, out("xmm0") _) });
        try_to("plain", || unsafe { asm!("mov {0}, [{1}]", out(reg) _, in(reg) odd) });
    }

    pub(super) fn system_calls() {
        let result: i64;
        unsafe { asm!("syscall", inout("rax") 100_000i64 => result, out("rcx") _, out("r11") _) };
        println!("unknown: {result}");
        let result: i64;
        unsafe { asm!("syscall", inout("rax") -1i64 => result, out("rcx") _, out("r11") _) };
        println!("-1: {result}");
    }

    pub(super) fn tags() {
        for address in [1usize << 57, 0x1000_0000_0000_0000, 0x8000_1234_0000_0000] {
            try_to("read", || {
                let _ = unsafe { (address as *const u64).read_volatile() };
            });
        }
    }

    pub(super) fn damaged_frames() {}
}

/// What 64-bit Arm can be asked that no other machine can.
#[cfg(target_arch = "aarch64")]
mod own {
    use super::{BASE, addresses, asm, in_child, install, map, report, try_to};
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    /// The head of `uc_mcontext`'s records, 16-byte aligned behind the five words and 31 registers.
    unsafe fn records(context: *mut libc::c_void) -> *mut u32 {
        unsafe { context.cast::<u8>().add(176 + 288).cast() }
    }

    pub(super) unsafe fn vector_word(context: *mut libc::c_void) -> *mut u64 {
        unsafe { records(context).cast::<u8>().add(16 + 9 * 16).cast() }
    }

    pub(super) fn privileged() {
        try_to("undefined", || unsafe { asm!("udf #0") });
        try_to("undefined with an immediate", || unsafe { asm!("udf #0xffff") });
        try_to("unallocated", || unsafe { asm!(".inst 0x00001234") });
        try_to("system register", || unsafe { asm!("mrs {0}, sctlr_el1", out(reg) _) });
        try_to("its change", || unsafe { asm!("msr ttbr0_el1, {0}", in(reg) 0u64) });
        try_to("a higher level's", || unsafe { asm!("mrs {0}, hcr_el2", out(reg) _) });
        try_to("interrupt masks", || unsafe { asm!("msr daifset, #2") });
        try_to("their reading", || unsafe { asm!("mrs {0}, daif", out(reg) _) });
        try_to("stack pointer of user mode", || unsafe { asm!("mrs {0}, sp_el0", out(reg) _) });
        try_to("exception return", || unsafe { asm!("eret") });
        try_to("hypervisor call", || unsafe { asm!("hvc #0") });
        try_to("monitor call", || unsafe { asm!("smc #0") });
        try_to("translations", || unsafe { asm!("tlbi vmalle1") });
        try_to("address translation", || unsafe { asm!("at s1e1r, {0}", in(reg) 0u64) });
        try_to("data cache", || unsafe { asm!("dc isw, {0}", in(reg) 0u64) });
        try_to("instruction cache", || unsafe { asm!("ic iallu") });
        try_to("cycle counter", || unsafe { asm!("mrs {0}, pmccntr_el0", out(reg) _) });
        try_to("timer", || unsafe { asm!("mrs {0}, cntv_ctl_el0", out(reg) _) });
        try_to("wait for an interrupt", || unsafe { asm!("wfi") });
        try_to("virtual counter", || unsafe { asm!("mrs {0}, cntvct_el0", out(reg) _) });
        try_to("cache type", || unsafe { asm!("mrs {0}, ctr_el0", out(reg) _) });
        try_to("zeroing block", || unsafe { asm!("mrs {0}, dczid_el0", out(reg) _) });
        try_to("thread pointer for reading", || unsafe { asm!("mrs {0}, tpidrro_el0", out(reg) _) });
        try_to("its change", || unsafe { asm!("msr tpidrro_el0, {0}", in(reg) 0u64) });
        try_to("main identification", || unsafe { asm!("mrs {0}, midr_el1", out(reg) _) });
        try_to("its change", || unsafe { asm!("msr s3_0_c0_c0_0, {0}", in(reg) 0u64) });
        try_to("multiprocessor identification", || {
            let value: u64;
            unsafe { asm!("mrs {0}, mpidr_el1", out(reg) value) };
            print!("{value:#x} ");
        });
        try_to("instruction set", || unsafe { asm!("mrs {0}, id_aa64isar0_el1", out(reg) _) });
        try_to("reserved identification", || {
            let value: u64;
            unsafe { asm!("mrs {0}, s3_0_c0_c7_7", out(reg) value) };
            print!("{value:#x} ");
        });
        try_to("no identification", || unsafe { asm!("mrs {0}, s3_0_c0_c1_0", out(reg) _) });
    }

    pub(super) fn breakpoints() {
        try_to("brk 0", || unsafe { asm!("brk #0") });
        try_to("brk 1", || unsafe { asm!("brk #1") });
        try_to("brk 4", || unsafe { asm!("brk #4") });
        try_to("brk 0x400", || unsafe { asm!("brk #0x400") });
        try_to("brk 0x800", || unsafe { asm!("brk #0x800") });
        try_to("brk 1000", || unsafe { asm!("brk #1000") });
        try_to("brk 0xffff", || unsafe { asm!("brk #0xffff") });
        try_to("hlt 0", || unsafe { asm!("hlt #0") });
        try_to("hlt 1", || unsafe { asm!("hlt #1") });
        try_to("dcps1", || unsafe { asm!("dcps1") });
    }

    pub(super) fn alignment() {
        let base = map(1, libc::PROT_READ | libc::PROT_WRITE) as usize;
        BASE.store(base, SeqCst);
        try_to("plain read", || unsafe { asm!("ldr {0}, [{1}]", out(reg) _, in(reg) base + 1) });
        try_to("plain write", || unsafe { asm!("str {0}, [{1}]", in(reg) 0u64, in(reg) base + 3) });
        try_to("exclusive read", || unsafe { asm!("ldxr {0}, [{1}]", out(reg) _, in(reg) base + 4) });
        try_to("exclusive read of a half", || unsafe { asm!("ldxrh {0:w}, [{1}]", out(reg) _, in(reg) base + 1) });
        try_to("exclusive write", || unsafe {
            asm!("ldxr {0}, [{1}]", "add {1}, {1}, #1", "stxr {2:w}, {0}, [{1}]", out(reg) _, inout(reg) base => _, out(reg) _)
        });
        try_to("exclusive read of nothing", || unsafe { asm!("ldxr {0}, [{1}]", out(reg) _, in(reg) 0x101usize) });
        try_to("jump", || unsafe { asm!("br {0}", in(reg) report as *const () as usize + 2) });
        try_to("zeroing of what is not there", || unsafe { asm!("dc zva, {0}", in(reg) 0x1240usize) });
    }

    pub(super) fn system_calls() {
        let call = |number: u64| {
            let result: i64;
            unsafe { asm!("svc #0", in("x8") number, inlateout("x0") 0i64 => result) };
            result
        };
        println!("unknown {} -1: {} gap {}", call(100_000), call(u64::MAX), call(244));
        println!("the upper half does not count: {}", call(1 << 32 | 172) == i64::from(std::process::id()));
        let odd: [i64; 3];
        unsafe {
            let (a, b, c): (i64, i64, i64);
            asm!("svc #1", in("x8") 172, inlateout("x0") 0i64 => a);
            asm!("svc #0xabc", in("x8") 172, inlateout("x0") 0i64 => b);
            asm!("svc #0xffff", in("x8") 172, inlateout("x0") 0i64 => c);
            odd = [a, b, c];
        }
        println!("svc with immediates: {:?}", odd.map(|pid| pid == i64::from(std::process::id())));
    }

    pub(super) fn tags() {
        const TAG: usize = 0xab << 56;
        let list = addresses();
        let base = BASE.load(SeqCst);
        try_to("read", || {
            let _ = unsafe { ((base | TAG) as *const u64).read_volatile() };
        });
        try_to("write", || unsafe { ((base | TAG) as *mut u64).write_volatile(1) });
        for (name, address, [readable, _]) in list {
            if !readable && address < super::KERNEL {
                try_to(name, || {
                    let _ = unsafe { ((address | TAG) as *const u64).read_volatile() };
                });
            }
        }
        for address in [1usize << 48, 1 << 55, 0x00ff_0000_0000_0000, 0xff00_0000_0000_1000, 0xfffe_ffff_ffff_f000] {
            try_to("neither half", || {
                let _ = unsafe { (address as *const u64).read_volatile() };
            });
        }
        let result = unsafe { libc::write(1, (base | TAG) as *const _, 1) };
        println!("system call: {result} {}", std::io::Error::last_os_error());
    }

    /// What to do to the frame in [`damage`].
    static DAMAGE: AtomicU32 = AtomicU32::new(0);

    extern "C" fn damage(_signal: i32, _information: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let which = DAMAGE.load(SeqCst);
        let records = unsafe { records(context) };
        let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
        let status = [0x3c5, 4, 0x10, 0x80, 0x40, 0x3c0, 0x9000_0000, 1 << 20, 1 << 32, 0x20];
        match which {
            0 => {}
            10.. => machine.pstate = status[which as usize - 10],
            _ => unsafe {
                match which {
                    1 => *records = 0,
                    2 => *records = 0x1234_5678,
                    3 => *records.add(1) = 512,
                    4 => *records.add(1) = 4096,
                    5 => *records.add(528 / 4) = 1,
                    6 => *records.add(528 / 4 + 1) = 8,
                    7 => (*records.add(528 / 4), *records.add(528 / 4 + 1)) = (0x4553_5201, 16),
                    8 => (*records.add(528 / 4), *records.add(528 / 4 + 1)) = (0x4658_5001, 528),
                    _ => (*records.add(528 / 4), *records.add(528 / 4 + 1)) = (0x4650_8001, 528),
                }
            },
        }
    }

    pub(super) fn damaged_frames() {
        for which in 0..20 {
            let end = in_child(|| {
                DAMAGE.store(which, SeqCst);
                install(libc::SIGUSR1, damage, 0);
                install(libc::SIGSEGV, report, 0);
                unsafe { libc::raise(libc::SIGUSR1) };
                0
            });
            println!("damage {which}: {end}");
        }
    }
}
