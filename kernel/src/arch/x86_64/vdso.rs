//! The shared object that the kernel maps into every program, so that reading the clock needs no system call: its code. What it
//! has in common with other machines' is in [`shared_object`](crate::arch::shared_object).

#![allow(unsafe_code, reason = "the code runs in user mode; its bytes are read between two labels")]

use super::clock;
use crate::arch::shared_object::image::{self, Binding, Style, Symbol};
use crate::arch::shared_object::{
    CODE_OFFSET, DATA_BASE, DATA_DISTANCE, DATA_REALTIME, DATA_SCALE, FINE_CLOCKS, KNOWN_CLOCKS, REALTIME_CLOCKS,
    SharedData,
};
use crate::base::VirtualAddress;
use alloc::vec::Vec;

/// The user selector whose segment limit is the CPU's number, as on Linux.
pub const CPU_NUMBER_SELECTOR: u16 = 0x7b;
/// `n / 10^9` is `((n >> 9) * this) >> 75`, exactly, for every 64-bit `n`.
const BILLIONTH: u64 = 0x0044_b82f_a09b_5a53;
/// `n / 1000` is `((n >> 3) * this) >> 68`, exactly, for every 64-bit `n`.
const THOUSANDTH: u64 = 0x20c4_9ba5_e353_f7cf;
const SYS_GETTIMEOFDAY: u32 = 96;
const SYS_CLOCK_GETTIME: u32 = 228;
const SYS_CLOCK_GETRES: u32 = 229;
/// Linux's names on x86_64: the one that libraries look for, and the weak plain one.
const STYLE: Style =
    Style { machine: 62, version: "LINUX_2.6", prefixes: &[("__vdso_", Binding::Global), ("", Binding::Weak)] };

core::arch::global_asm!(
    ".pushsection .rodata.ashlar_vdso, \"a\"",
    ".p2align 4",
    ".globl ashlar_vdso_start",
    "ashlar_vdso_start:",
    // edi clock, rsi timespec
    ".globl ashlar_vdso_clock_gettime",
    "ashlar_vdso_clock_gettime:",
    "cmp edi, 11",
    "ja 9f",
    "mov eax, {known}",
    "bt eax, edi",
    "jnc 9f",
    "call ashlar_vdso_now",
    "mov rdx, {billionth}",
    "mov r10, rax",
    "shr rax, 9",
    "mul rdx",
    "shr rdx, 11",
    "imul rax, rdx, 1000000000",
    "sub r10, rax",
    "mov [rsi], rdx",
    "mov [rsi + 8], r10",
    "xor eax, eax",
    "ret",
    "9: mov eax, {sys_clock_gettime}",
    "syscall",
    "ret",
    // edi a known clock; gives rax nanoseconds; keeps rdi and rsi
    "ashlar_vdso_now:",
    "lea r8, [rip + ashlar_vdso_start - {data_distance}]",
    "mov ecx, {realtime_clocks}",
    "1: mov r9d, [r8]",
    "test r9d, 1",
    "jnz 3f",
    "lfence",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "sub rax, [r8 + {base}]",
    "mul qword ptr [r8 + {scale}]",
    "shrd rax, rdx, 32",
    "bt ecx, edi",
    "jnc 2f",
    "add rax, [r8 + {realtime}]",
    "2: cmp r9d, [r8]",
    "jne 1b",
    "ret",
    "3: pause",
    "jmp 1b",
    // rdi timeval, rsi timezone
    ".globl ashlar_vdso_gettimeofday",
    "ashlar_vdso_gettimeofday:",
    "test rsi, rsi",
    "jnz 9f",
    "test rdi, rdi",
    "jz 1f",
    "mov rsi, rdi",
    "xor edi, edi",
    "call ashlar_vdso_now",
    "mov rdx, {billionth}",
    "mov r10, rax",
    "shr rax, 9",
    "mul rdx",
    "shr rdx, 11",
    "imul rax, rdx, 1000000000",
    "sub r10, rax",
    "mov [rsi], rdx",
    "mov rax, r10",
    "shr rax, 3",
    "mov rdx, {thousandth}",
    "mul rdx",
    "shr rdx, 4",
    "mov [rsi + 8], rdx",
    "1: xor eax, eax",
    "ret",
    "9: mov eax, {sys_gettimeofday}",
    "syscall",
    "ret",
    // rdi time_t or null
    ".globl ashlar_vdso_time",
    "ashlar_vdso_time:",
    "mov rsi, rdi",
    "xor edi, edi",
    "call ashlar_vdso_now",
    "mov rdx, {billionth}",
    "shr rax, 9",
    "mul rdx",
    "shr rdx, 11",
    "mov rax, rdx",
    "test rsi, rsi",
    "jz 1f",
    "mov [rsi], rax",
    "1: ret",
    // edi clock, rsi timespec or null
    ".globl ashlar_vdso_clock_getres",
    "ashlar_vdso_clock_getres:",
    "cmp edi, 11",
    "ja 9f",
    "mov eax, {fine}",
    "bt eax, edi",
    "jnc 9f",
    "test rsi, rsi",
    "jz 1f",
    "mov qword ptr [rsi], 0",
    "mov qword ptr [rsi + 8], 1",
    "1: xor eax, eax",
    "ret",
    "9: mov eax, {sys_clock_getres}",
    "syscall",
    "ret",
    // rdi, rsi unsigned or null
    ".globl ashlar_vdso_getcpu",
    "ashlar_vdso_getcpu:",
    "mov eax, {cpu_selector}",
    "lsl eax, eax",
    "test rdi, rdi",
    "jz 1f",
    "mov ecx, eax",
    "and ecx, 0xfff",
    "mov [rdi], ecx",
    "1: test rsi, rsi",
    "jz 2f",
    "shr eax, 12",
    "mov [rsi], eax",
    "2: xor eax, eax",
    "ret",
    ".globl ashlar_vdso_end",
    "ashlar_vdso_end:",
    ".popsection",
    known = const KNOWN_CLOCKS,
    fine = const FINE_CLOCKS,
    realtime_clocks = const REALTIME_CLOCKS,
    billionth = const BILLIONTH,
    thousandth = const THOUSANDTH,
    data_distance = const DATA_DISTANCE,
    base = const DATA_BASE,
    scale = const DATA_SCALE,
    realtime = const DATA_REALTIME,
    cpu_selector = const CPU_NUMBER_SELECTOR,
    sys_clock_gettime = const SYS_CLOCK_GETTIME,
    sys_gettimeofday = const SYS_GETTIMEOFDAY,
    sys_clock_getres = const SYS_CLOCK_GETRES,
);

unsafe extern "C" {
    static ashlar_vdso_start: u8;
    static ashlar_vdso_end: u8;
    static ashlar_vdso_clock_gettime: u8;
    static ashlar_vdso_gettimeofday: u8;
    static ashlar_vdso_time: u8;
    static ashlar_vdso_clock_getres: u8;
    static ashlar_vdso_getcpu: u8;
}

/// The image: one page.
#[must_use]
pub fn image() -> Vec<u8> {
    let start = (&raw const ashlar_vdso_start).addr();
    let length = (&raw const ashlar_vdso_end).addr() - start;
    // SAFETY: the two labels enclose constant bytes.
    let code = unsafe { core::slice::from_raw_parts(&raw const ashlar_vdso_start, length) };
    let mut functions = [
        ("clock_gettime", (&raw const ashlar_vdso_clock_gettime).addr() - start),
        ("gettimeofday", (&raw const ashlar_vdso_gettimeofday).addr() - start),
        ("time", (&raw const ashlar_vdso_time).addr() - start),
        ("clock_getres", (&raw const ashlar_vdso_clock_getres).addr() - start),
        ("getcpu", (&raw const ashlar_vdso_getcpu).addr() - start),
        ("", length),
    ];
    functions.sort_by_key(|function| function.1);
    let ends = functions.iter().skip(1).map(|next| next.1);
    let symbols: Vec<Symbol> = functions
        .iter()
        .zip(ends)
        .map(|(&(name, offset), end)| Symbol { name, offset: CODE_OFFSET + offset, size: end - offset })
        .collect();
    image::build(&STYLE, code, CODE_OFFSET, &symbols)
}

static DATA: SharedData = SharedData::new();

/// Says where the data page is and fills it.
///
/// # Safety
/// As for [`SharedData::set_page`].
pub unsafe fn set_data(page: VirtualAddress) {
    // SAFETY: the caller's promise.
    unsafe { DATA.set_page(page, clock::clock_parameters()) };
}

/// Remembers and publishes what the realtime clock is ahead of the monotonic one. Calls do not overlap.
pub fn publish_realtime_offset(offset: u64) {
    DATA.publish_realtime_offset(offset, clock::clock_parameters());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_reciprocals_divide_exactly(number: u64) {
            let high = |factor: u64, value: u64| ((u128::from(factor) * u128::from(value)) >> 64) as u64;
            prop_assert_eq!(high(BILLIONTH, number >> 9) >> 11, number / 1_000_000_000);
            prop_assert_eq!(high(THOUSANDTH, number >> 3) >> 4, number / 1000);
        }
    }

    #[test]
    fn the_code_fits_and_every_function_is_found() {
        use elf::{ElfBytes, endian::AnyEndian};
        let image = image();
        assert_eq!(image.len(), crate::arch::shared_object::PAGE);
        let file = ElfBytes::<AnyEndian>::minimal_parse(&image).unwrap();
        let dynamic = file.find_common_data().unwrap();
        assert!(dynamic.dynamic.is_some());
        let start = (&raw const ashlar_vdso_start).addr();
        let code = &image[CODE_OFFSET..];
        assert_eq!(code[0], 0x83, "cmp edi, 11 begins the first function");
        assert!(start > 0);
    }
}
