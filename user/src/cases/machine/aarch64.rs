//! What 64-bit Arm can be asked that no other machine can.
#![allow(unsafe_code, reason = "instructions that fault on purpose, and contexts that are changed")]

use super::addresses::{Allowed, Place, memory, places};
use super::{BASE, report, try_to};
use crate::raw;
use crate::runner::in_child;
use crate::system::{self, Context, Delivery, Mapping, read_word_nowhere};
use std::arch::asm;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Reads the word at `address` by an instruction that a handler can pass over; then it gives 77.
#[inline(never)]
pub(super) fn probe(address: usize) -> u64 {
    let value;
    // SAFETY: reads; callers give addresses of their own memory's edge or of nowhere, where it faults.
    unsafe { asm!("mov {1}, #77", "ldr {1}, [{0}]", "nop", in(reg) address, out(reg) value) };
    value
}

/// Passes over the read of [`probe`].
pub(super) fn pass_over_probe(context: &mut Context) {
    // SAFETY: the signal came of `probe`'s read, and the register has its value already.
    unsafe { context.pass_over() };
}

/// The register of [`keep_over_fault`].
pub(super) fn kept(context: &Context) -> u64 {
    context.general(21)
}

/// Changes it, and goes on behind the instruction.
pub(super) fn change_kept(context: &mut Context, value: u64) {
    // SAFETY: the signal came of `keep_over_fault`, which expects the change.
    unsafe {
        context.set_general(21, value);
        context.pass_over();
    }
}

/// Faults with 1234 in a register, and gives what is there afterwards.
pub(super) fn keep_over_fault() -> u64 {
    let value;
    // SAFETY: the handler that the case has installed passes over `udf`; the register is given up.
    unsafe { asm!("mov x21, #1234", "udf #0", "mov {0}, x21", out(reg) value, out("x21") _) };
    value
}

/// Faults with `stack` for a stack pointer.
pub(super) fn fault_on(stack: usize) -> ! {
    // SAFETY: the process does not go on: its handler ends it on another stack, or the signal does.
    unsafe { asm!("mov sp, {0}", "udf #0", in(reg) stack, options(noreturn)) }
}

/// Returns from no signal, with the frame at `stack`.
pub(super) fn return_with(stack: usize) -> ! {
    // SAFETY: the process does not go on: what is at `stack` is no frame.
    unsafe { asm!("mov sp, {0}", "mov x8, #139", "svc #0", in(reg) stack, options(noreturn)) }
}

/// Where the records of `uc_mcontext` begin: 16-byte aligned behind the five words and 31 registers.
const RECORDS: usize = 176 + 288;

/// The records of a context, the first of which is that of the vector registers.
fn records(context: &mut Context) -> *mut u32 {
    // SAFETY: the C structure ends with 4 KiB for them.
    unsafe { std::ptr::from_mut(context).cast::<u8>().add(RECORDS).cast() }
}

/// Exchanges the word of vector register 9 in the context, and goes on behind the instruction.
pub(super) fn exchange_vector(context: &mut Context, value: u64) -> u64 {
    // SAFETY: the registers follow 16 bytes of the first record's head and state; the signal came of `keep_vector_over_fault`, which
    // expects the change.
    unsafe {
        let word = records(context).cast::<u8>().add(16 + 9 * 16).cast::<u64>();
        let found = word.read_unaligned();
        word.write_unaligned(value);
        context.pass_over();
        found
    }
}

/// Faults with `value` in vector register 9, and gives what is there afterwards.
pub(super) fn keep_vector_over_fault(value: u64) -> u64 {
    let found;
    // SAFETY: the handler that the case has installed passes over `udf`; the register is given up.
    unsafe { asm!("fmov d9, {0}", "udf #0", "fmov {0}, d9", inout(reg) value => found, out("v9") _) };
    found
}

/// Tries instructions that user mode may not have: each ends its process, or changes nothing that outlives it.
macro_rules! try_instructions {
    ($($name:literal($($assembly:tt)+);)+) => { $(
        // SAFETY: the instruction faults, or touches the child's named registers and the test's page alone; the child ends behind it.
        try_to($name, || unsafe { asm!($($assembly)+) });
    )+ };
}

pub(super) fn privileged() {
    try_instructions! {
        "undefined"("udf #0");
        "undefined with an immediate"("udf #0xffff");
        "unallocated"(".inst 0x00001234");
        "system register"("mrs {0}, sctlr_el1", out(reg) _);
        "its change"("msr ttbr0_el1, {0}", in(reg) 0u64);
        "a higher level's"("mrs {0}, hcr_el2", out(reg) _);
        "interrupt masks"("msr daifset, #2");
        "their reading"("mrs {0}, daif", out(reg) _);
        "stack pointer of user mode"("mrs {0}, sp_el0", out(reg) _);
        "exception return"("eret");
        "hypervisor call"("hvc #0");
        "monitor call"("smc #0");
        "translations"("tlbi vmalle1");
        "address translation"("at s1e1r, {0}", in(reg) 0u64);
        "data cache"("dc isw, {0}", in(reg) 0u64);
        "instruction cache"("ic iallu");
        "cycle counter"("mrs {0}, pmccntr_el0", out(reg) _);
        "timer"("mrs {0}, cntv_ctl_el0", out(reg) _);
        "wait for an interrupt"("wfi");
        "virtual counter"("mrs {0}, cntvct_el0", out(reg) _);
        "cache type"("mrs {0}, ctr_el0", out(reg) _);
        "zeroing block"("mrs {0}, dczid_el0", out(reg) _);
        "thread pointer for reading"("mrs {0}, tpidrro_el0", out(reg) _);
        "its change"("msr tpidrro_el0, {0}", in(reg) 0u64);
        "main identification"("mrs {0}, midr_el1", out(reg) _);
        "its change"("msr s3_0_c0_c0_0, {0}", in(reg) 0u64);
    }
    try_to("multiprocessor identification", || {
        let value: u64;
        // SAFETY: a read of a register, which the kernel answers or refuses.
        unsafe { asm!("mrs {0}, mpidr_el1", out(reg) value) };
        print!("{value:#x} ");
    });
    try_instructions! { "instruction set"("mrs {0}, id_aa64isar0_el1", out(reg) _); }
    try_to("reserved identification", || {
        let value: u64;
        // SAFETY: a read of a register, which the kernel answers or refuses.
        unsafe { asm!("mrs {0}, s3_0_c0_c7_7", out(reg) value) };
        print!("{value:#x} ");
    });
    try_instructions! { "no identification"("mrs {0}, s3_0_c0_c1_0", out(reg) _); }
}

pub(super) fn breakpoints() {
    try_instructions! {
        "brk 0"("brk #0");
        "brk 1"("brk #1");
        "brk 4"("brk #4");
        "brk 0x400"("brk #0x400");
        "brk 0x800"("brk #0x800");
        "brk 1000"("brk #1000");
        "brk 0xffff"("brk #0xffff");
        "hlt 0"("hlt #0");
        "hlt 1"("hlt #1");
        "dcps1"("dcps1");
    }
}

pub(super) fn alignment() {
    let memory = Mapping::private(1);
    let base = memory.start();
    BASE.store(base, SeqCst);
    try_instructions! {
        "plain read"("ldr {0}, [{1}]", out(reg) _, in(reg) base + 1);
        "plain write"("str {0}, [{1}]", in(reg) 0u64, in(reg) base + 3);
        "exclusive read"("ldxr {0}, [{1}]", out(reg) _, in(reg) base + 4);
        "exclusive read of a half"("ldxrh {0:w}, [{1}]", out(reg) _, in(reg) base + 1);
        "exclusive write"("ldxr {0}, [{1}]", "add {1}, {1}, #1", "stxr {2:w}, {0}, [{1}]", out(reg) _, inout(reg) base => _, out(reg) _);
        "exclusive read of nothing"("ldxr {0}, [{1}]", out(reg) _, in(reg) 0x101usize);
        "jump"("br {0}", in(reg) report as *const () as usize + 2);
        "zeroing of what is not there"("dc zva, {0}", in(reg) 0x1240usize);
    }
}

pub(super) fn system_calls() {
    let call = |number: u64| {
        let result: i64;
        // SAFETY: `getpid` or no such call: the kernel changes the result's register alone.
        unsafe { asm!("svc #0", in("x8") number, inlateout("x0") 0i64 => result) };
        result
    };
    println!("unknown {} -1: {} gap {}", call(100_000), call(u64::MAX), call(244));
    println!("the upper half does not count: {}", call(1 << 32 | 172) == i64::from(std::process::id()));
    let (a, b, c): (i64, i64, i64);
    // SAFETY: `getpid` three times: the kernel changes the result's register alone.
    unsafe {
        asm!("svc #1", in("x8") 172, inlateout("x0") 0i64 => a);
        asm!("svc #0xabc", in("x8") 172, inlateout("x0") 0i64 => b);
        asm!("svc #0xffff", in("x8") 172, inlateout("x0") 0i64 => c);
    }
    println!("svc with immediates: {:?}", [a, b, c].map(|pid| pid == i64::from(std::process::id())));
}

pub(super) fn tags() {
    const TAG: usize = 0xab << 56;
    let memory = memory();
    let base = memory.start();
    try_instructions! {
        "read"("ldr {0}, [{1}]", out(reg) _, in(reg) base | TAG);
        "write"("str {0}, [{1}]", in(reg) 1u64, in(reg) base | TAG);
    }
    for (name, place, allowed) in places(memory) {
        let address = match place {
            Place::Within(memory, offset) => memory.at(offset),
            Place::Nowhere(address) => address,
        };
        if allowed == Allowed::Nothing && address < super::KERNEL {
            // SAFETY: reads of the test's memory, or of nowhere: it faults, and the child ends.
            try_to(name, || unsafe { asm!("ldr {0}, [{1}]", out(reg) _, in(reg) address | TAG) });
        }
    }
    for address in [1usize << 48, 1 << 55, 0x00ff_0000_0000_0000, 0xff00_0000_0000_1000, 0xfffe_ffff_ffff_f000] {
        try_to("neither half", || _ = read_word_nowhere(address));
    }
    let result = raw!(libc::SYS_write, 1, base | TAG, 1);
    println!("system call: {} {}", result.unwrap_or(-1), std::io::Error::last_os_error());
}

/// What to do to the frame in [`damage`].
static DAMAGE: AtomicU32 = AtomicU32::new(0);

/// Processor states that a program may not have.
const STATES: [u64; 10] = [0x3c5, 4, 0x10, 0x80, 0x40, 0x3c0, 0x9000_0000, 1 << 20, 1 << 32, 0x20];

fn damage(delivery: &mut Delivery<'_>) {
    let which = DAMAGE.load(SeqCst);
    let records = records(delivery.context);
    // Words of the records: the first one's head, and the head of the one behind it.
    let set = |word: usize, value: u32| {
        // SAFETY: within the 4 KiB of records; the child that raised the signal ends whatever comes of it.
        unsafe { records.add(word).write(value) };
    };
    let second = 528 / 4;
    let set_head = |magic: u32, size: u32| {
        set(second, magic);
        set(second + 1, size);
    };
    match which {
        0 => {}
        1 => set(0, 0),
        2 => set(0, 0x1234_5678),
        3 => set(1, 512),
        4 => set(1, 4096),
        5 => set(second, 1),
        6 => set(second + 1, 8),
        7 => set_head(0x4553_5201, 16),
        8 => set_head(0x4658_5001, 528),
        9 => set_head(0x4650_8001, 528),
        _ => {
            if let Some(state) = STATES.get(which as usize - 10) {
                // SAFETY: the child that raised the signal ends whatever comes of it.
                unsafe { delivery.context.raw_mut() }.uc_mcontext.pstate = *state;
            }
        }
    }
}

pub(super) fn damaged_frames() {
    for which in 0..20 {
        let end = in_child(|| {
            DAMAGE.store(which, SeqCst);
            system::install(libc::SIGUSR1, damage, 0);
            system::install(libc::SIGSEGV, report, 0);
            let _ = system::raise(libc::SIGUSR1);
            0
        });
        println!("damage {which}: {end}");
    }
}
