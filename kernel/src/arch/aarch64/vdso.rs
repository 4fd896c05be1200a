//! The shared object that the kernel maps into every program, so that reading the clock needs no system call, and that signal
//! handlers return through: its code. What it has in common with other machines' is in
//! [`shared_object`](crate::arch::shared_object).

#![allow(unsafe_code, reason = "the code runs in user mode; its bytes are read between two labels")]

use super::clock;
use crate::arch::SharedObject;
use crate::arch::shared_object::image::{self, Binding, Style, Symbol};
use crate::arch::shared_object::{
    CODE_OFFSET, DATA_BASE, DATA_DISTANCE, DATA_REALTIME, FINE_CLOCKS, KNOWN_CLOCKS, REALTIME_CLOCKS, SharedData,
};
use crate::base::VirtualAddress;
use alloc::vec::Vec;

const SYS_CLOCK_GETTIME: u32 = 113;
const SYS_CLOCK_GETRES: u32 = 114;
const SYS_RT_SIGRETURN: u32 = 139;
const SYS_GETTIMEOFDAY: u32 = 169;
/// Linux's names on arm64.
const STYLE: Style = Style { machine: 183, version: "LINUX_2.6.39", prefixes: &[("__kernel_", Binding::Global)] };

/// Reads the time since boot into `x4`, in nanoseconds, or since 1970 for clocks in `w6` (a set, with bit `w0` looked at). Keeps `x0`
/// and `x1`; `x2` is the data page.
///
/// `isb` keeps the counter from being read before the sequence number; the last look at that depends on the counter's value.
macro_rules! read_time {
    () => {
        "2: ldr w3, [x2]
         tbnz w3, #0, 4f
         dmb ishld
         isb
         mrs x4, cntvct_el0
         eor x8, x4, x4
         ldp x5, x7, [x2, #{base}]
         ldr x9, [x2, #{realtime}]
         sub x4, x4, x5
         umulh x5, x4, x7
         mul x4, x4, x7
         extr x4, x5, x4, #32
         lsr w6, w6, w0
         tbz w6, #0, 3f
         add x4, x4, x9
         3: dmb ishld
         ldr w5, [x2, x8]
         cmp w5, w3
         b.eq 5f
         mov w6, #{realtime_clocks}
         b 2b
         4: yield
         b 2b
         5:"
    };
}

core::arch::global_asm!(
    ".pushsection .rodata.ashlar_vdso, \"a\"",
    ".p2align 4",
    ".globl ashlar_vdso_start",
    "ashlar_vdso_start:",
    // w0 clock, x1 timespec
    ".globl ashlar_vdso_clock_gettime",
    "ashlar_vdso_clock_gettime:",
    "cmp w0, #11",
    "b.hi 9f",
    "mov w3, #{known}",
    "lsr w3, w3, w0",
    "tbz w3, #0, 9f",
    "adr x2, ashlar_vdso_start - {data_distance}",
    "mov w6, #{realtime_clocks}",
    read_time!(),
    "mov w6, #0xca00", // 10^9
    "movk w6, #0x3b9a, lsl #16",
    "udiv x5, x4, x6",
    "msub x4, x5, x6, x4",
    "stp x5, x4, [x1]",
    "mov w0, #0",
    "ret",
    "9: mov w8, #{sys_clock_gettime}",
    "svc #0",
    "ret",
    // x0 timeval, x1 timezone
    ".p2align 4",
    ".globl ashlar_vdso_gettimeofday",
    "ashlar_vdso_gettimeofday:",
    "cbnz x1, 9f",
    "cbz x0, 1f",
    "mov x1, x0",
    "mov w0, #0",
    "adr x2, ashlar_vdso_start - {data_distance}",
    "mov w6, #{realtime_clocks}",
    read_time!(),
    "mov w6, #0xca00",
    "movk w6, #0x3b9a, lsl #16",
    "udiv x5, x4, x6",
    "msub x4, x5, x6, x4",
    "mov w6, #1000",
    "udiv x4, x4, x6",
    "stp x5, x4, [x1]",
    "1: mov w0, #0",
    "ret",
    "9: mov w8, #{sys_gettimeofday}",
    "svc #0",
    "ret",
    // w0 clock, x1 timespec or null
    ".p2align 4",
    ".globl ashlar_vdso_clock_getres",
    "ashlar_vdso_clock_getres:",
    "cmp w0, #11",
    "b.hi 9f",
    "mov w3, #{fine}",
    "lsr w3, w3, w0",
    "tbz w3, #0, 9f",
    "cbz x1, 1f",
    "mov w3, #1",
    "stp xzr, x3, [x1]",
    "1: mov w0, #0",
    "ret",
    "9: mov w8, #{sys_clock_getres}",
    "svc #0",
    "ret",
    // Where a signal handler returns to. Unwinders look one instruction before it, and know it by its two instructions.
    ".p2align 4",
    "nop",
    ".globl ashlar_vdso_rt_sigreturn",
    "ashlar_vdso_rt_sigreturn:",
    "mov x8, #{sys_rt_sigreturn}",
    "svc #0",
    ".globl ashlar_vdso_end",
    "ashlar_vdso_end:",
    ".popsection",
    known = const KNOWN_CLOCKS,
    fine = const FINE_CLOCKS,
    realtime_clocks = const REALTIME_CLOCKS,
    data_distance = const DATA_DISTANCE,
    base = const DATA_BASE,
    realtime = const DATA_REALTIME,
    sys_clock_gettime = const SYS_CLOCK_GETTIME,
    sys_gettimeofday = const SYS_GETTIMEOFDAY,
    sys_clock_getres = const SYS_CLOCK_GETRES,
    sys_rt_sigreturn = const SYS_RT_SIGRETURN,
);

unsafe extern "C" {
    static ashlar_vdso_start: u8;
    static ashlar_vdso_end: u8;
    static ashlar_vdso_clock_gettime: u8;
    static ashlar_vdso_gettimeofday: u8;
    static ashlar_vdso_clock_getres: u8;
    static ashlar_vdso_rt_sigreturn: u8;
}

/// How far behind the code's beginning a label is.
fn offset(label: *const u8) -> usize {
    label.addr() - (&raw const ashlar_vdso_start).addr()
}

/// The image: one page.
fn build() -> Vec<u8> {
    let length = offset(&raw const ashlar_vdso_end);
    // SAFETY: the two labels enclose constant bytes.
    let code = unsafe { core::slice::from_raw_parts(&raw const ashlar_vdso_start, length) };
    let functions = [
        ("clock_gettime", offset(&raw const ashlar_vdso_clock_gettime)),
        ("gettimeofday", offset(&raw const ashlar_vdso_gettimeofday)),
        ("clock_getres", offset(&raw const ashlar_vdso_clock_getres)),
        ("rt_sigreturn", offset(&raw const ashlar_vdso_rt_sigreturn)),
    ];
    let ends = functions.iter().skip(1).map(|next| next.1).chain([length]);
    let symbols: Vec<Symbol> = functions
        .iter()
        .zip(ends)
        .map(|(&(name, offset), end)| Symbol { name, offset: CODE_OFFSET + offset, size: end - offset })
        .collect();
    image::build(&STYLE, code, CODE_OFFSET, &symbols)
}

static DATA: SharedData = SharedData::new();

/// Remembers and publishes what the realtime clock is ahead of the monotonic one. Calls do not overlap.
pub fn publish_realtime_offset(offset: u64) {
    DATA.publish_realtime_offset(offset, clock::parameters());
}

impl SharedObject for super::Aarch64 {
    fn shared_object() -> Option<Vec<u8>> {
        Some(build())
    }
    unsafe fn set_shared_data(page: VirtualAddress) {
        // SAFETY: the caller's promise.
        unsafe { DATA.set_page(page, clock::parameters()) };
    }
    fn signal_return_offset() -> Option<u64> {
        Some((CODE_OFFSET + offset(&raw const ashlar_vdso_rt_sigreturn)) as u64)
    }
    fn hardware_capabilities() -> [u64; 2] {
        super::cpu_information::hardware_capabilities()
    }
}
